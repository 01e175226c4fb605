import { beforeEach, describe, expect, test } from "@jest/globals";
import { Redis } from "ioredis";
import type { CounterName } from "../../../src/counter/counter-name.ts";
import { Counters } from "../../../src/counter/counters.ts";
import { maxValue, type Store } from "../../../src/counter/store.ts";
import { openRedisStore } from "../../../src/store/redis/redis-store.ts";
import type { FaultProxy } from "../../engines/fault-proxy.ts";
import { type RedisEngine, startRedis } from "../../engines/redis.ts";
import { freePort } from "../../tools.ts";
import { answersLater } from "../answers-later.ts";
import { newCounter } from "../new-counter.ts";
import { describePlainLoad } from "../plain-load.ts";
import { silentContext } from "../silent-context.ts";
import { commit, rejection, sequence, take } from "../store-contract.ts";
import { untilLonger, untilTrue } from "../until.ts";
import { describeOnRedis } from "./describe-on-redis.ts";

describeOnRedis("the Redis store", (on) => {
  const { ends, open, openProxy } = on;

  async function start(...args: string[]): Promise<RedisEngine> {
    const engine = await startRedis({ args });
    ends.push(() => engine.stop());
    return engine;
  }

  describe("keeps the data of the older incrementer", () => {
    test("goes on from a value that INCRBY or SET wrote, under the plain name", async () => {
      const store = await open();
      await on.client.incrby("myapp", 41);
      await on.client.set("default-key", "300");
      expect(await take(store, "myapp" as CounterName)).toBe(42);
      expect(await take(store, "default-key" as CounterName)).toBe(301);
      expect(await on.client.get("myapp")).toBe("42");
      expect(await on.client.incr("myapp")).toBe(43);
    });

    test("puts the prefix before the name", async () => {
      const store = await open({ prefix: "ci:" });
      await take(store, "prefixed" as CounterName);
      expect(await on.client.get("ci:prefixed")).toBe("1");
      expect(await on.client.get("prefixed")).toBeNull();
    });

    test("keeps a counter from expiring, since it would start again", async () => {
      const store = await open();
      const counter = newCounter();
      await on.client.set(counter, "5", "EX", 1_000);
      await take(store, counter);
      expect(await on.client.ttl(counter)).toBe(-1);
    });

    test("writes the largest numbers as plain digits", async () => {
      const store = await open();
      const counter = newCounter();
      await commit(store, counter, [maxValue - 1]);
      expect(await on.client.get(counter)).toBe("9007199254740990");
      await store.set(counter, maxValue, { force: false });
      expect(await on.client.get(counter)).toBe("9007199254740991");
    });
  });

  const unreadable = [
    ...["", " 5", "+5", "05", "-1", "1.5", "1e3", "0x10", "abc", "5\n", "٣"],
    ...[
      "9007199254740992",
      "9007199254740993",
      "9999999999999999",
      "10000000000000000",
      "9223372036854775807",
    ],
  ];
  test.each(unreadable)("refuses the value %j and leaves it as it is", async (value) => {
    const store = await open();
    const counter = newCounter();
    await on.client.set(counter, value);
    for (const attempt of [
      () => store.commit(counter, [{ by: 1 }], { create: true }),
      () => store.commit(counter, [{ by: 1 }], { create: false }),
      () => store.peek(counter),
      () => store.set(counter, 10, { force: false }),
      () => store.set(counter, 10, { force: true }),
    ]) {
      expect(await rejection(attempt())).toMatchObject({
        code: "counter-unreadable",
        consumed: false,
        message: expect.stringContaining(`got ${JSON.stringify(value)}`),
      });
    }
    expect(await on.client.get(counter)).toBe(value);
  });

  test("refuses a key of another type and leaves it as it is", async () => {
    const store = await open();
    const counter = newCounter();
    await on.client.rpush(counter, "5");
    for (const attempt of [
      () => take(store, counter),
      () => store.peek(counter),
      () => store.set(counter, 10, { force: true }),
    ]) {
      expect(await rejection(attempt())).toMatchObject({ code: "counter-unreadable", consumed: false });
    }
    expect(await on.client.lrange(counter, 0, -1)).toEqual(["5"]);
  });

  test("refuses names that begin with buildnumber:, with and without a prefix", async () => {
    const [plain, prefixed, composed] = [
      await open(),
      await open({ prefix: "ci:" }),
      await open({ prefix: "build" }),
    ];
    const name = "buildnumber:check" as CounterName;
    for (const attempt of [
      () => take(plain, name),
      () => plain.peek(name),
      () => plain.set(name, 3, { force: true }),
      () => take(prefixed, name),
      () => take(composed, "number:check" as CounterName),
    ]) {
      expect(await rejection(attempt())).toMatchObject({ code: "invalid-counter-id", consumed: false });
    }
    expect(await on.client.exists("buildnumber:check")).toBe(0);
  });

  test("spends one script call on a whole batch", async () => {
    const proxy = await openProxy();
    const store = await open({ url: `redis://127.0.0.1:${proxy.port}` });
    const counters = new Counters(store);
    const counter = newCounter();
    await counters.increment(counter);
    proxy.requests.length = 0;
    const numbers = await Promise.all(sequence(1, 100).map(() => counters.increment(counter)));
    expect(numbers).toEqual(sequence(2, 101));
    // The first goes alone, and the 99 behind it share one call.
    expect(callsIn(proxy)).toBe(2);
  });

  test("loads its scripts again after the server forgot them", async () => {
    const store = await open();
    const counter = newCounter();
    await take(store, counter);
    await on.client.script("FLUSH");
    expect(await take(store, counter)).toBe(2);
    await on.client.script("FLUSH");
    await store.set(counter, 9, { force: false });
    expect(await store.peek(counter)).toBe(9);
  });

  describe("when the connection fails", () => {
    let proxy: FaultProxy;
    let store: Store;
    let counter: CounterName;

    beforeEach(async () => {
      proxy = await openProxy();
      store = await open({ url: `redis://127.0.0.1:${proxy.port}`, deadlineMs: 300 });
      counter = newCounter();
      await take(store, counter);
      await store.set(counter, 1, { force: false });
      proxy.requests.length = 0;
    });

    test("does not send a commit again whose answer was lost", async () => {
      proxy.faults.dropsReplies = true;
      const commits = [rejection(take(store, counter)), rejection(take(store, newCounter()))];
      await untilValue(counter, "2");
      proxy.cut();
      proxy.mend();
      for (const error of await Promise.all(commits)) {
        expect(error).toMatchObject({ code: "store-unavailable", consumed: true });
      }
      await answersLater(store);
      expect(callsIn(proxy)).toBe(2);
      expect(await take(store, counter)).toBe(3);
    });

    test("does not send a set again whose answer was lost", async () => {
      proxy.faults.dropsReplies = true;
      const error = rejection(store.set(counter, 50, { force: true }));
      await untilValue(counter, "50");
      proxy.cut();
      proxy.mend();
      expect(await error).toMatchObject({ code: "store-unavailable", consumed: true });
      await on.client.set(counter, "60");
      await answersLater(store);
      expect(callsIn(proxy)).toBe(1);
      expect(await store.peek(counter)).toBe(60);
    });

    test("gives up after the deadline when nothing is answered, and connects anew", async () => {
      proxy.faults.isStalled = true;
      const [commitError, peekError] = await Promise.all([
        rejection(take(store, counter)),
        rejection(store.peek(counter)),
      ]);
      expect(commitError).toMatchObject({ code: "store-unavailable", consumed: true });
      expect(peekError).toMatchObject({ code: "store-unavailable", consumed: false });
      proxy.mend();
      await answersLater(store);
      // Whether the held back commit still reached the server decides whether it skipped a number; it was sent once.
      expect([2, 3]).toContain(await take(store, counter));
      expect(callsIn(proxy)).toBe(2);
    });

    test("refuses what comes while there is no connection, consuming nothing", async () => {
      await proxy.close();
      await answersLater(store, { isAnswering: false });
      for (const attempt of [
        () => take(store, counter),
        () => store.peek(counter),
        () => store.set(counter, 5, { force: true }),
        () => store.check(),
      ]) {
        expect(await rejection(attempt())).toMatchObject({ code: "store-unavailable", consumed: false });
      }
      expect(await on.client.get(counter)).toBe("1");
    });

    test("repeats no number while connections are cut under load", async () => {
      const counters = new Counters(store);
      const answered: number[] = [];
      let isDone = false;
      let failures = 0;
      const cuts = (async () => {
        for (let cut = 0; cut < 10; cut += 1) {
          await untilLonger(answered, 30);
          proxy.faults.dropsReplies = cut % 2 === 0;
          await new Promise((resolve) => setTimeout(resolve, 5));
          proxy.cut();
          proxy.mend();
        }
        isDone = true;
      })();
      await Promise.all(
        sequence(1, 32).map(async () => {
          while (!isDone) {
            try {
              answered.push(await counters.increment(counter));
            } catch (error) {
              expect(error).toMatchObject({ code: "store-unavailable" });
              failures += 1;
              await new Promise((resolve) => setTimeout(resolve, 10));
            }
          }
        }),
      );
      await cuts;
      expect(failures).toBeGreaterThan(0);
      expect(new Set(answered).size).toBe(answered.length);
    });
  });

  test("answers in time by refusing, when the engine is slow, and bounds the queue", async () => {
    const proxy = await openProxy();
    const store = await open({ url: `redis://127.0.0.1:${proxy.port}`, deadlineMs: 300 });
    const counters = new Counters(store, { maxWaiting: 100 });
    const counter = newCounter();
    proxy.faults.delayMs = 600;
    const results = await Promise.allSettled(sequence(1, 150).map(() => counters.increment(counter)));
    const codes = results.map((result) => (result.status === "rejected" ? result.reason.code : "answered"));
    expect(codes.filter((code) => code === "overloaded")).toHaveLength(50);
    expect(codes.filter((code) => code === "store-unavailable")).toHaveLength(100);
  });

  test("opens without a server, refuses until there is one, and serves then", async () => {
    const port = await freePort();
    const context = silentContext();
    const store = await open({ url: `redis://127.0.0.1:${port}` }, context);
    expect(await rejection(store.check())).toMatchObject({ code: "store-unavailable", consumed: false });
    expect(context.lines.filter(({ level }) => level === "warn")).toHaveLength(1);
    const late = await startRedis({ port });
    ends.push(() => late.stop());
    await answersLater(store);
    expect(await take(store, newCounter())).toBe(1);
    expect(context.lines.at(-1)).toMatchObject({ level: "info", message: "Redis can be used again" });
  });

  test("closes while there is no server", async () => {
    const store = await open({ url: `redis://127.0.0.1:${await freePort()}` });
    await store.close();
    expect(await rejection(take(store, newCounter()))).toMatchObject({
      code: "store-unavailable",
      consumed: false,
    });
  });

  describePlainLoad(
    () => startRedis(),
    (engine) => openRedisStore({ url: engine.url, deadlineMs: 1_000 }, silentContext()),
    { kills: 5, answersBetween: 500 },
  );

  describe("reads the server's settings at the start", () => {
    test("says nothing of a server that loses nothing", async () => {
      const context = silentContext();
      await open({ requireDurable: true }, context);
      expect(context.lines).toEqual([]);
    });

    test.each([
      [["--appendonly", "no"], /expected appendonly yes, got no/],
      [["--appendonly", "yes"], /expected appendfsync always, got everysec/],
      [
        ["--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "yes"],
        /expected no-appendfsync-on-rewrite no/,
      ],
      [
        ["--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "allkeys-lru"],
        /expected maxmemory-policy noeviction, got allkeys-lru/,
      ],
      [
        ["--appendonly", "yes", "--appendfsync", "always", "--rename-command", "CONFIG", ""],
        /expected appendfsync always, got no answer/,
      ],
    ])("warns of %j, and refuses it where a durable server is required", async (args, expected) => {
      const engine = await start(...args);
      const context = silentContext();
      const store = await open({ url: engine.url }, context);
      expect(context.lines).toEqual([{ level: "warn", message: expect.stringMatching(expected) }]);
      expect(await take(store, newCounter())).toBe(1);
      const refusal = await rejection(
        openRedisStore({ url: engine.url, requireDurable: true }, silentContext()),
      );
      expect(refusal.message).toMatch(/REDIS_REQUIRE_DURABLE/);
      expect(refusal.message).toMatch(expected);
    });

    test("refuses all callers of one outage with one error, so that the log says it once", async () => {
      const store = await open({ url: `redis://127.0.0.1:${await freePort()}` });
      const error = await rejection(take(store, newCounter()));
      expect(error).toMatchObject({ code: "store-unavailable", consumed: false });
      expect(await rejection(store.check())).toBe(error);
    });

    test("refuses to work with a server that came later and is not durable", async () => {
      const port = await freePort();
      const context = silentContext();
      const store = await open({ url: `redis://127.0.0.1:${port}`, requireDurable: true }, context);
      const late = await startRedis({ port, args: [] });
      ends.push(() => late.stop());
      await untilTrue(() => context.lines.some(({ message }) => /appendonly/.test(message)));
      expect(await rejection(take(store, newCounter()))).toMatchObject({
        code: "store-unavailable",
        message: expect.stringMatching(/REDIS_REQUIRE_DURABLE.*appendonly/),
        consumed: false,
      });
    });

    test("works with it as soon as its settings are good, and says both once", async () => {
      const port = await freePort();
      const context = silentContext();
      const url = `redis://127.0.0.1:${port}`;
      const store = await open({ url, requireDurable: true, deadlineMs: 500 }, context);
      const late = await startRedis({ port, args: ["--appendonly", "yes"] });
      const admin = new Redis(late.url);
      ends.push(
        () => late.stop(),
        async () => admin.disconnect(),
      );
      const settingsRead = async () =>
        Number(/cmdstat_config\S*:calls=(\d+)/.exec(await admin.info("commandstats"))?.[1] ?? 0);
      await untilTrue(async () => (await settingsRead()) >= 6);
      await admin.config("SET", "appendfsync", "always");
      await answersLater(store);
      expect(await take(store, newCounter())).toBe(1);
      expect(context.lines.filter(({ message }) => /appendfsync|again/.test(message))).toEqual([
        { level: "warn", message: expect.stringMatching(/appendfsync always/) },
        { level: "info", message: "Redis can be used again" },
      ]);
    });
  });

  describe("with replicas", () => {
    test("warns when a failover may lose numbers", async () => {
      const primary = await startRedis();
      const replica = await start("--replicaof", "127.0.0.1", String(primary.port));
      ends.push(() => primary.stop());
      await untilReplicas(primary, 1);
      const context = silentContext();
      await open({ url: primary.url }, context);
      expect(context.lines).toEqual([
        {
          level: "warn",
          message: expect.stringMatching(/a failover .*expected min-replicas-to-write 1 or more, got 0/),
        },
      ]);
      expect(replica.port).not.toBe(primary.port);
    });

    test("answers when enough replicas have the number, and refuses without them", async () => {
      const primary = await startRedis();
      const replica = await startRedis({ args: ["--replicaof", "127.0.0.1", String(primary.port)] });
      ends.push(
        () => primary.stop(),
        () => replica.stop(),
      );
      await untilReplicas(primary, 1);
      const store = await open({ url: primary.url, waitReplicas: 1, deadlineMs: 600 });
      const counters = Array.from({ length: 20 }, newCounter);
      expect(await Promise.all(counters.map((counter) => take(store, counter)))).toEqual(
        new Array(20).fill(1),
      );
      const mirror = new Redis(replica.url);
      ends.push(async () => mirror.disconnect());
      expect(await mirror.mget(counters)).toEqual(new Array(20).fill("1"));

      replica.signal("SIGSTOP");
      expect(await rejection(take(store, counters[0] as CounterName))).toMatchObject({
        code: "store-unavailable",
        consumed: true,
        message: "expected 1 replicas to confirm the write, got 0",
      });
      replica.signal("SIGCONT");
    });

    test("refuses on a server that takes no writes: a replica, too few replicas, full memory", async () => {
      const replica = await start("--replicaof", "127.0.0.1", String(on.engine.port));
      const alone = await start("--min-replicas-to-write", "1");
      const full = await start("--maxmemory", "1", "--maxmemory-policy", "noeviction");
      for (const [engine, code, message] of [
        [replica, "store-unavailable", /READONLY/],
        [alone, "store-unavailable", /NOREPLICAS/],
        [full, "store-full", /memory is full/],
      ] as const) {
        const store = await open({ url: engine.url });
        const counter = newCounter();
        await untilTrue(async () => message.test((await rejection(store.check())).message));
        await untilTrue(async () => message.test((await rejection(take(store, counter))).message));
        await untilTrue(async () => (await rejection(store.check())).code === code);
      }
    });
  });

  describe("connects with", () => {
    test("user and password, and says clearly that a password is wrong or missing", async () => {
      const engine = await start("--requirepass", "p@ss:w/rd");
      const address = `127.0.0.1:${engine.port}`;
      const store = await open({ url: `redis://:${encodeURIComponent("p@ss:w/rd")}@${address}` });
      expect(await take(store, newCounter())).toBe(1);
      expect(store.description).not.toContain("p@ss");
      for (const url of [`redis://:wrong@${address}`, `redis://${address}`]) {
        const context = silentContext();
        const refused = await open({ url }, context);
        expect(await rejection(refused.check())).toMatchObject({ code: "store-unavailable" });
        expect(context.lines[0]?.message).toMatch(/got "(WRONGPASS|NOAUTH)/);
      }
    });

    test("a database number", async () => {
      const store = await open({ url: `${on.engine.url}/5` });
      const counter = newCounter();
      await take(store, counter);
      const other = new Redis(`${on.engine.url}/5`);
      ends.push(async () => other.disconnect());
      expect(await other.get(counter)).toBe("1");
      expect(await on.client.get(counter)).toBeNull();
    });

    test("a Unix socket", async () => {
      const path = `/tmp/buildnumber-test-${process.pid}.sock`;
      await start("--unixsocket", path);
      const store = await open({ url: `unix://${path}?db=2` });
      expect(await take(store, newCounter())).toBe(1);
    });
  });

  async function untilValue(counter: CounterName, value: string): Promise<void> {
    await untilTrue(async () => (await on.client.get(counter)) === value);
  }

  async function untilReplicas(engine: RedisEngine, count: number): Promise<void> {
    const info = new Redis(engine.url);
    await untilTrue(async () => {
      const text = await info.info("replication");
      return text.includes(`connected_slaves:${count}`) && text.includes("state=online");
    });
    info.disconnect();
  }
});

/** How many calls of a script, or commands that write, went through a proxy. */
function callsIn(proxy: FaultProxy): number {
  return proxy.requests.join("").match(/\r\n(evalsha|eval)\r\n/gi)?.length ?? 0;
}
