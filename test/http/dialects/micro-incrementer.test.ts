import { readdir } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "@jest/globals";
import { Redis } from "ioredis";
import request from "supertest";
import { CounterError } from "../../../src/counter/errors.ts";
import { openRedisStore } from "../../../src/store/redis/redis-store.ts";
import { describeUnlessMissing } from "../../describe-unless-missing.ts";
import { missingRedis, type RedisEngine, startRedis } from "../../engines/redis.ts";
import { silentContext } from "../../store/silent-context.ts";
import { failingStore } from "../failing-store.ts";
import { openService, type TestService } from "../open-service.ts";

const maxValue = 9_007_199_254_740_991;
const uuid = "e9461f1c-ef78-4162-bcb7-e83da7287614";
let service: TestService;

const agent = () => request(service.app);
type Method = "get" | "head" | "post" | "put" | "delete";

/** Sends "GET /myapp" and the like. */
function ask(line: string, base = ""): request.Test {
  const [method = "", path = ""] = line.split(" ");
  return agent()[method.toLowerCase() as Method](base + path);
}

/** As Express's `res.json` answers; but never with an ETag, which could let a cache answer an old number. */
function expectJson(answer: request.Response, status: number, body: string): void {
  expect(answer.text).toBe(body);
  expect(answer.status).toBe(status);
  expect(answer.headers).toMatchObject({
    "content-type": "application/json; charset=utf-8",
    "content-length": String(body.length),
    "cache-control": "no-store",
  });
  expect(answer.headers).not.toHaveProperty("etag");
}

/** The README of the original, as a session. */
const session: [line: string, body: string][] = [
  ["GET /", "1"],
  ["GET /myapp", "1"],
  ["GET /", "2"],
  ["GET /myapp", "2"],
  ["POST /myapp/200", "202"],
  ["PUT /myapp/300", '{"success":true}'],
  ["GET /myapp", "301"],
  ["POST /40", "42"],
  ["PUT /7", '{"success":true}'],
  ["GET /", "8"],
];

describe("at the root", () => {
  beforeEach(async () => {
    service = await openService({ rootDialect: "micro-incrementer" });
  });
  afterEach(() => service.close());

  test("answers the session of the original's README letter by letter", async () => {
    for (const [line, body] of session) expectJson(await ask(line), 200, body);
  });

  test("has the main dialect, tot and the Lambda's path under /buildnumber", async () => {
    expect((await ask(`POST /buildnumber/${uuid}`)).text).toBe('{"bn":1}\n');
    expect((await ask(`PUT /buildnumber/${uuid}?force=true`).send('{"bn":0}')).text).toBe('{"bn":0}\n');
    expect((await ask("GET /buildnumber/vend/job")).text).toBe("1");
    expect((await ask("POST /buildnumber/counter/increment?counter=c")).body).toEqual({
      counter: "c",
      new_value: 1,
    });
    expect((await ask("GET /buildnumber/x")).status).toBe(400);
  });

  test("takes a UUID for the counter of the main dialect, and its other spellings for names", async () => {
    await ask(`POST /buildnumber/${uuid}`);
    expectJson(await ask(`GET /${uuid}`), 200, "2");
    expectJson(await ask(`GET /${uuid.toUpperCase()}`), 200, "1");
    expectJson(await ask(`GET /${uuid.replaceAll("-", "")}`), 200, "1");
    expect((await ask(`GET /buildnumber/${uuid.toUpperCase()}`)).body).toEqual({ bn: 2 });
  });

  test.each(["/healthz", "/readyz"])("has %s still, and no counter there", async (path) => {
    expect((await ask(`GET ${path}`)).body).toHaveProperty("status");
    expect((await ask(`POST ${path}`)).status).toBe(405);
  });

  test.each(["/favicon.ico", "/robots.txt", "/metrics", "/%68ealthz", "/healthz/5", "/buildnumber"])(
    "has no counter at %s",
    async (path) => {
      for (const method of ["GET", "POST", "PUT"]) {
        expect((await ask(`${method} ${path}`)).status).toBeGreaterThanOrEqual(400);
      }
      expect((await readdir(service.storageDir)).filter((file) => !file.startsWith("."))).toEqual([]);
    },
  );

  test.each(["/vend", "/counter", "/incrementer", "/Healthz"])("takes %s for a namespace", async (path) => {
    expectJson(await ask(`GET ${path}`), 200, "1");
  });
});

describe("under /incrementer", () => {
  beforeEach(async () => {
    service = await openService();
  });
  afterEach(() => service.close());

  test("answers the same session", async () => {
    for (const [line, body] of session) expectJson(await ask(line, "/incrementer"), 200, body);
  });

  test("takes /incrementer with and without a slash for the default counter", async () => {
    expectJson(await ask("GET /incrementer"), 200, "1");
    expectJson(await ask("GET /incrementer/"), 200, "2");
    expectJson(await ask("GET /incrementer/default-key"), 200, "3");
  });

  test.each(["/incrementer", "/incrementer/myapp"])("consumes nothing on HEAD of %s", async (path) => {
    for (let time = 0; time < 3; time += 1) expect((await ask(`HEAD ${path}`)).status).toBe(200);
    expectJson(await ask(`GET ${path}`), 200, "1");
    const head = await ask(`HEAD ${path}`);
    expect(head.headers).toMatchObject({ "content-type": "application/json; charset=utf-8" });
    expectJson(await ask(`GET ${path}`), 200, "2");
  });

  test.each([
    ["POST /x", "Single URL parameter in POST request must be numeric"],
    ["PUT /x", "Single URL parameter in PUT request must be numeric"],
    ["POST /myapp/x", "Second URL parameter in POST request must be numeric"],
    ["PUT /myapp/x", "Second URL parameter in PUT request must be numeric"],
    // The original passed these on to Redis, or made another number of them.
    ...["-1", "1.5", "5x", "1e3", "0x10", "%205", "9007199254740992", "99999999999999999999"].flatMap(
      (number): [string, string][] => [
        [`POST /${number}`, "Single URL parameter in POST request must be numeric"],
        [`PUT /myapp/${number}`, "Second URL parameter in PUT request must be numeric"],
      ],
    ),
  ])("answers %s with 422 and the text of the original", async (line, error) => {
    expectJson(await ask(line, "/incrementer"), 422, JSON.stringify({ error }));
    expectJson(await ask("GET /myapp", "/incrementer"), 200, "1");
    expectJson(await ask("GET /", "/incrementer"), 200, "1");
  });

  test.each([
    ["POST /myapp/0", "0"],
    ["POST /myapp/007", "7"],
    [`POST /myapp/${maxValue}`, String(maxValue)],
    ["PUT /myapp/0", '{"success":true}'],
    [`PUT /myapp/${maxValue}`, '{"success":true}'],
  ])("answers %s with %s", async (line, body) => {
    expectJson(await ask(line, "/incrementer"), 200, body);
  });

  test("shows the last number to an increment by 0, and sets in either direction", async () => {
    expectJson(await ask("PUT /myapp/300", "/incrementer"), 200, '{"success":true}');
    expectJson(await ask("POST /myapp/0", "/incrementer"), 200, "300");
    expectJson(await ask("PUT /myapp/5", "/incrementer"), 200, '{"success":true}');
    expectJson(await ask("GET /myapp", "/incrementer"), 200, "6");
  });

  test("keeps namespaces apart that differ in case, and takes any character", async () => {
    for (const namespace of ["MyApp", "myapp", "a%2Fb", "%00", "..%2f..%2fetc", "Z%C3%A4hler", "x.lock"]) {
      expectJson(await ask(`GET /${namespace}`, "/incrementer"), 200, "1");
      expectJson(await ask(`GET /${namespace}`, "/incrementer"), 200, "2");
    }
  });

  test("refuses a namespace that is too long with 400", async () => {
    for (const method of ["GET", "HEAD"]) {
      const answer = await ask(`${method} /${"x".repeat(201)}`, "/incrementer");
      expect(answer.status).toBe(400);
    }
    const answer = await ask(`PUT /${"%C3%A4".repeat(34)}/5`, "/incrementer");
    expect(answer.status).toBe(400);
    expect(answer.body.code).toBe("invalid-counter-id");
  });

  test.each([
    ["POST /", "GET, HEAD, OPTIONS"],
    ["DELETE /myapp", "GET, HEAD, POST, PUT, OPTIONS"],
    ["GET /myapp/5", "POST, PUT, OPTIONS"],
  ])("refuses %s with 405 and Allow", async (line, allow) => {
    const answer = await ask(line, "/incrementer");
    expect(answer.status).toBe(405);
    expect(answer.headers).toMatchObject({ allow });
  });

  test("answers 409 at the end of the range", async () => {
    await ask(`PUT /${maxValue}`, "/incrementer");
    const answer = await ask("GET /", "/incrementer");
    expect(answer.status).toBe(409);
    expect(answer.body.code).toBe("counter-exhausted");
  });

  test("answers a failure of the store, at which the original crashed, with 503", async () => {
    const error = new CounterError("store-unavailable", "expected a store, got none", { consumed: true });
    await service.close();
    service = await openService({ store: failingStore(error) });
    for (const line of ["GET /", "POST /5", "PUT /5", "GET /myapp"]) {
      const answer = await ask(line, "/incrementer");
      expect(answer.status).toBe(503);
      expect(answer.body).toMatchObject({ code: "store-unavailable", consumed: true });
    }
  });

  test("is gone when it is switched off", async () => {
    await service.close();
    service = await openService({ dialects: ["tot"] });
    expect((await ask("GET /", "/incrementer")).status).toBe(404);
  });
});

describeUnlessMissing("on Redis", missingRedis, () => {
  let redis: RedisEngine;
  let original: Redis;

  beforeAll(async () => {
    redis = await startRedis();
    original = new Redis(redis.url);
  });
  afterAll(async () => {
    original?.disconnect();
    await redis?.stop();
  });
  beforeEach(async () => {
    const store = await openRedisStore({ url: redis.url }, silentContext());
    service = await openService({ store, rootDialect: "micro-incrementer" });
  });
  afterEach(async () => {
    await original.flushall();
    await service.close();
  });

  test("answers the session of the original's README letter by letter", async () => {
    for (const [line, body] of session) expectJson(await ask(line), 200, body);
  });

  test("goes on from the keys that the original wrote, under the same keys", async () => {
    // What the original sent to Redis: `client.incr(defaultKey)`, `client.incrby(namespace, number)`, `client.set(…)`.
    await original.incr("default-key");
    await original.incrby("My App/ü", 41);
    await original.set(uuid.toUpperCase(), "500");
    expectJson(await ask("GET /"), 200, "2");
    expectJson(await ask("GET /My%20App%2F%C3%BC"), 200, "42");
    expectJson(await ask(`POST /${uuid.toUpperCase()}/10`), 200, "510");
    expect(await original.get("default-key")).toBe("2");
    expect(await original.get("My App/ü")).toBe("42");
    // And both may work on them at once.
    expect(await original.incr("My App/ü")).toBe(43);
    expectJson(await ask("GET /My%20App%2F%C3%BC"), 200, "44");
  });

  test("refuses names that the store keeps for itself with 400", async () => {
    const answer = await ask("GET /buildnumber:x");
    expect(answer.status).toBe(400);
    expect(answer.body.code).toBe("invalid-counter-id");
  });
});
