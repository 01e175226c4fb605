import { describe, expect, test } from "@jest/globals";
import type { CounterName } from "../../src/counter/counter-name.ts";
import { Counters, type CountersOptions } from "../../src/counter/counters.ts";
import { maxValue } from "../../src/counter/store.ts";
import { cleanUpAfterEach, makeDirectory, openStore } from "../store/file/scratch.ts";
import { newCounter } from "../store/new-counter.ts";
import { ascending, rejection, sequence } from "../store/store-contract.ts";

cleanUpAfterEach();

/** Counters on the real file store, in a directory of their own. */
async function openCounters(options?: CountersOptions): Promise<Counters> {
  const { store } = await openStore(makeDirectory());
  return new Counters(store, options);
}

describe("increment", () => {
  test("takes the next number, or the next few and answers the last of them", async () => {
    const counters = await openCounters();
    const counter = newCounter();
    expect(await counters.increment(counter)).toBe(1);
    expect(await counters.increment(counter, {})).toBe(2);
    expect(await counters.increment(counter, { by: 5 })).toBe(7);
    expect(await counters.increment(counter)).toBe(8);
  });

  test("by 0 takes none, and answers the last number issued, or 0", async () => {
    const counters = await openCounters();
    const counter = newCounter();
    expect(await counters.increment(counter, { by: 0 })).toBe(0);
    expect(await counters.peek(counter)).toBe(undefined);
    await counters.increment(counter, { by: 3 });
    expect(await counters.increment(counter, { by: 0 })).toBe(3);
    expect(await counters.increment(counter)).toBe(4);
  });

  test("refuses alone the caller whose numbers do not fit", async () => {
    const counters = await openCounters();
    const counter = newCounter();
    await counters.set(counter, maxValue - 2);
    const [first, tooMany, second] = await Promise.allSettled([
      counters.increment(counter),
      counters.increment(counter, { by: 5 }),
      counters.increment(counter),
    ]);
    expect(first).toMatchObject({ value: maxValue - 1 });
    expect(tooMany).toMatchObject({ reason: { code: "counter-exhausted", consumed: false } });
    expect(second).toMatchObject({ value: maxValue });
  });
});

describe("set", () => {
  test("moves forward only, unless it is forced", async () => {
    const counters = await openCounters();
    const counter = newCounter();
    await counters.set(counter, 300);
    expect(await counters.increment(counter)).toBe(301);
    expect(await rejection(counters.set(counter, 300))).toMatchObject({ code: "lowering-refused" });
    expect(await rejection(counters.set(counter, 300, {}))).toMatchObject({ code: "lowering-refused" });
    await counters.set(counter, 4, { force: true });
    expect(await counters.increment(counter)).toBe(5);
  });

  test("keeps its turn among increments", async () => {
    const counters = await openCounters();
    const counter = newCounter();
    const answers = await Promise.all([
      counters.increment(counter),
      counters.increment(counter),
      counters.set(counter, 100),
      counters.increment(counter),
      counters.increment(counter),
    ]);
    expect(answers).toEqual([1, 2, undefined, 101, 102]);
  });
});

test.each([-1, 0.5, 2 ** 53, Number.NaN, Number.POSITIVE_INFINITY, "7" as unknown as number])(
  "%p is no value: refused, and nothing consumed",
  async (value) => {
    const counters = await openCounters();
    const counter = newCounter();
    const refusal = {
      code: "invalid-value",
      consumed: false,
      message: `expected an integer from 0 to 9007199254740991, got "${value}"`,
    };
    expect(await rejection(counters.increment(counter, { by: value }))).toMatchObject(refusal);
    expect(await rejection(counters.set(counter, value))).toMatchObject(refusal);
    expect(await counters.peek(counter)).toBe(undefined);
  },
);

describe("without leave to create counters", () => {
  test("only set brings one into being", async () => {
    const counters = await openCounters({ createCounters: false });
    const counter = newCounter();
    for (const by of [0, 1]) {
      expect(await rejection(counters.increment(counter, { by }))).toMatchObject({
        code: "counter-not-found",
      });
    }
    expect(await counters.peek(counter)).toBe(undefined);
    await counters.set(counter, 0);
    expect(await counters.increment(counter, { by: 0 })).toBe(0);
    expect(await counters.increment(counter)).toBe(1);
  });
});

test("refuses callers beyond the most that may wait", async () => {
  const counters = await openCounters({ maxWaiting: 2 });
  const counter = newCounter();
  const admitted = [counters.increment(counter), counters.set(counter, 10)];
  expect(await rejection(counters.increment(newCounter()))).toMatchObject({ code: "overloaded" });
  expect(await Promise.all(admitted)).toEqual([1, undefined]);
  expect(await counters.increment(counter)).toBe(11);
});

test("check resolves while the store can commit", async () => {
  const counters = await openCounters();
  await counters.check();
});

describe("close", () => {
  test("answers those who wait, refuses newcomers, and may be called twice", async () => {
    const counters = await openCounters();
    const counter = newCounter();
    const waiting = Promise.all(sequence(1, 20).map(() => counters.increment(counter)));
    const closing = counters.close();
    expect(counters.close()).toBe(closing);
    const stopping = { code: "stopping", consumed: false };
    expect(await rejection(counters.increment(counter))).toMatchObject(stopping);
    expect(await rejection(counters.increment(counter, { by: 0 }))).toMatchObject(stopping);
    expect(await rejection(counters.peek(counter))).toMatchObject(stopping);
    expect(await rejection(counters.set(counter, 5))).toMatchObject(stopping);
    expect(await rejection(counters.check())).toMatchObject(stopping);
    expect(await waiting).toEqual(sequence(1, 20));
    await closing;
  });
});

describe("10,000 concurrent increments", () => {
  test("of one counter, from its first use, are distinct, gapless and in order of arrival", async () => {
    const counters = await openCounters();
    const counter = newCounter();
    const numbers = await Promise.all(sequence(1, 10_000).map(() => counters.increment(counter)));
    expect(numbers).toEqual(sequence(1, 10_000));
    expect(await counters.peek(counter)).toBe(10_000);
  });

  test("of one counter, that arrive while others are answered, are distinct, gapless and in order", async () => {
    const counters = await openCounters();
    const counter = newCounter();
    const callers = sequence(1, 100).map(async () => {
      const mine: number[] = [];
      for (let call = 0; call < 100; call += 1) mine.push(await counters.increment(counter));
      expect(mine).toEqual([...mine].sort(ascending));
      return mine;
    });
    const numbers = (await Promise.all(callers)).flat();
    expect(numbers.sort(ascending)).toEqual(sequence(1, 10_000));
  });

  test("of 500 counters, from their first use, are distinct, gapless and in order for each", async () => {
    const counters = await openCounters();
    const names = Array.from({ length: 500 }, newCounter);
    const numbers = await Promise.all(
      sequence(0, 9_999).map((at) => counters.increment(names[at % 500] as CounterName)),
    );
    expect(numbers).toEqual(sequence(0, 9_999).map((at) => 1 + Math.floor(at / 500)));
  });
});
