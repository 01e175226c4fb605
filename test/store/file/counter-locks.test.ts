import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "@jest/globals";
import { CounterLocks } from "../../../src/store/file/counter-locks.ts";
import { systemError } from "../../faults/fs-shim.ts";
import { newCounter } from "../new-counter.ts";
import { afterThisTest, cleanUpAfterEach, failWith, makeDirectory } from "./scratch.ts";

cleanUpAfterEach();

const staleMs = 10_000;

/** A counter's value path, its lock's path, and two who may want that lock. */
function createRivals() {
  const file = path.join(makeDirectory(), newCounter());
  const rivals = [new CounterLocks(staleMs), new CounterLocks(staleMs)] as const;
  afterThisTest(() => {
    for (const locks of rivals) locks.release(file);
  });
  return { file, lock: `${file}.lock`, one: rivals[0], other: rivals[1] };
}

function makeStale(lock: string): void {
  const longAgo = new Date(Date.now() - 2 * staleMs);
  fs.utimesSync(lock, longAgo, longAgo);
}

describe("taking", () => {
  test("is for one at a time, by a directory beside the value file", () => {
    const { file, lock, one, other } = createRivals();
    expect(one.tryAcquire(file)).toBe("held");
    expect(fs.statSync(lock).isDirectory()).toBe(true);
    expect(other.tryAcquire(file)).toBe("busy");
    expect([one.isHeld(file), other.isHeld(file)]).toEqual([true, false]);
    one.release(file);
    expect(fs.existsSync(lock)).toBe(false);
    expect(one.isHeld(file)).toBe(false);
    expect(other.tryAcquire(file)).toBe("held");
  });

  test("takes over a lock that nobody refreshed for too long, and the old holder sees that", () => {
    const { file, lock, one, other } = createRivals();
    one.tryAcquire(file);
    expect(one.isWanted(file)).toBe(false);
    makeStale(lock);
    expect(other.tryAcquire(file)).toBe("held");
    expect(other.isWanted(file)).toBe(false);
    expect(one.isWanted(file)).toBe(true);
  });

  test("takes over a lock that a dead process left", () => {
    const { file, lock, one } = createRivals();
    fs.mkdirSync(lock);
    expect(one.tryAcquire(file)).toBe("busy");
    makeStale(lock);
    expect(one.tryAcquire(file)).toBe("held");
  });

  test("never throws: it tells what the file system said", () => {
    const { one } = createRivals();
    const nowhere = path.join(makeDirectory(), "missing", newCounter());
    expect(one.tryAcquire(nowhere)).toMatchObject({ error: { code: "ENOENT" } });
    expect(one.isHeld(nowhere)).toBe(false);
    const { file, lock } = createRivals();
    fs.writeFileSync(lock, "a file in the lock's place");
    makeStale(lock);
    expect(one.tryAcquire(file)).toMatchObject({ error: { code: "ENOTDIR" } });
    expect(fs.existsSync(lock)).toBe(true);
  });
});

describe("wanting", () => {
  test("tells the holder, until the lock is given up", () => {
    const { file, one, other } = createRivals();
    one.tryAcquire(file);
    expect(one.isWanted(file)).toBe(false);
    other.want(file);
    other.want(file);
    expect(one.isWanted(file)).toBe(true);
    one.release(file);
    other.tryAcquire(file);
    expect(other.isWanted(file)).toBe(false);
  });

  test("a lock that is gone changes nothing", () => {
    const { file, lock, other } = createRivals();
    other.want(file);
    expect(fs.existsSync(lock)).toBe(false);
  });
});

describe("releasing", () => {
  test("leaves a lock that another has taken over, whose inode is mostly the same again", () => {
    const { file, lock, one, other } = createRivals();
    one.tryAcquire(file);
    makeStale(lock);
    other.tryAcquire(file);
    one.release(file);
    expect(fs.existsSync(lock)).toBe(true);
    expect([one.isHeld(file), other.isHeld(file)]).toEqual([false, true]);
    expect(other.isWanted(file)).toBe(false);
  });

  test("what was never held does nothing", () => {
    const { file, lock, one, other } = createRivals();
    one.tryAcquire(file);
    other.release(path.join(path.dirname(file), newCounter()));
    expect(fs.existsSync(lock)).toBe(true);
  });

  test("leaves behind a lock that cannot be removed, and forgets it", () => {
    const { file, lock, one } = createRivals();
    one.tryAcquire(file);
    const inside = path.join(lock, "something");
    fs.writeFileSync(inside, "");
    one.release(file);
    expect([one.isHeld(file), fs.existsSync(lock)]).toEqual([false, true]);
  });
});

test("a lock that was removed is noticed: at a look, and by the refresh", async () => {
  const file = path.join(makeDirectory(), newCounter());
  const locks = new CounterLocks(2_000);
  afterThisTest(() => locks.release(file));
  locks.tryAcquire(file);
  fs.rmdirSync(`${file}.lock`);
  expect(locks.isWanted(file)).toBe(true);
  expect(locks.isHeld(file)).toBe(true);
  while (locks.isHeld(file)) await new Promise((resolve) => setTimeout(resolve, 50));
});

test("a lock that cannot be looked at counts as wanted, and throws nothing", () => {
  const { file, lock, one } = createRivals();
  one.tryAcquire(file);
  const repair = failWith((call) =>
    call.method === "statSync" && call.args[0] === lock ? systemError("EIO", call) : undefined,
  );
  expect(one.isWanted(file)).toBe(true);
  repair();
  expect(one.isWanted(file)).toBe(false);
});
