import {
  DynamoDBClient,
  GetItemCommand,
  PutItemCommand,
  ScanCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { DistributedCounter } from "../../src/lib/distributed-counter.ts";
import { type DynamodbEngine, localAccount, startDynalite } from "../engines/dynamodb.ts";
import { FaultProxy } from "../engines/fault-proxy.ts";

let engine: DynamodbEngine;
let proxy: FaultProxy;
let counter: DistributedCounter;
let python: DynamoDBClient;
const opened: DistributedCounter[] = [];

function open(table = "my_dynamo_table_name"): DistributedCounter {
  const made = new DistributedCounter(table, {
    endpointUrl: `http://127.0.0.1:${proxy.port}`,
    ...localAccount,
    config: { maxAttempts: 1 },
  });
  opened.push(made);
  return made;
}

beforeAll(async () => {
  engine = await startDynalite();
  proxy = await FaultProxy.open(engine.port);
  python = new DynamoDBClient({ endpoint: engine.endpoint, ...localAccount });
  counter = open();
  // What comes next waits until the table exists.
  await counter.createTable();
});
afterAll(async () => {
  for (const one of opened) one.close();
  python?.destroy();
  await proxy?.close();
  await engine?.stop();
});

const updates = () => proxy.requests.filter((text) => text.includes("DynamoDB_20120810.UpdateItem")).length;

test("answers the session of the Python package's README", async () => {
  await counter.put("mykey", 0);
  expect(await counter.get("mykey")).toBe(0);
  expect(await counter.increment("mykey", 10)).toBe(10);
  expect(await counter.increment("mykey", 5)).toBe(15);
  expect(await counter.decrement("mykey", 14)).toBe(1);
  expect(await counter.increment("nonexistantkey", 0, 0)).toBe(0);
  expect(await counter.increment("someotherkey", 0, 10)).toBe(10);
  expect(await counter.increment("yetanotherkey", 1, 10)).toBe(11);
});

test("starts a key never used from the default, down as well", async () => {
  expect(await counter.decrement("down", 5, 10)).toBe(5);
  expect(await counter.decrement("down", 5, 10)).toBe(0);
  expect(await counter.decrement("down", 5, 10)).toBe(-5);
});

test("knows nothing of a key never used, and refuses to count from nothing", async () => {
  expect(await counter.get("never")).toBeUndefined();
  for (const call of [counter.increment("never", 1), counter.decrement("never", 1)]) {
    await expect(call).rejects.toThrow(expect.objectContaining({ code: "counter-not-found" }));
  }
  expect(await counter.get("never")).toBeUndefined();
});

test("keeps fractions, in puts and in concurrent increments", async () => {
  await counter.put("fraction", 10);
  expect(await counter.increment("fraction", 4)).toBe(14);
  expect(await counter.increment("fraction", 0.4)).toBe(14.4);
  const values = await Promise.all([1, 1, 1, 2].map((by) => counter.increment("fraction", by)));
  expect(values).toEqual([15.4, 16.4, 17.4, 19.4]);
  await counter.put("half", 0.5);
  expect(await counter.get("half")).toBe(0.5);
});

test.each(["abc", "5", Number.NaN, Number.POSITIVE_INFINITY, null, undefined])(
  "refuses %j, which is no number, and changes nothing",
  async (bad) => {
    await counter.put("kept", 10);
    const refusal = expect.objectContaining({ code: "invalid-value" });
    await expect(counter.increment("kept", bad as number)).rejects.toThrow(refusal);
    await expect(counter.decrement("kept", bad as number)).rejects.toThrow(refusal);
    await expect(counter.put("kept", bad as number)).rejects.toThrow(refusal);
    if (bad !== undefined) {
      await expect(counter.increment("kept", 1, bad as number)).rejects.toThrow(refusal);
    }
    expect(await counter.get("kept")).toBe(10);
  },
);

test("fails as the SDK does where there is no table", async () => {
  await expect(open("nosuchtable").get("x")).rejects.toThrow(
    expect.objectContaining({ name: "ResourceNotFoundException" }),
  );
});

test("says only when asked to that a table exists already", async () => {
  await counter.createTable();
  await expect(counter.createTable({ raiseCreatedException: true })).rejects.toThrow(
    expect.objectContaining({ name: "ResourceInUseException" }),
  );
});

test("several first callers with a default get results of their own", async () => {
  const callers = Array.from({ length: 8 }, () => open());
  const values = await Promise.all(callers.map((caller) => caller.increment("race", 1, 100)));
  expect(values.sort()).toEqual([101, 102, 103, 104, 105, 106, 107, 108]);
});

test("1,000 concurrent increments are distinct and far fewer requests", async () => {
  await counter.put("many", 0);
  const before = updates();
  const values = await Promise.all(Array.from({ length: 1_000 }, () => counter.increment("many", 1)));
  expect(values).toEqual(Array.from({ length: 1_000 }, (_value, at) => at + 1));
  expect(updates() - before).toBeLessThanOrEqual(2);
});

test("works on one table with Python programs, at the same time", async () => {
  const Key = { key: { S: "shared" } };
  const TableName = "my_dynamo_table_name";
  // What boto3 sends for the package's put and increment.
  await python.send(new PutItemCommand({ TableName, Item: { ...Key, counter_value: { N: "41" } } }));
  expect(await counter.increment("shared", 1)).toBe(42);
  await python.send(
    new UpdateItemCommand({
      TableName,
      Key,
      UpdateExpression: "SET counter_value = counter_value + :incr",
      ExpressionAttributeValues: { ":incr": { N: "8" } },
    }),
  );
  expect(await counter.get("shared")).toBe(50);
  await counter.put("shared", 7);
  const { Item } = await python.send(new GetItemCommand({ TableName, Key }));
  expect(Item).toEqual({ ...Key, counter_value: { N: "7" } });
  const { Items = [] } = await python.send(new ScanCommand({ TableName }));
  for (const item of Items) expect(Object.keys(item).sort()).toEqual(["counter_value", "key"]);
});
