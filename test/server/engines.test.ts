import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import { describeUnlessMissing } from "../describe-unless-missing.ts";
import { type DynamodbEngine, startDynalite } from "../engines/dynamodb.ts";
import { missingRedis, startRedis } from "../engines/redis.ts";
import { freePort } from "../tools.ts";
import { type ServiceProcess, startService, stopServices } from "./start-service.ts";

const counter = "e9461f1c-ef78-4162-bcb7-e83da7287614";

afterEach(stopServices);

/** The session of the README, letter by letter. */
async function expectSession(service: ServiceProcess): Promise<void> {
  const url = `${await service.url()}/${counter}`;
  const post = async (headers = {}) => (await fetch(url, { method: "POST", headers })).text();
  expect(await post({ "Content-Type": "application/json" })).toBe('{"bn":1}\n');
  expect(await post()).toBe('{"bn":2}\n');
  expect(await post({ Accept: "text/plain" })).toBe("3\n");
}

describeUnlessMissing("the service on Redis", missingRedis, () => {
  test("serves the session of the README, and says in its start line where it stores", async () => {
    const redis = await startRedis();
    try {
      const service = await startService({ STORE: "redis", REDIS_URL: redis.url });
      await expectSession(service);
      expect((await service.line(/^listening on /)).msg).toMatch(/, storing in .*Redis/i);
    } finally {
      await redis.stop();
    }
  });

  test("starts before its engine, is unready until it comes, and serves when it is there", async () => {
    const port = await freePort();
    const service = await startService({ STORE: "redis", REDIS_URL: `redis://127.0.0.1:${port}` });
    const url = await service.url();
    expect((await fetch(`${url}/readyz`)).status).toBe(503);
    const refused = await fetch(`${url}/${counter}`, { method: "POST" });
    expect(refused.status).toBe(503);
    expect(refused.headers.get("retry-after")).toBe("1");
    const redis = await startRedis({ port });
    try {
      while ((await fetch(`${url}/readyz`)).status !== 200) await new Promise((r) => setTimeout(r, 50));
      await expectSession(service);
    } finally {
      await redis.stop();
    }
  });

  test("refuses a server that may lose numbers, when it has to be durable", async () => {
    const redis = await startRedis({ args: [] });
    try {
      const service = await startService({
        STORE: "redis",
        REDIS_URL: redis.url,
        REDIS_REQUIRE_DURABLE: "true",
      });
      expect(await service.exit()).toBe(1);
      expect(service.stderr).toMatch(/^buildnumber: [^\n]*appendonly[^\n]*\n$/);
    } finally {
      await redis.stop();
    }
  });
});

describe("the service on DynamoDB", () => {
  let engine: DynamodbEngine;
  beforeEach(async () => {
    engine = await startDynalite();
  });
  afterEach(() => engine.stop());

  const start = (env = {}) =>
    startService({ STORE: "dynamodb", AWS_REGION: "us-east-1", DYNAMODB_ENDPOINT: engine.endpoint, ...env });

  test("serves the session of the README, on a table that it makes", async () => {
    const service = await start({ DYNAMODB_CREATE_TABLE: "true" });
    await expectSession(service);
    // The SDK warns of an old Node.js there, in several lines.
    expect(service.stderr).toBe("");
  });

  test("ends with one clear sentence when the table is missing", async () => {
    const service = await start();
    expect(await service.exit()).toBe(1);
    expect(service.stderr).toMatch(/^buildnumber: .*DYNAMODB_CREATE_TABLE.*$/m);
  });
});
