import { type Config, readConfig } from "../config.ts";
import { type CounterName, parsePlainName } from "../counter/counter-name.ts";
import { Counters } from "../counter/counters.ts";
import type { Log } from "../counter/store.ts";
import { openStore } from "../store/open-store.ts";

export { ConfigError } from "../config.ts";
export { CounterError, type ErrorCode } from "../counter/errors.ts";
export type { Log };

interface CommonOptions {
  /** Whether `increment` may bring a counter into being (default true). */
  readonly createCounters?: boolean;
  /** Where the store says what an operator should know: `console` will do (default: nowhere). */
  readonly log?: Log;
  /**
   * Called when the store has failed for good (a failed sync of the disk): all calls are refused from then on. The process
   * should end; its successor starts from what is on the disk.
   */
  readonly onFatal?: (error: Error) => void;
}

export interface FileOptions extends CommonOptions {
  readonly store: "file";
  /** The directory (default `data`), created when missing. Other processes and a server may use it at the same time. */
  readonly dir?: string;
}

export interface RedisOptions extends CommonOptions {
  readonly store: "redis";
  /** As `REDIS_URL` (default `redis://127.0.0.1:6379`). */
  readonly url?: string;
  /** What stands before every counter's name in its key (default nothing). */
  readonly prefix?: string;
  /** Whether a server whose settings let answered numbers be lost is refused (default false). */
  readonly requireDurable?: boolean;
  /** How many replicas must have a number before it is answered (default 0). */
  readonly waitReplicas?: number;
  /** After how long a call gives up, in milliseconds (default 5,000). */
  readonly deadlineMs?: number;
}

export interface DynamodbOptions extends CommonOptions {
  readonly store: "dynamodb";
  /** The table (default `AtomicCounters`). */
  readonly table?: string;
  /** The attribute with the counter's name (default `id`). */
  readonly keyAttribute?: string;
  /** The attribute with the last number issued (default `lastValue`). */
  readonly valueAttribute?: string;
  /** Whether a missing table is created, billed on demand (default false). */
  readonly createTable?: boolean;
  /** Default: as everywhere in AWS. */
  readonly region?: string;
  /** Another engine than Amazon's, as `http://127.0.0.1:8000`. */
  readonly endpoint?: string;
  /** Default: as everywhere in AWS. */
  readonly credentials?: NonNullable<Config["dynamodb"]["credentials"]>;
  /** After how long a call gives up, in milliseconds (default 5,000). */
  readonly deadlineMs?: number;
}

export type OpenCountersOptions = FileOptions | RedisOptions | DynamodbOptions;

/** The setting of the server that each option is, so that both are read and refused alike. */
const variables = {
  store: "STORE",
  createCounters: "CREATE_COUNTERS",
  dir: "STORAGE_DIR",
  url: "REDIS_URL",
  prefix: "REDIS_PREFIX",
  requireDurable: "REDIS_REQUIRE_DURABLE",
  waitReplicas: "REDIS_WAIT_REPLICAS",
  table: "DYNAMODB_TABLE",
  keyAttribute: "DYNAMODB_KEY_ATTRIBUTE",
  valueAttribute: "DYNAMODB_VALUE_ATTRIBUTE",
  createTable: "DYNAMODB_CREATE_TABLE",
  region: "AWS_REGION",
  endpoint: "DYNAMODB_ENDPOINT",
  deadlineMs: "STORE_DEADLINE_MS",
};

/**
 * Opens the counters of a store in this process: what the server serves, without a server. The environment is not read.
 *
 * @throws ConfigError when an option cannot be used (it names the server's setting); Error with one clear sentence when the
 *   store cannot be used
 */
export async function openCounters(options: OpenCountersOptions): Promise<OpenedCounters> {
  const given: Readonly<Record<string, unknown>> = { ...options };
  const config = readConfig(
    Object.fromEntries(
      Object.entries(variables).map(([option, variable]) => [variable, textOf(given[option])]),
    ),
  );
  const { log = silent, onFatal = () => {} } = options;
  const credentials = options.store === "dynamodb" && options.credentials;
  const store = await openStore(
    credentials ? { ...config, dynamodb: { ...config.dynamodb, credentials } } : config,
    { log, onFatal },
  );
  return new OpenedCounters(new Counters(store, { createCounters: config.createCounters }));
}

/** The counters of one store. Names are plain: only the lower-case hyphenated spelling of a UUID is the server's counter. */
export class OpenedCounters {
  readonly #counters: Counters;

  constructor(counters: Counters) {
    this.#counters = counters;
  }

  /**
   * Takes the next `by` numbers of a counter (default 1). By 0 takes none: it answers the last number issued, or 0.
   *
   * @param name 1 … 200 bytes, percent-encoded
   * @param by an integer, 0 … 2^53−1
   * @returns the last of the numbers taken, once it is durable
   * @throws CounterError `invalid-counter-id`, `invalid-value`, `counter-exhausted`, `counter-not-found` (creation switched
   *   off), `counter-unreadable`, `store-full`, `store-unavailable`, `overloaded`, `stopping`
   */
  async increment(name: string, options: { readonly by?: number } = {}): Promise<number> {
    return this.#counters.increment(parseName(name), options);
  }

  /**
   * The last number issued (or set), consuming none.
   *
   * @returns undefined for a counter that was never used
   * @throws CounterError `invalid-counter-id`, `counter-unreadable`, `store-unavailable`, `stopping`
   */
  async peek(name: string): Promise<number | undefined> {
    return this.#counters.peek(parseName(name));
  }

  /**
   * Makes `value` the last number, so that the next one is `value + 1`. Forward only, unless forced.
   *
   * @param value an integer, 0 … 2^53−1
   * @throws CounterError `invalid-counter-id`, `invalid-value`, `lowering-refused`, `counter-unreadable`, `store-full`,
   *   `store-unavailable`, `overloaded`, `stopping`
   */
  async set(name: string, value: number, options: { readonly force?: boolean } = {}): Promise<void> {
    await this.#counters.set(parseName(name), value, options);
  }

  /** Answers those who wait, then closes the store. Never rejects; may be called twice. */
  close(): Promise<void> {
    return this.#counters.close();
  }
}

const silent: Log = { info() {}, warn() {}, error() {} };

function parseName(name: unknown): CounterName {
  return parsePlainName(typeof name === "string" ? name : "");
}

function textOf(option: unknown): string | undefined {
  return option === undefined ? undefined : String(option);
}
