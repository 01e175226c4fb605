import express, { type Request, type Response, type Router } from "express";
import type { Logger } from "pino";
import { parsePlainName } from "../../counter/counter-name.ts";
import type { Counters } from "../../counter/counters.ts";
import { claimNumber } from "../claim-number.ts";
import { createErrorHandler } from "../error-handler.ts";
import { sendProblem, toProblem } from "../problem.ts";
import { awaitBody } from "../read-body.ts";
import { send } from "../send.ts";

/** The original set none; this is what API Gateway then says. */
const type = "application/json";

/** The original's answer to any path and method but its one. */
export function sendUnknownPath(res: Response): void {
  send(res, 404, type, '{"error_code":"404_not_found"}');
}

/**
 * The interface of function61/lambda-atomic-counter (`src/index.js`, AWS Lambda over DynamoDB):
 * `POST /increment?counter=mycounter` takes one number. Its table of APIs knew that one entry, by method and path.
 */
export function createLambdaAtomicCounter(counters: Counters, { log }: { log: Logger }): Router {
  const router = express.Router({ caseSensitive: true, strict: true });
  router.post("/increment", awaitBody, async (req, res) => {
    // Of a parameter that comes twice, API Gateway passed on the last.
    const counter = new URLSearchParams(req.url.split("?")[1]).getAll("counter").at(-1);
    if (!counter) {
      send(res, 400, type, '{"error_code":"counter_not_specified"}');
      return;
    }
    const value = await claimNumber(req, res, counters, parsePlainName(counter));
    send(res, 200, type, JSON.stringify({ counter, new_value: value }));
  });
  router.use((_req, res) => sendUnknownPath(res));
  router.use(createErrorHandler(log, sendFailure));
  return router;
}

/** The original knew one failure: that of the store. What it did not know is a problem document. */
function sendFailure(req: Request, res: Response, error: unknown): void {
  const { status, detail } = toProblem(error);
  if (status < 500) sendProblem(req, res, error);
  else {
    const failure = {
      error_code: "error_incrementing_probably_database_error",
      error_description: `Error: ${detail}`,
    };
    send(res, 500, type, JSON.stringify(failure));
  }
}
