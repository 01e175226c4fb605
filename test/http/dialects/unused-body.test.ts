import { once } from "node:events";
import { connect } from "node:net";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import request from "supertest";
import { createHttpServer, type HttpServer } from "../../../src/http/http-server.ts";
import { openService, type TestService } from "../open-service.ts";

const uuid = "e9461f1c-ef78-4162-bcb7-e83da7287614";
let service: TestService;
let server: HttpServer;
let port: number;

beforeEach(async () => {
  service = await openService();
  server = createHttpServer(service.app);
  port = Number(new URL(await server.listen(0, "127.0.0.1")).port);
});
afterEach(async () => {
  await server.close(1_000);
  await service.close();
});

const requests = [
  ["post", `/${uuid}`],
  ["get", `/incrementer/${uuid}`],
  ["post", `/incrementer/${uuid}/1`],
  ["put", `/incrementer/${uuid}/1`],
  ["post", `/counter/increment?counter=${uuid}`],
  ["get", `/vend/${uuid}`],
] as const;

test.each(requests)("%s %s takes no number when its body breaks off", async (method, path) => {
  const socket = connect(port, "127.0.0.1");
  socket.resume();
  socket.end(`${method.toUpperCase()} ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab`);
  await once(socket, "close");
  // It would have come to its end before this one, which waits behind it.
  expect((await request(service.app).post(`/${uuid}`)).body).toEqual({ bn: 1 });
});

test.each(requests)("%s %s ignores a whole body, and refuses one that is too large", async (method, path) => {
  const send = (size: number) =>
    request(`http://127.0.0.1:${port}`)[method](path).type("text/plain").send("x".repeat(size));
  expect((await send(16_384)).status).toBe(200);
  expect((await send(16_385)).status).toBe(413);
  expect((await request(service.app).get(`/${uuid}`)).body).toEqual({ bn: 1 });
});
