import { afterEach, beforeEach, expect, test } from "@jest/globals";
import request from "supertest";
import { CounterError } from "../../../src/counter/errors.ts";
import { failingStore } from "../failing-store.ts";
import { openService, type TestService } from "../open-service.ts";

let service: TestService;
beforeEach(async () => {
  service = await openService();
});
afterEach(() => service.close());

const agent = () => request(service.app);

function expectAnswer(answer: request.Response, status: number, body: string): void {
  expect(answer.text).toBe(body);
  expect(answer.status).toBe(status);
  expect(answer.headers).toMatchObject({
    "content-type": "application/json",
    "cache-control": "no-store",
  });
  expect(answer.headers).not.toHaveProperty("etag");
}

test("answers the counter with its new value, as in the original's README", async () => {
  await agent().put("/incrementer/mycounter/713");
  expectAnswer(
    await agent().post("/counter/increment?counter=mycounter"),
    200,
    '{"counter":"mycounter","new_value":714}',
  );
});

test.each([
  ["counter=a%20b", "a b"],
  ["counter=a+b", "a b"],
  ["x=1&counter=c&counter=d", "d"],
])("reads the counter of ?%s", async (query, counter) => {
  const answer = await agent().post(`/counter/increment?${query}`);
  expectAnswer(answer, 200, JSON.stringify({ counter, new_value: 1 }));
});

test.each(["", "?", "?counter", "?counter=", "?Counter=x"])(
  "answers 400 without a counter (%j)",
  async (query) => {
    const answer = await agent().post(`/counter/increment${query}`);
    expectAnswer(answer, 400, '{"error_code":"counter_not_specified"}');
  },
);

test.each([
  ["get", "/counter/increment?counter=c"],
  ["put", "/counter/increment?counter=c"],
  ["post", "/counter"],
  ["post", "/counter/"],
  ["post", "/counter/increment/?counter=c"],
  ["post", "/counter/Increment?counter=c"],
  ["post", "/counter/decrement?counter=c"],
] as const)("answers 404 to %s %s, which the original did not know", async (method, path) => {
  expectAnswer(await agent()[method](path), 404, '{"error_code":"404_not_found"}');
});

test("consumes nothing on HEAD", async () => {
  expect((await agent().head("/counter/increment?counter=c")).status).toBe(404);
  expect((await agent().post("/counter/increment?counter=c")).body.new_value).toBe(1);
});

test("answers a failure of the store with 500 and the original's code, and logs it", async () => {
  const error = new CounterError("store-unavailable", "expected an answer of DynamoDB in time, got none");
  await service.close();
  service = await openService({ store: failingStore(error) });
  expectAnswer(
    await agent().post("/counter/increment?counter=c"),
    500,
    '{"error_code":"error_incrementing_probably_database_error","error_description":"Error: expected an answer of DynamoDB in time, got none"}',
  );
  expect(service.logged).toContainEqual(expect.objectContaining({ level: 50, code: "store-unavailable" }));
});

test.each([
  [`/counter/increment?counter=${"x".repeat(201)}`, 400, "invalid-counter-id"],
  ["/counter/increment?counter=full", 409, "counter-exhausted"],
])("answers what the original did not know as a problem document", async (path, status, code) => {
  await agent().put("/incrementer/full/9007199254740991");
  const answer = await agent().post(path);
  expect(answer.status).toBe(status);
  expect(answer.body.code).toBe(code);
});
