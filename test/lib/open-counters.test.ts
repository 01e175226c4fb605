import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { Worker } from "node:worker_threads";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { ConfigError, CounterError, openCounters } from "../../src/lib/open-counters.ts";
import { describeUnlessMissing } from "../describe-unless-missing.ts";
import { startDynalite } from "../engines/dynamodb.ts";
import { missingRedis, startRedis } from "../engines/redis.ts";
import { startService, stopServices } from "../server/start-service.ts";

const uuid = "e9461f1c-ef78-4162-bcb7-e83da7287614";
let dir: string;
const sequence = (length: number) => Array.from({ length }, (_value, at) => at + 1);

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "open-counters-"));
});
afterEach(async () => {
  await stopServices();
  await rm(dir, { recursive: true, force: true });
});

test("increments, peeks and sets without a server", async () => {
  const counters = await openCounters({ store: "file", dir });
  expect(await counters.peek("my app")).toBeUndefined();
  expect(await counters.increment("my app")).toBe(1);
  expect(await counters.increment("my app", { by: 200 })).toBe(201);
  await counters.set("my app", 300);
  expect(await counters.increment("my app")).toBe(301);
  await counters.set("my app", 5, { force: true });
  expect(await counters.peek("my app")).toBe(5);
  expect(await counters.increment("my app", { by: 0 })).toBe(5);
  await counters.close();
  await counters.close();
  expect(await readFile(join(dir, "my%20app"), "utf8")).toBe("5\n");
});

test("answers 1,000 concurrent callers with distinct numbers in order", async () => {
  const counters = await openCounters({ store: "file", dir });
  const numbers = await Promise.all(sequence(1_000).map(() => counters.increment(uuid)));
  expect(numbers).toEqual(sequence(1_000));
  await counters.close();
});

test("rejects with typed errors", async () => {
  const counters = await openCounters({ store: "file", dir, createCounters: false });
  const failures = [
    [counters.increment("never"), "counter-not-found"],
    [counters.increment(""), "invalid-counter-id"],
    [counters.peek(undefined as unknown as string), "invalid-counter-id"],
    [counters.set("x", -1), "invalid-value"],
    [counters.increment("x", { by: 1.5 }), "invalid-value"],
  ] as const;
  for (const [failure, code] of failures) {
    const error = await failure.catch((error: unknown) => error);
    expect(error).toBeInstanceOf(CounterError);
    expect(error).toMatchObject({ code });
  }
  await counters.set("x", 5);
  await expect(counters.set("x", 4)).rejects.toMatchObject({ code: "lowering-refused" });
  await counters.close();
  await expect(counters.increment("x")).rejects.toMatchObject({ code: "stopping" });
});

test("refuses options and places that cannot be used, with one clear sentence", async () => {
  await expect(openCounters({ store: "floppy" as "file" })).rejects.toThrow(ConfigError);
  await expect(openCounters({ store: "dynamodb", endpoint: "nowhere" })).rejects.toThrow("expected a URL");
  await writeFile(join(dir, "file"), "");
  await expect(openCounters({ store: "file", dir: join(dir, "file") })).rejects.toThrow(
    "expected STORAGE_DIR to be a directory",
  );
});

test("says what an operator should know to the log that it is given", async () => {
  const lines: string[] = [];
  const note = (_details: object, message: string) => void lines.push(message);
  const log = { info: note, warn: note, error: note };
  const counters = await openCounters({ store: "file", dir, log });
  expect(lines).toEqual(["the store is empty: every counter starts at 1"]);
  await counters.close();
});

test("works in workers, beside a running server on the same directory", async () => {
  const service = await startService({ STORAGE_DIR: dir });
  const url = await service.url();
  const source = `
    const { parentPort, workerData } = require("node:worker_threads");
    (async () => {
      const { openCounters } = await import(workerData.library);
      const counters = await openCounters({ store: "file", dir: workerData.dir });
      const numbers = await Promise.all(Array.from({ length: 100 }, () => counters.increment(workerData.uuid)));
      await counters.close();
      parentPort.postMessage(numbers);
    })();`;
  const workerData = { library: resolve("dist/src/lib/open-counters.js"), dir, uuid };
  const workers = [1, 2].map(() => new Worker(source, { eval: true, workerData }));
  const numbers = await Promise.all([
    ...workers.map(async (worker) => (await once(worker, "message"))[0] as number[]),
    Promise.all(
      sequence(100).map(async () => {
        const answer = await fetch(`${url}/${uuid}`, { method: "POST" });
        return ((await answer.json()) as { bn: number }).bn;
      }),
    ),
  ]);
  expect(numbers.flat().sort((a, b) => a - b)).toEqual(sequence(300));
});

test("opens a DynamoDB table, and creates it when asked to", async () => {
  const engine = await startDynalite();
  const options = { store: "dynamodb", endpoint: engine.endpoint, region: "us-east-1" } as const;
  await expect(openCounters({ ...options, table: "Missing" })).rejects.toMatchObject({
    message: expect.stringContaining('expected the table "Missing"'),
  });
  const credentials = { accessKeyId: "mine", secretAccessKey: "mine" };
  const counters = await openCounters({ ...options, createTable: true, credentials });
  expect(await Promise.all(sequence(100).map(() => counters.increment("Users")))).toEqual(sequence(100));
  await counters.close();
  await engine.stop();
});

describeUnlessMissing("on Redis", missingRedis, () => {
  test("opens Redis", async () => {
    const engine = await startRedis();
    const counters = await openCounters({ store: "redis", url: engine.url, prefix: "team:" });
    expect(await Promise.all(sequence(100).map(() => counters.increment("default-key")))).toEqual(
      sequence(100),
    );
    await counters.close();
    await engine.stop();
  });
});
