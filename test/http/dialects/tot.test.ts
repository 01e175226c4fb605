import { afterEach, beforeEach, expect, test } from "@jest/globals";
import request from "supertest";
import { openService, type TestService } from "../open-service.ts";

let service: TestService;
beforeEach(async () => {
  service = await openService();
});
afterEach(() => service.close());

const agent = () => request(service.app);

/** As Go's net/http sends what `fmt.Fprintf(w, "%d", n)` writes: its type is sniffed, no newline. */
function expectNumber(answer: request.Response, number: number): void {
  expect(answer.text).toBe(String(number));
  expect(answer.status).toBe(200);
  expect(answer.headers).toMatchObject({
    "content-type": "text/plain; charset=utf-8",
    "content-length": String(number).length.toString(),
    "cache-control": "no-store",
  });
  expect(answer.headers).not.toHaveProperty("etag");
}

test("vends 1, 2, 3", async () => {
  for (const number of [1, 2, 3]) expectNumber(await agent().get("/vend/pull-test"), number);
});

test("consumes nothing on HEAD", async () => {
  for (let time = 0; time < 3; time += 1) expect((await agent().head("/vend/job")).status).toBe(200);
  expectNumber(await agent().get("/vend/job"), 1);
  const head = await agent().head("/vend/job");
  expect(head.headers).toMatchObject({ "content-type": "text/plain; charset=utf-8", "content-length": "1" });
  expectNumber(await agent().get("/vend/job"), 2);
});

test("sets the last number on POST, in either direction, with an empty answer", async () => {
  for (const [body, next] of [
    ["300", 301],
    ["+5", 6],
    ["0", 1],
  ] as const) {
    const answer = await agent().post("/vend/job").type("text/plain").send(body);
    expect(answer.status).toBe(200);
    expect(answer.text).toBe("");
    expect(answer.headers).toMatchObject({ "cache-control": "no-store" });
    expectNumber(await agent().get("/vend/job"), next);
  }
});

test.each(["", "x", "-1", "1.5", "5\n", " 5", "9007199254740992"])(
  "refuses %j as a last number with 422, and changes nothing",
  async (body) => {
    await agent().get("/vend/job");
    const answer = await agent().post("/vend/job").type("text/plain").send(body);
    expect(answer.status).toBe(422);
    expect(answer.body.code).toBe("invalid-value");
    expectNumber(await agent().get("/vend/job"), 2);
  },
);

test("takes all that follows for the job, slashes included", async () => {
  expectNumber(await agent().get("/vend/org/repo"), 1);
  expectNumber(await agent().get("/vend/org%2Frepo"), 2);
  expectNumber(await agent().get("/vend/org/repo/"), 1);
  expectNumber(await agent().get("/vend/org"), 1);
  expect((await agent().get("/incrementer/org%2Frepo")).text).toBe("3");
});

test.each(["/vend", "/vend/", `/vend/${"x".repeat(201)}`])("refuses %s with 400", async (path) => {
  const answer = await agent().get(path);
  expect(answer.status).toBe(400);
  expect(answer.body.code).toBe("invalid-counter-id");
});

test("refuses other methods with 405 and Allow", async () => {
  const answer = await agent().put("/vend/job").send("5");
  expect(answer.status).toBe(405);
  expect(answer.headers).toMatchObject({ allow: "GET, HEAD, POST, OPTIONS" });
});
