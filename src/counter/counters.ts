import { CombiningQueue } from "./combining-queue.ts";
import type { CounterName } from "./counter-name.ts";
import { quote } from "./counter-name.ts";
import { CounterError, counterNotFound } from "./errors.ts";
import { type Claim, maxValue, type Outcome, type Store } from "./store.ts";

export interface CountersOptions {
  /** Whether `increment` may bring a counter into being (default true); `set` always may. */
  readonly createCounters?: boolean;
  /** How many callers may wait at once, over all counters (default 65,536); more are refused with `overloaded`. */
  readonly maxWaiting?: number;
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
   * Takes the next `by` numbers of a counter (default 1). By 0 takes none: it answers the last number issued, or 0.
   *
   * @param by an integer, 0 … 2^53−1
   * @returns the last of the numbers taken, once it is durable
   * @throws CounterError `invalid-value`, `counter-exhausted`, `counter-not-found` (creation switched off),
   *   `counter-unreadable`, `store-full`, `store-unavailable`, `overloaded`, `stopping`
   */
  async increment(name: CounterName, { by = 1 }: { by?: number } = {}): Promise<number> {
    checkValue(by);
    if (by === 0) return this.#last(name);
    this.#checkOpen();
    const outcome = await this.#queue.add(name, { by });
    if ("error" in outcome) throw outcome.error;
    return outcome.value;
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

function checkValue(value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new CounterError(
      "invalid-value",
      `expected an integer from 0 to ${maxValue}, got ${quote(String(value))}`,
    );
  }
}
