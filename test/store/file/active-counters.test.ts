import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "@jest/globals";
import type { CounterName } from "../../../src/counter/counter-name.ts";
import {
  type ActiveCounter,
  ActiveCounters,
  type ActiveCountersOptions,
} from "../../../src/store/file/active-counters.ts";
import { CounterLocks } from "../../../src/store/file/counter-locks.ts";
import { newCounter } from "../new-counter.ts";
import { afterThisTest, cleanUpAfterEach, createGate, failWith, makeDirectory } from "./scratch.ts";

cleanUpAfterEach();

type Options = ActiveCountersOptions<string>;

/** Counters that know a text each, with a record of what they were told to settle and forget. */
function createActive(options: Partial<Options> = {}) {
  const root = options.root ?? makeDirectory();
  const settled: CounterName[] = [];
  const forgotten: CounterName[] = [];
  const lockErrors: unknown[] = [];
  const locks = new CounterLocks(10_000);
  const active = new ActiveCounters<string>({
    locks,
    root,
    lockWaitMs: 250,
    onLockError: (error) => lockErrors.push(error),
    settle: async ({ name }) => {
      settled.push(name);
    },
    forget: (counter) => {
      if (counter.known !== undefined) forgotten.push(counter.name);
      counter.known = undefined;
    },
    ...options,
  });
  afterThisTest(() => active.close());
  return { active, locks, root, settled, forgotten, lockErrors };
}

function isLocked(root: string, name: CounterName): boolean {
  return fs.existsSync(path.join(root, `${name}.lock`));
}

/** Enters, makes something known, and leaves. */
async function use(active: ActiveCounters<string>, name: CounterName): Promise<ActiveCounter<string>> {
  const counter = await active.enter(name);
  counter.known ??= "known";
  active.leave(counter);
  return counter;
}

test("does not retire for room a counter that somebody is just entering", async () => {
  const { active, root, forgotten } = createActive({ most: 1 });
  const [one, other] = [newCounter(), newCounter()];
  await use(active, one);
  const [newcomer, counter] = await Promise.all([active.enter(other), active.enter(one)]);
  expect(counter.retiring).toBe(undefined);
  expect(counter.known).toBe(forgotten.includes(one) ? undefined : "known");
  expect([isLocked(root, one), isLocked(root, other)]).toEqual([true, true]);
  active.leave(newcomer);
  active.leave(counter);
});

describe("a counter", () => {
  test("keeps its lock and what is known of it from one work to the next", async () => {
    const { active, root, forgotten } = createActive();
    const name = newCounter();
    const counter = await use(active, name);
    expect(counter.valuePath).toBe(path.join(root, name));
    expect(isLocked(root, name)).toBe(true);
    for (const pauseMs of [0, 60]) {
      await sleep(pauseMs);
      expect(await active.enter(name)).toBe(counter);
      expect(counter.known).toBe("known");
      active.leave(counter);
    }
    expect(forgotten).toEqual([]);
  });

  test("is forgotten when its lock was lost", async () => {
    const { active, locks, forgotten } = createActive();
    const name = newCounter();
    const counter = await use(active, name);
    locks.release(counter.valuePath);
    const again = await active.enter(name);
    expect([again.known, forgotten]).toEqual([undefined, [name]]);
    expect(locks.isHeld(counter.valuePath)).toBe(true);
    active.leave(again);
  });

  test("is settled, forgotten and unlocked when it was idle for long", async () => {
    const { active, root, settled, forgotten } = createActive();
    const name = newCounter();
    await use(active, name);
    while (isLocked(root, name)) await sleep(20);
    expect([settled, forgotten]).toEqual([[name], [name]]);
    await sleep(30);
    await use(active, name);
    expect(isLocked(root, name)).toBe(true);
    while (isLocked(root, name)) await sleep(20);
    expect(settled).toEqual([name, name]);
  });

  test("that is entered while it is being retired is made anew afterwards", async () => {
    const gate = createGate();
    let isSettling = false;
    const { active, locks } = createActive({
      most: 1,
      settle: () => {
        isSettling = true;
        return gate.opened;
      },
    });
    const [one, other] = [newCounter(), newCounter()];
    const retired = await use(active, one);
    const entering = active.enter(other);
    while (!isSettling) await sleep(1);
    const again = active.enter(one);
    await sleep(5);
    expect(locks.isHeld(retired.valuePath)).toBe(true);
    gate.open();
    const counter = await again;
    expect(counter).not.toBe(retired);
    expect([counter.known, locks.isHeld(counter.valuePath)]).toEqual([undefined, true]);
    active.leave(await entering);
    active.leave(counter);
  });
});

describe("room", () => {
  test("is made by retiring the one that was not used for longest", async () => {
    const { active, root, settled } = createActive({ most: 3 });
    const [a, b, c, d, e] = [newCounter(), newCounter(), newCounter(), newCounter(), newCounter()];
    for (const name of [a, b, c, a, d]) await use(active, name);
    expect(settled).toEqual([b]);
    await use(active, e);
    expect(settled).toEqual([b, c]);
    expect([a, b, c, d, e].map((name) => isLocked(root, name))).toEqual([true, false, false, true, true]);
  });

  test("is never more than that many idle ones, however many there are", async () => {
    const { active, root } = createActive({ most: 10 });
    for (const name of Array.from({ length: 200 }, newCounter)) await use(active, name);
    expect(fs.readdirSync(root)).toHaveLength(10);
  });

  test("is exceeded while more are busy, for nobody waits for another counter", async () => {
    const { active, root, settled } = createActive({ most: 2 });
    const names = Array.from({ length: 6 }, newCounter);
    const busy = await Promise.all(names.map((name) => active.enter(name)));
    expect(fs.readdirSync(root)).toHaveLength(6);
    expect(settled).toEqual([]);
    for (const counter of busy) active.leave(counter);
    await use(active, newCounter());
    expect(fs.readdirSync(root)).toHaveLength(2);
  });

  test("is waited for where all idle ones are being retired already", async () => {
    const gate = createGate();
    const { active, root } = createActive({ most: 1, settle: () => gate.opened });
    await use(active, newCounter());
    const entering = [newCounter(), newCounter()].map((name) => active.enter(name));
    await sleep(5);
    gate.open();
    for (const counter of await Promise.all(entering)) active.leave(counter);
    await use(active, newCounter());
    expect(fs.readdirSync(root)).toHaveLength(1);
  });
});

describe("a waiter for the lock", () => {
  test("is let in by a holder that is idle", async () => {
    const { active, root } = createActive();
    const rival = createActive({ root, lockWaitMs: 60_000 });
    const name = newCounter();
    await use(active, name);
    const counter = await rival.active.enter(name);
    expect(rival.locks.isHeld(counter.valuePath)).toBe(true);
    rival.active.leave(counter);
  });

  test("is let in at once, with all others who wait, and only some of their counters are settled then", async () => {
    const { active, root, settled } = createActive();
    const rival = createActive({ root });
    const counters: ActiveCounter<string>[] = [];
    for (let left = 40; left > 0; left -= 1) counters.push(await use(active, newCounter()));
    await sleep(20);
    for (const { valuePath } of counters) rival.locks.want(valuePath);
    while (counters.some(({ name }) => isLocked(root, name))) await sleep(5);
    expect(settled).toHaveLength(32);
  });

  test("is let in by a holder under load, who then waits itself", async () => {
    const { active, root, forgotten } = createActive({ lockWaitMs: 60_000 });
    const rival = createActive({ root, lockWaitMs: 60_000 });
    const name = newCounter();
    await use(active, name);
    let isServed = false;
    const served = use(rival.active, name).then(() => {
      isServed = true;
    });
    while (!isServed) {
      const counter = await active.enter(name);
      counter.known ??= "known";
      await sleep(2);
      active.leave(counter);
    }
    await served;
    expect(forgotten).toContain(name);
  });

  test("goes on without it when it waited in vain, and does not wait a second time", async () => {
    const { active, root } = createActive({ lockWaitMs: 30 });
    const name = newCounter();
    const lock = path.join(root, `${name}.lock`);
    fs.mkdirSync(lock);
    const isWanted = () => (fs.statSync(lock).mode & 0o1000) !== 0;
    const counter = await use(active, name);
    expect([counter.patienceMs, counter.known, isWanted()]).toEqual([0, "known", true]);
    fs.chmodSync(lock, 0o755);
    await active.enter(name);
    expect([counter.known, isWanted()]).toEqual([undefined, false]);
    active.leave(counter);
    fs.rmdirSync(lock);
    await active.enter(name);
    expect(counter.patienceMs).toBe(30);
    expect(isLocked(root, name)).toBe(true);
    active.leave(counter);
  });

  test("goes on without it when the file system refuses it, and tells why", async () => {
    const { active, lockErrors } = createActive({ root: path.join(makeDirectory(), "missing") });
    const counter = await use(active, newCounter());
    expect(lockErrors).toMatchObject([{ code: "ENOENT" }]);
    expect(counter.known).toBe("known");
  });
});

test("looks for waiters at a bounded number of idle counters at a time, and so at all", async () => {
  const { active, root } = createActive();
  const names = Array.from({ length: 100 }, newCounter);
  for (const name of names) await use(active, name);
  let looks = 0;
  failWith(({ method }) => {
    if (method === "statSync") looks += 1;
  });
  while (looks === 0) await sleep(5);
  expect(looks).toBeLessThanOrEqual(64);
  while (looks < 100) await sleep(5);
  expect(fs.readdirSync(root)).toHaveLength(100);
});

test("closing settles and unlocks every counter", async () => {
  const { active, root, settled } = createActive();
  const names = Array.from({ length: 10 }, newCounter);
  for (const name of names) await use(active, name);
  await active.close();
  expect(settled).toEqual(names);
  expect(fs.readdirSync(root)).toEqual([]);
});
