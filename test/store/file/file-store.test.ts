import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "@jest/globals";
import type { CounterName } from "../../../src/counter/counter-name.ts";
import type { Store } from "../../../src/counter/store.ts";
import { systemError } from "../../faults/fs-shim.ts";
import { newCounter } from "../new-counter.ts";
import { describeRecordsContract } from "../records-contract.ts";
import { commit, describeStoreContract, rejection, take } from "../store-contract.ts";
import {
  afterThisTest,
  asNobody,
  cleanUpAfterEach,
  failWith,
  fence,
  fencePath,
  isSyncOf,
  makeDirectory,
  openedIn,
  openStore,
  valueFile,
  valuePath,
} from "./scratch.ts";

cleanUpAfterEach();

const shared = fs.mkdtempSync(path.join(tmpdir(), "file-store-"));
afterAll(() => fs.rmSync(shared, { recursive: true }));

describeStoreContract("the file store", async () => (await openStore(shared)).store);

describeRecordsContract("the file store", async (options) => (await openStore(shared, options)).store);

/** A store on a directory that holds this file for a counter. */
async function openWithFile(text: string) {
  const root = makeDirectory();
  const counter = newCounter();
  fs.writeFileSync(valuePath(root, counter), text);
  return { root, counter, ...(await openStore(root)) };
}

/** A store with a counter that was used, whose lock it holds, up to this number. */
async function openUsed(last: number) {
  const root = makeDirectory();
  const counter = newCounter();
  const opened = await openStore(root);
  await opened.store.set(counter, last, { force: false });
  opened.logged.splice(0);
  return { root, counter, ...opened };
}

/** The same directory and counter, after a stop and a start. */
async function reopen({ root, counter, store }: { root: string; counter: CounterName; store: Store }) {
  await store.close();
  return { root, counter, ...(await openStore(root)) };
}

async function expectUnreadable(store: Store, counter: CounterName, reason: RegExp): Promise<void> {
  const calls = [
    () => store.commit(counter, [{ by: 1 }], { create: true }),
    () => store.set(counter, 1_000, { force: true }),
    () => store.peek(counter),
  ];
  for (const call of calls) {
    const error = await rejection(call());
    expect(error).toMatchObject({ code: "counter-unreadable", consumed: false });
    expect(error.message).toContain(`counter ${counter} cannot be read and was left as it is`);
    expect(error.message).toMatch(reason);
  }
  expect(await take(store, newCounter())).toBe(1);
}

describe("opening", () => {
  test("tells of an empty store, and of no other", async () => {
    const root = makeDirectory();
    const { store, logged } = await openStore(root);
    expect(store.description).toBe(`files in ${root}`);
    expect(logged).toEqual([
      {
        level: "warn",
        details: { storageDir: root },
        message: "the store is empty: every counter starts at 1",
      },
    ]);
    await take(store, newCounter());
    await store.close();
    expect((await openStore(root)).logged).toEqual([]);
  });

  test("refuses what is no directory", async () => {
    const file = path.join(makeDirectory(), "file");
    fs.writeFileSync(file, "");
    expect((await rejection(openStore(file))).message).toMatch(/^expected STORAGE_DIR to be a directory/);
  });
});

describe("a directory of the Go original", () => {
  test("goes on where it stopped, and the files stay as they were but for the number", async () => {
    const { root, counter, store, logged } = await openWithFile("41\n");
    expect(await store.peek(counter)).toBe(41);
    expect(fs.existsSync(fencePath(root, counter))).toBe(false);
    expect(await take(store, counter)).toBe(42);
    expect([valueFile(root, counter), fence(root, counter)]).toEqual(["42\n", ["42"]]);
    expect(logged).toEqual([]);
  });

  test.each([
    ["upper case", (name: string) => name.toUpperCase()],
    ["a URN", (name: string) => `urn:uuid:${name}`],
    ["braces", (name: string) => `{${name}}`],
    ["no hyphens", (name: string) => name.replaceAll("-", "")],
  ])("goes on with a file under another spelling: %s", async (_name, spell) => {
    const root = makeDirectory();
    const counter = newCounter();
    const file = path.join(root, spell(counter));
    fs.writeFileSync(file, "41\n");
    const { store } = await openStore(root);
    expect(await take(store, counter)).toBe(42);
    expect([valueFile(root, counter), fs.readFileSync(file, "utf8")]).toEqual(["42\n", "41\n"]);
  });

  test.each([
    [7, 41],
    [41, 7],
  ])("has the larger number of two spellings count, of %p and %p, and says so", async (lower, upper) => {
    const root = makeDirectory();
    const counter = newCounter();
    const files = [counter, counter.toUpperCase()];
    fs.writeFileSync(path.join(root, counter), `${lower}\n`);
    fs.writeFileSync(path.join(root, counter.toUpperCase()), `${upper}\n`);
    const { store, logged } = await openStore(root);
    expect(await take(store, counter)).toBe(42);
    expect(logged).toEqual([
      {
        level: "warn",
        details: { counter, files, value: 41, highest: 41 },
        message: "files under several spellings are one counter now",
      },
    ]);
  });

  test("has the canonical spelling count where it is the larger one", async () => {
    const root = makeDirectory();
    const counter = newCounter();
    fs.writeFileSync(path.join(root, counter), "50\n");
    fs.writeFileSync(path.join(root, counter.toUpperCase()), "41\n");
    const { store } = await openStore(root);
    expect(await take(store, counter)).toBe(51);
  });

  test("refuses a counter of which one spelling cannot be read", async () => {
    const root = makeDirectory();
    const counter = newCounter();
    fs.writeFileSync(valuePath(root, counter), "41\n");
    fs.writeFileSync(path.join(root, counter.toUpperCase()), "");
    const { store } = await openStore(root);
    await expectUnreadable(store, counter, /there is no fence.*got an empty file/);
  });

  test.each([
    ["301\n\n", 302],
    ["42\n99\n", 43],
    ["0041", 42],
  ])(
    "may hold what its missing truncation left, %j: read by its first line, and said so",
    async (text, next) => {
      const { store, counter, logged } = await openWithFile(text);
      expect(await take(store, counter)).toBe(next);
      expect(logged).toEqual([
        {
          level: "warn",
          details: { file: counter, value: next - 1 },
          message: "an odd value file was read by its first line",
        },
      ]);
    },
  );

  test("may hold 0, or the largest number", async () => {
    const zero = await openWithFile("0\n");
    expect(await take(zero.store, zero.counter)).toBe(1);
    const largest = await openWithFile("9007199254740991\n");
    expect(await commit(largest.store, largest.counter, [1])).toEqual(["counter-exhausted"]);
  });

  test("is not served to new counters while it could not be read for other spellings", async () => {
    const root = makeDirectory();
    const before = await openStore(root);
    const used = newCounter();
    await take(before.store, used);
    await before.store.close();
    const repair = failWith((call) =>
      call.method === "readdirSync" && /\.new$/.test(String(call.args[0]))
        ? systemError("EIO", call)
        : undefined,
    );
    const { store, logged } = await openStore(root);
    expect(await rejection(take(store, newCounter()))).toMatchObject({
      code: "store-unavailable",
      message: "expected to read and write the counter's files, got EIO",
      consumed: false,
    });
    expect(logged).toMatchObject([
      {
        level: "error",
        details: { err: { code: "EIO" } },
        message: expect.stringContaining("other spellings"),
      },
    ]);
    expect(await take(store, used)).toBe(2);
    repair();
    expect(await take(store, newCounter())).toBe(1);
  });
});

describe("a value file that tells no number", () => {
  const texts: readonly [string, string][] = [
    ["an empty one", ""],
    ["garbage", "\0\0\0"],
    ["a word", "five\n"],
    ["2^53", "9007199254740992\n"],
    ["an over-long one", "1".repeat(100_000)],
  ];

  test.each(texts)("refuses without a fence: %s", async (_name, text) => {
    const { root, counter, store } = await openWithFile(text);
    await expectUnreadable(
      store,
      counter,
      /there is no fence, and in the value file expected a number from 0 to/,
    );
    expect(valueFile(root, counter)).toBe(text);
    expect(fs.existsSync(fencePath(root, counter))).toBe(false);
  });

  test.each(texts)("is made anew from the fence: %s", async (_name, text) => {
    const used = await openUsed(41);
    await used.store.close();
    fs.writeFileSync(valuePath(used.root, used.counter), text);
    const { root, counter, store, logged } = await reopen(used);
    expect(await store.peek(counter)).toBe(41);
    expect(await take(store, counter)).toBe(42);
    expect(valueFile(root, counter)).toBe("42\n");
    expect(logged[0]).toMatchObject({
      level: "warn",
      details: { counter, fence: 41, reason: expect.stringContaining("expected a number from 0 to") },
      message: "the value file is made anew from the fence",
    });
  });

  test("is made anew also when it became so between two commits", async () => {
    const { root, counter, store } = await openUsed(41);
    fs.writeFileSync(valuePath(root, counter), "garbage\n");
    expect(await take(store, counter)).toBe(42);
    expect(valueFile(root, counter)).toBe("42\n");
  });
});

describe("files deleted, copied and edited by hand", () => {
  test("a value file that is gone is made anew from the fence", async () => {
    const { root, counter, store, logged } = await openUsed(41);
    fs.rmSync(valuePath(root, counter));
    expect(await store.peek(counter)).toBe(41);
    expect(logged).toEqual([]);
    expect(await take(store, counter)).toBe(42);
    expect(valueFile(root, counter)).toBe("42\n");
    expect(logged[0]).toMatchObject({ details: { reason: "the value file is missing" } });
    const again = await reopen({ root, counter, store });
    fs.rmSync(valuePath(root, counter));
    expect(await take(again.store, counter)).toBe(43);
  });

  test("a fence that is gone is made anew from the value file", async () => {
    const used = await openUsed(41);
    fs.rmSync(fencePath(used.root, used.counter), { recursive: true });
    expect(await take(used.store, used.counter)).toBe(42);
    expect(fence(used.root, used.counter)).toEqual(["42"]);
    fs.rmSync(fencePath(used.root, used.counter), { recursive: true });
    const { store, counter } = await reopen(used);
    expect(await take(store, counter)).toBe(43);
  });

  test("a counter of which both are gone is a new one", async () => {
    const { root, counter, store } = await openUsed(41);
    fs.rmSync(fencePath(root, counter), { recursive: true });
    fs.rmSync(valuePath(root, counter));
    expect(await store.peek(counter)).toBe(undefined);
    expect(await rejection(store.commit(counter, [{ by: 1 }], { create: false }))).toMatchObject({
      code: "counter-not-found",
    });
    expect(await take(store, counter)).toBe(1);
  });

  test("a value file that was read while it was being written is read again before it counts", async () => {
    const { root, counter, store, logged } = await openUsed(89);
    const file = valuePath(root, counter);
    // Half of 89, half of 90.
    fs.writeFileSync(file, "99\n");
    let looks = 0;
    failWith(({ method, args }) => {
      if (method !== "openSync" || args[0] !== file) return;
      looks += 1;
      if (looks === 2) fs.writeFileSync(file, "90\n");
    });
    expect(await take(store, counter)).toBe(91);
    expect(logged).toMatchObject([{ details: { fence: 89, value: 90 } }]);
  });

  test("a value file raised above the fence counts, while the lock is held and after a start", async () => {
    const used = await openUsed(41);
    fs.writeFileSync(valuePath(used.root, used.counter), "300\n");
    expect(await take(used.store, used.counter)).toBe(301);
    expect(used.logged).toEqual([
      {
        level: "warn",
        details: { counter: used.counter, fence: 41, value: 300 },
        message: "the value file was raised by hand: it counts",
      },
    ]);
    await used.store.close();
    fs.writeFileSync(valuePath(used.root, used.counter), "500\n");
    const { root, counter, store } = await reopen(used);
    expect(await store.peek(counter)).toBe(500);
    expect(await take(store, counter)).toBe(501);
    expect([valueFile(root, counter), fence(root, counter)]).toEqual(["501\n", ["501"]]);
  });

  test("a value file raised to the end leaves no number, and lowering takes that back", async () => {
    const { root, counter, store } = await openUsed(41);
    fs.writeFileSync(valuePath(root, counter), "9007199254740991\n");
    expect(await commit(store, counter, [1])).toEqual(["counter-exhausted"]);
    await store.set(counter, 50, { force: true });
    expect(fence(root, counter)).toEqual(["50-9007199254740991"]);
    expect(await take(store, counter)).toBe(51);
  });

  test("a value file lowered by hand does not count", async () => {
    const { root, counter, store } = await openUsed(41);
    fs.writeFileSync(valuePath(root, counter), "5\n");
    expect(await store.peek(counter)).toBe(41);
    expect(await take(store, counter)).toBe(42);
    expect(valueFile(root, counter)).toBe("42\n");
  });

  test("a fence without a name refuses, and is left as it is", async () => {
    const { root, counter, store } = await openUsed(41);
    fs.rmSync(path.join(fencePath(root, counter), "41"));
    fs.writeFileSync(path.join(fencePath(root, counter), "notes"), "");
    await expectUnreadable(
      store,
      counter,
      /its fence is damaged: expected one file named after a number, got 1/,
    );
    expect([fence(root, counter), valueFile(root, counter)]).toEqual([["notes"], "41\n"]);
    fs.renameSync(path.join(fencePath(root, counter), "notes"), path.join(fencePath(root, counter), "60"));
    expect(await take(store, counter)).toBe(61);
  });

  test("a fence with two names goes on from the larger, and has one afterwards", async () => {
    const { root, counter, store } = await openUsed(41);
    fs.writeFileSync(path.join(fencePath(root, counter), "60"), "");
    fs.rmSync(valuePath(root, counter));
    expect(await take(store, counter)).toBe(61);
    expect(fence(root, counter)).toEqual(["61"]);
  });

  test("a file in the place of a fence refuses", async () => {
    const { root, counter, store } = await openUsed(41);
    fs.rmSync(fencePath(root, counter), { recursive: true });
    fs.writeFileSync(fencePath(root, counter), "41\n");
    expect(await rejection(take(store, counter))).toMatchObject({ consumed: true });
    await expectUnreadable(store, counter, /its fence is damaged: expected a directory/);
    expect(fs.readFileSync(fencePath(root, counter), "utf8")).toBe("41\n");
  });

  const things: readonly [string, (file: string) => void, RegExp][] = [
    ["a directory", (file) => fs.mkdirSync(file), /EISDIR/],
    ["a FIFO", (file) => execFileSync("mkfifo", [file]), /ESPIPE/],
    ["a link to itself", (file) => fs.symlinkSync(file, file), /ELOOP/],
    ["a link that leads nowhere", (file) => fs.symlinkSync("/nowhere/41", file), /ENOENT/],
  ];
  test.each(things)(
    "%s in the place of a value file refuses, with and without a fence",
    async (_n, make, reason) => {
      const { root, counter, store } = await openUsed(41);
      fs.rmSync(valuePath(root, counter));
      make(valuePath(root, counter));
      await rejection(take(store, counter));
      await expectUnreadable(store, counter, reason);
      const other = newCounter();
      make(valuePath(root, other));
      await expectUnreadable(store, other, reason);
      expect([fence(root, counter), fs.existsSync(fencePath(root, other))]).toEqual([["41"], false]);
    },
  );

  test("files that may not be read refuse, with and without a fence", async () => {
    const { root, counter, store } = await openUsed(41);
    const other = newCounter();
    fs.writeFileSync(valuePath(root, other), "41\n");
    for (const name of [counter, other]) fs.chmodSync(valuePath(root, name), 0o000);
    const closed = newCounter();
    fs.mkdirSync(fencePath(root, closed), { mode: 0o000 });
    await asNobody(async () => {
      for (const name of [counter, other, closed]) {
        expect(await rejection(store.peek(name))).toMatchObject({
          code: "counter-unreadable",
          message: `counter ${name} cannot be read and was left as it is: its files cannot be opened (EACCES)`,
        });
      }
    });
    fs.chmodSync(valuePath(root, counter), 0o644);
    expect(await take(store, counter)).toBe(42);
  });
});

describe("lowering", () => {
  async function openLowered() {
    const used = await openUsed(500);
    await used.store.set(used.counter, 100, { force: true });
    expect([valueFile(used.root, used.counter), fence(used.root, used.counter)]).toEqual([
      "100\n",
      ["100-501"],
    ]);
    return used;
  }

  test("survives a value file of before, written late, while the lock is held and after a start", async () => {
    const used = await openLowered();
    for (const late of ["500\n", "499\n", "501\n"]) {
      fs.writeFileSync(valuePath(used.root, used.counter), late);
      expect(await used.store.peek(used.counter)).toBe(100);
    }
    expect(await take(used.store, used.counter)).toBe(101);
    await used.store.close();
    fs.writeFileSync(valuePath(used.root, used.counter), "500\n");
    const { root, counter, store } = await reopen(used);
    expect(await take(store, counter)).toBe(102);
    expect([valueFile(root, counter), fence(root, counter)]).toEqual(["102\n", ["102-501"]]);
  });

  test("leaves a raise by hand possible, above the highest number ever", async () => {
    const { root, counter, store } = await openLowered();
    fs.writeFileSync(valuePath(root, counter), "502\n");
    expect(await take(store, counter)).toBe(503);
    expect(fence(root, counter)).toEqual(["503"]);
  });

  test("survives a late move of the fence: its name never comes back", async () => {
    const { root, counter, store } = await openLowered();
    await commit(store, counter, [400]);
    expect(fence(root, counter)).toEqual(["500-501"]);
    const late = () =>
      fs.renameSync(path.join(fencePath(root, counter), "500"), path.join(fencePath(root, counter), "501"));
    expect(late).toThrow(expect.objectContaining({ code: "ENOENT" }));
    expect(await commit(store, counter, [1, 1])).toEqual([501, 502]);
    expect(late).toThrow(expect.objectContaining({ code: "ENOENT" }));
  });
});

describe("a fence that moves meanwhile", () => {
  function move(root: string, counter: CounterName, from: string, to: string): void {
    fs.renameSync(path.join(fencePath(root, counter), from), path.join(fencePath(root, counter), to));
  }

  test("is followed, though the lock is held and the value file is as it was", async () => {
    const { root, counter, store } = await openUsed(41);
    move(root, counter, "41", "60");
    expect(await take(store, counter)).toBe(61);
  });

  test("is followed a bounded number of times", async () => {
    const { root, counter, store } = await openUsed(41);
    failWith((call) =>
      call.method === "renameSync" && String(call.args[0]).startsWith(fencePath(root, counter))
        ? systemError("ENOENT", call)
        : undefined,
    );
    expect(await rejection(take(store, counter))).toMatchObject({
      code: "store-unavailable",
      message: expect.stringContaining("within 100 tries"),
      consumed: false,
    });
    expect(fence(root, counter)).toEqual(["41"]);
  });

  test("gets the newer number written by whoever wrote an older one over it", async () => {
    const { root, counter, store } = await openUsed(41);
    let isMoved = false;
    failWith(({ method }) => {
      if (method !== "writeSync" || isMoved) return;
      isMoved = true;
      move(root, counter, "42", "1000");
    });
    expect(await take(store, counter)).toBe(42);
    expect(valueFile(root, counter)).toBe("1000\n");
    expect(await take(store, counter)).toBe(1_001);
  });

  test("was put up by another process at first use: its numbers come first", async () => {
    const root = makeDirectory();
    const counter = newCounter();
    const { store } = await openStore(root);
    failWith(({ method, args }) => {
      if (method !== "renameSync" || args[1] !== fencePath(root, counter) || fs.existsSync(args[1] as string))
        return;
      fs.mkdirSync(fencePath(root, counter));
      fs.writeFileSync(path.join(fencePath(root, counter), "9"), "");
    });
    expect(await take(store, counter)).toBe(10);
  });

  test("is not taken for a raise by hand by who read it before the value file", async () => {
    const { root, counter, store, logged } = await openUsed(41);
    const remove = failWith(({ method, args }) => {
      if (method !== "openSync" || args[0] !== valuePath(root, counter)) return;
      remove();
      move(root, counter, "41", "44");
      fs.writeFileSync(valuePath(root, counter), "44\n");
    });
    expect(await store.peek(counter)).toBe(44);
    expect(logged).toEqual([]);
  });

  test("gives distinct numbers to those who go without a lock", async () => {
    const root = makeDirectory();
    const counter = newCounter();
    fs.mkdirSync(`${valuePath(root, counter)}.lock`);
    const stores = [await openStore(root, { lockWaitMs: 0 }), await openStore(root, { lockWaitMs: 0 })];
    const numbers = await Promise.all(
      stores.map(async ({ store }) => {
        const mine: number[] = [];
        for (let round = 0; round < 50; round += 1) mine.push(await take(store, counter));
        return mine;
      }),
    );
    expect(new Set(numbers.flat()).size).toBe(100);
    expect([valueFile(root, counter), fence(root, counter)]).toEqual(["100\n", ["100"]]);
  });

  test("is gone when the value file is to be written: no number is answered", async () => {
    const { root, counter, store } = await openUsed(41);
    failWith(({ method }) => {
      if (method === "writeSync") fs.rmSync(fencePath(root, counter), { recursive: true, force: true });
    });
    expect(await rejection(take(store, counter))).toMatchObject({
      code: "store-unavailable",
      consumed: true,
    });
  });
});

describe("a failed sync of a fence", () => {
  test("is the end: told once, and every call is refused from then on", async () => {
    const { root, counter, store, fatal } = await openUsed(41);
    const other = newCounter();
    await take(store, other);
    failWith((call) => (call.method === "fsync" ? systemError("EIO", call) : undefined));
    const errors = await Promise.all([rejection(take(store, counter)), rejection(take(store, other))]);
    for (const error of errors) {
      expect(error).toMatchObject({ code: "store-unavailable", consumed: true });
      expect(error.message).toBe(
        "expected the fence to be synced, got EIO; the service ends, to start again from what is on the disk",
      );
    }
    expect(fatal).toHaveLength(1);
    const calls = [
      store.commit(counter, [{ by: 1 }], { create: true }),
      store.set(counter, 100, { force: true }),
      store.peek(counter),
      store.check(),
      store.peek(newCounter()),
    ];
    for (const call of calls) {
      expect(await rejection(call)).toMatchObject({ code: "store-unavailable", consumed: false });
    }
    expect(fence(root, counter)).toEqual(["42"]);
    await store.close();
    expect(fatal).toHaveLength(1);
  });

  test("by a peek is the end as well", async () => {
    const { counter, store, fatal } = await openUsed(41);
    failWith((call) => (call.method === "fsync" ? systemError("EIO", call) : undefined));
    expect(await rejection(store.peek(counter))).toMatchObject({ code: "store-unavailable" });
    expect(fatal).toHaveLength(1);
  });

  test("leaves no other commit in flight answered, though its own sync succeeds", async () => {
    const root = makeDirectory();
    const { store, fatal } = await openStore(root);
    const [one, other] = [newCounter(), newCounter()];
    let syncs = 0;
    failWith((call) => {
      if (!isSyncOf(call, path.join(root, ".fence"))) return;
      syncs += 1;
      return syncs === 1 ? systemError("EIO", call) : undefined;
    });
    const errors = await Promise.all([rejection(take(store, one)), rejection(take(store, other))]);
    expect(errors).toMatchObject([
      { code: "store-unavailable", consumed: true },
      { code: "store-unavailable", consumed: true },
    ]);
    expect(syncs).toBe(2);
    expect(fatal).toHaveLength(1);
    expect(await rejection(take(store, newCounter()))).toMatchObject({ consumed: false });
  });

  test("leaves the value file of the Go original as it is, for that is the only copy on the disk", async () => {
    const { root, counter, store } = await openWithFile("41\n");
    const repair = failWith((call) =>
      isSyncOf(call, path.join(root, ".fence")) ? systemError("EIO", call) : undefined,
    );
    expect(await rejection(take(store, counter))).toMatchObject({ consumed: true });
    repair();
    expect(valueFile(root, counter)).toBe("41\n");
    expect(await take((await reopen({ root, counter, store })).store, counter)).toBe(43);
  });
});

describe("an operation that fails", () => {
  test("at the move of the fence counts the numbers as used, and repeats none", async () => {
    const { root, counter, store } = await openUsed(41);
    for (const isMoved of [false, true]) {
      const repair = failWith((call) => {
        if (call.method !== "renameSync" || !String(call.args[0]).startsWith(fencePath(root, counter)))
          return;
        if (isMoved) fs.renameSync(call.args[0] as string, call.args[1] as string);
        return systemError("EIO", call);
      });
      expect(await rejection(take(store, counter))).toMatchObject({
        code: "store-unavailable",
        message: "expected to move the fence, got EIO",
        consumed: true,
      });
      repair();
    }
    expect(await take(store, counter)).toBe(43);
  });

  test("at the first fence's rename counts the numbers as used", async () => {
    const root = makeDirectory();
    const counter = newCounter();
    const { store } = await openStore(root);
    const repair = failWith((call) => (call.method === "renameSync" ? systemError("EIO", call) : undefined));
    expect(await rejection(take(store, counter))).toMatchObject({ consumed: true });
    repair();
    expect(await take(store, counter)).toBe(1);
  });

  test("before the fence moves consumes nothing: no descriptor is left", async () => {
    const { root, counter, store } = await reopen(await openUsed(41));
    const repair = failWith((call) => (call.method === "openSync" ? systemError("EMFILE", call) : undefined));
    for (const name of [counter, newCounter()]) {
      expect(await rejection(take(store, name))).toMatchObject({
        code: "store-unavailable",
        message: "expected to read and write the counter's files, got EMFILE",
        consumed: false,
      });
    }
    expect(await rejection(store.peek(counter))).toMatchObject({
      code: "store-unavailable",
      message: "expected to read the counter's files, got EMFILE",
    });
    repair();
    expect(fence(root, counter)).toEqual(["41"]);
    expect(await take(store, counter)).toBe(42);
  });

  test("while the value file is written burns the numbers once; then the disk has to prove itself", async () => {
    const { root, counter, store, fatal } = await openUsed(9);
    const repair = failWith((call) =>
      call.method === "openSync" &&
      call.args[1] !== fs.constants.O_RDONLY &&
      !/^number$/.test(typeof call.args[1])
        ? systemError("EMFILE", call)
        : undefined,
    );
    // Two digits more: not in place.
    expect(await rejection(commit(store, counter, [91]))).toMatchObject({
      code: "store-unavailable",
      message: "expected to write the value file, got EMFILE",
      consumed: true,
    });
    for (let tries = 0; tries < 3; tries += 1) {
      expect(await rejection(take(store, counter))).toMatchObject({
        message: "expected to write, rename and sync a small file, got EMFILE",
        consumed: false,
      });
    }
    expect(fence(root, counter)).toEqual(["100"]);
    repair();
    expect(await take(store, counter)).toBe(101);
    expect(valueFile(root, counter)).toBe("101\n");
    expect(fatal).toEqual([]);
  });

  test("a short write is noticed and made good", async () => {
    const { root, counter, store } = await openUsed(9);
    let writes = 0;
    failWith(({ method }) => (method === "writeSync" && ++writes <= 3 ? "short" : undefined));
    expect(await commit(store, counter, [1, 1])).toEqual([10, 11]);
    expect(valueFile(root, counter)).toBe("11\n");
  });

  test("a disk that only ever writes a part is full", async () => {
    const { root, counter, store } = await openUsed(41);
    const repair = failWith(({ method }) => (method === "writeSync" ? "short" : undefined));
    expect(await rejection(take(store, counter))).toMatchObject({
      code: "store-unavailable",
      message: "expected to write the value file, got an unexpected failure",
      consumed: true,
      cause: { message: "expected the value file to say what the fence does within 100 writes" },
    });
    expect(await rejection(take(store, counter))).toMatchObject({ code: "store-full", consumed: false });
    repair();
    expect(await take(store, counter)).toBe(43);
    expect(valueFile(root, counter)).toBe("43\n");
  });

  test("a value file that cannot be synced at rest is told, and harms nothing: its fence stands", async () => {
    const { root, counter, store, logged, fatal } = await openUsed(41);
    const repair = failWith((call) =>
      isSyncOf(call, valuePath(root, counter)) ? systemError("EIO", call) : undefined,
    );
    await store.close();
    repair();
    expect(logged).toMatchObject([
      {
        level: "error",
        details: { counter, err: { code: "EIO" } },
        message: expect.stringMatching(/fence stands/),
      },
    ]);
    expect(fatal).toEqual([]);
    expect(await take((await openStore(root)).store, counter)).toBe(42);
  });

  test("check tells it, all who ask at once by one probe, and recovers", async () => {
    const { store } = await openStore(makeDirectory());
    await store.check();
    let writes = 0;
    const repair = failWith((call) => {
      if (call.method !== "writeSync") return;
      writes += 1;
      return systemError("EROFS", call);
    });
    const errors = await Promise.all([rejection(store.check()), rejection(store.check())]);
    expect(errors).toMatchObject([{ code: "store-unavailable" }, { code: "store-unavailable" }]);
    expect(writes).toBe(1);
    expect(await rejection(take(store, newCounter()))).toMatchObject({ consumed: false });
    repair();
    await store.check();
    expect(await take(store, newCounter())).toBe(1);
  });
});

describe("closing", () => {
  test("waits for a peek in hand, which needs the directory's descriptors until its end", async () => {
    const used = await openUsed(1);
    const { store, counter, fatal } = await reopen(used);
    const peek = store.peek(counter);
    await store.close();
    expect(await peek).toBe(1);
    expect(fatal).toEqual([]);
  });

  test("leaves no lock and no temporary file, and all descriptors are closed", async () => {
    const root = makeDirectory();
    const { store } = await openStore(root);
    const counters = Array.from({ length: 20 }, newCounter);
    for (const counter of [...counters, ...counters]) await take(store, counter);
    await store.close();
    expect(fs.readdirSync(root).sort()).toEqual([".fence", ".new", ...counters].sort());
    expect(fs.readdirSync(path.join(root, ".new"))).toEqual([]);
    expect(openedIn(root)).toEqual([]);
  });
});

/** Why no small file system can be mounted here, or undefined where one can. */
function whyNoMount(): string | undefined {
  const directory = fs.mkdtempSync(path.join(tmpdir(), "file-store-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "none", directory], { stdio: "pipe" });
    execFileSync("umount", [directory]);
    return undefined;
  } catch (error) {
    return String((error as { stderr?: unknown }).stderr ?? error).trim();
  } finally {
    fs.rmdirSync(directory);
  }
}

const noMount = whyNoMount();
(noMount === undefined ? describe : describe.skip)(
  `a full disk${noMount ? ` (skipped: ${noMount})` : ""}`,
  () => {
    /** A file system of this size. */
    function mountTmpfs(options: string): string {
      const directory = makeDirectory();
      execFileSync("mount", ["-t", "tmpfs", "-o", options, "none", directory]);
      afterThisTest(() => {
        execFileSync("umount", ["-l", directory]);
      });
      return directory;
    }

    /** Makes files until no more go in; returns what removes them. */
    function fill(root: string, text: string): () => void {
      const directory = path.join(root, ".filler");
      fs.mkdirSync(directory);
      try {
        for (let at = 0; ; at += 1) fs.writeFileSync(path.join(directory, `${at}`), text);
      } catch (error) {
        expect(error).toMatchObject({ code: "ENOSPC" });
      }
      return () => fs.rmSync(directory, { recursive: true });
    }

    test("burns numbers once at most, and refuses until there is room", async () => {
      const root = mountTmpfs("size=256k");
      const counter = newCounter();
      const { store, fatal } = await openStore(root);
      await store.set(counter, 9, { force: false });
      const empty = fill(root, "x".repeat(4_096));
      // Two digits more: not in place.
      expect(await rejection(commit(store, counter, [91]))).toMatchObject({
        code: "store-full",
        message: "expected to write the value file, got a full disk",
        consumed: true,
      });
      for (let tries = 0; tries < 5; tries += 1) {
        expect(await rejection(take(store, counter))).toMatchObject({ code: "store-full", consumed: false });
      }
      expect(await rejection(store.check())).toMatchObject({ code: "store-full" });
      expect(await rejection(take(store, newCounter()))).toMatchObject({
        code: "store-full",
        consumed: false,
      });
      expect(await store.peek(counter)).toBe(100);
      expect([fence(root, counter), valueFile(root, counter)]).toEqual([["100"], "9\n"]);
      empty();
      expect(await take(store, counter)).toBe(101);
      expect(valueFile(root, counter)).toBe("101\n");
      expect(fatal).toEqual([]);
    });

    test("serves on what needs no room: the next number of the same length", async () => {
      const root = mountTmpfs("size=256k");
      const counter = newCounter();
      const { store } = await openStore(root);
      await store.set(counter, 41, { force: false });
      fill(root, "x".repeat(4_096));
      expect(await take(store, counter)).toBe(42);
      expect(valueFile(root, counter)).toBe("42\n");
    });

    test("without inodes refuses before a number is used, when not even a lock can be made", async () => {
      const root = mountTmpfs("nr_inodes=40");
      const counter = newCounter();
      const before = await openStore(root);
      await before.store.set(counter, 41, { force: false });
      await before.store.close();
      const { store } = await openStore(root);
      const empty = fill(root, "");
      for (const name of [counter, newCounter()]) {
        expect(await rejection(take(store, name))).toMatchObject({ code: "store-full", consumed: false });
      }
      expect(fence(root, counter)).toEqual(["41"]);
      empty();
      expect(await take(store, counter)).toBe(42);
    });
  },
);
