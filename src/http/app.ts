import express, { type ErrorRequestHandler, type Express } from "express";
import type { Logger } from "pino";
import { quote } from "../counter/counter-name.ts";
import type { Counters } from "../counter/counters.ts";
import { createAccessLog } from "./access-log.ts";
import { addBuildnumber } from "./dialects/buildnumber.ts";
import { addHealth } from "./health.ts";
import { HttpError, sendProblem, toProblem } from "./problem.ts";

export interface AppOptions {
  readonly log: Logger;
  /** Whether each request is logged (default false). */
  readonly logRequests?: boolean;
}

/** The Express app of the service. It never listens: `createHttpServer` does, and tests drive it as it is. */
export function createApp(counters: Counters, { log, logRequests = false }: AppOptions): Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");

  if (logRequests) app.use(createAccessLog(log));
  addHealth(app, counters);
  addBuildnumber(app, counters);
  app.use((req) => {
    throw new HttpError(
      "not-found",
      `expected a path like /{uuid}, /healthz or /readyz, got ${quote(req.path)}`,
    );
  });
  app.use(createErrorHandler(log));
  return app;
}

function createErrorHandler(log: Logger): ErrorRequestHandler {
  // All callers of a failed batch get the same error; one line in the log says it.
  const logged = new WeakSet<Error>();
  return (error: unknown, req, res, _next) => {
    const { code, status } = toProblem(error);
    const isOrdinary = status < 500 || code === "overloaded" || code === "stopping";
    if (!isOrdinary && !(error instanceof Error && logged.has(error))) {
      if (error instanceof Error) logged.add(error);
      log.error({ err: error, code }, `${req.method} ${quote(req.path)} failed`);
    }
    if (res.headersSent) res.destroy();
    else sendProblem(req, res, error);
  };
}
