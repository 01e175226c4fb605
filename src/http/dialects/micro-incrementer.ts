import express, { type Request, type Response, type Router } from "express";
import { type CounterName, parsePlainName, quote } from "../../counter/counter-name.ts";
import type { Counters } from "../../counter/counters.ts";
import { maxValue } from "../../counter/store.ts";
import { allowOnly } from "../allow-only.ts";
import { claimNumber } from "../claim-number.ts";
import { HttpError } from "../problem.ts";
import { awaitBody } from "../read-body.ts";
import { jsonType, send } from "../send.ts";

/** The counter of requests that name none: its key in the original's Redis. */
const defaultName = parsePlainName("default-key");

export interface MicroIncrementerOptions {
  /** Called after each operation that succeeded. */
  readonly backUp?: (() => void) | undefined;
  /** Paths that are no namespaces (default none). */
  readonly reserved?: readonly string[];
}

/**
 * The interface of rwilson04/micro-incrementer (`src/index.js`, Express 4 over Redis): GET takes one number, POST takes
 * many, PUT sets the last one, in either direction.
 *
 * Where it is stricter than the original, which crashed or guessed, `docs/dialects.md` says so.
 */
export function createMicroIncrementer(
  counters: Counters,
  { backUp = () => {}, reserved = [] }: MicroIncrementerOptions = {},
): Router {
  const router = express.Router({ caseSensitive: true });
  router.use(awaitBody);

  router
    .route("/")
    .get((req, res) => increment(req, res, defaultName, 1))
    .head((_req, res) => peek(res, defaultName))
    .all(allowOnly("GET", "HEAD"));
  // One segment is a namespace to GET, and a number to POST and PUT.
  router
    .route("/:segment")
    .get((req, res) => increment(req, res, parseNamespace(req.params.segment), 1))
    .head((req, res) => peek(res, parseNamespace(req.params.segment)))
    .post((req, res) =>
      withNumber(req, res, "Single", req.params.segment, (by) => increment(req, res, defaultName, by)),
    )
    .put((req, res) =>
      withNumber(req, res, "Single", req.params.segment, (value) => set(res, defaultName, value)),
    )
    .all(allowOnly("GET", "HEAD", "POST", "PUT"));
  router
    .route("/:segment/:number")
    .post(async (req, res) => {
      const name = parseNamespace(req.params.segment);
      await withNumber(req, res, "Second", req.params.number, (by) => increment(req, res, name, by));
    })
    .put(async (req, res) => {
      const name = parseNamespace(req.params.segment);
      await withNumber(req, res, "Second", req.params.number, (value) => set(res, name, value));
    })
    .all(allowOnly("POST", "PUT"));
  return router;

  async function increment(req: Request, res: Response, name: CounterName, by: number): Promise<void> {
    const value = await claimNumber(req, res, counters, name, by);
    send(res, 200, jsonType, String(value));
    backUp();
  }

  async function set(res: Response, name: CounterName, value: number): Promise<void> {
    await counters.set(name, value, { force: true });
    send(res, 200, jsonType, '{"success":true}');
    backUp();
  }

  /** Express would have made a GET of it, and taken a number. */
  async function peek(res: Response, name: CounterName): Promise<void> {
    send(res, 200, jsonType, String((await counters.peek(name)) ?? 0));
  }

  function parseNamespace(text: string): CounterName {
    if (reserved.includes(`/${text}`)) {
      throw new HttpError(
        "not-found",
        `expected a namespace, got ${quote(text)}, which is kept for the service`,
      );
    }
    return parsePlainName(text);
  }
}

/**
 * Does something with a number from the URL, or answers 422 with the original's text. That asked `isNaN`, and let Redis
 * judge (or crash) over the rest; here a number is an integer from 0 to 2^53−1.
 */
async function withNumber(
  req: Request,
  res: Response,
  which: "Single" | "Second",
  text: string,
  act: (number: number) => Promise<void>,
): Promise<void> {
  const number = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (number <= maxValue) return act(number);
  const error = `${which} URL parameter in ${req.method} request must be numeric`;
  send(res, 422, jsonType, JSON.stringify({ error }));
}
