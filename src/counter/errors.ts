import type { BuildRecord } from "./store.ts";

/**
 * Every error code of the service, with what it tells the caller. A code never changes its meaning; status codes are
 * given in `http/problem.ts` only. `docs/errors.md` lists the same codes, and a test compares the two.
 */
export const errorCodes = {
  "invalid-counter-id":
    "The id is not a UUID; or, where counters have names, not a name of 1 to 200 bytes (percent-encoded).",
  "invalid-key": "The idempotency key is not 1 to 255 characters of printable ASCII, or two keys were given.",
  "key-reused": "The key was used before with other metadata; `record` is what it stands for.",
  "invalid-value": "The value is not an integer from 0 to 9007199254740991.",
  "counter-not-found": "The counter was never used (or may not be created: CREATE_COUNTERS=false).",
  "record-not-found": "There is no record of this number.",
  "lowering-refused": "The value is below the last number issued; only ?force=true lowers a counter.",
  "counter-exhausted":
    "The counter is at the end of its range, 9007199254740991, or of the range that ?max= asked for.",
  "counter-unreadable":
    "What is stored for this counter cannot be read as a number; nothing was changed, all other counters serve on.",
  "store-full": "The disk is full; free some space and ask again.",
  "store-unavailable": "The store cannot commit now; ask again later.",
  overloaded: "Too many callers are waiting; ask again later.",
  stopping: "The service is stopping; ask again later, or another instance.",
} as const;

export type ErrorCode = keyof typeof errorCodes;

export interface CounterErrorOptions extends ErrorOptions {
  /** The failed call did (or may) use up its numbers: they will never be answered. */
  readonly consumed?: boolean;
  /** The record that the call met. */
  readonly record?: BuildRecord;
}

/**
 * Any failure that a caller of the domain can meet.
 *
 * The message says what was expected and what was got, and is safe to show to a client: no path of the machine, no
 * stack. The low-level reason is in `cause`, for the log.
 */
export class CounterError extends Error {
  override readonly name = "CounterError";
  readonly code: ErrorCode;
  /** True when the failed call used up its numbers; false when it certainly changed nothing. */
  readonly consumed: boolean;
  /** With `key-reused`: what the key stands for. */
  readonly record: BuildRecord | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    { consumed = false, record, ...options }: CounterErrorOptions = {},
  ) {
    super(message, options);
    this.code = code;
    this.consumed = consumed;
    this.record = record;
  }
}

/** The refusal to create a counter, or to answer one that does not exist. It names no counter: the caller has just done so. */
export function counterNotFound(): CounterError {
  return new CounterError(
    "counter-not-found",
    "expected a counter that was used before, but this one never issued a number",
  );
}

/** The refusal of a counter whose stored value is not understood. The reason says what was expected and what was got. */
export function counterUnreadable(name: string, reason: string, cause?: unknown): CounterError {
  return new CounterError(
    "counter-unreadable",
    `counter ${name} cannot be read and was left as it is: ${reason}`,
    { cause },
  );
}
