import { STATUS_CODES } from "node:http";
import type { Request, Response } from "express";
import { CounterError, type ErrorCode } from "../counter/errors.ts";
import { send, textType } from "./send.ts";
import { type ShownRecord, showRecord } from "./show-record.ts";
import { wantsText } from "./wants-text.ts";

/** The error codes that only HTTP has, with what they tell the caller; those of the domain are in `counter/errors.ts`. */
export const httpErrorCodes = {
  "bad-request":
    "The request is not valid HTTP, its path not validly percent-encoded, or its query not understood.",
  "not-found": "The path is none that the service knows.",
  "method-not-allowed": "The path does not take this method; those in the Allow header it does.",
  "request-timeout": "The request did not arrive in whole within its time.",
  "body-too-large": "The body is larger than 16384 bytes, or than 4096 bytes of JSON; nothing was changed.",
  "invalid-metadata": "The body is declared as JSON, and is no JSON object; nothing was changed.",
  "invalid-format": "The format has a part that is not understood; nothing was changed.",
  "headers-too-large": "The request line and headers are larger than 8192 bytes.",
  "internal-error": "The service failed in a way that is not foreseen; its log has the reason.",
} as const;

export type HttpErrorCode = keyof typeof httpErrorCodes;

/** The status code of each error code. The only place that knows. */
export const statusCodes: Readonly<Record<ErrorCode | HttpErrorCode, number>> = {
  "invalid-counter-id": 400,
  "invalid-key": 400,
  "key-reused": 422,
  "record-not-found": 404,
  "invalid-value": 422,
  "counter-not-found": 404,
  "lowering-refused": 409,
  "counter-exhausted": 409,
  "counter-unreadable": 500,
  "store-full": 503,
  "store-unavailable": 503,
  overloaded: 503,
  stopping: 503,
  "bad-request": 400,
  "not-found": 404,
  "method-not-allowed": 405,
  "request-timeout": 408,
  "body-too-large": 413,
  "invalid-metadata": 400,
  "invalid-format": 400,
  "headers-too-large": 431,
  "internal-error": 500,
};

/** After how many seconds a caller that got 503 should ask again. */
const retryAfterSeconds = 1;

/** A failure of the request itself, which never reached the domain. The message is shown to the client. */
export class HttpError extends Error {
  override readonly name = "HttpError";
  readonly code: HttpErrorCode;
  /** Headers that the answer carries, names and values in turn. */
  readonly headers: readonly string[];

  constructor(code: HttpErrorCode, message: string, headers: readonly string[] = []) {
    super(message);
    this.code = code;
    this.headers = headers;
  }
}

/** The body of an error answer (RFC 9457). The `type` is "about:blank": what is special about a problem says its `code`. */
export interface Problem {
  readonly type: "about:blank";
  /** The phrase of the status code. */
  readonly title: string;
  readonly status: number;
  /** What was expected, and what was got. */
  readonly detail: string;
  readonly code: ErrorCode | HttpErrorCode;
  /** There when the failed call did (or may) use up its numbers: nobody will ever get them. */
  readonly consumed?: true;
  /** What the key stands for that was used again with other metadata. */
  readonly record?: ShownRecord;
}

/** What a client is told of a failure: of an unforeseen one nothing but that, its message may hold a path or worse. */
export function toProblem(error: unknown): Problem {
  const { code, message, consumed, record } = toKnownError(error);
  const status = statusCodes[code];
  return {
    type: "about:blank",
    title: STATUS_CODES[status] as string,
    status,
    detail: message,
    code,
    ...(consumed && { consumed }),
    ...(record && { record }),
  };
}

/** Answers with the problem that an error is: as JSON, or as one line where the caller prefers text. */
export function sendProblem(req: Request, res: Response, error: unknown): void {
  const problem = toProblem(error);
  const headers = error instanceof HttpError ? [...error.headers] : [];
  if (problem.status === 503) headers.push("Retry-After", String(retryAfterSeconds));
  if (wantsText(req)) send(res, problem.status, textType, toLine(problem), headers);
  else send(res, problem.status, "application/problem+json", toJson(problem), headers);
}

/** The JSON form of a problem. */
export function toJson(problem: Problem): string {
  return `${JSON.stringify(problem)}\n`;
}

function toLine({ code, detail, consumed }: Problem): string {
  return `${code}: ${detail}${consumed ? " (numbers were consumed)" : ""}\n`;
}

function toKnownError(error: unknown): Pick<Problem, "code" | "consumed" | "record"> & { message: string } {
  if (error instanceof CounterError) {
    const { code, message, consumed, record } = error;
    return { code, message, ...(consumed && { consumed }), ...(record && { record: showRecord(record) }) };
  }
  if (error instanceof HttpError) return { code: error.code, message: error.message };
  // Express's router throws it when it decodes a path.
  if (error instanceof URIError) {
    return {
      code: "bad-request",
      message: "expected a path in valid percent-encoding, got one that cannot be decoded",
    };
  }
  return { code: "internal-error", message: "the service failed unexpectedly; its log has the reason" };
}
