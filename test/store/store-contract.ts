import { afterEach, describe, expect, test } from "@jest/globals";
import type { CounterName } from "../../src/counter/counter-name.ts";
import type { CounterError, ErrorCode } from "../../src/counter/errors.ts";
import { allocate, type Claim, maxValue, type Outcome, type Store } from "../../src/counter/store.ts";
import { newCounter } from "./new-counter.ts";

/**
 * The contract of `src/counter/store.ts` as one suite, which every store has to pass.
 *
 * All instances work on the same data, and each test takes counters of its own, so the data may be old or new.
 *
 * @param name what the suite is called
 * @param openInstance opens one more instance on the same data, sharing nothing else with the ones before, as another
 *   process would. The suite closes what it opened.
 */
export function describeStoreContract(name: string, openInstance: () => Promise<Store>): void {
  const opened: Store[] = [];

  async function open(): Promise<Store> {
    const store = await openInstance();
    opened.push(store);
    return store;
  }

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()));
  });

  describe(`${name} keeps the store contract`, () => {
    test("describes itself in one phrase", async () => {
      const store = await open();
      expect(store.description).toMatch(/^\S.*\S$/);
    });

    describe("commit", () => {
      test("starts a new counter at 1 and counts up one by one", async () => {
        const store = await open();
        const counter = newCounter();
        expect(await take(store, counter)).toBe(1);
        expect(await take(store, counter)).toBe(2);
        expect(await take(store, counter)).toBe(3);
      });

      test("serves the claims of a batch in order", async () => {
        const store = await open();
        const counter = newCounter();
        expect(await commit(store, counter, [1, 1, 1])).toEqual([1, 2, 3]);
        expect(await commit(store, counter, [1, 1])).toEqual([4, 5]);
      });

      test("gives each claim as many numbers as it takes, and answers the last of them", async () => {
        const store = await open();
        const counter = newCounter();
        expect(await commit(store, counter, [5, 1, 1_000_000_000_000, 2])).toEqual([
          5, 6, 1_000_000_000_006, 1_000_000_000_008,
        ]);
        expect(await take(store, counter)).toBe(1_000_000_000_009);
      });

      test("takes a batch of 5,000 claims", async () => {
        const store = await open();
        const counter = newCounter();
        const numbers = await commit(store, counter, new Array<number>(5_000).fill(1));
        expect(numbers).toEqual(sequence(1, 5_000));
      });

      test("keeps counters apart", async () => {
        const store = await open();
        const [one, other] = [newCounter(), newCounter()];
        expect(await commit(store, one, [1, 1, 1])).toEqual([1, 2, 3]);
        expect(await commit(store, other, [1])).toEqual([1]);
        await store.set(other, 100, { force: false });
        expect(await take(store, one)).toBe(4);
        expect(await take(store, other)).toBe(101);
      });

      test("works on many counters at once, each of them for the first time", async () => {
        const store = await open();
        const counters = Array.from({ length: 100 }, newCounter);
        const first = await Promise.all(counters.map((counter) => take(store, counter)));
        expect(first).toEqual(new Array(100).fill(1));
        const second = await Promise.all(counters.map((counter) => take(store, counter)));
        expect(second).toEqual(new Array(100).fill(2));
      });

      test("hands out a range that reaches the end exactly, and then nothing", async () => {
        const store = await open();
        const counter = newCounter();
        expect(await commit(store, counter, [maxValue])).toEqual([maxValue]);
        expect(await commit(store, counter, [1, maxValue])).toEqual([
          "counter-exhausted",
          "counter-exhausted",
        ]);
        expect(await store.peek(counter)).toBe(maxValue);
      });

      test("counts the last numbers below 2^53 without rounding", async () => {
        const store = await open();
        const counter = newCounter();
        await store.set(counter, maxValue - 5, { force: false });
        for (const expected of sequence(maxValue - 4, maxValue)) {
          expect(await take(store, counter)).toBe(expected);
        }
        expect(await commit(store, counter, [1])).toEqual(["counter-exhausted"]);
      });

      test("refuses alone the claim that would pass the end, and serves smaller ones behind it", async () => {
        const store = await open();
        const counter = newCounter();
        await store.set(counter, maxValue - 10, { force: false });
        expect(await commit(store, counter, [3, 8, 5, maxValue, 2, 1])).toEqual([
          maxValue - 7,
          "counter-exhausted",
          maxValue - 2,
          "counter-exhausted",
          maxValue,
          "counter-exhausted",
        ]);
        expect(await store.peek(counter)).toBe(maxValue);
      });

      test("serves what fits of a first batch whose sum passes the end", async () => {
        const store = await open();
        const counter = newCounter();
        expect(await commit(store, counter, [maxValue - 1, maxValue, 2, 1])).toEqual([
          maxValue - 1,
          "counter-exhausted",
          "counter-exhausted",
          maxValue,
        ]);
      });

      test("without create, refuses a counter never used and does not bring it into being", async () => {
        const store = await open();
        const counter = newCounter();
        for (const by of [1, 7, maxValue]) {
          const error = await rejection(store.commit(counter, [{ by }], { create: false }));
          expect(error).toMatchObject({ code: "counter-not-found", consumed: false });
        }
        expect(await store.peek(counter)).toBeUndefined();
        expect(await take(store, counter)).toBe(1);
      });

      test("without create, serves a counter that exists", async () => {
        const store = await open();
        const [used, set] = [newCounter(), newCounter()];
        await take(store, used);
        await store.set(set, 0, { force: false });
        expect(await commit(store, used, [1, 2], { create: false })).toEqual([2, 4]);
        expect(await commit(store, set, [1, 2], { create: false })).toEqual([1, 3]);
        await store.set(set, maxValue, { force: false });
        expect(await commit(store, set, [1], { create: false })).toEqual(["counter-exhausted"]);
      });
    });

    describe("peek", () => {
      test("does not know a counter never used, and does not bring it into being", async () => {
        const store = await open();
        const counter = newCounter();
        expect(await store.peek(counter)).toBeUndefined();
        expect(await store.peek(counter)).toBeUndefined();
        expect(await take(store, counter)).toBe(1);
      });

      test("answers the last number issued and consumes none", async () => {
        const store = await open();
        const counter = newCounter();
        await commit(store, counter, [1, 1]);
        expect(await store.peek(counter)).toBe(2);
        expect(await store.peek(counter)).toBe(2);
        expect(await take(store, counter)).toBe(3);
      });

      test("sees what another instance has just committed or set", async () => {
        const [one, other] = [await open(), await open()];
        const counter = newCounter();
        for (const expected of sequence(1, 10)) {
          expect(await take(one, counter)).toBe(expected);
          expect(await other.peek(counter)).toBe(expected);
        }
        await one.set(counter, 50, { force: false });
        expect(await other.peek(counter)).toBe(50);
        await other.set(counter, 20, { force: true });
        expect(await one.peek(counter)).toBe(20);
      });
    });

    describe("set", () => {
      test("moves a counter forward, so that the next number follows", async () => {
        const store = await open();
        const counter = newCounter();
        await take(store, counter);
        await store.set(counter, 300, { force: false });
        expect(await store.peek(counter)).toBe(300);
        expect(await take(store, counter)).toBe(301);
      });

      test("creates a counter that was never used", async () => {
        const store = await open();
        const [counter, forced] = [newCounter(), newCounter()];
        await store.set(counter, 41, { force: false });
        expect(await take(store, counter)).toBe(42);
        await store.set(forced, 6, { force: true });
        expect(await take(store, forced)).toBe(7);
      });

      test("takes the value that the counter has already", async () => {
        const store = await open();
        const counter = newCounter();
        await commit(store, counter, [3]);
        await store.set(counter, 3, { force: false });
        await store.set(counter, 3, { force: true });
        expect(await take(store, counter)).toBe(4);
      });

      test("refuses to lower a counter, and changes nothing", async () => {
        const store = await open();
        const counter = newCounter();
        await commit(store, counter, [10]);
        for (const value of [9, 1, 0]) {
          const error = await rejection(store.set(counter, value, { force: false }));
          expect(error).toMatchObject({ code: "lowering-refused", consumed: false });
          expect(error.message).toMatch(/at least 10\b.*got \d/);
        }
        expect(await take(store, counter)).toBe(11);
      });

      test("compares as numbers, whatever their length", async () => {
        const store = await open();
        const counter = newCounter();
        await store.set(counter, 9, { force: false });
        await store.set(counter, 10, { force: false });
        await store.set(counter, 9_007_199_254_740_990, { force: false });
        for (const value of [9_007_199_254_740_989, 999, 90]) {
          expect(await rejection(store.set(counter, value, { force: false }))).toMatchObject({
            code: "lowering-refused",
          });
        }
        await store.set(counter, maxValue, { force: false });
        expect(await store.peek(counter)).toBe(maxValue);
      });

      test("lowers a counter by force", async () => {
        const store = await open();
        const counter = newCounter();
        await commit(store, counter, [10]);
        await store.set(counter, 4, { force: true });
        expect(await store.peek(counter)).toBe(4);
        expect(await commit(store, counter, [1, 1])).toEqual([5, 6]);
        await store.set(counter, 8, { force: false });
        expect(await take(store, counter)).toBe(9);
      });

      test("sets 0, from which counting starts at 1 again", async () => {
        const store = await open();
        const [fresh, used] = [newCounter(), newCounter()];
        await store.set(fresh, 0, { force: false });
        expect(await store.peek(fresh)).toBe(0);
        expect(await take(store, fresh)).toBe(1);
        await commit(store, used, [10]);
        await store.set(used, 0, { force: true });
        expect(await store.peek(used)).toBe(0);
        expect(await take(store, used)).toBe(1);
      });

      test("sets the largest value, after which no number is left until it is lowered", async () => {
        const store = await open();
        const counter = newCounter();
        await store.set(counter, maxValue, { force: false });
        expect(await store.peek(counter)).toBe(maxValue);
        expect(await commit(store, counter, [1])).toEqual(["counter-exhausted"]);
        expect(await rejection(store.set(counter, maxValue - 1, { force: false }))).toMatchObject({
          code: "lowering-refused",
        });
        await store.set(counter, maxValue - 1, { force: true });
        expect(await take(store, counter)).toBe(maxValue);
      });
    });

    describe("several instances", () => {
      test("continue each other's numbers", async () => {
        const [one, other] = [await open(), await open()];
        const counter = newCounter();
        for (const at of sequence(1, 20)) {
          expect(await take(at % 3 === 0 ? one : other, counter)).toBe(at);
        }
      });

      test("together give distinct and gapless numbers, increasing for each of them", async () => {
        const instances = [await open(), await open(), await open()];
        const counter = newCounter();
        const numbers = await Promise.all(
          instances.map(async (store) => {
            const mine: number[] = [];
            for (let round = 0; round < 40; round += 1) {
              mine.push(...((await commit(store, counter, [1, 1, 1])) as number[]));
            }
            expect(mine).toEqual([...mine].sort(ascending));
            return mine;
          }),
        );
        expect(numbers.flat().sort(ascending)).toEqual(sequence(1, 360));
      });

      test("can all use one counter for the first time at once", async () => {
        const instances = [await open(), await open(), await open(), await open()];
        for (let round = 0; round < 20; round += 1) {
          const counter = newCounter();
          const numbers = await Promise.all(instances.map((store) => take(store, counter)));
          expect(numbers.sort(ascending)).toEqual([1, 2, 3, 4]);
        }
      });

      test("can set and use one counter for the first time at once", async () => {
        const [one, other, third] = [await open(), await open(), await open()];
        for (let round = 0; round < 20; round += 1) {
          const counter = newCounter();
          const [number, last] = await Promise.all([
            take(one, counter),
            take(other, counter),
            third.set(counter, 100, { force: false }),
          ]);
          expect(new Set([number, last]).size).toBe(2);
          for (const value of [number, last]) expect([1, 2, 101, 102]).toContain(value);
          expect(await third.peek(counter)).toBe(Math.max(number as number, last as number, 100));
        }
      });

      test("never repeat a number while one of them sets the counter forward", async () => {
        const [one, other, third] = [await open(), await open(), await open()];
        const counter = newCounter();
        const numbers: number[] = [];
        async function work(store: Store): Promise<void> {
          for (let round = 0; round < 50; round += 1) {
            numbers.push(...((await commit(store, counter, [1, 1])) as number[]));
          }
        }
        async function raise(): Promise<void> {
          for (const value of [50, 90, 100, 1_000, 1_040, 10_000]) {
            const refused = await third.set(counter, value, { force: false }).catch((error) => error);
            if (refused !== undefined) expect(refused).toMatchObject({ code: "lowering-refused" });
            expect(await take(third, counter)).toBeGreaterThan(value);
          }
        }
        await Promise.all([work(one), work(other), raise()]);
        expect(numbers).toHaveLength(200);
        expect(new Set(numbers).size).toBe(200);
        expect(await third.peek(counter)).toBeGreaterThanOrEqual(Math.max(...numbers));
      });

      test("that set one counter at once leave the largest value", async () => {
        const instances = [await open(), await open(), await open()];
        const counter = newCounter();
        const values = [30, 10, 20, 60, 50, 40, 90, 80, 70];
        const results = await Promise.allSettled(
          instances.map(async (store, at) => {
            for (const value of values.slice(at * 3, at * 3 + 3)) {
              await store.set(counter, value, { force: false });
            }
          }),
        );
        for (const result of results) {
          if (result.status === "rejected") expect(result.reason).toMatchObject({ code: "lowering-refused" });
        }
        expect(await take(instances[0] as Store, counter)).toBe(91);
      });

      test("share the last numbers of a counter", async () => {
        const instances = [await open(), await open()];
        const counter = newCounter();
        await (instances[0] as Store).set(counter, maxValue - 5, { force: false });
        const outcomes = await Promise.all(instances.map((store) => commit(store, counter, [1, 1, 1, 1])));
        const numbers = outcomes.flat().filter((outcome) => outcome !== "counter-exhausted");
        expect(numbers.sort(ascending)).toEqual(sequence(maxValue - 4, maxValue));
        expect(outcomes.flat()).toHaveLength(8);
      });

      test("follow a counter that another one lowered by force", async () => {
        const [one, other] = [await open(), await open()];
        const counter = newCounter();
        await commit(one, counter, [100]);
        await take(other, counter);
        await one.set(counter, 10, { force: true });
        expect(await take(other, counter)).toBe(11);
        expect(await take(one, counter)).toBe(12);
      });
    });

    describe("close and open", () => {
      test("keep the numbers of every counter", async () => {
        const [used, set, lowered, empty] = [newCounter(), newCounter(), newCounter(), newCounter()];
        const before = await open();
        await commit(before, used, [1, 6]);
        await before.set(set, maxValue - 1, { force: false });
        await commit(before, lowered, [50]);
        await before.set(lowered, 20, { force: true });
        await before.set(empty, 0, { force: false });
        await before.close();

        const after = await open();
        expect(await after.peek(used)).toBe(7);
        expect(await after.peek(set)).toBe(maxValue - 1);
        expect(await after.peek(lowered)).toBe(20);
        expect(await after.peek(empty)).toBe(0);
        expect(await take(after, used)).toBe(8);
        expect(await take(after, set)).toBe(maxValue);
        expect(await take(after, lowered)).toBe(21);
        expect(await take(after, empty)).toBe(1);
      });

      test("end the commits in hand, which keep their numbers", async () => {
        const store = await open();
        const counters = Array.from({ length: 10 }, newCounter);
        const commits = Promise.all(counters.map((counter) => commit(store, counter, [1, 1])));
        await store.close();
        expect(await commits).toEqual(new Array(10).fill([1, 2]));
        const next = await open();
        expect(await Promise.all(counters.map((counter) => take(next, counter)))).toEqual(
          new Array(10).fill(3),
        );
      });

      test("may close twice, one after the other and at once", async () => {
        const store = await open();
        await take(store, newCounter());
        await Promise.all([store.close(), store.close()]);
        await store.close();
      });

      test("leave other instances at work", async () => {
        const [one, other] = [await open(), await open()];
        const counter = newCounter();
        await take(one, counter);
        await one.close();
        await other.check();
        expect(await take(other, counter)).toBe(2);
      });
    });

    test("check resolves while the store can commit, and consumes nothing", async () => {
      const store = await open();
      await store.check();
      const counter = newCounter();
      await take(store, counter);
      await Promise.all([store.check(), store.check()]);
      expect(await take(store, counter)).toBe(2);
    });

    const seed = Number(process.env["SEED"] ?? Math.floor(Math.random() * 2 ** 32));
    test(`two instances in turn behave as the plain model does (SEED=${seed})`, async () => {
      const random = createRandom(seed);
      const instances = [await open(), await open()];
      const counters = Array.from({ length: 4 }, newCounter);
      const model = new Map<CounterName, number>();
      const pick = <T>(items: readonly T[]): T => items[Math.floor(random() * items.length)] as T;
      const amounts = [1, 1, 1, 2, 10, 1_000, 2 ** 32, 2 ** 52, maxValue - 3, maxValue];
      for (let step = 0; step < 200; step += 1) {
        const store = pick(instances);
        const counter = pick(counters);
        const last = model.get(counter);
        const work = random();
        if (work < 0.6) {
          const bys = Array.from({ length: 1 + Math.floor(random() * 5) }, () => pick(amounts));
          const create = random() < 0.7;
          if (last === undefined && !create) {
            const error = await rejection(store.commit(counter, claims(bys), { create }));
            expect(error.code).toBe("counter-not-found");
          } else {
            const { next, outcomes } = allocate(last ?? 0, claims(bys));
            expect(await commit(store, counter, bys, { create })).toEqual(outcomes.map(shown));
            model.set(counter, next);
          }
        } else if (work < 0.85) {
          const value = pick([
            0,
            5,
            1_000,
            2 ** 33,
            maxValue - 4,
            maxValue,
            last ?? 0,
            Math.max(0, (last ?? 0) - 1),
          ]);
          const force = random() < 0.6;
          if (!force && value < (last ?? 0)) {
            expect((await rejection(store.set(counter, value, { force }))).code).toBe("lowering-refused");
          } else {
            await store.set(counter, value, { force });
            model.set(counter, value);
          }
        } else {
          expect(await store.peek(counter)).toBe(last);
        }
      }
    });
  });
}

/** Commits one batch; each claim's number, or the code with which it was refused. */
export async function commit(
  store: Store,
  counter: CounterName,
  bys: readonly number[],
  { create = true } = {},
): Promise<(number | ErrorCode)[]> {
  return (await store.commit(counter, claims(bys), { create })).map(shown);
}

/** Takes one number. */
export async function take(store: Store, counter: CounterName): Promise<number> {
  const [number] = await commit(store, counter, [1]);
  return number as number;
}

/** What a promise is rejected with; a promise that resolves fails the test. */
export async function rejection(promise: Promise<unknown>): Promise<CounterError> {
  return promise.then(
    (value) => {
      throw new Error(`expected a rejection, got ${JSON.stringify(value)}`);
    },
    (error) => error,
  );
}

/** The integers from `first` to `last`. */
export function sequence(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, at) => first + at);
}

export function ascending(one: number | string, other: number | string): number {
  return Number(one) - Number(other);
}

function claims(bys: readonly number[]): Claim[] {
  return bys.map((by) => ({ by }));
}

function shown(outcome: Outcome): number | ErrorCode {
  return "error" in outcome ? outcome.error.code : outcome.value;
}

/** Random numbers from 0 to 1 that follow from a seed (mulberry32, Tommy Ettinger, public domain). */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
