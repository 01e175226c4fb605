/**
 * A seeded simulation of the file store: random work by several instances on one directory, with hand edits of the value
 * files, failing file operations and restarts, against a plain model. `SEED=n` repeats a run, but for the
 * timing of what overlaps.
 *
 * Invariants:
 *
 *  1. No number is answered twice, unless the counter was lowered by force in between.
 *  2. A number is larger than every number answered before its call began, unless the counter was lowered since.
 *  3. Where nothing failed, numbers are gapless and come in the order of the claims, across instances and restarts.
 *  4. A call that failed with `consumed: false` changed nothing.
 *  5. A call that failed with `consumed: true` moved the counter by what it asked for, or not at all.
 *  6. A value file raised by hand above the highest number ever counts; any other edit of it, or its loss, counts nothing.
 *  7. After a failed sync of a fence every call is refused, until a restart.
 *  8. At rest each counter has one fence with one token, and its value file says the token's number.
 *  9. No call fails while nothing is made to fail.
 */
// Loaded before anything is made to fail: a module that could not be read stays unreadable for the whole process.
import "lmdb";
import fs from "node:fs";
import path from "node:path";
import { expect, test } from "@jest/globals";
import type { CounterName } from "../../../src/counter/counter-name.ts";
import { Counters } from "../../../src/counter/counters.ts";
import { CounterError } from "../../../src/counter/errors.ts";
import { maxValue } from "../../../src/counter/store.ts";
import { type FsMethod, systemError } from "../../faults/fs-shim.ts";
import { newCounter } from "../new-counter.ts";
import {
  cleanUpAfterEach,
  failWith,
  fence,
  fencePath,
  makeDirectory,
  type OpenedStore,
  openStore,
  valueFile,
  valuePath,
} from "./scratch.ts";

cleanUpAfterEach();

const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 32));
const steps = 250;

/** What is known of a counter. */
interface Model {
  /** The last number issued; undefined for a counter never used. */
  value: number | undefined;
  /** No number above this was ever issued, and no value file up to it is a raise. */
  highest: number;
  /** Numbers answered since the last lowering. */
  answered: Set<number>;
}

interface Instance extends OpenedStore {
  readonly counters: Counters;
}

test(`random work, edits, failures and restarts keep every promise (SEED=${seed})`, async () => {
  const random = createRandom(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const pick = <T>(items: readonly T[]) => items[below(items.length)] as T;
  const root = makeDirectory();
  const names = Array.from({ length: 5 }, newCounter);
  const models = new Map<CounterName, Model>(
    names.map((name) => [name, { value: undefined, highest: 0, answered: new Set() }]),
  );
  const instances: Instance[] = [];

  async function start(at: number): Promise<void> {
    const opened = await openStore(root, { lockWaitMs: 5 });
    instances[at] = { ...opened, counters: new Counters(opened.store) };
  }

  /** Does work while file operations fail at random; whether one did. */
  async function withFaults(work: () => Promise<void>): Promise<boolean> {
    const methods = new Set<FsMethod>(
      pick([
        ["renameSync"],
        ["openSync", "readSync"],
        ["writeSync"],
        ["fsync"],
        ["mkdirSync", "rmdirSync"],
        ["statSync", "chmodSync"],
      ] as const),
    );
    const code = pick(["EIO", "ENOSPC", "EACCES", "EMFILE", "EROFS"]);
    const share = pick([0.05, 0.3, 1]);
    let hasFailed = false;
    const repair = failWith((call) => {
      // Descriptors, and paths of the store: the test runner's own files are left alone.
      const isStore = /^\d+$|file-store-/.test(String(call.args[0]));
      if (!isStore || !methods.has(call.method) || random() >= share) return;
      hasFailed = true;
      if (call.method === "writeSync" && random() < 0.5) return "short";
      return systemError(code, call);
    });
    await work();
    repair();
    return hasFailed;
  }

  function isSpent(instance: Instance): boolean {
    return instance.fatal.length > 0;
  }

  /** What a call that was refused left behind: the model is moved to where the counter is, if that is allowed. */
  async function resolve(name: CounterName, candidates: readonly (number | undefined)[]): Promise<void> {
    const model = models.get(name) as Model;
    const probe = await openStore(root, { lockWaitMs: 5 });
    const value = await probe.store.peek(name);
    await probe.store.close();
    expect(candidates).toContain(value);
    if (value === undefined) return;
    model.value = value;
    model.highest = Math.max(fencedHighest(name) ?? 0, value);
  }

  /** The highest number that the fence tells of; undefined without a fence. */
  function fencedHighest(name: CounterName): number | undefined {
    if (!fs.existsSync(fencePath(root, name))) return undefined;
    return Number((fence(root, name)[0] as string).split("-").at(-1));
  }

  function checkError(error: unknown, instance: Instance, hasFailed: boolean): CounterError {
    if (!(error instanceof CounterError)) throw error;
    if (!hasFailed) expect({ error, isSpent: isSpent(instance) }).toMatchObject({ isSpent: true });
    return error;
  }

  /** A burst of increments from several instances at once. */
  async function increment(isFailing: boolean): Promise<void> {
    const name = pick(names);
    const model = models.get(name) as Model;
    const before = model.value ?? 0;
    const workers = isFailing || random() < 0.5 ? [pick(instances)] : instances;
    const calls = Array.from({ length: 1 + below(6) }, () => ({
      instance: pick(workers),
      by: pick([1, 1, 1, 2, 7, 100]),
    }));
    if (calls.reduce((sum, { by }) => sum + by, before) > maxValue) return;
    let results: PromiseSettledResult<number>[] = [];
    async function work(): Promise<void> {
      results = await Promise.allSettled(
        calls.map(({ instance, by }) => instance.counters.increment(name, { by })),
      );
    }
    const hasFailed = await (isFailing ? withFaults(work) : work().then(() => false));

    const taken = calls.reduce((sum, { by }) => sum + by, 0);
    const numbers: number[] = [];
    let isConsumed = false;
    results.forEach((result, at) => {
      const { instance, by } = calls[at] as (typeof calls)[number];
      if (result.status === "rejected") {
        isConsumed ||= checkError(result.reason, instance, hasFailed).consumed;
        return;
      }
      for (let number = result.value - by + 1; number <= result.value; number += 1) numbers.push(number);
    });
    for (const number of numbers) {
      expect(number).toBeGreaterThan(before);
      expect(model.answered).not.toContain(number);
      model.answered.add(number);
    }
    if (results.every(({ status }) => status === "fulfilled")) {
      expect([...numbers].sort((a, b) => a - b)).toEqual(
        Array.from({ length: taken }, (_, at) => before + 1 + at),
      );
      for (const worker of workers) {
        const mine = results
          .filter((_, at) => calls[at]?.instance === worker)
          .map((each) => (each as PromiseFulfilledResult<number>).value);
        expect(mine).toEqual([...mine].sort((a, b) => a - b));
      }
      model.value = before + taken;
      model.highest = Math.max(model.highest, model.value);
      return;
    }
    const last = Math.max(model.value ?? -1, ...numbers);
    const candidates: (number | undefined)[] =
      numbers.length > 0 || model.value !== undefined ? [last] : [undefined];
    if (isConsumed)
      for (let value = Math.max(last, before); value <= before + taken; value += 1) candidates.push(value);
    await resolve(name, candidates);
  }

  async function set(isFailing: boolean): Promise<void> {
    const name = pick(names);
    const model = models.get(name) as Model;
    const instance = pick(instances);
    const before = model.value ?? 0;
    const lower = Math.max(0, before - 1 - below(50));
    const value = pick([0, lower, lower, before, before + 1, before + below(50), 10, 1_000]);
    const force = random() < 0.6;
    let error: unknown;
    async function work(): Promise<void> {
      error = await instance.counters.set(name, value, { force }).catch((reason) => reason);
    }
    const hasFailed = await (isFailing ? withFaults(work) : work().then(() => false));
    const isLowering = value < before;
    if (error === undefined) {
      expect(force || !isLowering).toBe(true);
      model.highest = isLowering ? Math.min(model.highest + 1, maxValue) : Math.max(model.highest, value);
      model.value = value;
      if (isLowering) model.answered.clear();
      return;
    }
    if (error instanceof CounterError && error.code === "lowering-refused") {
      expect(!force && isLowering).toBe(true);
      return;
    }
    const { consumed } = checkError(error, instance, hasFailed);
    await resolve(name, consumed ? [model.value, value] : [model.value]);
    if (model.value === value && isLowering) model.answered.clear();
  }

  async function peek(): Promise<void> {
    const name = pick(names);
    const instance = pick(instances);
    if (isSpent(instance)) return;
    expect(await instance.counters.peek(name)).toBe(models.get(name)?.value);
  }

  /** Somebody edits a value file: replaces it, writes into it, or deletes it. */
  function edit(): void {
    const name = pick(names);
    const model = models.get(name) as Model;
    if (model.value === undefined) {
      // A file of the Go original that comes to light: only before the counter's first use.
      model.value = below(1_000);
      model.highest = model.value;
      fs.writeFileSync(valuePath(root, name), `${model.value}\n`);
      return;
    }
    const highest = fencedHighest(name);
    // A number that stands in the value file alone would be lost with it, as anybody would expect.
    const isSafe = highest !== undefined && highest >= model.value;
    if (isSafe && random() < 0.3) {
      fs.rmSync(valuePath(root, name), { force: true });
    } else if (isSafe && random() < 0.6) {
      fs.writeFileSync(
        valuePath(root, name),
        pick(["", "garbage\n", `${highest}\n`, `${below(highest + 1)}\n`]),
      );
    } else {
      model.value = model.highest + 1 + below(100);
      model.highest = model.value;
      fs.writeFileSync(valuePath(root, name), `${model.value}\n`);
    }
  }

  async function restart(): Promise<void> {
    const at = below(instances.length);
    await instances[at]?.counters.close();
    await start(at);
  }

  for (let at = 0; at < 3; at += 1) await start(at);
  for (let step = 0; step < steps; step += 1) {
    const work = random();
    if (work < 0.35) await increment(false);
    else if (work < 0.45) await increment(true);
    else if (work < 0.6) await set(false);
    else if (work < 0.7) await set(true);
    else if (work < 0.8) await peek();
    else if (work < 0.92) edit();
    else await restart();
    for (const [at, instance] of instances.entries()) {
      if (!isSpent(instance)) continue;
      await expect(instance.counters.increment(pick(names))).rejects.toMatchObject({ consumed: false });
      await instance.counters.close();
      await start(at);
    }
  }

  for (const name of names) await instances[0]?.counters.increment(name);
  await Promise.all(instances.map(({ counters }) => counters.close()));
  for (const [name, { value }] of models) {
    const [token, ...others] = fence(root, name);
    expect(others).toEqual([]);
    expect(Number((token as string).split("-")[0])).toBe((value ?? 0) + 1);
    expect(valueFile(root, name)).toBe(`${(value ?? 0) + 1}\n`);
  }
  expect(fs.readdirSync(path.join(root, ".fence")).sort()).toEqual([...names].sort());
});

/** Random numbers from 0 to 1 that follow from a seed (mulberry32, Tommy Ettinger, public domain). */
function createRandom(start: number): () => number {
  let state = start;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
