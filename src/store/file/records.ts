/**
 * Keys and records of the file store: an LMDB environment in `STORAGE_DIR/.records/`, shared by any number of
 * processes. Value files and fences know nothing of it.
 *
 *     keys       [counter, key]          → number             version: atMs
 *     records    [counter, number]       → {key?, metadata?}  version: atMs
 *     times      [atMs, counter, number] → true               the index by which old records are found
 *     lowerings  counter                 → {to, from?}        version: how often the counter was lowered
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
 *  1. `lowerings` says, durably, that the counter is about to be lowered, to where, and from which token of its fence;
 *  2. the fence is moved while LMDB's write lock is held, if 1 still stands;
 *  3. records above are removed, and then the note of 1, by whoever next looks at a key or record of the counter. Nobody
 *     trusts any before that. If the fence still stands at that token it was not moved: only the note is removed.
 *
 * Whoever finds the note removes first, so a claim that began after 1 makes 2 start again. A claim that began before 1,
 * and writes its record late, finds another version than it began with, and is refused.
 *
 * Of the processes that share the directory one at a time may write. A dead one is seen to be dead, but one that is
 * stopped in its transaction keeps all others out. So transactions are asked for in the thread pool, and given up after a
 * while; until they end after all, whatever would have to write is refused at once, and plain claims go on.
 */
import fs from "node:fs";
import path from "node:path";
import { getSystemErrorName } from "node:util";
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
import { closeQuietly, storeError, sync, syncDirectory } from "./io.ts";

const formatVersion = 1;
/** What LMDB's data files begin with, and the version of their layout. */
const lmdbMagic = 0xbeefc0de;
const lmdbVersion = 2;
/** How many records are removed in one transaction. */
const sliceRecords = 1_000;
/** How often old records are looked for. */
const sweepMs = 60_000;
/** How long a call waits for its transactions. Far longer than they take. */
const mostWaitMs = 5_000;
/** How often a lowering starts again because claims came between. Far more than was ever needed. */
const mostTries = 100;

interface Stored {
  readonly key?: string;
  readonly metadata?: Metadata;
}

/** Records above `to` are to be removed, if it is not `nowhere`, and unless the fence still stands at `from`. */
interface Lowering {
  readonly to: number;
  readonly from?: string;
}
const nowhere = maxValue;

interface Environment {
  readonly root: RootDatabase;
  readonly keys: Database<number, [string, string]>;
  readonly records: Database<Stored, [string, number]>;
  readonly times: Database<true, [number, string, number]>;
  readonly lowerings: Database<Lowering, string>;
  /** A descriptor of the data file, to flush it with. */
  readonly fd: number;
  /** Whether the fence of a counter stands at this token. */
  isFenceAt(counter: string, token: string): boolean;
  /** Throws while nothing can be written. */
  checkWritable(): void;
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
  readonly #isFenceAt: (name: CounterName, token: string) => boolean;
  readonly #syncs = new CombiningQueue<number, undefined, undefined>(
    async (fd, callers) => {
      await sync(fd);
      return callers;
    },
    { maxWaiting: Number.POSITIVE_INFINITY, gathers: false },
  );
  #opening: Promise<Environment> | undefined;
  #closing: Promise<void> = Promise.resolve();
  /** How many calls work on the environment, and whether one of them failed. */
  #users = 0;
  #isBroken = false;
  /** How many calls were given up, and have not ended yet. */
  #stuck = 0;
  #isClosed = false;
  #sweepTimer: NodeJS.Timeout | undefined;
  #sweeping: Promise<void> | undefined;

  /**
   * @param root the storage directory. Nothing is opened before the first call that needs it
   * @param isFenceAt tells whether the fence of a counter stands at the token of this name
   */
  constructor(
    root: string,
    { keyRetentionMs }: RetentionOptions,
    { log, isFenceAt }: { log: Log; isFenceAt: (name: CounterName, token: string) => boolean },
  ) {
    this.#directory = path.join(root, ".records");
    this.#retentionMs = keyRetentionMs;
    this.#log = log;
    this.#isFenceAt = isFenceAt;
  }

  /**
   * Looks for the keys of a batch.
   *
   * @throws CounterError `store-unavailable`, `store-full`
   */
  find(name: CounterName, keys: readonly string[]): Promise<Found> {
    return this.#use(name, async (env, counter) => {
      const lowered = await settled(env, counter);
      const known = new Map<string, BuildRecord>();
      for (const key of keys) {
        const record = this.#keyed(env, counter, key);
        if (record) known.set(key, record);
      }
      if (known.size > 0) await this.#flush(env);
      return { known, lowered };
    });
  }

  /**
   * To be called before numbers are taken for new records.
   *
   * @throws CounterError `store-unavailable` while nothing can be written
   */
  checkWritable(): void {
    if (this.#stuck > 0) throw stuckError();
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
      name,
      async (env, counter) => {
        let left = fresh;
        while (left.length > 0) {
          env.root.resetReadTxn();
          const puts: Promise<boolean>[] = [];
          const write = () => {
            for (const record of left) {
              const isLate = record.key !== undefined && this.#keyed(env, counter, record.key) !== undefined;
              if (!isLate) puts.push(...put(env, counter, record));
            }
          };
          const { lowerings } = env;
          const isCurrent =
            lowered === undefined
              ? lowerings.ifNoExists(counter, write)
              : lowerings.ifVersion(counter, lowered, write);
          await Promise.all([isCurrent, ...puts]);
          if (!(await isCurrent)) {
            throw new CounterError(
              "store-unavailable",
              "expected the counter to go on, but it was lowered meanwhile",
            );
          }
          env.root.resetReadTxn();
          left = left.filter(({ key, value }) => {
            if (key === undefined || env.keys.get([counter, key]) === value) return false;
            const winner = this.#keyed(env, counter, key);
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
    return this.#use(name, async (env, counter) => {
      await settled(env, counter);
      const record = read(env, counter, value);
      if (!record || !this.#isKept(record)) return undefined;
      await this.#flush(env);
      return record;
    });
  }

  records(name: CounterName, query: RecordsQuery): Promise<RecordsPage> {
    return this.#use(name, async (env, counter) => {
      await settled(env, counter);
      const page = await searchRecords(
        query,
        async (before, count) => {
          env.root.resetReadTxn();
          if (query.key === undefined) return below(env, counter, before, count);
          const value = env.keys.get([counter, query.key]);
          const record = value !== undefined && value < (before ?? Infinity) && read(env, counter, value);
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
   * @param from the name of the token that the fence stands at; undefined when there is none yet
   * @param move moves the fence; false when somebody else moved it first, which ends the lowering
   * @returns what `move` returned
   * @throws CounterError `store-unavailable`, `store-full`; what `move` throws
   */
  lower(name: CounterName, from: string | undefined, to: number, move: () => boolean): Promise<boolean> {
    return this.#use(name, async (env, counter, isGivenUp) => {
      this.checkWritable();
      const { root, lowerings } = env;
      for (let tries = 0; tries < mostTries; tries += 1) {
        const version = ((await settled(env, counter)) ?? 0) + 1;
        if (isGivenUp()) return false;
        if (!(await announce(env, counter, { to, ...(from !== undefined && { from }) }, version))) continue;
        const isMoved = await root.transaction(() => {
          const entry = lowerings.getEntry(counter);
          if (entry?.version !== version || entry.value.to !== to) return undefined;
          if (!isGivenUp() && move()) return true;
          void lowerings.put(counter, { to: nowhere }, version);
          return false;
        });
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
    this.#isClosed = true;
    clearTimeout(this.#sweepTimer);
    await this.#sweeping;
    await this.#letGo();
  }

  /** The record that a key stands for now. */
  #keyed(env: Environment, counter: string, key: string): BuildRecord | undefined {
    const value = env.keys.get([counter, key]);
    const record = value === undefined ? undefined : read(env, counter, value);
    return record && this.#isKept(record) ? record : undefined;
  }

  #isKept({ atMs }: BuildRecord): boolean {
    return this.#retentionMs === 0 || atMs > Date.now() - this.#retentionMs;
  }

  /** Makes sure that what was read is on the disk. */
  async #flush({ fd }: Environment): Promise<void> {
    await this.#syncs.add(fd, undefined);
  }

  /**
   * Does work for one counter, whose name is spelled without characters that LMDB's keys cannot have. Work that takes too
   * long is given up, and may look whether it is.
   */
  async #use<T>(
    name: CounterName,
    work: (env: Environment, counter: string, isGivenUp: () => boolean) => Promise<T>,
    { consumed = false } = {},
  ): Promise<T> {
    let isGivenUp = false;
    const working = this.#inEnvironment((env) => work(env, encodeURIComponent(name), () => isGivenUp));
    let timer: NodeJS.Timeout | undefined;
    const giveUp = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        isGivenUp = true;
        this.#stuck += 1;
        const end = () => {
          this.#stuck -= 1;
        };
        working.then(end, end);
        reject(stuckError());
      }, mostWaitMs);
    });
    try {
      return await Promise.race([working, giveUp]);
    } catch (error) {
      throw toCounterError(error, consumed);
    } finally {
      clearTimeout(timer);
    }
  }

  /** After a failure the environment is opened anew by who comes next, which proves that it can be written again. */
  async #inEnvironment<T>(work: (env: Environment) => Promise<T>): Promise<T> {
    this.#users += 1;
    try {
      if (this.#isBroken)
        throw new CounterError("store-unavailable", "expected .records to be opened anew by now");
      this.#opening ??= this.#closing.then(() => this.#openEnvironment());
      return await work(await this.#opening);
    } catch (error) {
      if (error instanceof CounterError) throw error;
      this.#isBroken = true;
      throw await reasonOf(error);
    } finally {
      this.#users -= 1;
      // Not before the last one has left it: what is closed must not be touched any more.
      if (this.#isBroken && this.#users === 0) void this.#letGo();
    }
  }

  async #openEnvironment(): Promise<Environment> {
    // Loaded by the first who needs it: others pay neither time nor memory for it.
    const { open } = await import("lmdb");
    fs.mkdirSync(this.#directory, { recursive: true });
    const data = path.join(this.#directory, "data.mdb");
    if (!isDatabase(data)) throw new Error("expected .records/data.mdb to be a database of LMDB");
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
      fd = fs.openSync(data, "r");
      await sync(fd);
      await syncDirectory(this.#directory);
      await syncDirectory(path.dirname(this.#directory));
      if (this.#retentionMs > 0) this.#sweepAfter(0);
      return {
        ...env,
        fd,
        isFenceAt: (counter, token) => this.#isFenceAt(decodeURIComponent(counter) as CounterName, token),
        checkWritable: () => this.checkWritable(),
      };
    } catch (error) {
      if (fd !== undefined) closeQuietly(fd);
      await root.close();
      throw error;
    }
  }

  /** Closes the environment, if it is open. Never rejects. */
  #letGo(): Promise<void> {
    const opening = this.#opening;
    this.#opening = undefined;
    this.#isBroken = false;
    this.#closing = this.#closing.then(async () => {
      const env = await opening?.catch(() => undefined);
      if (!env) return;
      await env.root.close();
      closeQuietly(env.fd);
    });
    return this.#closing;
  }

  #sweepAfter(ms: number): void {
    clearTimeout(this.#sweepTimer);
    const sweep = () => {
      this.#sweeping = this.#sweep();
    };
    if (!this.#isClosed) this.#sweepTimer = setTimeout(sweep, ms).unref();
  }

  /** Removes what is too old, slice by slice. Each removal names the time that it is about, so none hits a newer entry. */
  async #sweep(): Promise<void> {
    const end: [number, string, number] = [Date.now() - this.#retentionMs, "", 0];
    try {
      let isMore = true;
      while (isMore && !this.#isClosed) {
        isMore = await this.#inEnvironment(async ({ root, keys, records, times }) => {
          root.resetReadTxn();
          const due = Array.from(times.getKeys({ end, limit: sliceRecords }));
          const removals = due.flatMap(([atMs, counter, value]) => {
            const key = records.get([counter, value])?.key;
            return [
              times.remove([atMs, counter, value]),
              records.remove([counter, value], atMs),
              ...(key === undefined ? [] : [keys.remove([counter, key], atMs)]),
            ];
          });
          await Promise.all(removals);
          return due.length === sliceRecords;
        });
      }
    } catch (error) {
      this.#log.warn(
        { err: error },
        "old keys and records could not be cleared away; they count as gone all the same",
      );
    }
    this.#sweepAfter(sweepMs);
  }
}

/**
 * Whether a file is missing, empty, or begins with the two meta pages of LMDB. Anything else would not fail to open, but
 * crash the process.
 */
function isDatabase(file: string): boolean {
  const fd = fs.openSync(file, fs.constants.O_RDWR | fs.constants.O_CREAT, 0o666);
  try {
    if (fs.fstatSync(fd).size === 0) return true;
    // Behind the page's header of 24 bytes: magic number, version, address and size of the map, size of a page.
    const meta = Buffer.alloc(52);
    const isMeta = (at: number) =>
      fs.readSync(fd, meta, 0, meta.length, at) === meta.length &&
      meta.readUInt32LE(24) === lmdbMagic &&
      meta.readUInt32LE(28) === lmdbVersion;
    return isMeta(0) && isMeta(meta.readUInt32LE(48));
  } finally {
    closeQuietly(fd);
  }
}

function read({ records }: Environment, counter: string, value: number): BuildRecord | undefined {
  const entry = records.getEntry([counter, value]);
  return entry && { value, atMs: entry.version as number, ...entry.value };
}

/** Up to `count` records below a number, the largest number first. */
function below(env: Environment, counter: string, before: number | undefined, count: number): BuildRecord[] {
  const start: [string, number] = [counter, before === undefined ? maxValue : before - 1];
  const range = env.records.getRange({
    start,
    end: [counter, 0],
    reverse: true,
    limit: count,
    versions: true,
  });
  return Array.from(range, ({ key: [, value], value: stored, version }) => ({
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
  counter: string,
  record: BuildRecord,
): Promise<boolean>[] {
  const { value, atMs, ...stored } = record;
  const { key } = stored;
  const write = () => {
    void records.put([counter, value], stored, atMs);
    void times.put([atMs, counter, value], true);
    if (key !== undefined) void keys.put([counter, key], value, atMs);
  };
  if (key === undefined) {
    write();
    return [];
  }
  const old = keys.getEntry([counter, key])?.version;
  return [
    old === undefined ? keys.ifNoExists([counter, key], write) : keys.ifVersion([counter, key], old, write),
  ];
}

/**
 * Removes what a lowering that was announced left to be removed, and begins to read from what stands then.
 *
 * @returns how often the counter was lowered
 * @throws CounterError `store-unavailable` when that is needed while nothing can be written
 */
async function settled(env: Environment, counter: string): Promise<number | undefined> {
  const { root, keys, records, times, lowerings } = env;
  for (;;) {
    root.resetReadTxn();
    const seen = lowerings.getEntry(counter);
    if (seen === undefined || seen.value.to === nowhere) return seen?.version;
    env.checkWritable();
    await root.transaction(() => {
      const { value, version } = lowerings.getEntry(counter) as { value: Lowering; version: number };
      if (value.from !== undefined && env.isFenceAt(counter, value.from)) {
        void lowerings.put(counter, { to: nowhere }, version);
        return;
      }
      const start: [string, number] = [counter, maxValue];
      const end: [string, number] = [counter, value.to];
      const above = Array.from(
        records.getRange({ start, end, reverse: true, limit: sliceRecords, versions: true }),
      );
      for (const { key, value: stored, version: atMs } of above) {
        void records.remove(key);
        void times.remove([atMs as number, ...key]);
        if (stored.key !== undefined) void keys.remove([counter, stored.key]);
      }
      if (above.length < sliceRecords) void lowerings.put(counter, { to: nowhere }, version);
    });
  }
}

/** Notes that a counter is about to be lowered. False when another note stands. */
function announce(
  { root, lowerings }: Environment,
  counter: string,
  lowering: Lowering,
  version: number,
): Promise<boolean> {
  return root.transaction(() => {
    const entry = lowerings.getEntry(counter);
    const { value, version: before } = entry ?? { value: { to: nowhere }, version: 0 };
    if (value.to !== nowhere || before !== version - 1) return false;
    void lowerings.put(counter, lowering, version);
    return true;
  });
}

function stuckError(): CounterError {
  return new CounterError(
    "store-unavailable",
    `expected to use .records within ${mostWaitMs} ms; a process that shares it may be stopped while it writes`,
  );
}

/** What a failure of the database means for a caller; its own text may hold a path, and stays in `cause`. */
function toCounterError(error: unknown, consumed: boolean): CounterError {
  if (error instanceof CounterError) {
    return consumed ? new CounterError(error.code, error.message, { consumed, cause: error.cause }) : error;
  }
  return storeError(error, "to use the keys and records in .records", { consumed });
}

/** The reason why a transaction failed, which LMDB gives apart, and the system's errors as numbers. */
async function reasonOf(error: unknown): Promise<unknown> {
  const { commitError } = error as { commitError?: Promise<never> };
  const reason = await Promise.resolve(commitError ?? error).catch((cause: unknown) => cause);
  const { code, message } = reason as { code?: unknown; message: string };
  if (typeof code !== "number" || code <= 0) return reason;
  return Object.assign(new Error(message, { cause: reason }), { code: getSystemErrorName(-code) });
}
