import type { IRouter, Request, Response } from "express";
import { parseUuidName, quote } from "../../counter/counter-name.ts";
import type { Counters } from "../../counter/counters.ts";
import { CounterError, counterNotFound } from "../../counter/errors.ts";
import { maxValue } from "../../counter/store.ts";
import { allowOnly } from "../allow-only.ts";
import { hasBody, readBody } from "../read-body.ts";
import { jsonType, send, textType } from "../send.ts";
import { wantsText } from "../wants-text.ts";

/**
 * The main dialect, at `/` or `/buildnumber`: POST takes the next number of a counter, GET shows the last one, PUT sets it.
 *
 * Takes every path of one segment (`/{id}/` as well: the Go original redirected it), so it is added after the routes
 * with a name.
 */
export function addBuildnumber(app: IRouter, counters: Counters): void {
  app
    .route("/:id")
    .post(async (req, res) => {
      const name = parseUuidName(req.params.id);
      // Not what it says matters, but that it came: a request that broke off must not take a number.
      if (hasBody(req)) await readBody(req);
      sendNumber(req, res, await counters.increment(name));
    })
    // Each a route of its own: HEAD must never be an implicit form of something that consumes.
    .get(showNumber)
    .head(showNumber)
    .put(async (req, res) => {
      const name = parseUuidName(req.params.id);
      const value = parseValue(await readBody(req));
      await counters.set(name, value, {
        force: new URLSearchParams(req.url.split("?")[1]).get("force") === "true",
      });
      sendNumber(req, res, value);
    })
    .all(allowOnly("GET", "HEAD", "POST", "PUT"));

  async function showNumber(req: Request<{ id: string }>, res: Response): Promise<void> {
    const value = await counters.peek(parseUuidName(req.params.id));
    if (value === undefined) throw counterNotFound();
    sendNumber(req, res, value);
  }
}

function sendNumber(req: Request<{ id: string }>, res: Response, value: number): void {
  // The Go original ended its answers in a newline.
  if (wantsText(req)) send(res, 200, textType, `${value}\n`);
  else send(res, 200, jsonType, `{"bn":${value}}\n`);
}

/** The number that the body of a PUT says, whatever its Content-Type: `curl -d` calls all it sends a form. */
function parseValue(body: string): number {
  let bn: unknown;
  try {
    ({ bn } = JSON.parse(body));
  } catch {
    // Refused below, like everything else that holds no number.
  }
  if (typeof bn === "number" && Number.isSafeInteger(bn) && bn >= 0) return bn;
  throw new CounterError(
    "invalid-value",
    `expected a JSON body like {"bn":300}, with an integer from 0 to ${maxValue}, got ${quote(body)}`,
  );
}
