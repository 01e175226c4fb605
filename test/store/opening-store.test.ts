import { expect, test } from "@jest/globals";
import { parseUuidName } from "../../src/counter/counter-name.ts";
import type { Store } from "../../src/counter/store.ts";
import { OpeningStore } from "../../src/store/opening-store.ts";

const name = parseUuidName("e9461f1c-ef78-4162-bcb7-e83da7287614");

function createStore() {
  const calls: string[] = [];
  const store: Store = {
    description: "a real one",
    commit: async () => {
      calls.push("commit");
      return [{ value: 1 }];
    },
    peek: async () => calls.push("peek"),
    set: async () => void calls.push("set"),
    record: async () => void calls.push("record"),
    records: async () => {
      calls.push("records");
      return { records: [] };
    },
    check: async () => void calls.push("check"),
    close: async () => void calls.push("close"),
  };
  return { calls, store };
}

const callAll = (store: Store) => [
  store.commit(name, [{ by: 1 }], { create: true }),
  store.record(name, 1),
  store.records(name, { limit: 1 }),
  store.peek(name),
  store.set(name, 1, { force: false }),
  store.check(),
];

test("refuses every call with store-unavailable until it is open, with one error that is logged once", async () => {
  const refusals = await Promise.all(callAll(new OpeningStore()).map((call) => call.catch((error) => error)));
  expect(refusals[0]).toMatchObject({ code: "store-unavailable", consumed: false });
  expect(new Set(refusals).size).toBe(1);
});

test("passes every call on once it is open", async () => {
  const { calls, store } = createStore();
  const opening = new OpeningStore();
  await opening.adopt(Promise.resolve(store));
  expect(opening.description).toBe("a real one");
  expect(await Promise.all(callAll(opening))).toEqual([
    [{ value: 1 }],
    undefined,
    { records: [] },
    4,
    undefined,
    undefined,
  ]);
  await opening.close();
  expect(calls).toEqual(["commit", "record", "records", "peek", "set", "check", "close"]);
});

test("passes on why the store cannot be opened", async () => {
  const refusal = new Error("expected STORAGE_DIR to be a directory");
  await expect(new OpeningStore().adopt(Promise.reject(refusal))).rejects.toBe(refusal);
});

test("closes a store that opens after it was closed, and stays shut", async () => {
  const { calls, store } = createStore();
  const opening = new OpeningStore();
  await opening.close();
  await opening.adopt(Promise.resolve(store));
  expect(calls).toEqual(["close"]);
  await expect(opening.check()).rejects.toMatchObject({ code: "store-unavailable" });
});
