import { randomUUID } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import request from "supertest";
import { CounterError } from "../../src/counter/errors.ts";
import { OpeningStore } from "../../src/store/opening-store.ts";
import { failingStore } from "./failing-store.ts";
import { openService, type TestService } from "./open-service.ts";

const id = "e9461f1c-ef78-4162-bcb7-e83da7287614";
const maxValue = 9_007_199_254_740_991;
let service: TestService;

beforeEach(async () => {
  service = await openService();
});
afterEach(() => service.close());

const agent = () => request(service.app);
const last = async (name = id) => (await agent().get(`/${name}`)).body.bn;

/** Holds an answer to all that every error answer must be. */
function expectProblem(answer: request.Response, status: number, code: string): void {
  expect(answer.body).toMatchObject({ type: "about:blank", status, code, detail: expect.any(String) });
  expect(answer.status).toBe(status);
  expect(answer.headers).toMatchObject({
    "content-type": "application/problem+json",
    "cache-control": "no-store",
    "content-length": String(Buffer.byteLength(answer.text)),
  });
  expect(answer.headers).not.toHaveProperty("etag");
  expect(answer.text).not.toMatch(/node_modules|\.[jt]s\b|\bat \w+ \(/);
  expect(answer.text).not.toContain(service.storageDir);
}

describe("POST", () => {
  test("answers 1, 2, 3 as JSON that ends in a newline", async () => {
    for (const number of [1, 2, 3]) {
      const answer = await agent().post(`/${id}`);
      expect(answer.status).toBe(200);
      expect(answer.text).toBe(`{"bn":${number}}\n`);
      expect(answer.headers).toMatchObject({
        "content-type": "application/json; charset=utf-8",
        "cache-control": "no-store",
        "content-length": "9",
      });
      expect(answer.headers).not.toHaveProperty("etag");
      expect(answer.headers).not.toHaveProperty("x-powered-by");
    }
    expect(await readFile(join(service.storageDir, id), "utf8")).toBe("3\n");
  });

  test("gives concurrent callers distinct, gapless numbers", async () => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => agent().post(`/${id}`)));
    const numbers = answers.map(({ body }) => body.bn).sort((a, b) => a - b);
    expect(numbers).toEqual(Array.from({ length: 50 }, (_, at) => at + 1));
  });

  test.each([
    `/${id}/`,
    `/${id.toUpperCase()}`,
    `/${id.replaceAll("-", "")}`,
    `/{${id}}`,
    `/%7B${id}%7D`,
    `/urn:uuid:${id}`,
    `/urn%3Auuid%3A${id}`,
    `/%65${id.slice(1)}`,
    `/${id}?force=true&bn=7`,
  ])("takes %s for the same counter", async (path) => {
    await agent().post(`/${id}`);
    expect((await agent().post(path)).body).toEqual({ bn: 2 });
  });

  test.each([
    ["application/json", ""],
    ["text/json5", "{not json"],
    ["application/x-www-form-urlencoded", "a=b"],
    ["application/octet-stream", "\0\x01"],
    ["nonsense", "{}"],
  ])("ignores a body of type %s that says %j", async (type, body) => {
    const answer = await agent()
      .post(`/${id}`)
      .set("Content-Type", type)
      .set("Content-Encoding", "gzip")
      .send(body);
    expect(answer.body).toEqual({ bn: 1 });
  });

  test("takes a body of 16 KiB, and refuses a larger one without taking a number", async () => {
    expect((await agent().post(`/${id}`).send("x".repeat(16_384))).body).toEqual({ bn: 1 });
    expectProblem(await agent().post(`/${id}`).send("x".repeat(16_385)), 413, "body-too-large");
    expect(await last()).toBe(1);
  });

  test("answers 404 for a counter never used, when counters are not to be created", async () => {
    await service.close();
    service = await openService({ createCounters: false });
    expectProblem(await agent().post(`/${id}`), 404, "counter-not-found");
    await agent().put(`/${id}`).send('{"bn":5}');
    expect((await agent().post(`/${id}`)).body).toEqual({ bn: 6 });
  });

  test("answers 409 at the end of the range, and stays there", async () => {
    await agent()
      .put(`/${id}`)
      .send(`{"bn":${maxValue - 1}}`);
    expect((await agent().post(`/${id}`)).body).toEqual({ bn: maxValue });
    expectProblem(await agent().post(`/${id}`), 409, "counter-exhausted");
    expect(await last()).toBe(maxValue);
  });

  test("answers 500 for a counter that cannot be read, leaves it as it is, and serves the others", async () => {
    await writeFile(join(service.storageDir, id), "garbage\n");
    expectProblem(await agent().post(`/${id}`), 500, "counter-unreadable");
    expectProblem(await agent().get(`/${id}`), 500, "counter-unreadable");
    expect(await readFile(join(service.storageDir, id), "utf8")).toBe("garbage\n");
    expect((await agent().post(`/${randomUUID()}`)).body).toEqual({ bn: 1 });
    expect(service.logged).toContainEqual(expect.objectContaining({ level: 50, code: "counter-unreadable" }));
  });
});

describe("GET", () => {
  test("answers the last number and takes none", async () => {
    await agent().post(`/${id}`);
    for (const path of [`/${id}`, `/${id}/`, `/${id.toUpperCase()}`]) {
      const answer = await agent().get(path).set("If-None-Match", "*");
      expect(answer.status).toBe(200);
      expect(answer.text).toBe('{"bn":1}\n');
      expect(answer.headers).toMatchObject({ "cache-control": "no-store" });
      expect(answer.headers).not.toHaveProperty("etag");
    }
  });

  test("answers 404 for a counter never used, and brings none into being", async () => {
    expectProblem(await agent().get(`/${id}`), 404, "counter-not-found");
    expect((await agent().post(`/${id}`)).body).toEqual({ bn: 1 });
  });
});

describe("HEAD", () => {
  test("answers the head of GET and takes no number", async () => {
    await agent().post(`/${id}`);
    const answer = await agent().head(`/${id}`);
    expect(answer.status).toBe(200);
    expect(answer.text).toBeUndefined();
    expect(answer.headers).toMatchObject({ "content-length": "9", "cache-control": "no-store" });
    expect(await last()).toBe(1);
  });

  test("answers 404 for a counter never used", async () => {
    expect((await agent().head(`/${id}`)).status).toBe(404);
    expect((await agent().post(`/${id}`)).body).toEqual({ bn: 1 });
  });
});

describe("PUT", () => {
  test("sets the counter forward, so that the next number follows", async () => {
    const answer = await agent().put(`/${id}`).send({ bn: 300 });
    expect(answer.status).toBe(200);
    expect(answer.text).toBe('{"bn":300}\n');
    expect((await agent().post(`/${id}`)).body).toEqual({ bn: 301 });
  });

  test.each(["application/x-www-form-urlencoded", "text/plain", "nonsense"])(
    "reads JSON from a body of type %s",
    async (type) => {
      const answer = await agent().put(`/${id}`).set("Content-Type", type).send('{"bn":300}');
      expect(answer.body).toEqual({ bn: 300 });
    },
  );

  test("refuses a lower value and changes nothing, unless forced", async () => {
    await agent().put(`/${id}`).send('{"bn":300}');
    for (const query of ["", "?force=", "?force=1", "?force=false", "?force=TRUE"]) {
      expectProblem(await agent().put(`/${id}${query}`).send('{"bn":299}'), 409, "lowering-refused");
    }
    expect(await last()).toBe(300);
    expect((await agent().put(`/${id}?force=true`).send('{"bn":7}')).body).toEqual({ bn: 7 });
    expect((await agent().post(`/${id}`)).body).toEqual({ bn: 8 });
  });

  test.each([0, maxValue])("takes %d", async (bn) => {
    expect((await agent().put(`/${id}`).send(`{"bn":${bn}}`)).body).toEqual({ bn });
    expect(await last()).toBe(bn);
  });

  test.each([
    "",
    "300",
    "null",
    "[300]",
    "{}",
    '{"bn":null}',
    '{"bn":"300"}',
    '{"bn":-1}',
    '{"bn":1.5}',
    '{"bn":9007199254740992}',
    '{"bn":1e400}',
    '{"bn":300',
    "bn=300",
  ])("refuses the body %j", async (body) => {
    expectProblem(await agent().put(`/${id}`).send(body), 422, "invalid-value");
    expect((await agent().get(`/${id}`)).status).toBe(404);
  });

  test("refuses a body over 16 KiB", async () => {
    expectProblem(
      await agent()
        .put(`/${id}`)
        .send(`{"bn":300}${" ".repeat(16_384)}`),
      413,
      "body-too-large",
    );
    expect((await agent().get(`/${id}`)).status).toBe(404);
  });
});

describe("Accept", () => {
  test.each([
    "text/plain",
    "text/*",
    "text/plain, */*",
    "text/plain;q=0.9, application/json;q=0.5",
    "application/json;q=0, */*",
    "TEXT/PLAIN",
  ])("%s gets the bare number", async (accept) => {
    const answer = await agent().post(`/${id}`).set("Accept", accept);
    expect(answer.text).toBe("1\n");
    expect(answer.headers).toMatchObject({
      "content-type": "text/plain; charset=utf-8",
      "content-length": "2",
    });
  });

  test.each([
    "",
    "*/*",
    "application/json",
    "application/json, text/plain, */*",
    "text/plain;q=0.5, application/json",
    "text/plain;q=0.5, */*",
    "text/html,application/xhtml+xml,*/*;q=0.8",
    "image/png",
    "text/plain;q=0",
    ";;;",
  ])("%j gets JSON", async (accept) => {
    expect((await agent().post(`/${id}`).set("Accept", accept)).text).toBe('{"bn":1}\n');
  });

  test("text/plain holds for GET and PUT too, and for errors, as one line", async () => {
    expect((await agent().put(`/${id}`).set("Accept", "text/plain").send('{"bn":4}')).text).toBe("4\n");
    expect((await agent().get(`/${id}`).set("Accept", "text/plain")).text).toBe("4\n");
    const answer = await agent().post("/no%0Auuid").set("Accept", "text/plain");
    expect(answer.status).toBe(400);
    expect(answer.headers).toMatchObject({
      "content-type": "text/plain; charset=utf-8",
      "cache-control": "no-store",
    });
    expect(answer.text).toMatch(/^invalid-counter-id: invalid UUID format: expected .*\n$/);
  });

  test("application/problem+json gets a problem document rather than text", async () => {
    const accept = "application/problem+json, text/plain;q=0.9";
    expectProblem(await agent().get(`/${id}`).set("Accept", accept), 404, "counter-not-found");
  });
});

describe("methods and paths", () => {
  test.each(["delete", "patch", "trace", "propfind"] as const)(
    "refuses %s with 405 and Allow",
    async (method) => {
      const answer = await agent()[method](`/${id}`);
      expectProblem(answer, 405, "method-not-allowed");
      expect(answer.headers).toMatchObject({ allow: "GET, HEAD, POST, PUT, OPTIONS" });
    },
  );

  test.each(["/healthz", "/readyz"])(
    "refuses POST, PUT and DELETE of %s with 405 and Allow",
    async (path) => {
      for (const method of ["post", "put", "delete"] as const) {
        const answer = await agent()[method](path);
        expectProblem(answer, 405, "method-not-allowed");
        expect(answer.headers).toMatchObject({ allow: "GET, HEAD, OPTIONS" });
      }
    },
  );

  test.each([
    [`/${id}`, "GET, HEAD, POST, PUT, OPTIONS"],
    ["/healthz", "GET, HEAD, OPTIONS"],
  ])("answers OPTIONS of %s with 204 and Allow", async (path, allow) => {
    const answer = await agent().options(path);
    expect(answer.status).toBe(204);
    expect(answer.headers).toMatchObject({ allow, "cache-control": "no-store" });
  });

  test.each(["post", "get", "put"] as const)("refuses %s of a malformed id with 400", async (method) => {
    for (const path of ["/x", `/${id}0`, `/${id.slice(1)}`, "/favicon.ico", `/${"a".repeat(4_000)}`, "/-"]) {
      expectProblem(await agent()[method](path), 400, "invalid-counter-id");
    }
  });

  test.each(["/%zz", "/%", `/${id}%`, "/%c3%28"])(
    "refuses %s, which cannot be decoded, with 400",
    async (path) => {
      expectProblem(await agent().post(path), 400, "bad-request");
    },
  );

  test.each(["/", `/a/${id}`, `/${id}/x`, `//${id}`, `/${id}//`, "/healthz/x"])(
    "answers 404 to %s",
    async (path) => {
      expectProblem(await agent().post(path), 404, "not-found");
    },
  );

  test.each([
    "/..%2f..%2fetc%2fpasswd",
    `/${id}%00`,
    `/%00`,
    `/${id}.lock`,
    "/.fence",
    "/.",
    "/%2e%2e",
    `/..%2f${id}`,
    `/.fence%2f${id}`,
    `/${id}%2f`,
    `/${"a".repeat(300)}`,
  ])("the trick %s is refused and touches no file", async (path) => {
    const before = await readdir(service.storageDir, { recursive: true });
    for (const method of ["post", "get", "put"] as const) {
      const answer = await agent()[method](path).send('{"bn":5}');
      expect([400, 404]).toContain(answer.status);
    }
    expect(await readdir(service.storageDir, { recursive: true })).toEqual(before);
  });
});

describe("a failing store", () => {
  async function serveOn(error: Error): Promise<void> {
    await service.close();
    service = await openService({ store: failingStore(error) });
  }

  test.each(["store-full", "store-unavailable"] as const)("%s is a 503 with Retry-After", async (code) => {
    await serveOn(new CounterError(code, "expected room, got none"));
    const answer = await agent().post(`/${id}`);
    expectProblem(answer, 503, code);
    expect(answer.headers).toMatchObject({ "retry-after": "1" });
    expect(answer.body).not.toHaveProperty("consumed");
  });

  test("an error that used up numbers says so, in JSON and in text", async () => {
    await serveOn(new CounterError("store-unavailable", "expected a commit, got none", { consumed: true }));
    expect((await agent().post(`/${id}`)).body).toMatchObject({ consumed: true });
    const answer = await agent().post(`/${id}`).set("Accept", "text/plain");
    expect(answer.text).toBe("store-unavailable: expected a commit, got none (numbers were consumed)\n");
  });

  test("an unforeseen error is a 500 that tells nothing, and is logged with its reason", async () => {
    await serveOn(new Error("EIO: i/o error, open '/srv/secret/place'"));
    const answer = await agent().post(`/${id}`);
    expectProblem(answer, 500, "internal-error");
    expect(answer.text).not.toMatch(/EIO|secret/);
    const line = service.logged.find(({ code }) => code === "internal-error");
    expect(JSON.stringify(line)).toMatch(/EIO.*secret/);
  });

  test("one failed batch is one line in the log, however many callers it fails", async () => {
    await serveOn(new CounterError("store-unavailable", "expected a commit, got none"));
    await Promise.all(Array.from({ length: 5 }, () => agent().post(`/${id}`)));
    expect(service.logged).toHaveLength(1);
  });

  test("callers over the limit are refused with 503 and not logged", async () => {
    await service.close();
    service = await openService({ maxWaiting: 0 });
    expectProblem(await agent().post(`/${id}`), 503, "overloaded");
    expect(service.logged.filter(({ level }) => level === 50)).toEqual([]);
  });
});

describe("health", () => {
  test("answers 200 while the store can commit", async () => {
    for (const path of ["/healthz", "/readyz"]) {
      const answer = await agent().get(path);
      expect(answer.status).toBe(200);
      expect(answer.headers).toMatchObject({ "cache-control": "no-store" });
      expect((await agent().head(path)).status).toBe(200);
    }
  });

  test("is alive but not ready when the service is stopping", async () => {
    await service.counters.close();
    expectProblem(await agent().get("/readyz"), 503, "stopping");
    expectProblem(await agent().post(`/${id}`), 503, "stopping");
    expect((await agent().get("/healthz")).status).toBe(200);
  });

  test("is alive but not ready while the store is being opened", async () => {
    await service.close();
    service = await openService({ store: new OpeningStore() });
    expectProblem(await agent().get("/readyz"), 503, "store-unavailable");
    expectProblem(await agent().post(`/${id}`), 503, "store-unavailable");
    expect((await agent().get("/healthz")).status).toBe(200);
  });

  test("probes that come together share one check, later ones get a new one", async () => {
    await service.close();
    let checks = 0;
    let proceed = () => {};
    const check = () => {
      checks += 1;
      return new Promise<void>((resolve) => {
        proceed = resolve;
      });
    };
    const none = async () => undefined;
    service = await openService({
      store: {
        description: "slow",
        check,
        commit: async () => [],
        record: none,
        records: async () => ({ records: [] }),
        peek: none,
        set: async () => {},
        close: async () => {},
      },
    });
    const server = service.app.listen(0);
    let arrived = 0;
    server.on("request", () => {
      arrived += 1;
    });
    try {
      const probes = [0, 1, 2].map(() =>
        request(server)
          .get("/readyz")
          .then(({ status }) => status),
      );
      while (arrived < 3) await new Promise(setImmediate);
      proceed();
      expect(await Promise.all(probes)).toEqual([200, 200, 200]);
      expect(checks).toBe(1);
      const later = request(server)
        .get("/readyz")
        .then(({ status }) => status);
      while (checks === 1) await new Promise(setImmediate);
      proceed();
      expect(await later).toBe(200);
    } finally {
      server.close();
    }
  });
});

describe("access log", () => {
  test("is off by default", async () => {
    await agent().get("/healthz");
    expect(service.logged.filter(({ req }) => req)).toEqual([]);
  });

  test("has a line for each request, without its headers", async () => {
    await service.close();
    service = await openService({ logRequests: true });
    await agent().post(`/${id}`).set("Authorization", "Bearer secret");
    await agent().get("/x");
    const lines = service.logged.filter(({ req }) => req);
    expect(lines).toMatchObject([
      { req: { method: "POST", url: `/${id}` }, res: { statusCode: 200 }, responseTime: expect.any(Number) },
      { req: { method: "GET", url: "/x" }, res: { statusCode: 400 } },
    ]);
    expect(JSON.stringify(lines)).not.toContain("secret");
  });
});
