import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import request from "supertest";
import { openService, type TestService } from "./open-service.ts";

const id = "e9461f1c-ef78-4162-bcb7-e83da7287614";
let service: TestService;

beforeEach(async () => {
  service = await openService();
});
afterEach(() => service.close());

const agent = () => request(service.app);
const last = async () => (await agent().get(`/${id}`)).body.bn;

function withKey(key: string) {
  return agent().post(`/${id}`).set("Idempotency-Key", key);
}

describe("a key", () => {
  test("gets one number, and a replay says that it is one", async () => {
    const first = await withKey('"build-1"');
    expect(first.text).toBe('{"bn":1}\n');
    expect(first.headers).not.toHaveProperty("idempotency-replayed");
    expect((await agent().post(`/${id}`)).text).toBe('{"bn":2}\n');
    const again = await withKey('"build-1"');
    expect(again.text).toBe('{"bn":1}\n');
    expect(again.headers).toMatchObject({ "idempotency-replayed": "true", "cache-control": "no-store" });
    expect(await last()).toBe(2);
  });

  test("is the same quoted, bare, in the header, in the query or in both", async () => {
    await withKey('"a b"');
    for (const answer of [
      await withKey("a b"),
      await agent().post(`/${id}?key=a%20b`),
      await agent().post(`/${id}?key=a+b&key=a%20b`),
      await withKey('"a b"').query({ key: "a b" }),
    ]) {
      expect(answer.body).toEqual({ bn: 1 });
      expect(answer.headers["idempotency-replayed"]).toBe("true");
    }
  });

  test('may hold \\ and " when they are escaped', async () => {
    await withKey('"a\\"b\\\\c"');
    expect((await agent().post(`/${id}`).query({ key: 'a"b\\c' })).body).toEqual({ bn: 1 });
  });

  test.each([
    ["another in the query", { "Idempotency-Key": "a" }, "?key=b"],
    ["two in the query", {}, "?key=a&key=b"],
    ["nothing between the quotes", { "Idempotency-Key": '""' }, ""],
    ["nothing in the query", {}, "?key="],
    ["no closing quote", { "Idempotency-Key": '"a' }, ""],
    ["something behind the quote", { "Idempotency-Key": '"a"; b=1' }, ""],
    ["an unknown escape", { "Idempotency-Key": '"a\\n"' }, ""],
    ["256 characters", { "Idempotency-Key": "x".repeat(256) }, ""],
    ["a tab", {}, "?key=a%09b"],
    ["a letter beyond ASCII", {}, "?key=%C3%BC"],
  ])("with %s is refused, and takes no number", async (_what, headers, query) => {
    const answer = await agent().post(`/${id}${query}`).set(headers);
    expect(answer.status).toBe(400);
    expect(answer.body).toMatchObject({ code: "invalid-key" });
    expect((await agent().get(`/${id}`)).status).toBe(404);
  });

  test("of 255 characters is fine", async () => {
    expect((await withKey("x".repeat(255))).status).toBe(200);
  });

  test("that comes twelve times at once gets one number", async () => {
    const answers = await Promise.all(Array.from({ length: 12 }, () => agent().post(`/${id}?key=pipeline`)));
    expect(answers.map(({ body }) => body.bn)).toEqual(new Array(12).fill(1));
    expect(await last()).toBe(1);
  });

  test("may be repeated without metadata or with the same, in any order", async () => {
    await withKey("a").send({ commit: "60b7eca", list: [1, { two: 2 }] });
    for (const body of [undefined, {}, { list: [1, { two: 2 }], commit: "60b7eca" }]) {
      expect((await withKey("a").send(body)).body).toEqual({ bn: 1 });
    }
  });

  test.each([
    { commit: "other" },
    { commit: "60b7eca", more: null },
    { commit: "60b7eca", list: [1] },
    { commit: "60b7eca", list: { 0: 1, 1: 2 } },
    { commit: null, list: [1, 2] },
  ])("with other metadata (%j) is refused, and the record is shown", async (other) => {
    const metadata = { commit: "60b7eca", list: [1, 2] };
    await withKey("a").send(metadata);
    const answer = await withKey("a").send(other);
    expect(answer.status).toBe(422);
    expect(answer.body).toMatchObject({
      code: "key-reused",
      record: { bn: 1, at: expect.stringMatching(/^\d{4}-.*Z$/), key: "a", metadata },
    });
    expect(await last()).toBe(1);
  });

  test("does without .records when there is none to be had: others go on", async () => {
    const { mkdir, rm, writeFile } = await import("node:fs/promises");
    const { join } = await import("node:path");
    await mkdir(service.storageDir, { recursive: true });
    const file = join(service.storageDir, ".records");
    await writeFile(file, "");
    const refused = await withKey("a");
    expect(refused.status).toBe(503);
    expect(refused.body).toMatchObject({ code: "store-unavailable" });
    expect(refused.body).not.toHaveProperty("consumed");
    expect((await agent().post(`/${id}`)).body).toEqual({ bn: 1 });
    await rm(file);
    expect((await withKey("a")).body).toEqual({ bn: 2 });
  });
});

describe("a body", () => {
  test.each(["application/json", "application/json; charset=utf-8", "application/vnd.ci+json"])(
    "of type %s is recorded with the number",
    async (type) => {
      const metadata = { commit: "60b7eca", branch: "main" };
      await agent().post(`/${id}`).set("Content-Type", type).send(JSON.stringify(metadata));
      const { body } = await agent().get(`/${id}/builds/1`);
      expect(body).toEqual({ bn: 1, at: expect.any(String), metadata });
      expect(Math.abs(Date.parse(body.at) - Date.now())).toBeLessThan(60_000);
    },
  );

  test.each(["", " \n", "{}", "{ }"])(
    "declared as JSON that says %j is no record and no error",
    async (text) => {
      const answer = await agent().post(`/${id}`).set("Content-Type", "application/json").send(text);
      expect(answer.body).toEqual({ bn: 1 });
      expect((await agent().get(`/${id}/builds/1`)).body).toMatchObject({ code: "record-not-found" });
    },
  );

  test.each(["[1]", "null", "5", '"text"', '{"a":', "commit=60b7eca"])(
    "declared as JSON that says %s is refused, and takes no number",
    async (text) => {
      const answer = await agent().post(`/${id}`).set("Content-Type", "application/json").send(text);
      expect(answer.status).toBe(400);
      expect(answer.body).toMatchObject({ code: "invalid-metadata" });
      expect((await agent().get(`/${id}`)).status).toBe(404);
    },
  );

  test("of another type is ignored", async () => {
    for (const type of ["text/plain", "application/x-www-form-urlencoded", "application/jsonl"]) {
      await agent().post(`/${id}`).set("Content-Type", type).send('{"commit":"60b7eca"}');
    }
    expect((await agent().get(`/${id}/builds`)).body).toEqual([]);
    expect(await last()).toBe(3);
  });

  test("of JSON may have 4 KiB and not a byte more", async () => {
    const text = JSON.stringify({ text: "x".repeat(4_096 - '{"text":""}'.length) });
    const post = (body: string) => agent().post(`/${id}`).set("Content-Type", "application/json").send(body);
    expect((await post(`${text} `)).body).toMatchObject({ status: 413, code: "body-too-large" });
    expect((await post(text)).body).toEqual({ bn: 1 });
  });
});

describe("builds", () => {
  beforeEach(async () => {
    await withKey("a").send({ branch: "main", run: 1 });
    await agent().post(`/${id}`);
    await agent().post(`/${id}`).send({ branch: "topic", run: 2 });
    await withKey("b").send({ branch: "main", run: 3 });
  });
  const numbers = async (query: string) =>
    (await agent().get(`/${id}/builds${query}`)).body.map(({ bn }: { bn: number }) => bn);

  test("shows one number with its time, key and metadata", async () => {
    expect((await agent().get(`/${id}/builds/4`)).body).toEqual({
      bn: 4,
      at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/),
      key: "b",
      metadata: { branch: "main", run: 3 },
    });
    expect((await agent().get(`/${id}/builds/last`)).body).toMatchObject({ bn: 4 });
    expect((await agent().get(`/${id}/builds/1`).set("Accept", "text/plain")).text).toBe("1\n");
    expect((await agent().head(`/${id}/builds/1`)).status).toBe(200);
  });

  test("tells a number issued without record from one not issued yet, and both from a counter never used", async () => {
    const issued = await agent().get(`/${id}/builds/2`);
    expect(issued.status).toBe(404);
    expect(issued.body).toMatchObject({
      code: "record-not-found",
      detail: expect.stringContaining("was issued"),
    });
    const not = await agent().get(`/${id}/builds/5`);
    expect(not.body).toMatchObject({ status: 404, code: "record-not-found" });
    expect(not.body.detail).toContain("the last one is 4");
    const other = id.replace("e", "f");
    for (const path of ["builds/1", "builds", "builds/last"]) {
      expect((await agent().get(`/${other}/${path}`)).body).toMatchObject({
        status: 404,
        code: "counter-not-found",
      });
    }
    await agent().post(`/${other}`);
    expect((await agent().get(`/${other}/builds`)).body).toEqual([]);
    expect((await agent().get(`/${other}/builds/last`)).body).toMatchObject({ code: "record-not-found" });
  });

  test("lists the newest first, with a link to the next page", async () => {
    expect(await numbers("")).toEqual([4, 3, 1]);
    expect(await numbers("?before=4")).toEqual([3, 1]);
    const page = await agent().get(`/${id}/builds?limit=2`);
    expect(page.body.map(({ bn }: { bn: number }) => bn)).toEqual([4, 3]);
    const link = /^<(\?[^>]+)>; rel="next"$/.exec(page.headers["link"] ?? "")?.[1] as string;
    expect(await numbers(link)).toEqual([1]);
    expect((await agent().get(`/${id}/builds`)).headers).not.toHaveProperty("link");
    expect((await agent().get(`/${id}/builds?limit=2`).set("Accept", "text/plain")).text).toBe("4\n3\n");
  });

  test("finds by key and by a value of the metadata, also on further pages", async () => {
    expect(await numbers("?key=a")).toEqual([1]);
    expect(await numbers("?metadata.branch=main")).toEqual([4, 1]);
    expect(await numbers("?metadata.run=2")).toEqual([3]);
    expect(await numbers("?metadata.branch=main&key=b")).toEqual([4]);
    const page = await agent().get(`/${id}/builds?metadata.branch=main&limit=1`);
    const link = /^<(\?[^>]+)>/.exec(page.headers["link"] ?? "")?.[1] as string;
    expect(await numbers(link)).toEqual([1]);
  });

  test.each([
    "?limit=0",
    "?limit=1001",
    "?limit=x",
    "?before=0",
    "?before=1.5",
    "?metadata.a=1&metadata.b=2",
  ])("refuses %s", async (query) => {
    expect((await agent().get(`/${id}/builds${query}`)).body).toMatchObject({
      status: 400,
      code: "bad-request",
    });
  });

  test.each(["0", "x", "9007199254740992", "-1"])("refuses %s for a number", async (number) => {
    expect((await agent().get(`/${id}/builds/${number}`)).body).toMatchObject({ status: 400 });
  });

  test("are read only", async () => {
    for (const path of ["builds", "builds/1", "builds/last"]) {
      const answer = await agent().delete(`/${id}/${path}`);
      expect(answer.status).toBe(405);
      expect(answer.headers["allow"]).toBe("GET, HEAD, OPTIONS");
    }
  });
});

describe("a format", () => {
  test("writes the number and the time of a replay's record", async () => {
    const { body } = await withKey("a").query({ format: "1.4.{bn}" });
    expect(body).toEqual({ bn: 1, formatted: "1.4.1" });
    const { at } = (await agent().get(`/${id}/builds/1`)).body;
    const again = await withKey("a").query({ format: "{date:yyyyMMdd-HHmmss}" }).set("Accept", "text/plain");
    expect(again.text).toBe(`${at.slice(0, 19).replaceAll(/[-:]/g, "").replace("T", "-")}\n`);
    const shown = await agent().get(`/${id}/builds/last`).query({ format: "v{bn:03}" });
    expect(shown.body).toMatchObject({ bn: 1, formatted: "v001" });
    const text = await agent()
      .get(`/${id}/builds/1`)
      .query({ format: "v{bn:03}" })
      .set("Accept", "text/plain");
    expect(text.text).toBe("v001\n");
  });

  test("works without a key", async () => {
    const { body } = await agent().post(`/${id}`).query({ format: "{date:yyyy}.{bn}" });
    expect(body.formatted).toMatch(/^\d{4}\.1$/);
  });

  test("that is not understood is refused, and takes no number", async () => {
    const answer = await agent().post(`/${id}`).query({ format: "{build}" });
    expect(answer.body).toMatchObject({ status: 400, code: "invalid-format" });
    expect((await agent().get(`/${id}`)).status).toBe(404);
  });
});

describe("?max=", () => {
  test("refuses the number after it, and says how many are left", async () => {
    const first = await agent().post(`/${id}?max=2`);
    expect(first.headers["build-number-remaining"]).toBe("1");
    expect((await agent().post(`/${id}?max=2&key=a`)).headers["build-number-remaining"]).toBe("0");
    const refused = await agent().post(`/${id}?max=2`);
    expect(refused.body).toMatchObject({ status: 409, code: "counter-exhausted" });
    expect(await last()).toBe(2);
    const replay = await agent().post(`/${id}?max=1&key=a`);
    expect(replay.body).toEqual({ bn: 2 });
    expect(replay.headers["build-number-remaining"]).toBe("0");
  });

  test.each(["0", "-1", "x", "1e3", "9007199254740992", ""])("refuses %j", async (max) => {
    const answer = await agent().post(`/${id}`).query({ max });
    expect(answer.body).toMatchObject({ status: 400, code: "bad-request" });
  });
});
