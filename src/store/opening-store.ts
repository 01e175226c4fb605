import type { CounterName } from "../counter/counter-name.ts";
import { CounterError } from "../counter/errors.ts";
import type {
  BuildRecord,
  Claim,
  CommitOptions,
  Outcome,
  RecordsPage,
  RecordsQuery,
  SetOptions,
  Store,
} from "../counter/store.ts";

/**
 * A store that may still be on its way. The server listens before its store is open: until then every call is refused
 * with `store-unavailable`, so that a store that is down when the service starts (a database that comes up later) means
 * "not ready", and no crash loop.
 */
export class OpeningStore implements Store {
  #store: Store | undefined;
  /** One for all who come too early, so that the log says it once. */
  readonly #refusal = new CounterError(
    "store-unavailable",
    "expected an open store, but it is still being opened",
  );
  #isClosed = false;

  get description(): string {
    return this.#store?.description ?? "a store that is being opened";
  }

  /**
   * Takes over the store when it is open. One that opens after `close` is closed at once.
   *
   * @throws what `opening` is rejected with
   */
  async adopt(opening: Promise<Store>): Promise<void> {
    const store = await opening;
    if (this.#isClosed) await store.close();
    else this.#store = store;
  }

  async commit(
    name: CounterName,
    claims: readonly Claim[],
    options: CommitOptions,
  ): Promise<readonly Outcome[]> {
    return this.#open().commit(name, claims, options);
  }

  async peek(name: CounterName): Promise<number | undefined> {
    return this.#open().peek(name);
  }

  async record(name: CounterName, value: number): Promise<BuildRecord | undefined> {
    return this.#open().record(name, value);
  }

  async records(name: CounterName, query: RecordsQuery): Promise<RecordsPage> {
    return this.#open().records(name, query);
  }

  async set(name: CounterName, value: number, options: SetOptions): Promise<void> {
    return this.#open().set(name, value, options);
  }

  async check(): Promise<void> {
    return this.#open().check();
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#store?.close();
  }

  #open(): Store {
    if (this.#store) return this.#store;
    throw this.#refusal;
  }
}
