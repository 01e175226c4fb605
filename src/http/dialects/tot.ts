import express, { type Router } from "express";
import { type CounterName, parsePlainName, quote } from "../../counter/counter-name.ts";
import type { Counters } from "../../counter/counters.ts";
import { CounterError } from "../../counter/errors.ts";
import { maxValue } from "../../counter/store.ts";
import { allowOnly } from "../allow-only.ts";
import { claimNumber } from "../claim-number.ts";
import { awaitBody, readBody } from "../read-body.ts";
import { send, textType } from "../send.ts";

/**
 * The interface of tot, the number vendor of Kubernetes' Prow (`cmd/tot/main.go`): GET takes the next number of a job,
 * POST sets the last one, in either direction. A job is all that follows, slashes included.
 */
export function createTot(counters: Counters): Router {
  const router = express.Router({ caseSensitive: true });
  router
    .route(["/", "/*job"])
    // Bare, without a newline: `fmt.Fprintf(w, "%d", n)`.
    .get(awaitBody, async (req, res) => {
      send(res, 200, textType, String(await claimNumber(req, res, counters, parseJob(req.params))));
    })
    .head(async ({ params }, res) => {
      send(res, 200, textType, String((await counters.peek(parseJob(params))) ?? 0));
    })
    .post(async (req, res) => {
      const name = parseJob(req.params);
      await counters.set(name, parseNumber(await readBody(req)), { force: true });
      send(res, 200, textType, "");
    })
    .all(allowOnly("GET", "HEAD", "POST"));
  return router;
}

function parseJob({ job = [] }: { job?: string | string[] }): CounterName {
  return parsePlainName([job].flat().join("/"));
}

/** As Go's `strconv.Atoi` reads it: a sign is fine, a blank is not. The original answered 200 to what it could not read. */
function parseNumber(body: string): number {
  const number = /^\+?\d{1,16}$/.test(body) ? Number(body) : Number.NaN;
  if (number <= maxValue) return number;
  throw new CounterError(
    "invalid-value",
    `expected a body that is an integer from 0 to ${maxValue}, got ${quote(body)}`,
  );
}
