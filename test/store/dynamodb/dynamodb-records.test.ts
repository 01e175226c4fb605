import {
  type AttributeValue,
  DeleteTableCommand,
  DescribeTableCommand,
  GetItemCommand,
  PutItemCommand,
} from "@aws-sdk/client-dynamodb";
import { expect, test } from "@jest/globals";
import type { CounterName } from "../../../src/counter/counter-name.ts";
import type { Claim, Store } from "../../../src/counter/store.ts";
import { type DynamodbStoreOptions, openDynamodbStore } from "../../../src/store/dynamodb/dynamodb-store.ts";
import { localAccount } from "../../engines/dynamodb.ts";
import type { FaultProxy } from "../../engines/fault-proxy.ts";
import { describeKeyedLoad } from "../keyed-load.ts";
import { newCounter } from "../new-counter.ts";
import { silentContext } from "../silent-context.ts";
import { rejection, sequence, take } from "../store-contract.ts";
import { untilTrue } from "../until.ts";
import { describeOnDynamodb } from "./describe-on-dynamodb.ts";

const table = "AtomicCountersRecords";
const dayMs = 86_400_000;
const keyed: Claim = { by: 1, key: "a", metadata: { commit: "60b7eca" } };

describeOnDynamodb("keys and records", (on) => {
  const { open, openProxy, start } = on;

  async function openProxied(
    options: DynamodbStoreOptions = {},
  ): Promise<{ store: Store; proxy: FaultProxy }> {
    const proxy = await openProxy();
    return { proxy, store: await open({ endpoint: `http://127.0.0.1:${proxy.port}`, ...options }) };
  }

  async function get(
    counter: CounterName,
    entry: string,
  ): Promise<Record<string, AttributeValue> | undefined> {
    const Key = { counter: { S: counter }, entry: { S: entry } };
    return (await on.client.send(new GetItemCommand({ TableName: table, Key, ConsistentRead: true }))).Item;
  }

  async function put(counter: CounterName, item: Record<string, AttributeValue>): Promise<void> {
    await on.client.send(
      new PutItemCommand({ TableName: table, Item: { counter: { S: counter }, ...item } }),
    );
  }

  const commit = (store: Store, counter: CounterName, ...claims: Claim[]) =>
    store.commit(counter, claims, { create: true });

  test("are one item each, which DynamoDB may delete when its time is over", async () => {
    const store = await open({ keyRetentionMs: dayMs });
    const counter = newCounter();
    await commit(store, counter, keyed, { by: 1 }, { by: 1, metadata: { n: 3 } });
    const item = await get(counter, "key:a");
    expect(item).toEqual({
      counter: { S: counter },
      entry: { S: "key:a" },
      value: { N: "1" },
      at: { N: expect.stringMatching(/^\d{13}$/) },
      metadata: { S: '{"commit":"60b7eca"}' },
      expires: { N: String(Math.ceil((Number(item?.["at"]?.N) + dayMs) / 1_000)) },
    });
    expect(await get(counter, "number:3")).toMatchObject({ value: { N: "3" }, metadata: { S: '{"n":3}' } });
  });

  test("that are kept for ever carry no time to be deleted at", async () => {
    const store = await open();
    const counter = newCounter();
    await commit(store, counter, keyed);
    expect(await get(counter, "key:a")).not.toHaveProperty("expires");
  });

  test("that are too old and still there are replaced", async () => {
    const store = await open({ keyRetentionMs: dayMs });
    const counter = newCounter();
    await put(counter, { entry: { S: "key:a" }, value: { N: "1" }, at: { N: String(Date.now() - dayMs) } });
    await store.set(counter, 1, { force: false });
    expect(await store.record(counter, 1)).toBeUndefined();
    expect(await commit(store, counter, keyed)).toMatchObject([{ value: 2, record: { key: "a" } }]);
    expect(await get(counter, "key:a")).toMatchObject({ value: { N: "2" } });
  });

  test("are in a table that is created, billed on demand, under the name that is configured", async () => {
    const [one, other] = await Promise.all(
      [1, 2].map(() => open({ table: "Builds", recordsTable: "BuildKeys" })),
    );
    expect(await commit(one as Store, newCounter(), keyed)).toMatchObject([{ value: 1 }]);
    expect(await commit(other as Store, newCounter(), keyed)).toMatchObject([{ value: 1 }]);
    const { Table } = await on.client.send(new DescribeTableCommand({ TableName: "BuildKeys" }));
    expect(Table?.ProvisionedThroughput?.WriteCapacityUnits ?? 0).toBe(0);
  });

  test("cost a plain batch nothing: it never touches their table", async () => {
    const { store, proxy } = await openProxied();
    const counter = newCounter();
    await commit(store, counter, keyed);
    proxy.requests.length = 0;
    await commit(store, counter, { by: 1 }, { by: 2 });
    expect(proxy.requests.join("")).toMatch(/UpdateItem/);
    expect(proxy.requests.join("")).not.toMatch(/Records|GetItem|PutItem/);
  });

  test("without their table are refused with the remedy and consume nothing, and plain claims are served", async () => {
    const context = silentContext();
    // The engine refuses a name of two letters.
    const store = await open({ table: "Plain", recordsTable: "no" }, context);
    expect(context.lines).toEqual([
      { level: "warn", message: expect.stringContaining("the table of keys and records") },
    ]);
    const counter = newCounter();
    expect(await take(store, counter)).toBe(1);
    await (await open({ table: "Lost" })).close();
    await on.client.send(new DeleteTableCommand({ TableName: "LostRecords" }));
    const lost = await open({ table: "Lost", createTable: false });
    const error = expect.objectContaining({
      code: "store-unavailable",
      consumed: false,
      message: expect.stringMatching(/expected the table "LostRecords".*DYNAMODB_RECORDS_TABLE/),
    });
    for (const claim of [keyed, { by: 1, metadata: { n: 1 } }]) {
      await untilTrue(async () => /none/.test((await rejection(commit(lost, counter, claim))).message));
      expect(await rejection(commit(lost, counter, claim))).toEqual(error);
    }
    expect(await commit(lost, counter, { by: 1 }, keyed, { by: 2 })).toEqual([
      { value: 1 },
      { error },
      { value: 3 },
    ]);
    expect(await rejection(lost.records(counter, { limit: 5 }))).toEqual(error);
    // There are no keys to remove.
    await lost.set(counter, 2, { force: true });
    expect(await take(lost, counter)).toBe(3);
  });

  test.each<[string, Record<string, AttributeValue>]>([
    ["no number", { at: { N: "1700000000000" } }],
    ["a fraction", { value: { N: "1.5" }, at: { N: "1700000000000" } }],
    ["no time", { value: { N: "1" } }],
    ["metadata that is no JSON", { value: { N: "1" }, at: { N: "1700000000000" }, metadata: { S: "{" } }],
  ])("that are not as the service left them (%s) are refused and left as they are", async (_, broken) => {
    const store = await open();
    const counter = newCounter();
    await put(counter, { entry: { S: "key:a" }, ...broken });
    const before = await get(counter, "key:a");
    const error = expect.objectContaining({ code: "counter-unreadable", consumed: false });
    expect(await rejection(commit(store, counter, keyed))).toEqual(error);
    expect(await store.peek(counter)).toBeUndefined();
    expect(await commit(store, counter, { by: 1 }, keyed)).toEqual([{ value: 1 }, { error }]);
    expect(await get(counter, "key:a")).toEqual(before);
  });

  test("whose put was answered into the void are found when it is sent again, as ours", async () => {
    const { store, proxy } = await openProxied();
    const counter = newCounter();
    await commit(store, counter, { by: 1, key: "before" });
    proxy.onRequest = (text) => {
      if (/\.PutItem/i.test(text)) proxy.faults.dropsReplies = true;
    };
    const answer = commit(store, counter, { by: 1 }, keyed, { by: 1, key: "a" });
    await untilTrue(async () => (await get(counter, "key:a")) !== undefined);
    proxy.onRequest = () => undefined;
    proxy.mend();
    proxy.cut();
    const record = { value: 3, atMs: expect.any(Number), ...keyed, by: undefined };
    expect(await answer).toEqual([{ value: 2 }, { value: 3, record }, { value: 3, record, isReplay: true }]);
  });

  test("whose number was answered into the void get the next one", async () => {
    const { store, proxy } = await openProxied();
    const counter = newCounter();
    await commit(store, counter, { by: 1, key: "before" });
    proxy.onRequest = (text) => {
      if (/\.UpdateItem/i.test(text)) proxy.faults.dropsReplies = true;
    };
    const answer = commit(store, counter, keyed);
    const other = await open();
    await untilTrue(async () => (await other.peek(counter)) === 2);
    proxy.onRequest = () => undefined;
    proxy.mend();
    proxy.cut();
    expect(await answer).toMatchObject([{ value: 3 }]);
    expect(await commit(other, counter, keyed)).toMatchObject([{ value: 3, isReplay: true }]);
  });

  test("that cannot be put after their number was taken are errors that say so; plain claims beside are served", async () => {
    const { store, proxy } = await openProxied({ deadlineMs: 500 });
    const counter = newCounter();
    await commit(store, counter, { by: 1, key: "before" });
    proxy.onRequest = (text) => {
      if (/\.(PutItem|BatchWriteItem)/i.test(text)) void proxy.close();
    };
    const error = expect.objectContaining({ code: "store-unavailable", consumed: true });
    expect(await commit(store, counter, { by: 1 }, keyed, { by: 1, metadata: { n: 1 } })).toEqual([
      { value: 2 },
      { error },
      { error },
    ]);
    const retry = await open();
    expect(await commit(retry, counter, keyed)).toMatchObject([{ value: 5 }]);
    expect(await retry.records(counter, { limit: 5, key: "a" })).toMatchObject({ records: [{ value: 5 }] });
  });

  test("that cannot all be removed leave the counter as it is", async () => {
    const { store, proxy } = await openProxied({ deadlineMs: 500 });
    const counter = newCounter();
    await commit(store, counter, ...sequence(1, 5).map((at): Claim => ({ by: 1, key: `key ${at}` })));
    proxy.onRequest = (text) => {
      if (/\.BatchWriteItem/i.test(text)) void proxy.close();
    };
    expect(await rejection(store.set(counter, 2, { force: true }))).toMatchObject({
      code: "store-unavailable",
      consumed: true,
    });
    const retry = await open();
    expect(await retry.peek(counter)).toBe(5);
    await retry.set(counter, 2, { force: true });
    expect(await retry.records(counter, { limit: 5 })).toMatchObject({
      records: [{ value: 2 }, { value: 1 }],
    });
  });

  describeKeyedLoad(start, (own) =>
    openDynamodbStore(
      { ...localAccount, endpoint: own.endpoint, createTable: true, deadlineMs: 2_000 },
      silentContext(),
    ),
  );
});
