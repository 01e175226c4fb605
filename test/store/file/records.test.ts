import { execFile, execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { describe, expect, jest, test } from "@jest/globals";
import * as lmdb from "lmdb";
import type { CounterName } from "../../../src/counter/counter-name.ts";
import { type Claim, maxValue, type Outcome, type Store } from "../../../src/counter/store.ts";
import { type FsCall, systemError } from "../../faults/fs-shim.ts";
import { newCounter } from "../new-counter.ts";
import { rejection, sequence, take } from "../store-contract.ts";
import { untilTrue } from "../until.ts";

/**
 * The database, with a hook before its transactions (`lower`), its writes of new records (`write`, and `put` for each
 * old key) and its scans (`sweep`): for what another process does in between, and for failures.
 */
let before: (moment: "lower" | "write" | "put" | "sweep") => void = () => {};
jest.unstable_mockModule("lmdb", () => ({
  ...lmdb,
  open: (...options: Parameters<typeof lmdb.open>) => {
    const root = lmdb.open(...options);
    const transaction = root.transaction.bind(root);
    root.transaction = (...call) => {
      before("lower");
      return transaction(...call);
    };
    const openDB = root.openDB.bind(root) as (name: string, options: object) => lmdb.Database;
    root.openDB = ((name: string, options: object) => {
      const db = openDB(name, options);
      const { ifNoExists, ifVersion, getKeys } = db;
      const isWhole = name === "lowerings";
      db.ifNoExists = (...call) => {
        if (isWhole) before("write");
        return ifNoExists.call(db, ...call);
      };
      db.ifVersion = (...call) => {
        before(isWhole ? "write" : "put");
        return ifVersion.call(db, ...call);
      };
      db.getKeys = (...call) => {
        before("sweep");
        return getKeys.call(db, ...call);
      };
      return db;
    }) as typeof root.openDB;
    return root;
  },
}));
const { afterThisTest, asNobody, cleanUpAfterEach, failWith, fencePath, isSyncOf, makeDirectory, openStore } =
  await import("./scratch.ts");

cleanUpAfterEach();

/** The beginning of a script for a process of its own, which gets the directory and the counter as arguments. */
const storeScript = `
  import { rmSync } from "node:fs";
  import { openFileStore } from ${JSON.stringify(path.resolve("dist/src/store/file/file-store.js"))};
  const [, root, counter, ...rest] = process.argv;
  const store = await openFileStore(
    { storageDir: root, lockStaleMs: 2000, lockWaitMs: 250, keyRetentionMs: 0 },
    { log: { info() {}, warn() {}, error() {} }, onFatal() {} },
  );`;

function runScript(script: string, root: string, counter: CounterName, ...rest: readonly string[]) {
  return promisify(execFile)(
    process.execPath,
    ["--input-type=module", "-e", storeScript + script, root, counter, ...rest],
    { killSignal: "SIGKILL" },
  );
}

/** Does something before the next such moments, until it returns true. */
function doBefore(moment: Parameters<typeof before>[0], work: () => boolean): void {
  before = (now) => {
    if (now === moment && work()) before = () => {};
  };
  afterThisTest(() => {
    before = () => {};
  });
}

const keyed = (key: string): Claim => ({ by: 1, key });

async function claim(store: Store, counter: CounterName, ...claims: Claim[]): Promise<readonly Outcome[]> {
  return store.commit(counter, claims, { create: true });
}

async function numberOf(store: Store, counter: CounterName, key: string): Promise<number> {
  const [outcome] = (await claim(store, counter, keyed(key))) as { value: number }[];
  return outcome?.value as number;
}

const recordsPath = (root: string) => path.join(root, ".records");
const isRenameOf = ({ method, args }: FsCall, directory: string) =>
  method === "renameSync" && path.dirname(String(args[1])) === directory;

/** The database as another process has it open. */
function openDatabase(root: string) {
  const env = lmdb.open(recordsPath(root), { overlappingSync: false, maxDbs: 8, encoding: "json" });
  afterThisTest(() => env.close());
  return {
    env,
    keys: env.openDB<number, [string, string]>("keys", { useVersions: true }),
    records: env.openDB<object, [string, number]>("records", { useVersions: true }),
    lowerings: env.openDB<{ to: number; from?: string }, string>("lowerings", { useVersions: true }),
    count: (name: string) => env.openDB(name, {}).getCount(),
  };
}

describe(".records", () => {
  test("is not there until the first key or record", async () => {
    const root = makeDirectory();
    const { store } = await openStore(root);
    const counter = newCounter();
    await take(store, counter);
    await store.set(counter, 10, { force: true });
    expect(fs.existsSync(recordsPath(root))).toBe(false);
    await claim(store, counter, { by: 1, metadata: { n: 1 } });
    expect(fs.existsSync(recordsPath(root))).toBe(true);
  });

  test("that cannot be opened refuses claims with keys, records and lowering, and nothing else", async () => {
    const root = makeDirectory();
    const { store } = await openStore(root);
    const counter = newCounter();
    fs.writeFileSync(recordsPath(root), "");
    const refused = { code: "store-unavailable", consumed: false };
    expect(await claim(store, counter, { by: 1 }, keyed("a"), { by: 1 })).toEqual([
      { value: 1 },
      { error: expect.objectContaining(refused) },
      { value: 2 },
    ]);
    expect(await rejection(claim(store, counter, keyed("a")))).toMatchObject(refused);
    expect(await rejection(store.record(counter, 1))).toMatchObject(refused);
    expect(await rejection(store.records(counter, { limit: 1 }))).toMatchObject(refused);
    expect(await rejection(store.set(counter, 1, { force: true }))).toMatchObject(refused);
    await store.set(counter, 5, { force: true });
    fs.rmSync(recordsPath(root));
    expect(await numberOf(store, counter, "a")).toBe(6);
  });

  test.each([
    [
      "is no database",
      async (root: string) => {
        fs.mkdirSync(recordsPath(root));
        fs.writeFileSync(path.join(recordsPath(root), "data.mdb"), "x".repeat(100_000));
      },
    ],
    [
      "is of another format",
      async (root: string) => {
        const { env } = openDatabase(root);
        await env.openDB<number, string>("format", {}).put("version", 2);
      },
    ],
  ])("that %s is refused, and left as it is", async (_what, make) => {
    const root = makeDirectory();
    await make(root);
    const { store } = await openStore(root);
    const counter = newCounter();
    expect(await rejection(claim(store, counter, keyed("a")))).toMatchObject({
      code: "store-unavailable",
      consumed: false,
    });
    expect(await take(store, counter)).toBe(1);
  });

  test("that may not be written is refused", async () => {
    const root = makeDirectory();
    fs.chmodSync(root, 0o777);
    fs.mkdirSync(recordsPath(root), { mode: 0o555 });
    await asNobody(async () => {
      const { store } = await openStore(root);
      expect(await rejection(claim(store, newCounter(), keyed("a")))).toMatchObject({
        code: "store-unavailable",
        cause: expect.objectContaining({ code: "EACCES" }),
      });
      await store.close();
    });
  });

  test("that cannot be synced answers no replay, until it can", async () => {
    const root = makeDirectory();
    const counter = newCounter();
    let isFailing = false;
    failWith((call) => {
      if (!isFailing) return;
      const data = path.join(recordsPath(root), "data.mdb");
      return isSyncOf(call, data) ? systemError("EIO", call) : undefined;
    });
    const { store, fatal } = await openStore(root);
    await claim(store, counter, keyed("a"));
    isFailing = true;
    const errors = await Promise.all([
      rejection(claim(store, counter, keyed("a"))),
      rejection(store.record(counter, 1)),
    ]);
    for (const error of errors) expect(error).toMatchObject({ code: "store-unavailable", consumed: false });
    // Opening syncs as well.
    expect(await rejection(store.records(counter, { limit: 1 }))).toMatchObject({
      code: "store-unavailable",
    });
    isFailing = false;
    expect(await numberOf(store, counter, "a")).toBe(1);
    expect(fatal).toEqual([]);
  });

  test("that failed lets nobody in until the last one has left it, and is opened anew then", async () => {
    const root = makeDirectory();
    const counter = newCounter();
    const { store } = await openStore(root);
    await claim(store, counter, keyed("a"));
    const repair = failWith((call) =>
      isSyncOf(call, path.join(recordsPath(root), "data.mdb")) ? systemError("EIO", call) : undefined,
    );
    const one = store.record(counter, 1);
    await Promise.resolve();
    const other = store.record(counter, 1);
    const third = one.catch(() => store.record(counter, 1));
    for (const call of [one, other]) expect(await rejection(call)).toMatchObject({ cause: { code: "EIO" } });
    expect((await rejection(third)).message).toContain("opened anew");
    repair();
    expect(await numberOf(store, counter, "a")).toBe(1);
  });

  const isRoot = process.geteuid?.() === 0;
  test("that fails with the number of a system's error is told by its name", async () => {
    const { store } = await openStore(makeDirectory());
    doBefore("write", () => {
      throw Object.assign(new Error("No space left on device"), { code: 28 });
    });
    expect(await claim(store, newCounter(), keyed("a"))).toMatchObject([
      { error: { code: "store-full", consumed: true, cause: { code: "ENOSPC" } } },
    ]);
  });

  // In a process of its own: LMDB writes such a failure to stderr as well.
  (isRoot ? test : test.skip)(
    "on a full disk refuses new keys, and takes them again when there is room",
    async () => {
      const root = makeDirectory();
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=512k", "tmpfs", root]);
      afterThisTest(() => execFileSync("umount", [root]) && undefined);
      const ballast = path.join(root, "ballast.bin");
      fs.writeFileSync(ballast, Buffer.alloc(100_000));
      const script = `
        const metadata = { text: "x".repeat(3_000) };
        const claim = async (key) => (await store.commit(counter, [{ by: 1, key, metadata }], { create: true }))[0];
        const numberOf = async (key) => (await claim(key)).value;
        let refused, answered = 0;
        while (refused === undefined) {
          const { error } = await claim("key " + (answered + 1));
          if (error) refused = { code: error.code, consumed: error.consumed, cause: error.cause.code };
          else answered += 1;
        }
        const replayed = await numberOf("key 1");
        rmSync(${JSON.stringify(ballast)});
        const [{ value: plain }] = await store.commit(counter, [{ by: 1 }], { create: true });
        const last = await numberOf("key " + answered);
        const fresh = await numberOf("one more");
        await store.close();
        console.log(JSON.stringify({ refused, answered, replayed, plain, last, fresh }));`;
      const { stdout } = await runScript(script, root, newCounter());
      const { answered, refused, plain, ...numbers } = JSON.parse(stdout);
      expect(refused).toEqual({ code: "store-full", consumed: true, cause: "ENOSPC" });
      expect(plain).toBeGreaterThan(answered + 1);
      expect(numbers).toEqual({ replayed: 1, last: answered, fresh: plain + 1 });
    },
  );

  test("that a stopped process keeps from being written refuses what is new, and nothing else, until it goes on", async () => {
    const root = makeDirectory();
    const counter = newCounter();
    const lowered = newCounter();
    const { store } = await openStore(root);
    await claim(store, counter, keyed("a"));
    await claim(store, lowered, keyed("b"), keyed("c"));
    // Of one counter a lowering was announced, and did not come to its end.
    const announced = newCounter();
    await claim(store, announced, keyed("d"), keyed("e"));
    openDatabase(root).lowerings.putSync(announced, { to: 1, from: "2" }, 1);
    const script = `
      import { open } from "lmdb";
      const env = open(${JSON.stringify(recordsPath(root))}, { overlappingSync: false, maxDbs: 8 });
      env.transactionSync(() => process.kill(process.pid, "SIGSTOP"));`;
    const running = runScript(script, root, counter);
    const { child } = running;
    running.catch(() => {});
    afterThisTest(() => void child.kill("SIGKILL"));
    await untilTrue(() => /\) T/.test(fs.readFileSync(`/proc/${child.pid}/stat`, "utf8")));
    const refused = { code: "store-unavailable", message: expect.stringContaining("may be stopped") };
    const calls = [
      claim(store, counter, keyed("x"), { by: 1 }),
      store.set(lowered, 1, { force: true }).catch((error) => error),
      store.set(announced, 1, { force: true }).catch((error) => error),
    ];
    const other = newCounter();
    expect(await take(store, other)).toBe(1);
    expect(await Promise.all(calls)).toMatchObject([
      [{ error: { ...refused, consumed: true } }, { value: 3 }],
      { ...refused, consumed: false },
      { ...refused, consumed: false },
    ]);
    expect(await rejection(store.records(announced, { limit: 1 }))).toMatchObject(refused);
    expect(await claim(store, counter, keyed("y"), { by: 1 })).toMatchObject([
      { error: { ...refused, consumed: false } },
      { value: 4 },
    ]);
    expect(await rejection(store.set(lowered, 1, { force: true }))).toMatchObject(refused);
    expect(await numberOf(store, counter, "a")).toBe(1);
    child.kill("SIGCONT");
    await untilTrue(async () => (await numberOf(store, counter, "z").catch(() => 0)) === 5);
    expect(await numberOf(store, counter, "x")).toBe(2);
    // The lowerings were given up for good: they do not come late.
    expect([await store.peek(lowered), await store.peek(announced)]).toEqual([2, 2]);
    expect(await numberOf(store, announced, "e")).toBe(2);
    expect(await numberOf(store, lowered, "c")).toBe(2);
  });

  test("loses nothing that was answered to kill -9", async () => {
    const root = makeDirectory();
    const counter = newCounter();
    const script = `
      for (let at = 0; ; at += 1) {
        const key = rest[0] + at;
        const [{ value }] = await store.commit(counter, [{ by: 1, key }], { create: true });
        process.stdout.write(key + " " + value + "\\n");
      }`;
    const answers = await Promise.all(
      ["a", "b", "a"].map(async (prefix) => {
        const child = runScript(script, root, counter, prefix);
        let lines = 0;
        child.child.stdout?.on("data", (text: string) => {
          lines += text.split("\n").length - 1;
          if (lines > 50) child.child.kill("SIGKILL");
        });
        const { stdout } = await child.catch((error) => error as { stdout: string });
        return stdout.split("\n").slice(0, -1);
      }),
    );
    const { store } = await openStore(root);
    const owners = new Map<number, string>();
    for (const line of answers.flat()) {
      const [key, value] = line.split(" ") as [string, string];
      expect(owners.get(Number(value)) ?? key).toBe(key);
      owners.set(Number(value), key);
      expect(await claim(store, counter, keyed(key))).toMatchObject([
        { value: Number(value), isReplay: true },
      ]);
    }
    expect(owners.size).toBeGreaterThan(100);
  });
});

describe("old records", () => {
  test("are cleared away, keys and all, in slices", async () => {
    const root = makeDirectory();
    const before = await openStore(root);
    const counter = newCounter();
    const keys = sequence(1, 2_500).map((at) => `key ${at}`);
    await claim(before.store, counter, ...keys.map(keyed), { by: 1, metadata: { n: 1 } });
    const { count } = openDatabase(root);
    expect(count("records")).toBe(2_501);
    const { store } = await openStore(root, { keyRetentionMs: 1 });
    await store.record(counter, 1);
    await untilTrue(() => count("times") === 0);
    expect([count("keys"), count("records")]).toEqual([0, 0]);
    expect(await numberOf(store, counter, "key 1")).toBe(2_502);
  });

  test("that cannot be cleared away are reported, and gone all the same", async () => {
    const root = makeDirectory();
    const before = await openStore(root);
    const counter = newCounter();
    await claim(before.store, counter, keyed("a"));
    const { store, logged } = await openStore(root, { keyRetentionMs: 1 });
    doBefore("sweep", () => {
      throw new Error("no");
    });
    expect(await numberOf(store, counter, "a")).toBe(2);
    await untilTrue(() => logged.some(({ message }) => message.includes("could not be cleared away")));
  });

  test("do not keep the store from closing, however many there are", async () => {
    const root = makeDirectory();
    const { store } = await openStore(root, { keyRetentionMs: 1 });
    const counter = newCounter();
    await claim(store, counter, ...sequence(1, 2_000).map((at) => keyed(`key ${at}`)));
    const next = await openStore(root, { keyRetentionMs: 1 });
    let closing: Promise<void> | undefined;
    doBefore("sweep", () => {
      closing = next.store.close();
      return true;
    });
    await next.store.record(counter, 1);
    await untilTrue(() => closing !== undefined);
    await closing;
  });
});

describe("a claim with a key", () => {
  test("that another was faster with gets that one's number, and its own is skipped", async () => {
    const root = makeDirectory();
    const { store } = await openStore(root);
    const counter = newCounter();
    await claim(store, counter, keyed("first"));
    const { keys, records } = openDatabase(root);
    const atMs = Date.now();
    doBefore("write", () => {
      records.putSync([counter, 7], { key: "raced" }, atMs);
      keys.putSync([counter, "raced"], 7, atMs);
      return true;
    });
    const winner = { value: 7, record: { value: 7, atMs, key: "raced" }, isReplay: true };
    expect(await claim(store, counter, keyed("raced"), keyed("mine"), keyed("raced"), { by: 1 })).toEqual([
      winner,
      { value: 3, record: { value: 3, atMs: expect.any(Number), key: "mine" } },
      winner,
      { value: 4 },
    ]);
    expect(await store.record(counter, 2)).toBeUndefined();
    expect(await claim(store, counter, keyed("raced"))).toEqual([winner]);
  });

  test("is written again when the old entry of its key goes away in between", async () => {
    const root = makeDirectory();
    const { store } = await openStore(root, { keyRetentionMs: 3_600_000 });
    const counter = newCounter();
    await claim(store, counter, keyed("first"));
    const { keys, records } = openDatabase(root);
    records.putSync([counter, 1], { key: "old" }, 1);
    keys.putSync([counter, "old"], 1, 1);
    let isRemoved = false;
    doBefore("put", () => {
      isRemoved = keys.removeSync([counter, "old"]);
      return true;
    });
    expect(await numberOf(store, counter, "old")).toBe(2);
    expect(isRemoved).toBe(true);
    expect(await claim(store, counter, keyed("old"))).toMatchObject([{ value: 2, isReplay: true }]);
  });

  test("that began before the counter was lowered is refused, and plain ones beside it are not", async () => {
    const root = makeDirectory();
    const { store } = await openStore(root);
    const counter = newCounter();
    await claim(store, counter, keyed("a"), keyed("b"), keyed("c"));
    const { lowerings } = openDatabase(root);
    doBefore("write", () => {
      lowerings.putSync(counter, { to: 1 }, 1);
      return true;
    });
    const [late, plain, inBatch] = await claim(store, counter, keyed("late"), { by: 1 }, keyed("late"));
    const refused = { error: { code: "store-unavailable", consumed: true } };
    expect(late).toMatchObject(refused);
    expect(plain).toEqual({ value: 5 });
    expect(inBatch).toMatchObject(refused);
    expect(await numberOf(store, counter, "late")).toBe(6);
    expect(await numberOf(store, counter, "a")).toBe(1);
    expect(await numberOf(store, counter, "b")).toBe(7);
  });
});

describe("lowering by force", () => {
  test("that ends before the fence moves changes nothing", async () => {
    const root = makeDirectory();
    const { store } = await openStore(root);
    const counter = newCounter();
    await claim(store, counter, keyed("a"), keyed("b"), keyed("c"));
    const repair = failWith((call) =>
      isRenameOf(call, fencePath(root, counter)) ? systemError("EIO", call) : undefined,
    );
    expect(await rejection(store.set(counter, 1, { force: true }))).toMatchObject({ consumed: true });
    repair();
    const { store: next } = await openStore(root);
    expect(await numberOf(next, counter, "c")).toBe(3);
    expect(await next.peek(counter)).toBe(3);
    await next.set(counter, 1, { force: true });
    expect(await numberOf(next, counter, "c")).toBe(2);
  });

  test("that ends before the records are removed is completed by who comes next", async () => {
    const root = makeDirectory();
    const { store } = await openStore(root);
    const counter = newCounter();
    await claim(store, counter, ...sequence(1, 1_500).map((at) => keyed(`key ${at}`)));
    let isMoved = false;
    const repair = failWith((call) => {
      if (isMoved || !isRenameOf(call, fencePath(root, counter))) return;
      isMoved = true;
      fs.renameSync(String(call.args[0]), String(call.args[1]));
      return systemError("EIO", call);
    });
    expect(await rejection(store.set(counter, 2, { force: true }))).toMatchObject({ consumed: true });
    repair();
    const { count } = openDatabase(root);
    expect(count("records")).toBe(1_500);
    const { store: next } = await openStore(root);
    expect((await next.records(counter, { limit: 10 })).records.map(({ value }) => value)).toEqual([2, 1]);
    expect([count("keys"), count("records"), count("times")]).toEqual([2, 2, 2]);
    expect(await numberOf(next, counter, "key 3")).toBe(3);
  });

  test("looks again when a claim of another process takes its note for left behind", async () => {
    const root = makeDirectory();
    const { store } = await openStore(root);
    const counter = newCounter();
    await claim(store, counter, keyed("a"), keyed("b"));
    const { lowerings } = openDatabase(root);
    let moments = 0;
    doBefore("lower", () => {
      moments += 1;
      // Between the note and the move of the fence.
      if (moments === 2) lowerings.putSync(counter, { to: maxValue }, 1);
      // Another process announces the same at the same time.
      if (moments === 3) lowerings.putSync(counter, { to: 0 }, 2);
      return moments === 3;
    });
    await store.set(counter, 1, { force: true });
    expect(await numberOf(store, counter, "c")).toBe(2);
    expect(await numberOf(store, counter, "b")).toBe(3);
  });

  test("is given up when claims come between for ever", async () => {
    const root = makeDirectory();
    const { store } = await openStore(root);
    const counter = newCounter();
    await claim(store, counter, keyed("a"), keyed("b"));
    const { env, lowerings } = openDatabase(root);
    doBefore("lower", () => {
      env.resetReadTxn();
      const entry = lowerings.getEntry(counter);
      if (entry) lowerings.putSync(counter, { to: maxValue }, entry.version as number);
      return false;
    });
    expect(await rejection(store.set(counter, 1, { force: true }))).toMatchObject({
      code: "store-unavailable",
      consumed: false,
    });
    expect(await numberOf(store, counter, "b")).toBe(2);
  });

  test("takes its note back when somebody else moves the fence, and goes on from there", async () => {
    const root = makeDirectory();
    const { store } = await openStore(root);
    const counter = newCounter();
    await claim(store, counter, keyed("a"), keyed("b"));
    let isMoved = false;
    failWith((call) => {
      if (isMoved || !isRenameOf(call, fencePath(root, counter))) return;
      isMoved = true;
      fs.renameSync(path.join(fencePath(root, counter), "2"), path.join(fencePath(root, counter), "3"));
    });
    await store.set(counter, 1, { force: true });
    expect(isMoved).toBe(true);
    expect(await numberOf(store, counter, "b")).toBe(2);
  });
});
