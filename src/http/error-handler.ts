import type { ErrorRequestHandler, Request, Response } from "express";
import type { Logger } from "pino";
import { quote } from "../counter/counter-name.ts";
import { sendProblem, toProblem } from "./problem.ts";

// All callers of a failed batch get the same error; one line in the log says it.
const logged = new WeakSet<Error>();

/**
 * Logs what is not the caller's doing, and answers.
 *
 * @param answer how a dialect says a failure (default: as a problem document)
 */
export function createErrorHandler(
  log: Logger,
  answer: (req: Request, res: Response, error: unknown) => void = sendProblem,
): ErrorRequestHandler {
  return (error: unknown, req, res, _next) => {
    const { code, status } = toProblem(error);
    const isOrdinary = status < 500 || code === "overloaded" || code === "stopping";
    if (!isOrdinary && !(error instanceof Error && logged.has(error))) {
      if (error instanceof Error) logged.add(error);
      log.error({ err: error, code }, `${req.method} ${quote(req.path)} failed`);
    }
    if (res.headersSent) res.destroy();
    else answer(req, res, error);
  };
}
