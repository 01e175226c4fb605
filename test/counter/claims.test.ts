import { expect, test } from "@jest/globals";
import { Counters } from "../../src/counter/counters.ts";
import { afterThisTest, cleanUpAfterEach, makeDirectory, openStore } from "../store/file/scratch.ts";
import { newCounter } from "../store/new-counter.ts";
import { rejection } from "../store/store-contract.ts";

cleanUpAfterEach();

async function openCounters(): Promise<Counters> {
  const counters = new Counters((await openStore(makeDirectory())).store);
  afterThisTest(() => counters.close());
  return counters;
}

test("tells whether a number was taken or replayed, and what is recorded of it", async () => {
  const counters = await openCounters();
  const counter = newCounter();
  expect(await counters.claim(counter)).toEqual({ value: 1 });
  const record = { value: 3, atMs: expect.any(Number), key: "a", metadata: { n: 1 } };
  expect(await counters.claim(counter, { by: 2, key: "a", metadata: { n: 1 } })).toEqual({
    value: 3,
    record,
  });
  expect(await counters.claim(counter, { key: "a" })).toEqual({ value: 3, record, isReplay: true });
  expect(await counters.increment(counter, { key: "a", metadata: { n: 1 } })).toBe(3);
  expect(await counters.record(counter, 3)).toEqual(record);
  expect(await counters.records(counter, { limit: 1 })).toEqual({ records: [record] });
});

test("takes empty metadata for none", async () => {
  const counters = await openCounters();
  const counter = newCounter();
  expect(await counters.claim(counter, { metadata: {} })).toEqual({ value: 1 });
  expect(await rejection(counters.record(counter, 1))).toMatchObject({ code: "record-not-found" });
});

test("refuses other metadata for a key used before, with the record in the error", async () => {
  const counters = await openCounters();
  const counter = newCounter();
  await counters.claim(counter, { key: "a" });
  expect(await rejection(counters.claim(counter, { key: "a", metadata: { n: 1 } }))).toMatchObject({
    code: "key-reused",
    consumed: false,
    record: { value: 1, key: "a" },
  });
  expect(await counters.peek(counter)).toBe(1);
});

test.each(["", "x".repeat(256), "a\tb", "ü", "\u007f"])(
  "refuses the key %j, and takes no number",
  async (key) => {
    const counters = await openCounters();
    const counter = newCounter();
    expect(await rejection(counters.claim(counter, { key }))).toMatchObject({ code: "invalid-key" });
    expect(await counters.peek(counter)).toBeUndefined();
  },
);

test("refuses a max that is no number to take, and the number after a max", async () => {
  const counters = await openCounters();
  const counter = newCounter();
  for (const max of [0, -1, 1.5, 2 ** 53]) {
    expect(await rejection(counters.claim(counter, { max }))).toMatchObject({ code: "invalid-value" });
  }
  expect(await counters.increment(counter, { max: 1 })).toBe(1);
  expect(await rejection(counters.claim(counter, { max: 1 }))).toMatchObject({ code: "counter-exhausted" });
});

test("tells a number that was issued from one that was not, and both from a counter never used", async () => {
  const counters = await openCounters();
  const counter = newCounter();
  expect(await rejection(counters.record(counter, 1))).toMatchObject({ code: "counter-not-found" });
  expect(await rejection(counters.records(counter, { limit: 1 }))).toMatchObject({
    code: "counter-not-found",
  });
  await counters.increment(counter);
  expect(await counters.records(counter, { limit: 1 })).toEqual({ records: [] });
  expect((await rejection(counters.record(counter, 1))).message).toContain("1 was issued");
  expect((await rejection(counters.record(counter, 2))).message).toContain("the last one is 1");
});
