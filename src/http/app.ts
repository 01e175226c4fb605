import express, { type Express, type RequestHandler } from "express";
import type { Logger } from "pino";
import { findUuidName, quote } from "../counter/counter-name.ts";
import type { Counters } from "../counter/counters.ts";
import { createAccessLog } from "./access-log.ts";
import { addBuildnumber, addUsualPost } from "./dialects/buildnumber.ts";
import { createLambdaAtomicCounter } from "./dialects/lambda-atomic-counter.ts";
import { createMicroIncrementer } from "./dialects/micro-incrementer.ts";
import { createTot } from "./dialects/tot.ts";
import { createErrorHandler } from "./error-handler.ts";
import {
  type DialectName,
  dialectNames,
  dialectPaths,
  fixedPaths,
  fixedPathsPattern,
  type RootDialectName,
} from "./fixed-paths.ts";
import { addHealth } from "./health.ts";
import { HttpError } from "./problem.ts";

export interface AppOptions {
  readonly log: Logger;
  /** Whether each request is logged (default false). */
  readonly logRequests?: boolean;
  /** The older interfaces that are spoken (default all). */
  readonly dialects?: readonly DialectName[];
  /** Which interface stands at `/` (default the main one, which else stands under `/buildnumber`). */
  readonly rootDialect?: RootDialectName;
  /** Called after each success of the micro-incrementer. */
  readonly backUp?: () => void;
  /** What answers a path that the service does not know, one that is no id included (default: a problem, 404 or 400). */
  readonly unknownPath?: RequestHandler;
}

/** The Express app of the service. It never listens: `createHttpServer` does, and tests drive it as it is. */
export function createApp(counters: Counters, options: AppOptions): Express {
  const {
    log,
    logRequests = false,
    dialects = dialectNames,
    rootDialect = "buildnumber",
    backUp,
    unknownPath,
  } = options;
  const fixed = fixedPathsPattern(rootDialect);
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.enable("case sensitive routing");

  if (logRequests) app.use(createAccessLog(log));
  const isMainAtRoot = rootDialect === "buildnumber";
  if (isMainAtRoot) addUsualPost(app, counters);
  addHealth(app, counters);
  const base = isMainAtRoot ? "" : dialectPaths.buildnumber;
  if (dialects.includes("tot")) app.use(base + dialectPaths.tot, createTot(counters));
  if (dialects.includes("lambda-atomic-counter")) {
    app.use(base + dialectPaths["lambda-atomic-counter"], createLambdaAtomicCounter(counters, { log }));
  }
  if (isMainAtRoot) {
    if (dialects.includes("micro-incrementer")) {
      app.use(dialectPaths["micro-incrementer"], createMicroIncrementer(counters, { backUp }));
    }
    app.use(fixed, unknownPath ?? refusePath);
    if (unknownPath) {
      app.all("/:id", (req, res, next) =>
        findUuidName(req.params.id) ? next() : unknownPath(req, res, next),
      );
    }
    addBuildnumber(app, counters);
  } else {
    const router = express.Router({ caseSensitive: true });
    addBuildnumber(router, counters);
    app.use(dialectPaths.buildnumber, router);
    app.use(fixed, unknownPath ?? refusePath);
    app.use(createMicroIncrementer(counters, { backUp, reserved: fixedPaths(rootDialect) }));
  }
  app.use(unknownPath ?? refusePath);
  app.use(createErrorHandler(log));
  return app;
}

const refusePath: RequestHandler = (req) => {
  throw new HttpError(
    "not-found",
    `expected a path like /{uuid}, /healthz or /readyz, got ${quote(req.originalUrl)}`,
  );
};
