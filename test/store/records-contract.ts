import { afterEach, describe, expect, test } from "@jest/globals";
import type { CounterName } from "../../src/counter/counter-name.ts";
import type { ErrorCode } from "../../src/counter/errors.ts";
import {
  type BuildRecord,
  type Claim,
  maxValue,
  type Outcome,
  type RecordsQuery,
  type RetentionOptions,
  type Store,
} from "../../src/counter/store.ts";
import { newCounter } from "./new-counter.ts";
import { rejection, sequence, take } from "./store-contract.ts";
import { untilTrue } from "./until.ts";

const forEver: RetentionOptions = { keyRetentionMs: 0 };

/**
 * What the contract in `src/counter/store.ts` says of keys and records, as one suite, which every store has to pass.
 *
 * All instances work on the same data, and each test takes counters of its own, so the data may be old or new.
 *
 * @param name what the suite is called
 * @param openInstance opens one more instance on the same data, sharing nothing else with the ones before, as another
 *   process would. The suite closes what it opened.
 */
export function describeRecordsContract(
  name: string,
  openInstance: (options: RetentionOptions) => Promise<Store>,
): void {
  const opened: Store[] = [];

  async function open(options = forEver): Promise<Store> {
    const store = await openInstance(options);
    opened.push(store);
    return store;
  }

  afterEach(async () => {
    await Promise.all(opened.splice(0).map((store) => store.close()));
  });

  describe(`${name} keeps the contract of keys and records`, () => {
    describe("keys", () => {
      test("answers one key with one number, however often it comes", async () => {
        const store = await open();
        const counter = newCounter();
        const before = Date.now();
        const first = await claim(store, counter, { by: 1, key: "a" });
        const after = Date.now();
        expect(first).toEqual({ value: 1, record: { value: 1, atMs: expect.any(Number), key: "a" } });
        const { record } = first as { record: BuildRecord };
        expect(record.atMs).toBeGreaterThanOrEqual(before);
        expect(record.atMs).toBeLessThanOrEqual(after);
        for (let round = 0; round < 3; round += 1) {
          expect(await claim(store, counter, { by: 1, key: "a" })).toEqual({
            value: 1,
            record,
            isReplay: true,
          });
        }
        expect(await store.peek(counter)).toBe(1);
        expect(await take(store, counter)).toBe(2);
      });

      test("gives each key numbers of its own, and leaves those without key alone", async () => {
        const store = await open();
        const counter = newCounter();
        expect(await commit(store, counter, [keyed("a"), plain, keyed("b"), plain])).toEqual([1, 2, 3, 4]);
        expect(await commit(store, counter, [plain, keyed("b"), keyed("c"), keyed("a"), plain])).toEqual([
          5,
          "replay of 3",
          6,
          "replay of 1",
          7,
        ]);
        expect(await store.peek(counter)).toBe(7);
      });

      test("keeps the keys of counters apart", async () => {
        const store = await open();
        const [one, other] = [newCounter(), newCounter()];
        await commit(store, other, [plain, plain]);
        expect(await commit(store, one, [keyed("a")])).toEqual([1]);
        expect(await commit(store, other, [keyed("a")])).toEqual([3]);
      });

      test("takes equal keys of one batch for one claim", async () => {
        const store = await open();
        const counter = newCounter();
        const claims = [keyed("a"), plain, keyed("a"), keyed("b"), keyed("a"), keyed("b")];
        expect(await commit(store, counter, claims)).toEqual([
          1,
          2,
          "replay of 1",
          3,
          "replay of 1",
          "replay of 3",
        ]);
        expect(await store.peek(counter)).toBe(3);
      });

      test("records the metadata of the first of them, whatever the others bring", async () => {
        const store = await open();
        const counter = newCounter();
        const outcomes = await store.commit(
          counter,
          [
            { by: 1, key: "a", metadata: { job: "one" } },
            { by: 1, key: "a", metadata: { job: "two" } },
            { by: 1, key: "a" },
          ],
          { create: true },
        );
        expect(outcomes.map((outcome) => "record" in outcome && outcome.record?.metadata)).toEqual(
          new Array(3).fill({ job: "one" }),
        );
        const later = await claim(store, counter, { by: 1, key: "a", metadata: { job: "three" } });
        expect(later).toMatchObject({ value: 1, isReplay: true, record: { metadata: { job: "one" } } });
        expect(await store.record(counter, 1)).toMatchObject({ metadata: { job: "one" } });
      });

      test("tells keys apart by every character, and takes all of 0x20–0x7E", async () => {
        const store = await open();
        const counter = newCounter();
        const printable = String.fromCharCode(...sequence(0x20, 0x7e));
        const keys = [
          ...["a", "A", " a", "a ", "aa", "a\\", 'a"', "a/b", "a:b", "a%20b", "*", "0", "00", "1", " "],
          ...["__proto__", "constructor", "length", "x".repeat(254), "x".repeat(255), printable],
        ];
        const first = await commit(store, counter, keys.map(keyed));
        expect(first).toEqual(sequence(1, keys.length));
        expect(await commit(store, counter, keys.map(keyed))).toEqual(
          first.map((number) => `replay of ${number}`),
        );
        for (const key of keys) {
          const { records } = await store.records(counter, { limit: 10, key });
          expect(records.map((record) => record.key)).toEqual([key]);
        }
      });

      test("answers a replay with the last of the numbers that the first claim took", async () => {
        const store = await open();
        const counter = newCounter();
        expect(await commit(store, counter, [{ by: 10, key: "a" }, plain])).toEqual([10, 11]);
        expect(await commit(store, counter, [{ by: 3, key: "a" }, plain])).toEqual(["replay of 10", 12]);
      });

      test("works for a counter that was only set before, and without create", async () => {
        const store = await open();
        const counter = newCounter();
        expect(await rejection(store.commit(counter, [keyed("a")], { create: false }))).toMatchObject({
          code: "counter-not-found",
          consumed: false,
        });
        await store.set(counter, 41, { force: false });
        expect(await commit(store, counter, [keyed("a")], { create: false })).toEqual([42]);
        expect(await commit(store, counter, [keyed("a")], { create: false })).toEqual(["replay of 42"]);
      });

      test("answers replays at the end of the range, and leaves a refused key new", async () => {
        const store = await open();
        const counter = newCounter();
        await store.set(counter, maxValue - 1, { force: false });
        expect(await commit(store, counter, [keyed("a"), keyed("b"), keyed("a")])).toEqual([
          maxValue,
          "counter-exhausted",
          `replay of ${maxValue}`,
        ]);
        expect(await commit(store, counter, [keyed("b"), keyed("a"), plain])).toEqual([
          "counter-exhausted",
          `replay of ${maxValue}`,
          "counter-exhausted",
        ]);
        await store.set(counter, 5, { force: true });
        expect(await commit(store, counter, [keyed("b"), keyed("a")])).toEqual([6, 7]);
      });

      test("serves a batch of 1,000 keys, half of them replays, and finds all of them again", async () => {
        const store = await open();
        const counter = newCounter();
        const keys = sequence(1, 1_000).map((at) => `key ${at}`);
        await commit(store, counter, keys.slice(0, 500).map(keyed));
        const mixed = await commit(store, counter, keys.map(keyed));
        expect(mixed.slice(0, 500)).toEqual(sequence(1, 500).map((number) => `replay of ${number}`));
        expect(mixed.slice(500)).toEqual(sequence(501, 1_000));
        expect(await commit(store, counter, keys.map(keyed))).toEqual(
          sequence(1, 1_000).map((number) => `replay of ${number}`),
        );
      });
    });

    describe("a claim's own max", () => {
      test("refuses the number after it alone, and consumes nothing", async () => {
        const store = await open();
        const counter = newCounter();
        const upTo3 = { by: 1, max: 3 };
        expect(await commit(store, counter, [upTo3, { by: 3, max: 3 }, upTo3, upTo3, upTo3, plain])).toEqual([
          1,
          "counter-exhausted",
          2,
          3,
          "counter-exhausted",
          4,
        ]);
        expect(await commit(store, counter, [upTo3])).toEqual(["counter-exhausted"]);
        expect(await store.peek(counter)).toBe(4);
        expect(await commit(store, counter, [{ by: 6, max: 10 }])).toEqual([10]);
      });

      test("refuses the first claim of a counter that it does not fit, and creates nothing", async () => {
        const store = await open();
        const counter = newCounter();
        expect(await commit(store, counter, [{ by: 2, max: 1 }])).toEqual(["counter-exhausted"]);
        expect(await commit(store, counter, [{ by: 1, max: 1 }])).toEqual([1]);
      });

      test("does not bind a replay", async () => {
        const store = await open();
        const counter = newCounter();
        await commit(store, counter, [plain, keyed("a")]);
        expect(await commit(store, counter, [{ by: 1, key: "a", max: 1 }])).toEqual(["replay of 2"]);
        expect(await commit(store, counter, [{ by: 1, key: "b", max: 2 }, keyed("b")])).toEqual([
          "counter-exhausted",
          3,
        ]);
      });
    });

    describe("records", () => {
      test("keeps any JSON object, as it came", async () => {
        const store = await open();
        const counter = newCounter();
        const metadata = {
          commit: "60b7eca",
          "with space, 'quotes' and .dots": true,
          nested: { list: [1, 2.5, null, "ü€😀\u0000"], "": {} },
          "10": "ten",
          big: 9_007_199_254_740_991,
        };
        await claim(store, counter, { by: 1, metadata });
        const record = await store.record(counter, 1);
        expect(record).toEqual({ value: 1, atMs: expect.any(Number), metadata });
        expect(JSON.stringify(record?.metadata)).toBe(JSON.stringify(metadata));
      });

      test("knows none for numbers issued without, not yet issued, or inside of a range", async () => {
        const store = await open();
        const counter = newCounter();
        expect(await store.record(counter, 1)).toBeUndefined();
        await commit(store, counter, [plain, keyed("a"), { by: 5, key: "b" }]);
        expect(await store.record(counter, 2)).toMatchObject({ value: 2, key: "a" });
        expect(await store.record(counter, 7)).toMatchObject({ value: 7, key: "b" });
        for (const value of [1, 3, 6, 8, maxValue])
          expect(await store.record(counter, value)).toBeUndefined();
        expect(await store.record(newCounter(), 2)).toBeUndefined();
      });

      test("lists the largest number first, whatever its length, page by page", async () => {
        const store = await open();
        const counter = newCounter();
        expect(await store.records(counter, { limit: 5 })).toEqual({ records: [] });
        await commit(store, counter, [keyed("a"), plain, recorded({ n: 3 })]);
        await store.set(counter, 9, { force: false });
        await commit(store, counter, [keyed("b"), keyed("c")]);
        await store.set(counter, maxValue - 1, { force: false });
        await commit(store, counter, [keyed("d")]);
        expect(await listed(store, counter, { limit: 1_000 })).toEqual([maxValue, 11, 10, 3, 1]);
        const one = await store.records(counter, { limit: 2 });
        expect(one).toMatchObject({
          records: [{ value: maxValue }, { value: 11 }],
          next: expect.any(Number),
        });
        expect(await listed(store, counter, { limit: 2, before: one.next as number })).toEqual([10, 3]);
        expect(await listed(store, counter, { limit: 2, before: 3 })).toEqual([1]);
        expect(await listed(store, counter, { limit: 2, before: 1 })).toEqual([]);
        expect(await allPages(store, counter, { limit: 1 })).toEqual([maxValue, 11, 10, 3, 1]);
      });

      test("finds by key, and by one value of the metadata, compared as text", async () => {
        const store = await open();
        const counter = newCounter();
        await commit(store, counter, [
          { by: 1, key: "a", metadata: { branch: "main", run: 7, ok: true } },
          recorded({ branch: "topic", run: "7" }),
          recorded({ branch: "main", run: 70, ok: null }),
          recorded({ other: { branch: "main" } }),
          keyed("b"),
        ]);
        async function find(name: string, value: string, more: Partial<RecordsQuery> = {}) {
          return allPages(store, counter, { limit: 10, metadata: { name, value }, ...more });
        }
        expect(await find("branch", "main")).toEqual([3, 1]);
        expect(await find("branch", "main", { limit: 1 })).toEqual([3, 1]);
        expect(await find("branch", "main", { before: 3 })).toEqual([1]);
        expect(await find("branch", "main", { key: "a" })).toEqual([1]);
        expect(await find("branch", "topic", { key: "a" })).toEqual([]);
        expect(await find("branch", "mai")).toEqual([]);
        expect(await find("run", "7")).toEqual([2, 1]);
        expect(await find("ok", "true")).toEqual([1]);
        expect(await find("constructor", "undefined")).toEqual([]);
        expect(await listed(store, counter, { limit: 10, key: "b" })).toEqual([5]);
        expect(await listed(store, counter, { limit: 10, key: "b", before: 5 })).toEqual([]);
        expect(await listed(store, counter, { limit: 10, key: "none" })).toEqual([]);
      });

      test("goes on where a search stopped, and finds what stands behind thousands that do not match", async () => {
        const store = await open();
        const counter = newCounter();
        await commit(store, counter, [recorded({ branch: "main" })]);
        for (let batch = 0; batch < 22; batch += 1) {
          await commit(store, counter, new Array<Claim>(500).fill(recorded({ branch: "topic" })));
        }
        const metadata = { name: "branch", value: "main" };
        const first = await store.records(counter, { limit: 10, metadata });
        expect(first).toEqual({ records: [], next: expect.any(Number) });
        expect(first.next).toBeGreaterThanOrEqual(11_001 - 9_999);
        expect(await allPages(store, counter, { limit: 10, metadata })).toEqual([1]);
      });
    });

    describe("lowering by force", () => {
      test("removes keys and records above the new value, and no others", async () => {
        const store = await open();
        const counter = newCounter();
        await commit(store, counter, [keyed("a"), keyed("b"), keyed("c"), recorded({ n: 4 }), keyed("e")]);
        await store.set(counter, 2, { force: true });
        expect(await listed(store, counter, { limit: 10 })).toEqual([2, 1]);
        expect(await store.record(counter, 4)).toBeUndefined();
        expect(await listed(store, counter, { limit: 10, key: "e" })).toEqual([]);
        expect(await commit(store, counter, [keyed("e"), keyed("b"), keyed("c"), plain])).toEqual([
          3,
          "replay of 2",
          4,
          5,
        ]);
        expect(await listed(store, counter, { limit: 10 })).toEqual([4, 3, 2, 1]);
      });

      test("removes thousands, and all of them for 0", async () => {
        const store = await open();
        const counter = newCounter();
        const keys = sequence(1, 3_000).map((at) => `key ${at}`);
        await commit(store, counter, keys.map(keyed));
        await store.set(counter, 0, { force: true });
        expect(await store.records(counter, { limit: 10 })).toEqual({ records: [] });
        expect(await commit(store, counter, [keyed("key 3000"), keyed("key 1")])).toEqual([1, 2]);
      });

      test("is seen by other instances that know the keys", async () => {
        const [one, other] = [await open(), await open()];
        const counter = newCounter();
        await commit(one, counter, [keyed("a"), keyed("b")]);
        expect(await commit(other, counter, [keyed("b")])).toEqual(["replay of 2"]);
        await one.set(counter, 1, { force: true });
        expect(await commit(other, counter, [keyed("c"), keyed("b"), keyed("a")])).toEqual([
          2,
          3,
          "replay of 1",
        ]);
      });

      test("is no matter of raising, nor of a lowering that is refused", async () => {
        const store = await open();
        const counter = newCounter();
        await commit(store, counter, [plain, keyed("a")]);
        await rejection(store.set(counter, 1, { force: false }));
        await store.set(counter, 2, { force: true });
        await store.set(counter, 50, { force: true });
        await store.set(counter, 60, { force: false });
        expect(await commit(store, counter, [keyed("a"), plain])).toEqual(["replay of 2", 61]);
      });
    });

    describe("retention", () => {
      test("forgets a key that is older, which then is a new key with a larger number", async () => {
        const store = await open({ keyRetentionMs: 300 });
        const counter = newCounter();
        await claim(store, counter, { by: 1, key: "a", metadata: { round: 1 } });
        await untilTrue(async () => (await store.record(counter, 1)) === undefined);
        expect(await store.records(counter, { limit: 10 })).toEqual({ records: [] });
        expect(await store.records(counter, { limit: 10, key: "a" })).toEqual({ records: [] });
        const again = await claim(store, counter, { by: 1, key: "a", metadata: { round: 2 } });
        expect(again).toMatchObject({ value: 2, record: { metadata: { round: 2 } } });
        expect(again).not.toHaveProperty("isReplay");
        expect(await store.peek(counter)).toBe(2);
      });

      test("keeps what is younger", async () => {
        const store = await open({ keyRetentionMs: 3_600_000 });
        const counter = newCounter();
        await commit(store, counter, [keyed("a")]);
        expect(await commit(store, counter, [keyed("a")])).toEqual(["replay of 1"]);
        expect(await listed(store, counter, { limit: 10 })).toEqual([1]);
      });
    });

    describe("several instances", () => {
      test("answer each other's keys, and show each other's records", async () => {
        const [one, other] = [await open(), await open()];
        const counter = newCounter();
        for (const at of sequence(1, 20)) {
          const [first, second] = at % 2 === 0 ? [one, other] : [other, one];
          const key = `key ${at}`;
          expect(await claim(first, counter, { by: 1, key, metadata: { at } })).toMatchObject({ value: at });
          expect(await claim(second, counter, { by: 1, key })).toMatchObject({
            value: at,
            isReplay: true,
            record: { metadata: { at } },
          });
          expect(await second.record(counter, at)).toMatchObject({ key });
          expect(await listed(second, counter, { limit: 1 })).toEqual([at]);
        }
      });

      test("answer a key that comes to all of them at once with one number", async () => {
        const instances = await Promise.all(sequence(1, 4).map(() => open()));
        const counter = newCounter();
        const seen = new Set<number>();
        for (let round = 0; round < 25; round += 1) {
          const key = `round ${round}`;
          const outcomes = (await Promise.all(
            instances.map((store, at) => claim(store, counter, { by: 1, key, metadata: { at } })),
          )) as { value: number; record: BuildRecord; isReplay?: boolean }[];
          const { value, record } = outcomes[0] as { value: number; record: BuildRecord };
          for (const outcome of outcomes) expect(outcome).toMatchObject({ value, record });
          expect(outcomes.filter(({ isReplay }) => isReplay !== true)).toHaveLength(1);
          expect(seen).not.toContain(value);
          seen.add(value);
          expect(await instances[0]?.record(counter, value)).toEqual(record);
        }
        expect(await allPages(instances[0] as Store, counter, { limit: 1_000 })).toEqual(
          [...seen].sort((one, other) => other - one),
        );
      });

      test("give a counter's very first number to one key that comes to all of them at once", async () => {
        const instances = await Promise.all(sequence(1, 4).map(() => open()));
        for (let round = 0; round < 10; round += 1) {
          const counter = newCounter();
          const outcomes = await Promise.all(
            instances.map((store) => claim(store, counter, { by: 1, key: "a" })),
          );
          const values = new Set(outcomes.map((outcome) => "value" in outcome && outcome.value));
          expect(values.size).toBe(1);
        }
      });

      test("never answer one key twice differently, nor two keys or plain claims alike, in one mixed crowd", async () => {
        const instances = await Promise.all(sequence(1, 3).map(() => open()));
        const counter = newCounter();
        const byKey = new Map<string, number>();
        const taken = new Map<number, string>();
        let plains = 0;
        await Promise.all(
          instances.map(async (store) => {
            for (let round = 0; round < 30; round += 1) {
              const keys = sequence(round, round + 3).map((at) => `key ${at}`);
              const claims = [plain, ...keys.map(keyed)];
              const outcomes = (await store.commit(counter, claims, { create: true })) as { value: number }[];
              outcomes.forEach(({ value }, at) => {
                const key = claims[at]?.key;
                const owner = key ?? `plain ${plains++}`;
                expect(taken.get(value) ?? owner).toBe(owner);
                taken.set(value, owner);
                if (key !== undefined) expect(byKey.get(key) ?? value).toBe(value);
                if (key !== undefined) byKey.set(key, value);
              });
            }
          }),
        );
        expect(byKey.size).toBe(33);
      });
    });
  });
}

const plain: Claim = { by: 1 };

function keyed(key: string): Claim {
  return { by: 1, key };
}

function recorded(metadata: Record<string, unknown>): Claim {
  return { by: 1, metadata };
}

async function claim(store: Store, counter: CounterName, wanted: Claim): Promise<Outcome> {
  const [outcome] = await store.commit(counter, [wanted], { create: true });
  return outcome as Outcome;
}

async function commit(
  store: Store,
  counter: CounterName,
  claims: readonly Claim[],
  { create = true } = {},
): Promise<(number | string | ErrorCode)[]> {
  return (await store.commit(counter, claims, { create })).map((outcome) => {
    if ("error" in outcome) return outcome.error.code;
    return outcome.isReplay ? `replay of ${outcome.value}` : outcome.value;
  });
}

/** The numbers of one page. */
async function listed(store: Store, counter: CounterName, query: RecordsQuery): Promise<number[]> {
  return (await store.records(counter, query)).records.map(({ value }) => value);
}

/** The numbers of all pages. */
async function allPages(store: Store, counter: CounterName, query: RecordsQuery): Promise<number[]> {
  const numbers: number[] = [];
  let before = query.before;
  do {
    const page = await store.records(counter, { ...query, ...(before !== undefined && { before }) });
    numbers.push(...page.records.map(({ value }) => value));
    before = page.next;
  } while (before !== undefined);
  return numbers;
}
