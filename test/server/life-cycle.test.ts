import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "@jest/globals";
import { startService, stopServices } from "./start-service.ts";

const id = "e9461f1c-ef78-4162-bcb7-e83da7287614";
const whole = `POST /${id} HTTP/1.1\r\nHost: x\r\n\r\n`;
/** A request of which a part is yet to come: the last byte of its body. */
const started = `POST /${id} HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nbody`;

afterEach(stopServices);

describe("start", () => {
  test("says in one line where it listens, where it stores and which store it uses", async () => {
    const service = await startService();
    const { msg } = await service.line(/^listening/);
    expect(msg).toMatch(/^listening on http:\/\/127\.0\.0\.1:\d+, storing in .*file/);
    expect(msg).toContain(service.storageDir);
    expect((await fetch(`${await service.url()}/readyz`)).status).toBe(200);
  });

  test("says in its log, in one line, what Node.js and libraries warn of, and nothing on standard error", async () => {
    const warn = "process.once('SIGUSR2', () => process.emitWarning('old\\nand slow'))";
    const service = await startService({}, ["--import", `data:text/javascript,${warn}`]);
    await service.url();
    service.child.kill("SIGUSR2");
    expect(await service.line(/old/)).toMatchObject({ level: 40, msg: "Warning: old and slow" });
    expect(service.stderr).toBe("");
  });

  test("goes on counting after a restart", async () => {
    const first = await startService();
    expect(await (await fetch(`${await first.url()}/${id}`, { method: "POST" })).json()).toEqual({ bn: 1 });
    first.child.kill("SIGTERM");
    expect(await first.exit()).toBe(0);
    expect(await readFile(join(first.storageDir, id), "utf8")).toBe("1\n");
    const second = await startService({ STORAGE_DIR: first.storageDir });
    expect(await (await fetch(`${await second.url()}/${id}`, { method: "POST" })).json()).toEqual({ bn: 2 });
  });

  test("reports all bad settings together, by name, and exits with 1", async () => {
    const service = await startService({ PORT: "secret", LOCK_STALE_MS: "5" });
    expect(await service.exit()).toBe(1);
    expect(service.stderr).toMatch(/PORT: expected .*\n.*LOCK_STALE_MS: expected /);
    expect(service.stderr).not.toContain("secret");
  });

  test("refuses a port in use in one line, and exits with 1", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const { port } = other.address() as AddressInfo;
    try {
      const service = await startService({ PORT: String(port) });
      expect(await service.exit()).toBe(1);
      expect(service.stderr).toBe(
        `buildnumber: expected port ${port} on 127.0.0.1 to be free, but something listens there already (PORT, HOST)\n`,
      );
      expect(service.logged).toEqual([]);
    } finally {
      other.close();
    }
  });

  test("refuses an address that is not its own in one line, and exits with 1", async () => {
    const service = await startService({ HOST: "192.0.2.1" });
    expect(await service.exit()).toBe(1);
    expect(service.stderr).toBe(
      "buildnumber: expected an address of this machine to listen on, got 192.0.2.1 (HOST)\n",
    );
  });

  test("refuses a STORAGE_DIR that is a file in one line, and exits with 1", async () => {
    const { storageDir } = await startService();
    const file = join(storageDir, "a-file");
    await writeFile(file, "precious");
    const service = await startService({ STORAGE_DIR: file });
    expect(await service.exit()).toBe(1);
    expect(service.stderr).toMatch(/^buildnumber: [^\n]*STORAGE_DIR[^\n]*\n$/);
    expect(await readFile(file, "utf8")).toBe("precious");
  });

  test("refuses Windows", async () => {
    const asWindows = 'data:text/javascript,Object.defineProperty(process,"platform",{value:"win32"})';
    const service = await startService({}, ["--import", asWindows]);
    expect(await service.exit()).toBe(1);
    expect(service.stderr).toMatch(/^buildnumber: expected Linux or macOS[^\n]*\n$/);
  });
});

describe("stop", () => {
  test.each(["SIGTERM", "SIGINT"] as const)("on %s of an idle service exits with 0", async (signal) => {
    const service = await startService();
    await service.url();
    service.child.kill(signal);
    expect(await service.exit()).toBe(0);
    await service.line(/^stopping on SIG/);
  });

  test("closes connections that are idle, or were opened and never used", async () => {
    const service = await startService();
    const unused = await service.connect();
    const idle = await service.connect();
    idle.send(whole);
    await idle.received(/"bn":1/);
    service.child.kill("SIGTERM");
    await Promise.all([unused.closed, idle.closed]);
    expect(await service.exit()).toBe(0);
    expect(service.logged.filter(({ msg }) => msg.includes("cut off"))).toEqual([]);
  });

  test("answers a request in flight, and tells its client that the connection ends", async () => {
    const service = await startService();
    const connection = await service.connect();
    connection.send(started);
    const other = await service.connect();
    other.send(whole);
    await other.received(/"bn":1/);
    service.child.kill("SIGTERM");
    await service.line(/^stopping/);
    connection.send("!");
    await connection.closed;
    expect(connection.text).toMatch(/^HTTP\/1\.1 200 OK\r\n.*Connection: close\r\n.*\{"bn":2\}\n$/s);
    expect(await service.exit()).toBe(0);
    expect(await readFile(join(service.storageDir, id), "utf8")).toBe("2\n");
  });

  test("refuses a request that comes after the signal on a kept-alive connection, taking no number", async () => {
    const service = await startService();
    const connection = await service.connect();
    connection.send(whole);
    await connection.received(/"bn":1/);
    connection.text = "";
    // The first bytes keep the connection from being idle; the request is complete only after the signal.
    connection.send("POST ");
    const other = await service.connect();
    other.send(whole.replace(id, randomUUID()));
    await other.received(/"bn":1/);
    service.child.kill("SIGTERM");
    await service.line(/^stopping/);
    connection.send(whole.slice("POST ".length));
    await connection.closed;
    expect(connection.text).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/);
    expect(connection.text).toMatch(/Connection: close\r\n/);
    expect(connection.text).toMatch(/Retry-After: 1\r\n/);
    expect(connection.text).toMatch(/"code":"stopping"/);
    expect(await service.exit()).toBe(0);
    expect(await readFile(join(service.storageDir, id), "utf8")).toBe("1\n");
  });

  test("is alive, but not ready, to probes that come after the signal", async () => {
    const service = await startService();
    const probes = { "/healthz": 200, "/readyz": 503 };
    const connections = await Promise.all(
      Object.entries(probes).map(async ([path, status]) => ({
        path,
        status,
        connection: await service.connect(),
      })),
    );
    for (const { connection } of connections) connection.send("GET ");
    const other = await service.connect();
    other.send(whole);
    await other.received(/"bn":1/);
    service.child.kill("SIGTERM");
    await service.line(/^stopping/);
    for (const { path, connection } of connections) connection.send(`${path} HTTP/1.1\r\nHost: x\r\n\r\n`);
    for (const { status, connection } of connections) {
      await connection.closed;
      expect(connection.text).toMatch(new RegExp(`^HTTP/1\\.1 ${status} `));
    }
  });

  test("cuts off what is still in flight after DRAIN_TIMEOUT_MS, and says so", async () => {
    const service = await startService({ DRAIN_TIMEOUT_MS: "100" });
    const connection = await service.connect();
    connection.send(started);
    const other = await service.connect();
    other.send(whole);
    await other.received(/"bn":1/);
    service.child.kill("SIGTERM");
    await connection.closed;
    expect(connection.text).toBe("");
    expect(await service.exit()).toBe(0);
    await service.line(/^the time to drain is over/);
  });

  test("does not wait for a backup that nobody answers, and says so", async () => {
    const sockets: Socket[] = [];
    const silent = createTcpServer((socket) => sockets.push(socket.on("error", () => {})));
    await once(silent.listen(0, "127.0.0.1"), "listening");
    const { port } = silent.address() as AddressInfo;
    const service = await startService({
      AUTOBACKUP: "true",
      AUTOBACKUP_URL: `http://127.0.0.1:${port}/data`,
      DRAIN_TIMEOUT_MS: "3600000",
    });
    try {
      await fetch(`${await service.url()}/incrementer/myapp`);
      service.child.kill("SIGTERM");
      expect(await service.exit()).toBe(0);
      expect(await service.line(/^a backup failed/)).toMatchObject({
        err: { message: "expected a backup within 500 ms at a stop" },
      });
    } finally {
      silent.close();
      for (const socket of sockets) socket.destroy();
    }
  });

  test("ends at once on a second signal, with exit code 1", async () => {
    const service = await startService();
    const connection = await service.connect();
    connection.send(started);
    const other = await service.connect();
    other.send(whole);
    await other.received(/"bn":1/);
    service.child.kill("SIGTERM");
    await service.line(/^stopping/);
    service.child.kill("SIGINT");
    expect(await service.exit()).toBe(1);
  });

  test("an uncaught error is logged, and ends the service with exit code 1", async () => {
    const bug = 'data:text/javascript,process.on("SIGUSR2",()=>{throw new Error("a bug")})';
    const service = await startService({}, ["--import", bug]);
    await service.url();
    service.child.kill("SIGUSR2");
    expect(await service.exit()).toBe(1);
    expect(await service.line(/^unexpected error/)).toMatchObject({ level: 60, err: { message: "a bug" } });
  });
});
