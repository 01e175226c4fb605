/**
 * Keys and records of the file store: an LMDB environment in `STORAGE_DIR/.records/`, shared by any number of
 * processes. Value files and fences know nothing of it.
 *
 *     keys       [counter, key]          → number             version: atMs
 *     records    [counter, number]       → {key?, metadata?}  version: atMs
 *     times      [atMs, counter, number] → true               the index by which old records are found
 *     lowerings  counter                 → {to?}              version: how often the counter was lowered
 *     format     "version"               → 1
 *
 * Order is the proof. A record that names a number is written only after the fence of that number is durable; whether a
 * key is new is decided inside of the transaction that writes it, in whatever process; an answer goes out only after the
 * flush. So what is read here is always true, and what a crash prevented from being written was never answered.
 *
 * LMDB without `overlappingSync` flushes the data before it writes the page that makes them current, and that one through
 * O_DSYNC before anybody else sees it. One hole is left: a process that is killed in between, whose last transaction the
 * next one finds complete in the cache of the system. So whoever opens flushes, and a replay does.
 *
 * Lowering a counter by force removes the keys and records above the new value. It must not be torn by a crash, or a
 * forgotten key's number would be issued again while the key still replays it:
 *
 *  1. `lowerings` says, durably, that the counter is about to be lowered, and to where;
 *  2. the fence is moved while LMDB's write lock is held, if 1 still stands;
 *  3. records above are removed, and then the note of 1, by whoever next looks at a key or record of the counter. Nobody
 *     trusts any before that.
 *
 * Whoever finds the note removes first, so a claim that began after 1 makes 2 start again. A claim that began before 1,
 * and writes its record late, finds another version than it began with, and is refused.
 */
import fs from "node:fs";
import path from "node:path";
import { setImmediate } from "node:timers/promises";
import type { Database, RootDatabase } from "lmdb";
import { CombiningQueue } from "../../counter/combining-queue.ts";
import type { CounterName } from "../../counter/counter-name.ts";
import { CounterError } from "../../counter/errors.ts";
import {
  type BuildRecord,
  type Log,
  type Metadata,
  maxValue,
  type RecordsPage,
  type RecordsQuery,
  type RetentionOptions,
} from "../../counter/store.ts";
import { searchRecords } from "../search-records.ts";
import { storeError, sync, syncDirectory } from "./io.ts";

const formatVersion = 1;
/** How many records are removed in one transaction. */
const sliceRecords = 1_000;
/** How often old records are looked for. */
const sweepMs = 60_000;
/** How often a lowering starts again because claims came between. Far more than was ever needed. */
const mostTries = 100;

interface Stored {
  readonly key?: string;
  readonly metadata?: Metadata;
}

/** A note that the counter is about to be lowered; without `to`, it was. */
interface Lowering {
  readonly to?: number;
}

interface Environment {
  readonly root: RootDatabase;
  readonly keys: Database<number, [string, string]>;
  readonly records: Database<Stored, [string, number]>;
  readonly times: Database<true, [number, string, number]>;
  readonly lowerings: Database<Lowering, string>;
  /** A descriptor of the data file, to flush it with. */
  readonly fd: number;
}

/** What is known of the keys of a batch, before it takes numbers. */
export interface Found {
  readonly known: ReadonlyMap<string, BuildRecord>;
  /** How often the counter was lowered. */
  readonly lowered: number | undefined;
}

export class Records {
  readonly #directory: string;
  readonly #retentionMs: number;
  readonly #log: Log;
  readonly #syncs = new CombiningQueue<number, undefined, undefined>(
    async (fd, callers) => {
      await sync(fd);
      return callers;
    },
    { maxWaiting: Number.POSITIVE_INFINITY },
  );
  #opening: Promise<Environment> | undefined;
  #isClosed = false;
  #sweeping: NodeJS.Timeout | undefined;

  /** @param root the storage directory. Nothing is opened before the first call that needs it. */
  constructor(root: string, { keyRetentionMs }: RetentionOptions, log: Log) {
    this.#directory = path.join(root, ".records");
    this.#retentionMs = keyRetentionMs;
    this.#log = log;
  }

  /**
   * Looks for the keys of a batch.
   *
   * @throws CounterError `store-unavailable`, `store-full`
   */
  find(name: CounterName, keys: readonly string[]): Promise<Found> {
    return this.#use(async (env) => {
      const lowered = await settled(env, name);
      const known = new Map<string, BuildRecord>();
      for (const key of keys) {
        const record = this.#keyed(env, name, key);
        if (record) known.set(key, record);
      }
      if (known.size > 0) await this.#flush(env);
      return { known, lowered };
    });
  }

  /**
   * Writes new records, whose numbers are durable.
   *
   * @param lowered as `find` told, before the numbers were taken
   * @returns by key, the records of those who were faster: our claim of such a key is a replay of theirs
   * @throws CounterError `store-unavailable`, `store-full`, always with `consumed: true`
   */
  async add(
    name: CounterName,
    lowered: number | undefined,
    fresh: readonly BuildRecord[],
  ): Promise<ReadonlyMap<string, BuildRecord>> {
    const winners = new Map<string, BuildRecord>();
    await this.#use(
      async (env) => {
        let left = fresh;
        while (left.length > 0) {
          env.root.resetReadTxn();
          const puts: Promise<boolean>[] = [];
          const write = () => {
            for (const record of left) {
              const isLate = record.key !== undefined && this.#keyed(env, name, record.key) !== undefined;
              if (!isLate) puts.push(...put(env, name, record));
            }
          };
          const { lowerings } = env;
          const isCurrent =
            lowered === undefined
              ? lowerings.ifNoExists(name, write)
              : lowerings.ifVersion(name, lowered, write);
          await Promise.all([isCurrent, ...puts]);
          if (!(await isCurrent)) {
            throw new CounterError(
              "store-unavailable",
              "expected the counter to go on, but it was lowered meanwhile",
            );
          }
          env.root.resetReadTxn();
          left = left.filter(({ key, value }) => {
            if (key === undefined || env.keys.get([name, key]) === value) return false;
            const winner = this.#keyed(env, name, key);
            if (winner) winners.set(key, winner);
            // Neither ours nor another's: the entry that was seen before went away in between.
            return winner === undefined;
          });
        }
      },
      { consumed: true },
    );
    return winners;
  }

  record(name: CounterName, value: number): Promise<BuildRecord | undefined> {
    return this.#use(async (env) => {
      await settled(env, name);
      const record = read(env, name, value);
      if (!record || !this.#isKept(record)) return undefined;
      await this.#flush(env);
      return record;
    });
  }

  records(name: CounterName, query: RecordsQuery): Promise<RecordsPage> {
    return this.#use(async (env) => {
      await settled(env, name);
      const page = await searchRecords(
        query,
        async (before, count) => {
          env.root.resetReadTxn();
          if (query.key === undefined) return below(env, name, before, count);
          const value = env.keys.get([name, query.key]);
          const record = value !== undefined && value < (before ?? Infinity) && read(env, name, value);
          return record ? [record] : [];
        },
        (record) => this.#isKept(record),
      );
      if (page.records.length > 0) await this.#flush(env);
      return page;
    });
  }

  /**
   * Lowers a counter, as the head comment says.
   *
   * @param move moves the fence; false when somebody else moved it first, which ends the lowering
   * @returns what `move` returned
   * @throws CounterError `store-unavailable`, `store-full`; what `move` throws
   */
  lower(name: CounterName, to: number, move: () => boolean): Promise<boolean> {
    return this.#use(async (env) => {
      const { root, lowerings } = env;
      for (let tries = 0; tries < mostTries; tries += 1) {
        const version = ((await settled(env, name)) ?? 0) + 1;
        if (!announce(env, name, to, version)) continue;
        const isMoved = root.transactionSync(() => {
          const entry = lowerings.getEntry(name);
          const stands = entry?.version === version && entry.value.to !== undefined;
          return stands ? move() : undefined;
        });
        if (isMoved === false)
          await lowerings.ifVersion(name, version, () => lowerings.put(name, {}, version));
        if (isMoved !== undefined) return isMoved;
      }
      throw new CounterError(
        "store-unavailable",
        `expected to lower the counter within ${mostTries} tries, but claims came between each time`,
      );
    });
  }

  /** Never rejects. No call may be in hand. */
  async close(): Promise<void> {
    clearTimeout(this.#sweeping);
    this.#isClosed = true;
    await this.#letGo();
  }

  /** The record that a key stands for now. */
  #keyed(env: Environment, name: CounterName, key: string): BuildRecord | undefined {
    const value = env.keys.get([name, key]);
    const record = value === undefined ? undefined : read(env, name, value);
    return record && this.#isKept(record) ? record : undefined;
  }

  #isKept({ atMs }: BuildRecord): boolean {
    return this.#retentionMs === 0 || atMs > Date.now() - this.#retentionMs;
  }

  /** Makes sure that what was read is on the disk. */
  async #flush({ fd }: Environment): Promise<void> {
    await this.#syncs.add(fd, undefined);
  }

  /** Does work on the environment. After a failure it is opened anew, which proves that it can be written again. */
  async #use<T>(work: (env: Environment) => Promise<T>, { consumed = false } = {}): Promise<T> {
    try {
      return await work(await this.#open());
    } catch (error) {
      if (error instanceof CounterError && !consumed) throw error;
      if (!(error instanceof CounterError)) void this.#letGo();
      throw recordsError(error, consumed);
    }
  }

  #open(): Promise<Environment> {
    this.#opening ??= this.#openEnvironment();
    return this.#opening;
  }

  async #openEnvironment(): Promise<Environment> {
    // Loaded by the first who needs it: others pay neither time nor memory for it.
    const { open } = await import("lmdb");
    fs.mkdirSync(this.#directory, { recursive: true });
    const root = open(this.#directory, { overlappingSync: false, maxDbs: 8, encoding: "json" });
    let fd: number | undefined;
    try {
      const format = root.openDB<number, string>("format", {});
      const env = {
        root,
        keys: root.openDB<number, [string, string]>("keys", { useVersions: true }),
        records: root.openDB<Stored, [string, number]>("records", { useVersions: true }),
        times: root.openDB<true, [number, string, number]>("times", {}),
        lowerings: root.openDB<Lowering, string>("lowerings", { useVersions: true }),
      };
      const version = format.get("version") ?? formatVersion;
      if (version !== formatVersion)
        throw new Error(`expected .records of format ${formatVersion}, got ${version}`);
      // Shows that it can be written, and flushes what one who was killed may have left in the cache.
      await format.put("version", formatVersion);
      fd = fs.openSync(path.join(this.#directory, "data.mdb"), "r");
      await sync(fd);
      await syncDirectory(this.#directory);
      await syncDirectory(path.dirname(this.#directory));
      if (this.#retentionMs > 0) this.#sweepLater(0);
      return { ...env, fd };
    } catch (error) {
      if (fd !== undefined) fs.closeSync(fd);
      await root.close();
      throw error;
    }
  }

  async #letGo(): Promise<void> {
    const opening = this.#opening;
    this.#opening = undefined;
    const env = await opening?.catch(() => undefined);
    if (!env) return;
    await this.#syncs.drain();
    await env.root.close();
    fs.closeSync(env.fd);
  }

  #sweepLater(ms: number): void {
    clearTimeout(this.#sweeping);
    this.#sweeping = setTimeout(() => void this.#sweep(), ms).unref();
  }

  /** Removes what is too old, slice by slice. Each removal names the time that it is about, so none hits a newer entry. */
  async #sweep(): Promise<void> {
    try {
      const env = await this.#open();
      const end: [number] = [Date.now() - this.#retentionMs];
      let isMore = true;
      while (isMore && !this.#isClosed) {
        env.root.resetReadTxn();
        const due = [...env.times.getKeys({ end: end as never, limit: sliceRecords })];
        await Promise.all(
          due.flatMap(([atMs, name, value]) => {
            const key = env.records.get([name, value])?.key;
            return [
              env.times.remove([atMs, name, value]),
              env.records.remove([name, value], atMs),
              key !== undefined && env.keys.remove([name, key], atMs),
            ];
          }),
        );
        isMore = due.length === sliceRecords;
      }
    } catch (error) {
      this.#log.warn(
        { err: error },
        "old keys and records could not be cleared away; they count as gone all the same",
      );
    }
    if (!this.#isClosed) this.#sweepLater(sweepMs);
  }
}

function read({ records }: Environment, name: CounterName, value: number): BuildRecord | undefined {
  const entry = records.getEntry([name, value]);
  return entry && { value, atMs: entry.version as number, ...entry.value };
}

/** Up to `count` records below a number, the largest number first. */
function below(
  env: Environment,
  name: CounterName,
  before: number | undefined,
  count: number,
): BuildRecord[] {
  const start: [string, number] = [name, before === undefined ? maxValue : before - 1];
  const range = env.records.getRange({ start, end: [name, 0], reverse: true, limit: count, versions: true });
  return [...range].map(({ key: [, value], value: stored, version }) => ({
    value,
    atMs: version as number,
    ...stored,
  }));
}

/**
 * Writes a record; one with a key only if the key's entry is still as it is seen now, and gone or too old.
 *
 * @returns whether it was written, for a record with a key
 */
function put(
  { keys, records, times }: Environment,
  name: CounterName,
  record: BuildRecord,
): Promise<boolean>[] {
  const { value, atMs, ...stored } = record;
  const { key } = stored;
  const write = () => {
    records.put([name, value], stored, atMs);
    times.put([atMs, name, value], true);
    if (key !== undefined) keys.put([name, key], value, atMs);
  };
  if (key === undefined) {
    write();
    return [];
  }
  const old = keys.getEntry([name, key])?.version;
  return [old === undefined ? keys.ifNoExists([name, key], write) : keys.ifVersion([name, key], old, write)];
}

/**
 * Removes what a lowering that was announced left to be removed, and begins to read from what stands then.
 *
 * @returns how often the counter was lowered
 */
async function settled(
  { root, keys, records, times, lowerings }: Environment,
  name: CounterName,
): Promise<number | undefined> {
  for (;;) {
    root.resetReadTxn();
    const seen = lowerings.getEntry(name);
    if (seen?.value.to === undefined) return seen?.version;
    root.transactionSync(() => {
      const {
        value: { to },
        version,
      } = lowerings.getEntry(name) as { value: Lowering; version: number };
      if (to === undefined) return;
      const above = [
        ...records.getRange({
          start: [name, maxValue],
          end: [name, to],
          reverse: true,
          limit: sliceRecords,
          versions: true,
        }),
      ];
      for (const {
        key: [, value],
        value: { key },
        version: atMs,
      } of above) {
        records.remove([name, value]);
        times.remove([atMs as number, name, value]);
        if (key !== undefined) keys.remove([name, key]);
      }
      if (above.length < sliceRecords) lowerings.put(name, {}, version);
    });
    await setImmediate();
  }
}

/** Notes that a counter is about to be lowered. False when another note stands. */
function announce({ root, lowerings }: Environment, name: CounterName, to: number, version: number): boolean {
  return root.transactionSync(() => {
    const entry = lowerings.getEntry(name);
    if (entry?.value.to !== undefined || (entry?.version ?? 0) !== version - 1) return false;
    lowerings.put(name, { to }, version);
    return true;
  });
}

/** What a failure of the database means for a caller; its text may hold a path, and stays in `cause`. */
function recordsError(error: unknown, consumed: boolean): CounterError {
  if (error instanceof CounterError)
    return new CounterError(error.code, error.message, { consumed, cause: error.cause });
  return storeError(error, "to use the keys and records in .records", { consumed });
}
