import { CombiningQueue } from "./combining-queue.ts";
import type { CounterName } from "./counter-name.ts";
import { quote } from "./counter-name.ts";
import { CounterError, counterNotFound } from "./errors.ts";
import { isSameJson } from "./is-same-json.ts";
import {
  type BuildRecord,
  type Claim,
  type Metadata,
  maxValue,
  type Outcome,
  type RecordsPage,
  type RecordsQuery,
  type Store,
} from "./store.ts";

export interface CountersOptions {
  /** Whether `increment` may bring a counter into being (default true); `set` always may. */
  readonly createCounters?: boolean;
  /** How many callers may wait at once, over all counters (default 65,536); more are refused with `overloaded`. */
  readonly maxWaiting?: number;
}

/** How numbers are claimed. */
export interface ClaimOptions {
  /** How many numbers to take, 0 … 2^53−1 (default 1). */
  readonly by?: number | undefined;
  /** The largest number to take, 1 … 2^53−1 (default: 2^53−1); the one after it is refused with `counter-exhausted`. */
  readonly max?: number | undefined;
  /** Of all claims of a counter with one key only the first takes numbers, and all get its number. */
  readonly key?: string | undefined;
  /** What is recorded with the number, if it is not empty: what JSON can say. */
  readonly metadata?: Metadata | undefined;
}

/** What was claimed. */
export interface Claimed {
  /** The last of the numbers taken. */
  readonly value: number;
  /** What is recorded of it, for a claim with key or metadata. */
  readonly record?: BuildRecord;
  /** Nothing was taken: an earlier claim of the same key got this number. */
  readonly isReplay?: boolean;
}

/** The domain: all that dialects, command line and library see of counters. Owns its store, and closes it. */
export class Counters {
  readonly #store: Store;
  readonly #queue: CombiningQueue<CounterName, Claim, Outcome>;
  readonly #create: boolean;
  #closing: Promise<void> | undefined;

  constructor(store: Store, { createCounters = true, maxWaiting }: CountersOptions = {}) {
    this.#store = store;
    this.#create = createCounters;
    this.#queue = new CombiningQueue(
      (name, claims) => store.commit(name, claims, { create: createCounters }),
      maxWaiting === undefined ? {} : { maxWaiting },
    );
  }

  /**
   * Takes the next number, as `claim` does, and tells that alone.
   *
   * @returns the last of the numbers taken, once it is durable; that of the first claim for a key used before
   */
  async increment(name: CounterName, options: ClaimOptions = {}): Promise<number> {
    return (await this.claim(name, options)).value;
  }

  /**
   * Takes the next `by` numbers of a counter (default 1). By 0 takes none: it answers the last number issued, or 0.
   *
   * @returns what was claimed, once it is durable
   * @throws CounterError `invalid-value`, `invalid-key`, `key-reused` (the key was used before with other metadata),
   *   `counter-exhausted`, `counter-not-found` (creation switched off), `counter-unreadable`, `store-full`,
   *   `store-unavailable`, `overloaded`, `stopping`
   */
  async claim(name: CounterName, { by = 1, max, key, metadata }: ClaimOptions = {}): Promise<Claimed> {
    checkValue(by);
    if (max !== undefined) checkValue(max, 1);
    if (key !== undefined) checkKey(key);
    if (by === 0) return { value: await this.#last(name) };
    this.#checkOpen();
    const kept = metadata && Object.keys(metadata).length > 0 ? metadata : undefined;
    const outcome = await this.#queue.add(name, {
      by,
      ...(max !== undefined && { max }),
      ...(key !== undefined && { key }),
      ...(kept && { metadata: kept }),
    });
    if ("error" in outcome) throw outcome.error;
    if (outcome.isReplay && kept && !isSameJson(kept, outcome.record?.metadata)) throw keyReused(outcome);
    return outcome;
  }

  /**
   * What is recorded of a number.
   *
   * @param value an integer, 1 … 2^53−1
   * @throws CounterError `invalid-value`, `counter-not-found`, `record-not-found` (the message says whether the number was
   *   issued), `counter-unreadable`, `store-unavailable`, `stopping`
   */
  async record(name: CounterName, value: number): Promise<BuildRecord> {
    checkValue(value, 1);
    this.#checkOpen();
    const record = await this.#store.record(name, value);
    if (record) return record;
    const last = await this.#store.peek(name);
    if (last === undefined) throw counterNotFound();
    throw new CounterError(
      "record-not-found",
      value <= last
        ? `expected a number with a record, but ${value} was issued without one, or its record is gone`
        : `expected a number that was issued, got ${value}, and the last one is ${last}`,
    );
  }

  /**
   * The records of a counter, the largest number first.
   *
   * @throws CounterError `counter-not-found`, `counter-unreadable`, `store-unavailable`, `stopping`
   */
  async records(name: CounterName, query: RecordsQuery): Promise<RecordsPage> {
    this.#checkOpen();
    const page = await this.#store.records(name, query);
    if (page.records.length === 0 && (await this.#store.peek(name)) === undefined) throw counterNotFound();
    return page;
  }

  /**
   * The last number issued (or set), consuming none.
   *
   * @returns undefined for a counter that was never used
   * @throws CounterError `counter-unreadable`, `store-unavailable`, `stopping`
   */
  async peek(name: CounterName): Promise<number | undefined> {
    this.#checkOpen();
    return this.#store.peek(name);
  }

  /**
   * Makes `value` the last number, so that the next one is `value + 1`. Forward only, unless forced.
   *
   * @param value an integer, 0 … 2^53−1
   * @throws CounterError `invalid-value`, `lowering-refused`, `counter-unreadable`, `store-full`,
   *   `store-unavailable`, `overloaded`, `stopping`
   */
  async set(name: CounterName, value: number, { force = false }: { force?: boolean } = {}): Promise<void> {
    checkValue(value);
    this.#checkOpen();
    await this.#queue.exclusive(name, () => this.#store.set(name, value, { force }));
  }

  /**
   * Resolves when the next increment can be committed.
   *
   * @throws CounterError `store-full`, `store-unavailable`, `stopping`
   */
  async check(): Promise<void> {
    this.#checkOpen();
    await this.#store.check();
  }

  /** Refuses newcomers (`stopping`), answers those who wait, then closes the store. Never rejects; may be called twice. */
  close(): Promise<void> {
    this.#closing ??= this.#queue.drain().then(() => this.#store.close());
    return this.#closing;
  }

  async #last(name: CounterName): Promise<number> {
    const last = await this.peek(name);
    if (last === undefined && !this.#create) throw counterNotFound();
    return last ?? 0;
  }

  #checkOpen(): void {
    if (this.#closing !== undefined)
      throw new CounterError("stopping", "expected a running service, but it is stopping");
  }
}

function checkValue(value: number, least = 0): void {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new CounterError(
      "invalid-value",
      `expected an integer from ${least} to ${maxValue}, got ${quote(String(value))}`,
    );
  }
}

function checkKey(key: string): void {
  if (!/^[\x20-\x7e]{1,255}$/.test(key)) {
    throw new CounterError(
      "invalid-key",
      `expected a key of 1 to 255 printable ASCII characters, got ${quote(key)}`,
    );
  }
}

function keyReused({ value, record }: Claimed): CounterError {
  return new CounterError(
    "key-reused",
    `expected the metadata with which the key got number ${value}, or none, got other metadata`,
    record && { record },
  );
}
