import { Cluster } from "ioredis";
import { type CounterName, quote } from "../../counter/counter-name.ts";
import { CounterError, counterNotFound } from "../../counter/errors.ts";
import {
  allocate,
  type BuildRecord,
  type Claim,
  type CommitOptions,
  type Log,
  loweringRefused,
  maxValue,
  type Outcome,
  type RecordsPage,
  type RecordsQuery,
  type RetentionOptions,
  type SetOptions,
  type Store,
  type StoreContext,
} from "../../counter/store.ts";
import { isRecorded, refuseRecorded } from "../recorded-claims.ts";
import { searchRecords } from "../search-records.ts";
import {
  createRedisClient,
  describeAddress,
  parseRedisUrl,
  type RedisAddress,
  type RedisClient,
} from "./redis-client.ts";
import { findDurabilityRisks, readSettings } from "./redis-durability.ts";
import { ownKeys, parseRecord, reserved } from "./redis-records.ts";
import {
  commitArguments,
  commitScript,
  keyedCommitArguments,
  keyedCommitScript,
  readScript,
  type Script,
  setScript,
  settleScript,
} from "./redis-scripts.ts";

export interface RedisStoreOptions extends Partial<RetentionOptions> {
  /** Where Redis is: see `RedisAddress` for the forms of one server, Sentinel and Cluster. */
  readonly url: string;
  /** What stands before every counter name in its key (default nothing, as the older incrementer had it). */
  readonly prefix?: string;
  /** Refuse to work, instead of warning, where the server's settings let answered numbers be lost (default false). */
  readonly requireDurable?: boolean;
  /** How many replicas must have a number before it is answered (default 0). Not with a cluster. */
  readonly waitReplicas?: number;
  /** After how long a call gives up and its connection is made anew, in milliseconds (default 5,000). */
  readonly deadlineMs?: number;
}

const checkKey = `${reserved}check`;

/**
 * Opens the store that keeps each counter as a decimal string under its name, as the older incrementer did.
 *
 * It waits for the first attempt to connect. A server that cannot be reached is no error: the store refuses
 * (`store-unavailable`) until it can, and goes on trying by itself.
 *
 * @throws Error when the options are wrong, or the server is not durable and `requireDurable` is set
 */
export async function openRedisStore(options: RedisStoreOptions, context: StoreContext): Promise<Store> {
  const address = parseRedisUrl(options.url);
  const waitReplicas = options.waitReplicas ?? 0;
  if (waitReplicas > 0 && address.kind === "cluster") {
    throw new Error("expected no wait for replicas (REDIS_WAIT_REPLICAS=0): it does not work in a cluster");
  }
  const store = new RedisStore(address, { ...options, waitReplicas }, context.log);
  try {
    await store.connect();
  } catch (error) {
    await store.close();
    throw error;
  }
  return store;
}

class RedisStore implements Store {
  readonly description: string;
  readonly #client: RedisClient;
  readonly #log: Log;
  readonly #prefix: string;
  readonly #deadlineMs: number;
  readonly #requireDurable: boolean;
  readonly #waitReplicas: number;
  readonly #retentionMs: number;
  readonly #isCluster: boolean;
  /**
   * Why no command may be sent now: one error for all who are refused meanwhile, so that the log says it once. Undefined
   * while the connection is ready and its server was found good.
   */
  #obstacle: CounterError | undefined = unreachable();
  /** Counts connections: what one connection wrote, only the same one can wait for. */
  #connection = 0;
  #lastProblem: string | undefined;
  /** What was found, and said, of the server of this connection. */
  #risks = "";
  #nextLook: NodeJS.Timeout | undefined;
  #waitInHand: Promise<unknown> = Promise.resolve();
  #nextWait: Promise<number> | undefined;
  readonly #inHand = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  constructor(address: RedisAddress, options: RedisStoreOptions & { waitReplicas: number }, log: Log) {
    this.description = describeAddress(address);
    this.#log = log;
    this.#prefix = options.prefix ?? "";
    this.#deadlineMs = options.deadlineMs ?? 5_000;
    this.#requireDurable = options.requireDurable ?? false;
    this.#waitReplicas = options.waitReplicas;
    this.#retentionMs = options.keyRetentionMs ?? 0;
    this.#isCluster = address.kind === "cluster";
    this.#client = createRedisClient(address, { deadlineMs: this.#deadlineMs });
  }

  /** Resolves when the first attempt to connect has ended, well or not; rejects when the server is refused. */
  connect(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#client.on("ready", () => {
        this.#inspect().then(resolve, reject);
      });
      this.#client.on("close", () => {
        this.#connection += 1;
        this.#obstacle = unreachable();
        this.#risks = "";
      });
      this.#client.on("error", (error) => this.#report(error));
      // The client goes on trying after a failed attempt; why it failed was told by an event.
      this.#client.connect().catch(() => resolve());
    });
  }

  async commit(
    name: CounterName,
    claims: readonly Claim[],
    { create }: CommitOptions,
  ): Promise<readonly Outcome[]> {
    const key = this.#key(name);
    if (claims.some(isRecorded)) {
      try {
        return await this.#commitRecorded(key, claims, create);
      } catch (error) {
        if (!(error instanceof CounterError) || error.consumed) throw error;
        return refuseRecorded(claims, error, (plain) => this.commit(name, plain, { create }));
      }
    }
    const [state, value] = await this.#write(commitScript, [key], commitArguments(claims, create));
    if (state === "missing") throw counterNotFound();
    if (state === "unreadable") throw unreadable(key, value);
    return allocate(Number(value), claims).outcomes;
  }

  async #commitRecorded(key: string, claims: readonly Claim[], create: boolean): Promise<Outcome[]> {
    const own = this.#ownKeys(key);
    const confirms = this.#waitReplicas > 0;
    const keys = [key, own.keys, own.records];
    const args = keyedCommitArguments(claims, { create, retentionMs: this.#retentionMs, confirms });
    let reply = await this.#write(keyedCommitScript, keys, args);
    while (reply[0] === "lowering") {
      await this.#settle(keys);
      reply = await this.#write(keyedCommitScript, keys, args);
    }
    const [state, value, now, ...texts] = reply;
    if (state === "missing") throw counterNotFound();
    if (state === "unreadable") throw unreadable(key, value);
    if (state === "broken") throw brokenRecords(own.records, value ?? "");
    const records = texts.map((text) => readRecord(own.records, text, { consumed: true }));
    const known = new Map(records.map((record) => [record.key as string, record]));
    return allocate(Number(value), claims, known, () => Number(now)).outcomes;
  }

  async peek(name: CounterName): Promise<number | undefined> {
    const key = this.#key(name);
    const value = await this.#send(() => this.#client.get(key), { consumes: false });
    if (value === null) return undefined;
    const last = Number(value);
    if (!/^(0|[1-9]\d{0,15})$/.test(value) || last > maxValue) throw unreadable(key, value);
    return last;
  }

  async record(name: CounterName, value: number): Promise<BuildRecord | undefined> {
    const { records, now } = await this.#read(name, { upper: String(value), lower: String(value), count: 1 });
    return records.find((record) => this.#isKept(record, now));
  }

  async records(name: CounterName, query: RecordsQuery): Promise<RecordsPage> {
    let time = 0;
    return searchRecords(
      query,
      async (before, count) => {
        const upper = before === undefined ? "+inf" : `(${before}`;
        const { records, now } = await this.#read(name, { upper, lower: "0", count, key: query.key });
        time = now;
        return records.filter(({ value }) => value < (before ?? Number.POSITIVE_INFINITY));
      },
      (record) => this.#isKept(record, time),
    );
  }

  /** Reads records, and the server's time. */
  async #read(
    name: CounterName,
    range: { upper: string; lower: string; count: number; key?: string | undefined },
  ): Promise<{ records: BuildRecord[]; now: number }> {
    const own = this.#ownKeys(this.#key(name));
    const [now, ...texts] = await this.#send(
      () =>
        this.#run(
          readScript,
          [own.keys, own.records],
          [range.upper, range.lower, String(range.count), range.key ?? ""],
        ),
      { consumes: false },
    );
    return { now: Number(now), records: texts.map((text) => readRecord(own.records, text)) };
  }

  #isKept({ atMs }: BuildRecord, now: number): boolean {
    return this.#retentionMs === 0 || atMs + this.#retentionMs > now;
  }

  async set(name: CounterName, value: number, { force }: SetOptions): Promise<void> {
    const key = this.#key(name);
    const own = ownKeys(key);
    const keys = own.sharesSlot || !this.#isCluster ? [key, own.keys, own.records] : [key];
    const [state, found] = await this.#write(setScript, keys, [String(value), force ? "1" : "0"]);
    if (state === "lower") throw loweringRefused(Number(found), value);
    if (state === "unreadable") throw unreadable(key, found);
    if (state !== "lowering") return;
    try {
      await this.#settle(keys);
    } catch (error) {
      // The lowering stands: what is left is not seen any more, and is removed before a key or record is written.
      this.#log.warn(
        { store: this.description, err: error },
        "the keys and records above a lowered counter count as gone, but could not all be removed yet",
      );
    }
  }

  /** Removes what a lowering left, in slices between which Redis serves others. */
  async #settle(keys: readonly string[]): Promise<void> {
    let state: string | undefined;
    do [state] = await this.#write(settleScript, keys, [], { consumes: false });
    while (state === "lowering");
  }

  /** Asks for a write that changes nothing, since a key of that name never exists: so a server that refuses writes shows. */
  async check(): Promise<void> {
    await this.#send(() => this.#client.set(checkKey, "1", "XX"), { consumes: false });
  }

  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    clearTimeout(this.#nextLook);
    await Promise.allSettled(this.#inHand);
    this.#obstacle = unavailable("expected an open store, but it is closed");
    if (this.#client.status === "ready") await this.#client.quit().catch(() => undefined);
    this.#client.disconnect();
  }

  #key(name: CounterName): string {
    const key = this.#prefix + name;
    if (name.startsWith(reserved) || key.startsWith(reserved)) {
      throw new CounterError(
        "invalid-counter-id",
        `expected a name that does not begin with "${reserved}", which is kept for the service itself, got ${quote(name)}`,
      );
    }
    return key;
  }

  #ownKeys(key: string): { keys: string; records: string } {
    const own = ownKeys(key);
    if (this.#isCluster && !own.sharesSlot) {
      throw new CounterError(
        "invalid-counter-id",
        `expected a name without "}" for keys and records in a cluster, got ${quote(key)}`,
      );
    }
    return own;
  }

  /** Runs a script that writes, and waits for the replicas where that is asked for. */
  async #write(
    script: Script,
    keys: readonly string[],
    args: readonly string[],
    { consumes = true } = {},
  ): Promise<readonly string[]> {
    return this.#send(
      async () => {
        const reply = await this.#run(script, keys, args);
        if (this.#waitReplicas > 0 && reply[0] !== "lowering") await this.#confirm(consumes);
        return reply;
      },
      { consumes },
    );
  }

  async #run(script: Script, keys: readonly string[], args: readonly string[]): Promise<string[]> {
    try {
      return (await this.#client.evalsha(script.sha1, keys.length, ...keys, ...args)) as string[];
    } catch (error) {
      // The one command that is sent twice: a server that does not know the script has not run it.
      if (isReply(error) && error.message.startsWith("NOSCRIPT")) {
        return (await this.#client.eval(script.lua, keys.length, ...keys, ...args)) as string[];
      }
      throw error;
    }
  }

  /**
   * Resolves when enough replicas have all that was written on this connection before. One WAIT is in flight, and those
   * who come meanwhile share the next.
   */
  async #confirm(consumes: boolean): Promise<void> {
    const connection = this.#connection;
    this.#nextWait ??= this.#waitInHand.then(() => {
      this.#nextWait = undefined;
      // Half of the deadline, so that the server's count comes back before the client gives up.
      const wait = this.#client.wait(this.#waitReplicas, Math.ceil(this.#deadlineMs / 2));
      this.#waitInHand = wait.catch(() => undefined);
      return wait;
    });
    const replicas = await this.#nextWait;
    if (connection !== this.#connection || replicas < this.#waitReplicas) {
      const got = connection === this.#connection ? String(replicas) : "a lost connection";
      throw new CounterError(
        "store-unavailable",
        `expected ${this.#waitReplicas} replicas to confirm the write, got ${got}`,
        { consumed: consumes },
      );
    }
  }

  /**
   * @param consumes whether a call whose fate is unknown may have taken numbers
   */
  async #send<T>(call: () => Promise<T>, { consumes }: { consumes: boolean }): Promise<T> {
    if (this.#obstacle !== undefined) throw this.#obstacle;
    const sent = call();
    this.#inHand.add(sent);
    try {
      return await sent;
    } catch (error) {
      throw explain(error as Error, consumes);
    } finally {
      this.#inHand.delete(sent);
    }
  }

  /**
   * Reads the settings of every server that takes writes, once for each connection; of one that is refused again and
   * again, since they can be changed while it runs.
   */
  async #inspect(): Promise<void> {
    clearTimeout(this.#nextLook);
    const connection = this.#connection;
    const servers = this.#client instanceof Cluster ? this.#client.nodes("master") : [this.#client];
    let risks: string[];
    try {
      const found = await Promise.all(
        servers.map(async (server) => findDurabilityRisks(await readSettings(server))),
      );
      risks = [...new Set(found.flat())];
    } catch (error) {
      if (!isReply(error)) {
        // The connection was lost again: the next one is inspected anew.
        this.#report(error as Error);
        return;
      }
      risks = [`its settings are not known: ${error.message}`];
    }
    if (connection !== this.#connection) return;
    const found = risks.join("; ");
    const isRefused = this.#requireDurable && risks.length > 0;
    if (found !== this.#risks) {
      this.#risks = found;
      for (const risk of risks)
        this.#log.warn({ store: this.description }, `Redis may lose answered numbers: ${risk}`);
      if (isRefused) {
        this.#lastProblem = `expected a Redis that keeps every answered number (REDIS_REQUIRE_DURABLE): ${found}`;
        this.#obstacle = unavailable(this.#lastProblem);
      }
    }
    if (isRefused) {
      const look = () => void this.#inspect().catch(() => undefined);
      this.#nextLook = setTimeout(look, this.#deadlineMs).unref();
      throw this.#obstacle;
    }
    if (this.#lastProblem !== undefined)
      this.#log.info({ store: this.description }, "Redis can be used again");
    this.#lastProblem = undefined;
    this.#obstacle = undefined;
  }

  /** Logs what keeps the store from Redis: once for each kind of problem, not for each attempt. */
  #report(error: Error): void {
    // Several addresses that refuse are one AggregateError, whose message is empty.
    const problem = error.message || (error as NodeJS.ErrnoException).code || error.name;
    if (problem === this.#lastProblem || this.#closing !== undefined) return;
    this.#lastProblem = problem;
    this.#log.warn(
      { store: this.description, err: error },
      `expected a connection to Redis, got ${quote(problem)}`,
    );
  }
}

function unreachable(): CounterError {
  return unavailable("expected a connection to Redis, but there is none now");
}

function unavailable(message: string): CounterError {
  return new CounterError("store-unavailable", message);
}

function isReply(error: unknown): error is Error {
  return error instanceof Error && error.name === "ReplyError";
}

function unreadable(key: string, value: string | undefined): CounterError {
  return new CounterError(
    "counter-unreadable",
    `expected an integer from 0 to ${maxValue} under the key ${quote(key)}, got ${quote(value ?? "")}`,
  );
}

function readRecord(key: string, text: string, { consumed = false } = {}): BuildRecord {
  const record = parseRecord(text);
  if (record === undefined) throw brokenRecords(key, text, consumed);
  return record;
}

function brokenRecords(key: string, found: string, consumed = false): CounterError {
  return new CounterError(
    "counter-unreadable",
    `expected records under the key ${quote(key)} that fit the counter and its keys, got ${quote(found)}`,
    { consumed },
  );
}

/** An error reply means that nothing was done; anything else leaves open whether the command was run. */
function explain(error: Error, consumes: boolean): CounterError {
  if (error instanceof CounterError) return error;
  if (!isReply(error)) {
    return new CounterError("store-unavailable", "expected an answer of Redis in time, got none", {
      consumed: consumes,
      cause: error,
    });
  }
  const [code = ""] = error.message.split(" ", 1);
  if (code === "WRONGTYPE") {
    return new CounterError(
      "counter-unreadable",
      "expected a string under the counter's key (a hash and a sorted set under those of its keys and records), got another type",
      { cause: error },
    );
  }
  if (code === "OOM") {
    return new CounterError("store-full", "expected room in Redis, but its memory is full", { cause: error });
  }
  return new CounterError("store-unavailable", `expected Redis to do its work, got ${quote(code)}`, {
    cause: error,
  });
}
