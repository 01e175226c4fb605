import type { IncomingMessage } from "node:http";
import type { RequestHandler } from "express";
import { HttpError } from "./problem.ts";

/** The largest body that is read: far more than any request of ours needs. */
export const maxBodyBytes = 16_384;

/** Whether the request announces a body, which may turn out to be empty. */
export function hasBody({ headers }: IncomingMessage): boolean {
  return (headers["content-length"] ?? "0") !== "0" || headers["transfer-encoding"] !== undefined;
}

/**
 * Reads the body to its end, whatever its type or encoding. What comes after the limit is thrown away unread, so that the
 * connection can go on.
 *
 * @returns the body as UTF-8 text
 * @throws HttpError `body-too-large`; `bad-request` when the client went away in the middle
 */
export function readBody(req: IncomingMessage, maxBytes = maxBodyBytes): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    req.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBytes) chunks.push(chunk);
      else {
        chunks.length = 0;
        reject(new HttpError("body-too-large", `expected a body of at most ${maxBytes} bytes, got more`));
      }
    });
    req.on("end", () => resolve(Buffer.concat(chunks).toString()));
    const abort = () => reject(new HttpError("bad-request", "expected a whole body, got a part of it"));
    req.on("error", abort);
    req.on("close", abort);
  });
}

/**
 * Goes on when the whole request has come, for routes that need no body: not what it says matters, but a request that broke
 * off must not take a number. It fails as `readBody` does.
 */
export const awaitBody: RequestHandler = async (req, _res, next) => {
  if (hasBody(req)) await readBody(req);
  next();
};
