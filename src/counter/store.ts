import type { CounterName } from "./counter-name.ts";
import { CounterError } from "./errors.ts";

/** The largest number that a counter can issue: 2^53 − 1, the last integer that JSON readers agree on. */
export const maxValue = Number.MAX_SAFE_INTEGER;

/** What a caller wants to be remembered with its number: any JSON object. */
export type Metadata = Readonly<Record<string, unknown>>;

/** One caller's request for numbers. */
export interface Claim {
  /** How many numbers the caller takes, 1 … 2^53−1. The answer is the last of them. */
  readonly by: number;
  /** The largest number that the claim may get, 1 … 2^53−1 (default: 2^53−1). A claim that would pass it is refused. */
  readonly max?: number;
  /**
   * The idempotency key: of all claims of a counter with one key only the first takes numbers, and all get its number.
   * 1 … 255 characters of 0x20–0x7E.
   */
  readonly key?: string;
  /** What is recorded with the number; never an empty object. */
  readonly metadata?: Metadata;
}

/** What is remembered of a number that was claimed with a key or metadata. */
export interface BuildRecord {
  readonly value: number;
  /** When it was committed, in milliseconds since 1970. */
  readonly atMs: number;
  readonly key?: string;
  readonly metadata?: Metadata;
}

/** What became of one claim: the number it got, or why it alone was refused (and consumed nothing). */
export type Outcome =
  | {
      readonly value: number;
      /** The record of the number, for a claim with key or metadata. */
      readonly record?: BuildRecord;
      /** The number was taken before, by the claim of the same key whose record this is. */
      readonly isReplay?: boolean;
    }
  | { readonly error: CounterError };

/** Which records of a counter are asked for. Conditions add up. */
export interface RecordsQuery {
  /** How many at most, 1 … 1,000. */
  readonly limit: number;
  /** Only numbers below this. */
  readonly before?: number;
  readonly key?: string;
  /** Only records whose metadata has this value under this name (compared as text). */
  readonly metadata?: { readonly name: string; readonly value: string };
}

/** A page of records, the largest number first. */
export interface RecordsPage {
  readonly records: readonly BuildRecord[];
  /** There may be more: ask again with this `before`. A search looks through 10,000 records at most at a time. */
  readonly next?: number;
}

export interface CommitOptions {
  /** Whether a counter that was never used comes into being; otherwise the commit fails with `counter-not-found`. */
  readonly create: boolean;
}

export interface SetOptions {
  /** Whether the counter may be set to a value below the last number issued. */
  readonly force: boolean;
}

/** What every store that keeps keys and records is opened with, beside its own settings. */
export interface RetentionOptions {
  /** How long keys and records are kept, counted from their `atMs`; 0 keeps them for ever. */
  readonly keyRetentionMs: number;
}

/** Where a store says what an operator should know: pino's calling convention, details first. */
export interface Log {
  info(details: object, message: string): void;
  warn(details: object, message: string): void;
  error(details: object, message: string): void;
}

/** What every store is opened with, beside its own settings. */
export interface StoreContext {
  readonly log: Log;
  /**
   * Called once when the store is in a state that it cannot answer for any more (a failed sync of the fence). From then
   * on every call is refused with `store-unavailable`; the process has to end, and its successor starts from the disk.
   */
  readonly onFatal: (error: Error) => void;
}

/**
 * Where counters live: the written contract of every backend. `test/store/store-contract.ts` holds each one to it.
 *
 * Calls for *different* counters may overlap freely. For one counter the caller has at most one `commit` or `set` in
 * flight (the combining queue sees to that), while any number of other processes may work on the same counter.
 *
 * - **Unique**: a number is given to at most one claim, ever, whoever commits and whatever crashes; unless the counter
 *   was lowered by force.
 * - **Increasing**: a commit that starts after another has resolved gives larger numbers.
 * - **Durable**: when a promise resolves, its effect survives kill -9 and power loss, as far as the backend can promise it.
 * - **Fail closed**: what cannot be read is never taken for a new counter. A rejected call whose error has
 *   `consumed: false` changed nothing; with `consumed: true` its numbers may be gone.
 *
 * Keys and records:
 *
 * - **One key, one number**: all claims of a counter with one key are answered the same number, in whatever batch,
 *   instance or process they come, at the same time or later; no number is answered for two keys. The first of them takes
 *   its numbers and its metadata is recorded; all others are replays (`isReplay`, with the first one's record): they take
 *   nothing and change nothing. A first claim that is refused leaves its key new. Two first claims that race in two
 *   processes may skip numbers, never repeat one.
 * - **As durable as its number**: a claim with key or metadata is answered, and a record shown, only when number and record
 *   are both durable. A replay needs no new number: it is answered at the end of the range, whatever its `by` and `max`.
 * - **Kept for `keyRetentionMs`**: an older record is gone. Nothing shows it any more and its key is a new key, whether or
 *   not it was cleared away yet. That never makes a number repeat.
 * - **Lowering by force** removes keys and records above the new value, before it resolves.
 * - Claims without key and metadata never wait for any of this.
 */
export interface Store {
  /** One phrase for the start-up line and the log: which backend, where. */
  readonly description: string;

  /**
   * Claims numbers for one batch, atomically and in order: each claim gets the `by` numbers that follow those of the
   * claim before it. A claim that would pass `maxValue` or its own `max` is refused alone (`counter-exhausted`); those
   * behind it that fit are still served. A claim whose key is known, or comes earlier in the batch, is a replay.
   *
   * @param claims at least one
   * @returns one outcome per claim, in the order of the claims
   * @throws CounterError `counter-not-found` (only with `create: false`), `counter-unreadable`, `store-full`,
   *   `store-unavailable`
   */
  commit(name: CounterName, claims: readonly Claim[], options: CommitOptions): Promise<readonly Outcome[]>;

  /**
   * The last number issued (or set), consuming none; undefined for a counter that was never used.
   *
   * @throws CounterError `counter-unreadable`, `store-unavailable`
   */
  peek(name: CounterName): Promise<number | undefined>;

  /**
   * The record of one number; undefined when it was issued without key and metadata, was not issued yet, or its record
   * is gone.
   *
   * @param value 1 … `maxValue`
   * @throws CounterError `store-unavailable`
   */
  record(name: CounterName, value: number): Promise<BuildRecord | undefined>;

  /**
   * The records that meet the query, the largest number first; none for a counter never used.
   *
   * @throws CounterError `store-unavailable`
   */
  records(name: CounterName, query: RecordsQuery): Promise<RecordsPage>;

  /**
   * Makes `value` the last number, so that the next one is `value + 1`. Creates the counter if needed. With force, keys
   * and records above `value` are removed.
   *
   * @param value 0 … `maxValue`
   * @throws CounterError `lowering-refused` (value below the last number, without `force`; nothing changes),
   *   `counter-unreadable`, `store-full`, `store-unavailable`
   */
  set(name: CounterName, value: number, options: SetOptions): Promise<void>;

  /**
   * Resolves when the store can commit at this moment.
   *
   * @throws CounterError `store-full`, `store-unavailable`
   */
  check(): Promise<void>;

  /** Ends the work in hand, makes everything at rest whole, and lets go of locks and connections. Never rejects. */
  close(): Promise<void>;
}

const noRecords: ReadonlyMap<string, BuildRecord> = new Map();

/**
 * Shares numbers out among the claims of a batch, in arrival order, as the contract of `commit` says: equal keys are one
 * claim, and a key that is known already is answered from its record.
 *
 * @param last the last number issued before, 0 … `maxValue`
 * @param known the records of those keys of the batch that have one, by key
 * @param now the time of new records, in milliseconds since 1970; asked once, and only for a batch that has one
 * @returns the outcomes, and `next`: the last number issued after (equal to `last` when no claim took any). The new
 *   records are those of the outcomes that are no replay
 */
export function allocate(
  last: number,
  claims: readonly Claim[],
  known: ReadonlyMap<string, BuildRecord> = noRecords,
  now: () => number = Date.now,
): { next: number; outcomes: Outcome[] } {
  let next = last;
  let atMs: number | undefined;
  let taken: Map<string, BuildRecord> | undefined;
  const outcomes = claims.map((claim): Outcome => {
    const { by, key, metadata, max = maxValue } = claim;
    const record = key === undefined ? undefined : (known.get(key) ?? taken?.get(key));
    if (record) return { value: record.value, record, isReplay: true };
    if (by > max - next) return { error: exhausted(next, by, max) };
    next += by;
    if (key === undefined && metadata === undefined) return { value: next };
    atMs ??= now();
    const first: BuildRecord = {
      value: next,
      atMs,
      ...(key !== undefined && { key }),
      ...(metadata && { metadata }),
    };
    if (key !== undefined) {
      taken ??= new Map();
      taken.set(key, first);
    }
    return { value: next, record: first };
  });
  return { next, outcomes };
}

function exhausted(last: number, by: number, max: number): CounterError {
  const wanted = by === 1 ? "the next number" : `${by} more numbers`;
  return new CounterError(
    "counter-exhausted",
    `expected ${wanted} to end at ${max} at most, but the last one is ${last}`,
  );
}

/** The refusal of a `set` without force. */
export function loweringRefused(last: number, value: number): CounterError {
  return new CounterError(
    "lowering-refused",
    `expected a value of at least ${last}, the last number issued, got ${value} (?force=true lowers the counter)`,
  );
}
