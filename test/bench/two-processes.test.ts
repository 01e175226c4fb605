import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "@jest/globals";
import { findDuplicates } from "../../bench/two-processes.ts";

async function check(handle: RequestListener) {
  const server = createServer(handle).listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    return await findDuplicates({ urls: [url, url] }, { connections: 4, seconds: 0.1 });
  } finally {
    server.close();
    server.closeAllConnections();
  }
}

test("finds no duplicates where every number is given once", async () => {
  let last = 0;
  const found = await check((_request, response) => {
    last += 1;
    response.end(`{"bn":${last}}\n`);
  });
  expect(found).toEqual({ answers: last, duplicates: 0, failed: 0 });
});

test("finds the numbers that were answered twice", async () => {
  let asked = 0;
  const found = await check((_request, response) => {
    asked += 1;
    response.end(`{"bn":${Math.ceil(asked / 2)}}\n`);
  });
  expect(found).toEqual({ answers: asked, duplicates: Math.floor(asked / 2), failed: 0 });
});

test("counts refusals as failed, not as answers", async () => {
  const found = await check((_request, response) => {
    response.writeHead(503).end('{"bn":1}\n');
  });
  expect(found).toMatchObject({ answers: 0, duplicates: 0 });
  expect(found.failed).toBeGreaterThan(0);
});

test("fails when a connection breaks", async () => {
  await expect(check((request) => void request.socket.resetAndDestroy())).rejects.toThrow("ECONNRESET");
});
