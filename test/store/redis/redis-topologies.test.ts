import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, expect, test } from "@jest/globals";
import { Redis } from "ioredis";
import type { CounterName } from "../../../src/counter/counter-name.ts";
import type { Store } from "../../../src/counter/store.ts";
import { openRedisStore } from "../../../src/store/redis/redis-store.ts";
import { describeUnlessMissing } from "../../describe-unless-missing.ts";
import { startEngine } from "../../engines/engine.ts";
import { answersPing, durableArgs, missingRedis, type RedisEngine, startRedis } from "../../engines/redis.ts";
import { findMissing } from "../../tools.ts";
import { answersLater } from "../answers-later.ts";
import { newCounter } from "../new-counter.ts";
import { describeRecordsContract } from "../records-contract.ts";
import { silentContext } from "../silent-context.ts";
import { describeStoreContract, rejection, sequence, take } from "../store-contract.ts";
import { untilTrue } from "../until.ts";

const run = promisify(execFile);

describeUnlessMissing("the Redis store in a cluster", missingRedis, () => {
  const ends: (() => Promise<unknown>)[] = [];
  let nodes: RedisEngine[] = [];
  let url = "";

  async function startCluster(): Promise<void> {
    if (nodes.length > 0) return;
    nodes = await Promise.all(
      [1, 2].map(() => startRedis({ args: [...durableArgs, "--cluster-enabled", "yes"] })),
    );
    const [one, two] = nodes.map((node) => new Redis(node.url)) as [Redis, Redis];
    await one.cluster("ADDSLOTSRANGE", 0, 8191);
    await two.cluster("ADDSLOTSRANGE", 8192, 16383);
    await one.cluster("MEET", "127.0.0.1", (nodes[1] as RedisEngine).port);
    for (const node of [one, two]) {
      await untilTrue(async () => String(await node.cluster("INFO")).includes("cluster_state:ok"));
      node.disconnect();
    }
    url = `redis-cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(",")}`;
  }

  async function open(deadlineMs = 5_000, options = { keyRetentionMs: 0 }): Promise<Store> {
    await startCluster();
    return openRedisStore({ url, deadlineMs, ...options }, silentContext());
  }

  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  describeStoreContract("the Redis store", open);
  describeRecordsContract("the Redis store", (options) => open(5_000, options));

  test("keeps keys and records beside a counter with braces in its name, where there is a way", async () => {
    const store = await open();
    ends.push(() => store.close());
    for (const name of ["app{team}", "{team}", "{a{b}c}", "{open"]) {
      const counter = name as CounterName;
      expect(await store.commit(counter, [{ by: 1, key: "a" }], { create: true })).toMatchObject([
        { value: 1 },
      ]);
      expect(await store.commit(counter, [{ by: 1, key: "a" }], { create: true })).toMatchObject([
        { value: 1, isReplay: true },
      ]);
      expect(await store.record(counter, 1)).toMatchObject({ key: "a" });
    }
    const counter = "no}way" as CounterName;
    const [plain, keyed] = await store.commit(counter, [{ by: 1 }, { by: 1, key: "a" }], { create: true });
    expect(plain).toEqual({ value: 1 });
    expect(keyed).toMatchObject({ error: { code: "invalid-counter-id", consumed: false } });
    await store.set(counter, 0, { force: true });
    expect(await take(store, counter)).toBe(1);
  });

  test("does not send a commit again that a node did not answer in time", async () => {
    const store = await open(500);
    ends.push(() => store.close());
    const counter = newCounter();
    await take(store, counter);
    for (const node of nodes) node.signal("SIGSTOP");
    expect(await rejection(take(store, counter))).toMatchObject({
      code: "store-unavailable",
      consumed: true,
    });
    for (const node of nodes) node.signal("SIGCONT");
    await answersLater(store);
    await untilTrue(async () => typeof (await store.peek(counter).catch(() => undefined)) === "number");
    expect(await store.peek(counter)).toBe(2);
  });

  test("goes on after every node was killed and restarted", async () => {
    const store = await open(1_000);
    ends.push(() => store.close());
    const counters = Array.from({ length: 20 }, newCounter);
    await Promise.all(counters.map((counter) => take(store, counter)));
    await Promise.all(nodes.map((node) => node.kill()));
    expect(await rejection(take(store, counters[0] as CounterName))).toMatchObject({
      code: "store-unavailable",
    });
    await Promise.all(nodes.map((node) => node.restart()));
    for (const counter of counters) {
      await untilTrue(async () => typeof (await store.peek(counter).catch(() => undefined)) === "number");
      expect(await take(store, counter)).toBeGreaterThanOrEqual(2);
    }
  });

  test("refuses to wait for replicas, which does not work there", async () => {
    await startCluster();
    const error = await rejection(openRedisStore({ url, waitReplicas: 1 }, silentContext()));
    expect(error.message).toMatch(/REDIS_WAIT_REPLICAS/);
  });

  afterAll(() => Promise.all(nodes.map((node) => node.stop())));
});

describeUnlessMissing("the Redis store behind Sentinel", missingRedis, () => {
  test("finds the master, and after a failover the next one, with every answered number", async () => {
    const primary = await startRedis();
    const replica = await startRedis({
      args: [...durableArgs, "--replicaof", "127.0.0.1", String(primary.port)],
    });
    const sentinel = await startEngine({
      command: "redis-server",
      args: (port, dir) => {
        const lines = [
          `port ${port}`,
          "bind 127.0.0.1",
          `sentinel monitor mymaster 127.0.0.1 ${primary.port} 1`,
          "sentinel down-after-milliseconds mymaster 300",
          "sentinel failover-timeout mymaster 3000",
        ];
        writeFileSync(join(dir, "sentinel.conf"), `${lines.join("\n")}\n`);
        return [join(dir, "sentinel.conf"), "--sentinel"];
      },
      isReady: answersPing,
    });
    const watch = new Redis(sentinel.port, "127.0.0.1");
    await untilTrue(async () =>
      JSON.stringify(await watch.call("SENTINEL", "REPLICAS", "mymaster")).includes("name"),
    );
    const url = `redis-sentinel://127.0.0.1:${sentinel.port}#mymaster`;
    const store = await openRedisStore({ url, waitReplicas: 1, deadlineMs: 1_000 }, silentContext());
    const counter = newCounter();
    await untilTrue(async () => (await take(store, counter).catch(() => 0)) > 0);
    const last = Math.max(...(await Promise.all(sequence(1, 20).map(() => take(store, counter)))));

    await primary.kill();
    expect(await rejection(take(store, counter))).toMatchObject({ code: "store-unavailable" });
    await answersLater(store);
    // The new master has no replica that could confirm, so a store that does not wait for one takes the next number.
    const next = await openRedisStore({ url }, silentContext());
    await answersLater(next);
    expect(await take(next, counter)).toBeGreaterThan(last);

    watch.disconnect();
    await Promise.all([store.close(), next.close()]);
    await Promise.all([sentinel.stop(), replica.stop(), primary.stop()]);
  });
});

describeUnlessMissing("the Redis store over TLS", missingRedis ?? findMissing("openssl"), () => {
  test("talks to a server whose certificate it can check, and to no other", async () => {
    const dir = await mkdtemp(join(tmpdir(), "tls-"));
    const [key, cert] = [join(dir, "key.pem"), join(dir, "cert.pem")];
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    await run("openssl", [
      ...[
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        ...subject,
        "-keyout",
        key,
        "-out",
        cert,
      ],
    ]);
    const redis = await startEngine({
      command: "redis-server",
      args: (port) => [
        ...[
          "--port",
          "0",
          "--tls-port",
          String(port),
          "--bind",
          "127.0.0.1",
          "--save",
          "",
          "--tls-auth-clients",
          "no",
        ],
        ...["--tls-key-file", key, "--tls-cert-file", cert, "--tls-ca-cert-file", cert],
      ],
    });
    const url = `rediss://localhost:${redis.port}`;
    const context = silentContext();
    const store = await openRedisStore({ url }, context);
    expect(await rejection(store.check())).toMatchObject({ code: "store-unavailable" });
    expect(context.lines[0]?.message).toMatch(/self-signed certificate/);
    await store.close();

    const program = join(process.cwd(), "dist/test/store/redis/take-one.js");
    const { stdout } = await run(process.execPath, [program, url], {
      env: { ...process.env, NODE_EXTRA_CA_CERTS: cert },
    });
    expect(JSON.parse(stdout)).toEqual([{ value: 1 }]);
    await redis.stop();
    await rm(dir, { recursive: true });
  });
});
