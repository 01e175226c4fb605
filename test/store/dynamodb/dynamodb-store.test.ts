import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  type AttributeValue,
  CreateTableCommand,
  DeleteTableCommand,
  DescribeTableCommand,
  GetItemCommand,
  PutItemCommand,
  UpdateItemCommand,
} from "@aws-sdk/client-dynamodb";
import { describe, expect, test } from "@jest/globals";
import { type CounterName, parsePlainName } from "../../../src/counter/counter-name.ts";
import { Counters } from "../../../src/counter/counters.ts";
import { maxValue } from "../../../src/counter/store.ts";
import { openDynamodbStore } from "../../../src/store/dynamodb/dynamodb-store.ts";
import { localAccount } from "../../engines/dynamodb.ts";
import { FaultProxy } from "../../engines/fault-proxy.ts";
import { freePort } from "../../tools.ts";
import { answersLater } from "../answers-later.ts";
import { newCounter } from "../new-counter.ts";
import { describePlainLoad } from "../plain-load.ts";
import { silentContext } from "../silent-context.ts";
import { rejection, sequence, take } from "../store-contract.ts";
import { untilTrue } from "../until.ts";
import { describeOnDynamodb } from "./describe-on-dynamodb.ts";

describeOnDynamodb("the DynamoDB store", (on) => {
  const { open, openProxy, ends, start } = on;

  async function put(counter: CounterName, value: AttributeValue): Promise<void> {
    const item = { id: { S: counter }, lastValue: value };
    await on.client.send(new PutItemCommand({ TableName: "AtomicCounters", Item: item }));
  }

  async function get(counter: CounterName): Promise<AttributeValue | undefined> {
    const input = { TableName: "AtomicCounters", Key: { id: { S: counter } }, ConsistentRead: true };
    return (await on.client.send(new GetItemCommand(input))).Item?.["lastValue"];
  }

  test("goes on from what the older libraries wrote, and they from what it writes", async () => {
    const store = await open();
    const counter = newCounter();
    const older = new UpdateItemCommand({
      TableName: "AtomicCounters",
      Key: { id: { S: counter } },
      AttributeUpdates: { lastValue: { Action: "ADD", Value: { N: "1" } } },
      ReturnValues: "UPDATED_NEW",
    });
    await on.client.send(older);
    await on.client.send(older);
    expect(await take(store, counter)).toBe(3);
    expect((await on.client.send(older)).Attributes).toEqual({ lastValue: { N: "4" } });
    expect(await take(store, counter)).toBe(5);
  });

  test("keeps a plain name as it is, and refuses those that are kept for the service", async () => {
    const store = await open();
    const name = parsePlainName(`My App/ü ${newCounter()}`);
    expect(await take(store, name)).toBe(1);
    expect(await get(name)).toEqual({ N: "1" });
    const reserved = parsePlainName("buildnumber:check");
    for (const refused of [
      take(store, reserved),
      store.peek(reserved),
      store.set(reserved, 5, { force: true }),
    ]) {
      expect(await rejection(refused)).toMatchObject({ code: "invalid-counter-id", consumed: false });
    }
  });

  test("counts in an item that has other attributes and no value yet, and keeps them", async () => {
    const store = await open();
    const counter = newCounter();
    const item = { id: { S: counter }, owner: { S: "team" } };
    await on.client.send(new PutItemCommand({ TableName: "AtomicCounters", Item: item }));
    expect(await rejection(store.commit(counter, [{ by: 1 }], { create: false }))).toMatchObject({
      code: "counter-not-found",
    });
    expect(await take(store, counter)).toBe(1);
    const { Item } = await on.client.send(
      new GetItemCommand({ TableName: "AtomicCounters", Key: { id: { S: counter } } }),
    );
    expect(Item).toEqual({ ...item, lastValue: { N: "1" } });
  });

  test("uses the table and attributes that are configured, and creates the table billed on demand", async () => {
    const options = { table: "Builds", keyAttribute: "key", valueAttribute: "counter_value" };
    const [one, other] = await Promise.all([open(options), open(options)]);
    const counter = newCounter();
    expect(await Promise.all([take(one, counter), take(other, counter)])).toContain(2);
    const { Item } = await on.client.send(
      new GetItemCommand({ TableName: "Builds", Key: { key: { S: counter } } }),
    );
    expect(Item).toEqual({ key: { S: counter }, counter_value: { N: "2" } });
    const { Table } = await on.client.send(new DescribeTableCommand({ TableName: "Builds" }));
    expect(Table?.BillingModeSummary?.BillingMode ?? "PAY_PER_REQUEST").toBe("PAY_PER_REQUEST");
    expect(Table?.ProvisionedThroughput?.WriteCapacityUnits ?? 0).toBe(0);
  });

  test.each<AttributeValue>([
    { S: "5" },
    { N: "-1" },
    { N: "1.5" },
    { N: "9007199254740992" },
    { N: "1e30" },
    { BOOL: true },
    { NULL: true },
    { L: [{ N: "5" }] },
    { NS: ["5"] },
  ])("refuses the attribute %j and leaves it as it is", async (value) => {
    const store = await open();
    const counter = newCounter();
    await put(counter, value);
    const before = await get(counter);
    for (const attempt of [
      () => store.commit(counter, [{ by: 1 }, { by: 3 }], { create: true }),
      () => store.commit(counter, [{ by: 1 }], { create: false }),
      () => store.commit(counter, [{ by: maxValue }], { create: true }),
      () => store.peek(counter),
      () => store.set(counter, 10, { force: false }),
      () => store.set(counter, 10, { force: true }),
    ]) {
      expect(await rejection(attempt())).toMatchObject({
        code: "counter-unreadable",
        consumed: false,
        message: expect.stringMatching(/^expected an integer \(N\) .* "lastValue" .* got /),
      });
    }
    expect(await get(counter)).toEqual(before);
  });

  test("spends one UpdateItem on a whole batch", async () => {
    const proxy = await openProxy();
    const counters = new Counters(await open({ endpoint: `http://127.0.0.1:${proxy.port}` }));
    const counter = newCounter();
    await counters.increment(counter);
    proxy.requests.length = 0;
    const given = await Promise.all(sequence(1, 100).map(() => counters.increment(counter)));
    expect(given).toEqual(sequence(2, 101));
    // The first goes alone, and the 99 behind it share one.
    expect(updatesIn(proxy)).toBe(2);
  });

  describe("says at the start what has to be changed, when there is", () => {
    test("no table", async () => {
      const error = await rejection(open({ table: "Missing", createTable: false }));
      expect(error).toMatchObject({ code: "store-unavailable", consumed: false });
      expect(error.message).toMatch(/expected the table "Missing".*DYNAMODB_CREATE_TABLE/);
    });

    test("another key", async () => {
      for (const [keyAttribute, type] of [
        ["name", "S"],
        ["id", "N"],
      ] as const) {
        const table = `Other-${keyAttribute}`;
        await on.client.send(
          new CreateTableCommand({
            TableName: table,
            AttributeDefinitions: [{ AttributeName: keyAttribute, AttributeType: type }],
            KeySchema: [{ AttributeName: keyAttribute, KeyType: "HASH" }],
            BillingMode: "PAY_PER_REQUEST",
          }),
        );
        await untilTrue(async () => {
          const { Table } = await on.client.send(new DescribeTableCommand({ TableName: table }));
          return Table?.TableStatus === "ACTIVE";
        });
        const error = await rejection(open({ table, createTable: false }));
        expect(error).toMatchObject({ code: "store-unavailable", consumed: false });
        expect(error.message).toMatch(/check DYNAMODB_KEY_ATTRIBUTE/);
      }
    });

    test("no credentials", async () => {
      const none = async () => {
        throw Object.assign(new Error("no providers"), { name: "CredentialsProviderError" });
      };
      const error = await rejection(open({ credentials: none }));
      expect(error).toMatchObject({ code: "store-unavailable", consumed: false });
      expect(error.message).toMatch(/expected AWS credentials.*AWS_ACCESS_KEY_ID/);
    });
  });

  test("refuses while the table is gone, naming it", async () => {
    const store = await open({ table: "Short-lived" });
    await on.client.send(new DeleteTableCommand({ TableName: "Short-lived" }));
    await untilTrue(async () => (await store.check().catch((error) => error)) !== undefined);
    expect(await rejection(take(store, newCounter()))).toMatchObject({
      code: "store-unavailable",
      consumed: false,
      message: expect.stringContaining('expected the table "Short-lived"'),
    });
  });

  describe("when the connection fails", () => {
    test("sends a lost commit again, which may skip a number and never repeats one", async () => {
      const proxy = await openProxy();
      const store = await open({ endpoint: `http://127.0.0.1:${proxy.port}` });
      const counter = newCounter();
      await take(store, counter);
      proxy.faults.dropsReplies = true;
      const next = take(store, counter);
      await untilTrue(async () => (await get(counter))?.N === "2");
      proxy.mend();
      proxy.cut();
      expect(await next).toBe(3);
    });

    test("does not send a set again whose answer was lost", async () => {
      const proxy = await openProxy();
      const store = await open({ endpoint: `http://127.0.0.1:${proxy.port}` });
      const counter = newCounter();
      await put(counter, { N: "70" });
      let sets = 0;
      proxy.onRequest = (text) => {
        if (!/UpdateItem/.test(text)) return;
        sets += 1;
        proxy.faults.dropsReplies = true;
      };
      const error = rejection(store.set(counter, 50, { force: true }));
      await untilTrue(async () => (await get(counter))?.N === "50");
      await put(counter, { N: "60" });
      proxy.mend();
      proxy.cut();
      expect(await error).toMatchObject({ code: "store-unavailable", consumed: true });
      expect(sets).toBe(1);
      expect(await get(counter)).toEqual({ N: "60" });
    });

    test("gives up after the deadline when nothing is answered", async () => {
      const proxy = await openProxy();
      const store = await open({ endpoint: `http://127.0.0.1:${proxy.port}`, deadlineMs: 300 });
      const counter = newCounter();
      proxy.faults.isStalled = true;
      expect(await rejection(take(store, counter))).toMatchObject({
        code: "store-unavailable",
        consumed: true,
      });
      expect(await rejection(store.peek(counter))).toMatchObject({
        code: "store-unavailable",
        consumed: false,
      });
      expect(await rejection(store.check())).toMatchObject({ code: "store-unavailable", consumed: false });
      proxy.mend();
      proxy.cut();
      await answersLater(store);
      expect(await take(store, counter)).toBeGreaterThan(0);
    });

    test("answers in time by refusing, when the engine is slow, and bounds the queue", async () => {
      const proxy = await openProxy();
      const store = await open({ endpoint: `http://127.0.0.1:${proxy.port}`, deadlineMs: 300 });
      const counters = new Counters(store, { maxWaiting: 100 });
      const counter = newCounter();
      proxy.faults.delayMs = 600;
      const results = await Promise.allSettled(sequence(1, 150).map(() => counters.increment(counter)));
      const codes = results.map((result) => (result.status === "rejected" ? result.reason.code : "answered"));
      expect(codes.filter((code) => code === "overloaded")).toHaveLength(50);
      expect(codes.filter((code) => code === "store-unavailable")).toHaveLength(100);
    });

    test("opens without an engine, refuses until there is one, then creates the table and serves", async () => {
      const endpoint = `http://127.0.0.1:${await freePort()}`;
      const context = silentContext();
      const store = await open({ endpoint, table: "Late" }, context);
      expect(context.lines).toEqual([
        { level: "warn", message: "expected DynamoDB to answer, but it does not" },
      ]);
      const refusal = await rejection(store.check());
      expect(refusal).toMatchObject({ code: "store-unavailable", consumed: false });
      expect(await rejection(take(store, newCounter()))).toBe(refusal);
      const late = await FaultProxy.open(on.engine.port, Number(new URL(endpoint).port));
      ends.push(() => late.close());
      await answersLater(store);
      expect(await take(store, newCounter())).toBe(1);
    });

    test("opens while an engine stalls, and creates the table on a connection that does not", async () => {
      const proxy = await openProxy();
      proxy.faults.isStalled = true;
      const table = "Stalled";
      const store = await open({ endpoint: `http://127.0.0.1:${proxy.port}`, table, deadlineMs: 300 });
      expect(await rejection(store.check())).toMatchObject({ code: "store-unavailable", consumed: false });
      // What was held back stays so: only new requests get through.
      proxy.faults.isStalled = false;
      await answersLater(store);
      expect(await take(store, newCounter())).toBe(1);
    });

    test("says what has to be changed when the engine comes later", async () => {
      const port = await freePort();
      const context = silentContext();
      await open({ endpoint: `http://127.0.0.1:${port}`, keyAttribute: "key" }, context);
      const late = await FaultProxy.open(on.engine.port, port);
      ends.push(() => late.close());
      await untilTrue(() => context.lines.some(({ level }) => level === "error"));
      expect(context.lines).toContainEqual({
        level: "error",
        message: expect.stringMatching(/DYNAMODB_KEY_ATTRIBUTE/),
      });
    });

    test("refuses without consuming when nobody listens", async () => {
      // In a process of its own: jest's sandbox has another Error than Node's core, which hides error codes from the SDK.
      const program = join(process.cwd(), "dist/test/store/dynamodb/print-commit-error.js");
      const { stdout } = await promisify(execFile)(process.execPath, [
        program,
        `http://127.0.0.1:${await freePort()}`,
      ]);
      expect(JSON.parse(stdout)).toEqual({ code: "store-unavailable", consumed: false });
    });

    test("refuses after it was closed", async () => {
      const store = await open();
      await store.close();
      expect(await rejection(take(store, newCounter()))).toMatchObject({
        code: "store-unavailable",
        consumed: false,
      });
    });
  });

  describePlainLoad(
    start,
    ({ endpoint }) =>
      openDynamodbStore({ ...localAccount, endpoint, createTable: true, deadlineMs: 2_000 }, silentContext()),
    { kills: 2, answersBetween: 200 },
  );
});

function updatesIn(proxy: FaultProxy): number {
  return proxy.requests.join("").match(/x-amz-target: DynamoDB_\w+\.UpdateItem/gi)?.length ?? 0;
}
