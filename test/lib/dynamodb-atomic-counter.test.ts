import {
  CreateTableCommand,
  DynamoDBClient,
  GetItemCommand,
  UpdateItemCommand,
  waitUntilTableExists,
} from "@aws-sdk/client-dynamodb";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
// @ts-expect-error: it has no types
import _ from "underscore";
// @ts-expect-error: it has no types
import deferred from "underscore.deferred";
import * as atomicCounter from "../../src/lib/dynamodb-atomic-counter.ts";
import { type DynamodbEngine, localAccount, startDynalite } from "../engines/dynamodb.ts";
import { FaultProxy } from "../engines/fault-proxy.ts";

// As the original's examples do: their `_.when` takes what is returned for a jQuery promise.
_.mixin(deferred);

let engine: DynamodbEngine;
let proxy: FaultProxy;
let original: DynamoDBClient;

beforeAll(async () => {
  engine = await startDynalite();
  proxy = await FaultProxy.open(engine.port);
  original = new DynamoDBClient({ endpoint: engine.endpoint, ...localAccount });
  for (const [TableName, key] of [
    ["AtomicCounters", "id"],
    ["MyCounters", "name"],
  ] as const) {
    await original.send(
      new CreateTableCommand({
        TableName,
        KeySchema: [{ AttributeName: key, KeyType: "HASH" }],
        AttributeDefinitions: [{ AttributeName: key, AttributeType: "S" }],
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
    await waitUntilTableExists({ client: original, maxWaitTime: 10, minDelay: 0.1 }, { TableName });
  }
  // Read at first use, in the words of the SDK v2: an endpoint without a scheme, keys one by one.
  atomicCounter.config.update({ region: "us-east-1", accessKeyId: "any", secretAccessKey: "any" });
  atomicCounter.config.endpoint = `127.0.0.1:${proxy.port}`;
  atomicCounter.config.update({ sslEnabled: false, maxRetries: 0 });
});
afterAll(async () => {
  original?.destroy();
  await proxy?.close();
  await engine?.stop();
});

/** What the original stores for a counter. */
async function stored(id: string): Promise<string | undefined> {
  const { Item } = await original.send(
    new GetItemCommand({ TableName: "AtomicCounters", Key: { id: { S: id } }, ConsistentRead: true }),
  );
  return Item?.["lastValue"]?.N;
}

const updates = () => proxy.requests.filter((text) => text.includes("DynamoDB_20120810.UpdateItem")).length;

describe("the examples of the original", () => {
  test("basic usage: done and always get the new value, and fail is not called", async () => {
    const heard: unknown[] = [];
    await new Promise<void>((resolve) => {
      atomicCounter
        .increment("Users")
        .done((value) => heard.push(["done", value]))
        .fail((error) => heard.push(["fail", error]))
        .always((valueOrError) => {
          heard.push(["always", valueOrError]);
          resolve();
        });
    });
    expect(heard).toEqual([
      ["done", 1],
      ["always", 1],
    ]);
    expect(await stored("Users")).toBe("1");
  });

  test("callbacks in the options object, before those attached", async () => {
    const heard: unknown[] = [];
    await atomicCounter
      .increment("Users", {
        success: (value) => heard.push(["success", value]),
        error: (error) => heard.push(["error", error]),
        complete: (valueOrError) => heard.push(["complete", valueOrError]),
      })
      .done((value) => heard.push(["done", value]));
    expect(heard).toEqual([
      ["success", 2],
      ["complete", 2],
      ["done", 2],
    ]);
  });

  test("overwritten defaults, and one context for all callbacks", async () => {
    const context = {};
    const contexts: unknown[] = [];
    function note(this: unknown) {
      contexts.push(this);
    }
    const value = await atomicCounter
      .increment("Pages", {
        increment: 12,
        tableName: "MyCounters",
        keyAttribute: "name",
        countAttribute: "lastIncrementedValue",
        context,
        success: note,
        complete: note,
      })
      .done(note, [note, note])
      .always(note)
      .then(function (value) {
        contexts.push(this);
        return value;
      })
      .done(note);
    expect(value).toBe(12);
    expect(contexts.length).toBe(8);
    expect(contexts.every((it) => it === context)).toBe(true);
    const { Item } = await original.send(
      new GetItemCommand({ TableName: "MyCounters", Key: { name: { S: "Pages" } } }),
    );
    expect(Item).toEqual({ name: { S: "Pages" }, lastIncrementedValue: { N: "12" } });
  });

  test("concurrent increments, gathered by `_.when` of underscore.deferred", async () => {
    const requests = Array.from({ length: 10 }, () => atomicCounter.increment("Clients"));
    const values = await new Promise<unknown[]>((resolve, reject) => {
      _.when(requests)
        .done((...values: unknown[]) => resolve(values))
        .fail(reject);
    });
    expect(values).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });
});

test("goes on from what the original wrote, and lets it go on", async () => {
  const add = new UpdateItemCommand({
    TableName: "AtomicCounters",
    Key: { id: { S: "Old" } },
    AttributeUpdates: { lastValue: { Action: "ADD", Value: { N: "41" } } },
  });
  await original.send(add);
  expect(await atomicCounter.increment("Old")).toBe(42);
  await original.send(add);
  expect(await atomicCounter.getLastValue("Old")).toBe(83);
});

test("1,000 concurrent increments are distinct and far fewer requests", async () => {
  const before = updates();
  const requests = Array.from({ length: 1_000 }, () => atomicCounter.increment("Many"));
  const values = await Promise.all(requests);
  expect(values).toEqual(Array.from({ length: 1_000 }, (_value, at) => at + 1));
  expect(updates() - before).toBeLessThanOrEqual(2);
  expect(await stored("Many")).toBe("1000");
});

test("only calls that are alike share a request", async () => {
  const before = updates();
  const values = await Promise.all([
    atomicCounter.increment("Apart"),
    atomicCounter.increment("Apart", { increment: 10 }),
    atomicCounter.increment("Apart", { dynamodb: { ReturnConsumedCapacity: "TOTAL" } }),
    atomicCounter.increment("Apart", { dynamodb: {} }),
    atomicCounter.increment("Apart other"),
  ]);
  expect(updates() - before).toBe(5);
  expect(new Set(values.slice(0, 4)).size).toBe(4);
  expect(await stored("Apart")).toBe("13");
});

test.each([
  [0, 1],
  [-3, -3],
  [2.5, 2],
])("increments by %s to %s", async (by, value) => {
  expect(await atomicCounter.increment(`By ${by}`, { increment: by })).toBe(value);
});

test("merges further parameters into the request", async () => {
  const unlessUsed = { Expected: { lastValue: { Exists: false } } };
  expect(await atomicCounter.increment("Once", { dynamodb: unlessUsed })).toBe(1);
  await expect(atomicCounter.increment("Once", { dynamodb: unlessUsed })).rejects.toThrow(
    expect.objectContaining({ name: "ConditionalCheckFailedException" }),
  );
  expect(await atomicCounter.getLastValue("Once", { dynamodb: { ConsistentRead: true } })).toBe(1);
});

test("knows the last value of a counter never used to be 0", async () => {
  const heard: unknown[] = [];
  const value = await atomicCounter.getLastValue("Never", {
    success: (value) => heard.push(value),
    complete: (valueOrError) => heard.push(valueOrError),
  });
  expect([value, ...heard]).toEqual([0, 0, 0]);
});

describe("a failure", () => {
  const calls = {
    increment: (options: object) => atomicCounter.increment("x", { tableName: "NoSuchTable", ...options }),
    getLastValue: (options: object) =>
      atomicCounter.getLastValue("x", { tableName: "NoSuchTable", ...options }),
  };

  test.each(["increment", "getLastValue"] as const)("of %s comes to every listener", async (call) => {
    const heard: [string, unknown][] = [];
    const promise = calls[call]({
      success: (value: unknown) => heard.push(["success", value]),
      error: (error: unknown) => heard.push(["error", error]),
      complete: (error: unknown) => heard.push(["complete", error]),
    });
    promise
      .done((value) => heard.push(["done", value]))
      .fail((error) => heard.push(["fail", error]))
      .always((error) => heard.push(["always", error]));
    const failure = await promise.catch((error: unknown) => error);
    expect(failure).toMatchObject({ name: "ResourceNotFoundException" });
    expect(heard).toEqual(["error", "complete", "fail", "always"].map((who) => [who, failure]));
  });

  test("of a shared request comes to all who share it", async () => {
    const requests = Array.from({ length: 20 }, () => calls.increment({}));
    const settled = await Promise.allSettled(requests);
    expect(settled.every(({ status }) => status === "rejected")).toBe(true);
  });

  test("that nobody listens to is none, as with a jQuery promise", async () => {
    const unhandled: unknown[] = [];
    const note = (reason: unknown) => unhandled.push(reason);
    process.on("unhandledRejection", note);
    void calls.increment({});
    void calls.increment({}).done(() => {});
    await calls.increment({}).catch(() => {});
    await new Promise((resolve) => setImmediate(resolve));
    process.off("unhandledRejection", note);
    expect(unhandled).toEqual([]);
  });

  test.each([[""], [undefined], [7]])("is a counter named %j", async (name) => {
    await expect(atomicCounter.increment(name as string)).rejects.toThrow(TypeError);
  });

  test("is a stored value that is no number in the range", async () => {
    for (const [id, value] of [
      ["Text", { S: "x" }],
      ["Large", { N: "9007199254740991" }],
    ] as const) {
      await original.send(
        new UpdateItemCommand({
          TableName: "AtomicCounters",
          Key: { id: { S: id } },
          AttributeUpdates: { lastValue: { Action: "PUT", Value: value } },
        }),
      );
    }
    await expect(atomicCounter.getLastValue("Text")).rejects.toThrow("expected a value");
    await expect(atomicCounter.increment("Text")).rejects.toThrow();
    await expect(atomicCounter.increment("Large")).rejects.toThrow("expected a value");
  });
});
