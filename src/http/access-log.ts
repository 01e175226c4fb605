import type { RequestHandler } from "express";
import type { Logger } from "pino";
import { pinoHttp } from "pino-http";

/** Logs each request when it is answered: method, target, client, status and time. No headers: they may hold secrets. */
export function createAccessLog(log: Logger): RequestHandler {
  return pinoHttp({
    logger: log,
    serializers: {
      req: ({ id, method, url, remoteAddress }) => ({ id, method, url, remoteAddress }),
      res: ({ statusCode }) => ({ statusCode }),
      // The error itself is logged by the app, once, where it is known.
      err: () => undefined,
    },
  });
}
