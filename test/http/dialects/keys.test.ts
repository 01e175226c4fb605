import { afterEach, beforeEach, expect, test } from "@jest/globals";
import request from "supertest";
import { openService, type TestService } from "../open-service.ts";

let service: TestService;

beforeEach(async () => {
  service = await openService();
});

afterEach(() => service.close());

test.each([
  ["micro-incrementer", "get", "/incrementer/app", "1"],
  ["micro-incrementer, by a number", "post", "/incrementer/app/5", "5"],
  ["lambda-atomic-counter", "post", "/counter/increment?counter=app", '{"counter":"app","new_value":1}'],
  ["tot", "get", "/vend/app", "1"],
] as const)("%s gives one key one number, by header or query", async (_name, method, path, body) => {
  const first = await request(service.app)[method](path).set("Idempotency-Key", '"build 1"');
  expect([first.text, first.headers["idempotency-replayed"]]).toEqual([body, undefined]);
  const asked = `${path}${path.includes("?") ? "&" : "?"}key=build+1`;
  const second = await request(service.app)[method](asked);
  expect([second.text, second.headers["idempotency-replayed"]]).toEqual([body, "true"]);
  const other = await request(service.app)[method](path).set("Idempotency-Key", "build 2");
  expect(other.text).not.toBe(body);
});
