import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { connect } from "node:net";
import { afterEach, beforeEach, describe, expect, test } from "@jest/globals";
import express, { type Express } from "express";
import { createHttpServer, type HttpServer, httpLimits } from "../../src/http/http-server.ts";
import { Connection } from "../server/start-service.ts";
import { openService, type TestService } from "./open-service.ts";

const id = "e9461f1c-ef78-4162-bcb7-e83da7287614";
let service: TestService;
let server: HttpServer;
let port: number;

async function listen(limits = httpLimits): Promise<void> {
  server = createHttpServer(service.app, limits);
  port = Number(new URL(await server.listen(0, "127.0.0.1")).port);
}

async function open(): Promise<Connection> {
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  return new Connection(socket);
}

/** Sends bytes on a connection of their own; all that came until the server closed it. */
async function exchange(text: string): Promise<string> {
  const connection = await open();
  connection.send(text);
  await connection.closed;
  return connection.text;
}

const get = async (path: string) => (await fetch(`http://127.0.0.1:${port}${path}`)).json();
const request = (target: string, method = "POST") =>
  `${method} ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`;

beforeEach(async () => {
  service = await openService();
  await listen();
});
afterEach(async () => {
  await server.close(0);
  await service.close();
});

/** Holds an answer to bytes that no Express route saw to what every error answer must be. */
function expectRefusal(text: string, status: number, code: string): void {
  const [head = "", body = ""] = text.split("\r\n\r\n");
  expect(head).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
  expect(head).toMatch(/^Content-Type: application\/problem\+json$/m);
  expect(head).toMatch(/^Cache-Control: no-store$/m);
  expect(head).toMatch(/^Connection: close$/m);
  expect(JSON.parse(body)).toMatchObject({ type: "about:blank", status, code });
}

describe("the request target", () => {
  test.each([`http://example.org/${id}`, `http://example.org:8080/${id}/`, `https://example.org/${id}?x=1`])(
    "%s, an absolute form, is served",
    async (target) => {
      expect(await exchange(request(target))).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\{"bn":1\}\n$/s);
    },
  );

  test.each([
    ["../../etc/passwd", 400],
    [`/../${id}`, 404],
    [`/./${id}`, 404],
    ["/../../etc/passwd", 404],
    ["/..%2f..%2fetc%2fpasswd", 400],
    ["/..%5c..%5cpasswd", 400],
    [`/${id}%00`, 400],
    [`/${id}%0d%0a`, 400],
    [`/${id}.lock`, 400],
    [`/.fence/${id}`, 404],
    [`//${id}`, 404],
    [`/\\${id}`, 400],
    [`/${id};x`, 400],
    ["http://example.org/../../etc/passwd", 404],
    ["http://example.org", 404],
    ["tel://1", 404],
    ["*", 404],
    [`/${"a".repeat(7_000)}`, 400],
  ])("%s gets %d and touches no file", async (target, status) => {
    const before = await readdir(service.storageDir, { recursive: true });
    for (const method of ["POST", "GET"]) {
      const answer = await exchange(request(target, method));
      expect(answer).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
      expect(answer).toMatch(/^Cache-Control: no-store$/m);
      expect(answer).toMatch(/^Content-Type: application\/problem\+json$/m);
    }
    expect(await readdir(service.storageDir, { recursive: true })).toEqual(before);
  });
});

describe("a body", () => {
  test("that breaks off takes no number", async () => {
    const connection = await open();
    connection.send(`POST /${id} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf`);
    connection.socket.resetAndDestroy();
    const chunked = await open();
    chunked.send(`POST /${id} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n`);
    chunked.socket.end();
    await chunked.closed;
    expect(await (await fetch(`http://127.0.0.1:${port}/${id}`, { method: "POST" })).json()).toEqual({
      bn: 1,
    });
  });

  test("in chunks is read to its end before a number is taken", async () => {
    const connection = await open();
    connection.send(`POST /${id} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n`);
    expect(await get(`/${id}`)).toMatchObject({ code: "counter-not-found" });
    connection.send("0\r\n\r\n");
    expect(await connection.received(/"bn"/)).toMatch(/\{"bn":1\}\n$/);
  });

  test.each(["Content-Length: 20000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4e20\r\n"])(
    "over 16 KiB gets 413 and takes no number, and the connection goes on (%j)",
    async (head) => {
      const connection = await open();
      const end = head.startsWith("T") ? "\r\n0\r\n\r\n" : "";
      connection.send(`POST /${id} HTTP/1.1\r\nHost: x\r\n${head}${"x".repeat(20_000)}${end}`);
      expect(await connection.received(/\}\n$/)).toMatch(/^HTTP\/1\.1 413 .*"code":"body-too-large"/s);
      connection.text = "";
      connection.send(request(`/${id}`));
      expect(await connection.received(/\}\n$/)).toMatch(/\{"bn":1\}\n$/);
    },
  );

  test("with any expectation is served", async () => {
    const body = "Content-Length: 4\r\nConnection: close\r\n\r\nbody";
    const head = `POST /${id} HTTP/1.1\r\nHost: x\r\nExpect:`;
    expect(await exchange(`${head} 100-continue\r\n${body}`)).toMatch(
      /^HTTP\/1\.1 100 Continue\r\n.*\{"bn":1\}\n$/s,
    );
    expect(await exchange(`${head} the-best\r\n${body}`)).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\{"bn":2\}\n$/s);
  });
});

describe("what is no valid request", () => {
  test("gets 400", async () => {
    expectRefusal(await exchange("Good day!\r\n\r\n"), 400, "bad-request");
    expectRefusal(
      await exchange(`POST /${id} HTTP/1.1\r\nHost: x\r\nContent-Length: x\r\n\r\n`),
      400,
      "bad-request",
    );
  });

  test("a request of HTTP/1.1 without Host gets 400, one of HTTP/1.0 is served", async () => {
    const bare = (version: string) => `POST /${id} HTTP/${version}\r\nConnection: close\r\n\r\n`;
    expectRefusal(await exchange(bare("1.1")), 400, "bad-request");
    expect(await exchange(bare("1.0"))).toMatch(/\{"bn":1\}\n$/);
  });

  test("headers over 8 KiB get 431", async () => {
    const header = `X: ${"x".repeat(8_192)}`;
    expectRefusal(await exchange(`GET /${id} HTTP/1.1\r\n${header}\r\n\r\n`), 431, "headers-too-large");
  });

  test("a request that does not come in whole in time gets 408", async () => {
    await server.close(0);
    await listen({ ...httpLimits, headersTimeoutMs: 50, requestTimeoutMs: 50 });
    expectRefusal(await exchange(`GET /${id} HTTP/1.1\r\nHost:`), 408, "request-timeout");
    const text = `POST /${id} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf`;
    expectRefusal(await exchange(text), 408, "request-timeout");
    expect(await get(`/${id}`)).toMatchObject({ code: "counter-not-found" });
  });

  test("a malformed chunk gets 400 and takes no number", async () => {
    const text = `POST /${id} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n`;
    expectRefusal(await exchange(text), 400, "bad-request");
    expect(await get(`/${id}`)).toMatchObject({ code: "counter-not-found" });
  });

  test("behind a whole request does not take that one's answer away", async () => {
    const answers = await exchange(`POST /${id} HTTP/1.1\r\nHost: x\r\n\r\nGood day!\r\n\r\n`);
    const second = answers.indexOf("HTTP/1.1", 1);
    expect(answers.slice(0, second)).toMatch(/^HTTP\/1\.1 200 OK\r\n.*\{"bn":1\}\n$/s);
    expectRefusal(answers.slice(second), 400, "bad-request");
  });
});

describe("a connection", () => {
  test("is kept alive, and answers pipelined requests in order", async () => {
    const connection = await open();
    connection.send(`POST /${id} HTTP/1.1\r\nHost: x\r\n\r\n`.repeat(3));
    const text = await connection.received(/"bn":3/);
    expect([...text.matchAll(/"bn":(\d)/g)].map(([, number]) => number)).toEqual(["1", "2", "3"]);
    expect(text).toMatch(/Keep-Alive: timeout=65\r\n/);
  });

  test("carries messages that are born as Express makes them, with its helpers", async () => {
    await server.close(0);
    const app = express();
    const wereReady: boolean[] = [];
    createServerFor(app, (req, res) => {
      wereReady.push(Object.getPrototypeOf(req) === app.request, Object.getPrototypeOf(res) === app.response);
    });
    app.get("/express", (req, res) => {
      res
        .status(201)
        .set("X-Path", req.path)
        .json({ accepts: req.accepts("json"), query: req.query });
    });
    port = Number(new URL(await server.listen(0, "127.0.0.1")).port);
    const answer = await fetch(`http://127.0.0.1:${port}/express?a=b`);
    expect(answer.status).toBe(201);
    expect(answer.headers.get("x-path")).toBe("/express");
    expect(await answer.json()).toEqual({ accepts: "json", query: { a: "b" } });
    expect(wereReady).toEqual([true, true]);
  });

  /** Shows each message to the test just before Express has it. */
  function createServerFor(app: Express, look: (req: object, res: object) => void): void {
    const { handle } = app as unknown as { handle: (...messages: [object, object]) => void };
    Object.assign(app, {
      handle(...messages: [object, object]) {
        look(...messages);
        handle.apply(app, messages);
      },
    });
    server = createHttpServer(app);
  }
});
