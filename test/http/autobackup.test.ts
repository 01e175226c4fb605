import { once } from "node:events";
import http, { type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import request from "supertest";
import { Autobackup } from "../../src/http/autobackup.ts";
import { untilTrue } from "../store/until.ts";
import { freePort } from "../tools.ts";
import { openService, type TestService } from "./open-service.ts";

/** The service that backs up. What it was asked waits until the test answers. */
let server: http.Server;
let url: string;
let asked: { readonly target: string; readonly res: ServerResponse }[];
let warnings: string[];

const log = {
  info() {},
  error() {},
  warn: (_details: object, message: string) => void warnings.push(message),
};

beforeEach(async () => {
  asked = [];
  warnings = [];
  server = http.createServer((req, res) => asked.push({ target: `${req.method} ${req.url}`, res }));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/data`;
});
afterEach(async () => {
  server.closeAllConnections();
  server.close();
  await once(server, "close");
});

const answer = (at: number, status = 200) => asked[at]?.res.writeHead(status).end("saved");

test("asks for a backup by GET", async () => {
  const autobackup = new Autobackup({ url, log });
  autobackup.request();
  await untilTrue(() => asked.length === 1);
  expect(asked[0]?.target).toBe("GET /data");
  answer(0);
  await autobackup.close(60_000);
  expect(autobackup.failures).toBe(0);
  expect(warnings).toEqual([]);
});

test("has one backup under way and one waiting at most, and one that starts after the last success", async () => {
  const autobackup = new Autobackup({ url, log });
  for (let success = 0; success < 5; success += 1) autobackup.request();
  await untilTrue(() => asked.length === 1);
  for (let success = 0; success < 5; success += 1) autobackup.request();
  answer(0);
  await untilTrue(() => asked.length === 2);
  answer(1);
  await autobackup.close(60_000);
  expect(asked.length).toBe(2);
  autobackup.request();
  await untilTrue(() => asked.length === 3);
  answer(2);
  await autobackup.close(60_000);
});

test("counts and logs a refusal, and goes on", async () => {
  const autobackup = new Autobackup({ url, log });
  autobackup.request();
  await untilTrue(() => asked.length === 1);
  autobackup.request();
  answer(0, 500);
  await untilTrue(() => asked.length === 2);
  answer(1);
  await autobackup.close(60_000);
  expect(autobackup.failures).toBe(1);
  expect(warnings).toEqual(["a backup failed (AUTOBACKUP_URL)"]);
});

test("gives up a backup that takes too long, be it without an answer or in the middle of one", async () => {
  const autobackup = new Autobackup({ url, log, timeoutMs: 50 });
  autobackup.request();
  await autobackup.close(60_000);
  autobackup.request();
  await untilTrue(() => asked.length === 2);
  asked[1]?.res.write("a part");
  await autobackup.close(60_000);
  expect(autobackup.failures).toBe(2);
});

test("gives the backup under way and the one that waits a short time each at a stop, and then gives them up", async () => {
  const autobackup = new Autobackup({ url, log });
  autobackup.request();
  await untilTrue(() => asked.length === 1);
  autobackup.request();
  await autobackup.close(50);
  expect(asked.length).toBe(2);
  expect(autobackup.failures).toBe(2);
  await autobackup.close(50);
});

test("lets backups end at a stop that are answered in time", async () => {
  const autobackup = new Autobackup({ url, log });
  autobackup.request();
  await untilTrue(() => asked.length === 1);
  autobackup.request();
  const closed = autobackup.close(60_000);
  answer(0);
  await untilTrue(() => asked.length === 2);
  answer(1);
  await closed;
  expect(autobackup.failures).toBe(0);
});

test("counts a dead server as a failure", async () => {
  const autobackup = new Autobackup({ url: `http://127.0.0.1:${await freePort()}/data`, log });
  autobackup.request();
  await autobackup.close(60_000);
  expect(autobackup.failures).toBe(1);
});

test("follows every success of the micro-incrementer, and nothing else; a slow server delays no answer", async () => {
  let backups = 0;
  const autobackup = new Autobackup({ url, log });
  const service: TestService = await openService({
    backUp: () => {
      backups += 1;
      autobackup.request();
    },
  });
  const agent = request(service.app);
  const successes = [
    () => agent.get("/incrementer"),
    () => agent.get("/incrementer/myapp"),
    () => agent.post("/incrementer/5"),
    () => agent.post("/incrementer/myapp/0"),
    () => agent.put("/incrementer/300"),
    () => agent.put("/incrementer/myapp/300"),
  ];
  for (const act of successes) expect((await act()).status).toBe(200);
  expect(backups).toBe(successes.length);
  await agent.head("/incrementer/myapp");
  await agent.post("/incrementer/myapp/x");
  await agent.get("/vend/job");
  await agent.post("/e9461f1c-ef78-4162-bcb7-e83da7287614");
  expect(backups).toBe(successes.length);
  await untilTrue(() => asked.length === 1);
  answer(0);
  await untilTrue(() => asked.length === 2);
  answer(1);
  await autobackup.close(60_000);
  await service.close();
});
