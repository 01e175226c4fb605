import fs from "node:fs";
import path from "node:path";
import { expect, test } from "@jest/globals";
import type { CounterName } from "../../../src/counter/counter-name.ts";
import {
  type ActiveCounter,
  ActiveCounters,
  type ActiveCountersOptions,
} from "../../../src/store/file/active-counters.ts";
import { CounterLocks } from "../../../src/store/file/counter-locks.ts";
import { newCounter } from "../new-counter.ts";
import { afterThisTest, cleanUpAfterEach, makeDirectory } from "./scratch.ts";

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
