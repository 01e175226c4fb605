import { beforeEach, describe, expect, test } from "@jest/globals";
import { Redis } from "ioredis";
import type { CounterName } from "../../../src/counter/counter-name.ts";
import { Counters } from "../../../src/counter/counters.ts";
import type { Claim, Outcome, Store } from "../../../src/counter/store.ts";
import { ownKeys, parseRecord } from "../../../src/store/redis/redis-records.ts";
import { openRedisStore } from "../../../src/store/redis/redis-store.ts";
import { startRedis } from "../../engines/redis.ts";
import { answersLater } from "../answers-later.ts";
import { describeKeyedLoad } from "../keyed-load.ts";
import { newCounter } from "../new-counter.ts";
import { silentContext } from "../silent-context.ts";
import { commit, rejection, sequence, take } from "../store-contract.ts";
import { untilTrue } from "../until.ts";
import { describeOnRedis } from "./describe-on-redis.ts";

const hourMs = 3_600_000;

test("names its own keys after the counter, in its slot, and no two counters alike", () => {
  expect(ownKeys("e9461f1c")).toEqual({
    keys: "buildnumber:{e9461f1c}:keys",
    records: "buildnumber:{e9461f1c}:records",
    sharesSlot: true,
  });
  expect(ownKeys("app{team}")).toMatchObject({
    keys: "buildnumber:{team}:app%7Bteam%7D:keys",
    sharesSlot: true,
  });
  expect(ownKeys("{}{team}")).toMatchObject({ keys: "buildnumber:{{}{team}}:keys", sharesSlot: false });
  const names = ["t", "{t}", "t}:{t", "{t}:", "{t}{t}", "a{t}", "{t%7D", "t}:%7Bt%7D:keys", "keys", "t:keys"];
  expect(new Set(names.flatMap((name) => [ownKeys(name).keys, ownKeys(name).records])).size).toBe(20);
});

test.each(["", "57", "57\n5", "57\n5\na", "05\n5\na\n", "57\n5\na\n{", "57\n5\na\n{}\n", '{"bn":57}'])(
  "takes %j for no record",
  (text) => {
    expect(parseRecord(text)).toBeUndefined();
  },
);

describeOnRedis("keys and records in Redis", (on) => {
  const { ends, open, openProxy } = on;

  test("stand beside the counter, which stays the plain number that it was", async () => {
    const store = await open();
    const counter = newCounter();
    const metadata = { commit: "60b7eca" };
    await store.commit(counter, [{ by: 1 }, { by: 1, key: "a", metadata }, { by: 1, metadata }], {
      create: true,
    });
    const { keys, records } = ownKeys(counter);
    expect(await on.client.get(counter)).toBe("3");
    expect(await on.client.hgetall(keys)).toEqual({ a: "2" });
    expect(await on.client.zrange(records, "0", "-1", "WITHSCORES")).toEqual([
      expect.stringMatching(/^2\n\d{13}\na\n{"commit":"60b7eca"}$/),
      "2",
      expect.stringMatching(/^3\n\d{13}\n\n{"commit":"60b7eca"}$/),
      "3",
    ]);
  });

  test("cost a plain batch nothing: it goes by the script of before and names the counter alone", async () => {
    const proxy = await openProxy();
    const store = await open({ url: `redis://127.0.0.1:${proxy.port}`, keyRetentionMs: hourMs });
    const counters = new Counters(store);
    const counter = newCounter();
    await store.commit(counter, [{ by: 1, key: "a" }], { create: true });
    proxy.requests.length = 0;
    await counters.increment(counter);
    expect(proxy.requests.join("")).toMatch(/evalsha\r\n\$40\r\n\w{40}\r\n\$1\r\n1\r\n/i);
    expect(proxy.requests.join("")).not.toContain("buildnumber:{");
  });

  describe("expire", () => {
    test("as a whole, a retention after the last of them; the counter never does", async () => {
      const store = await open({ keyRetentionMs: 400 });
      const counter = newCounter();
      await store.commit(counter, [{ by: 1, key: "a" }], { create: true });
      const { keys, records } = ownKeys(counter);
      expect(await on.client.pttl(keys)).toBeGreaterThan(0);
      await untilTrue(async () => (await on.client.exists(keys, records)) === 0);
      expect(await on.client.pttl(counter)).toBe(-1);
      expect(await take(store, counter)).toBe(2);
    });

    test("one by one while others come: what is too old is cleared away, and no key that was taken anew", async () => {
      const store = await open({ keyRetentionMs: 300 });
      const lasting = await open({ keyRetentionMs: hourMs });
      const counter = newCounter();
      const old = sequence(1, 250).map((at): Claim => ({ by: 1, key: `old ${at}` }));
      await lasting.commit(counter, old, { create: true });
      const last = (await lasting.record(counter, 250))?.atMs as number;
      await untilTrue(() => Date.now() > last + 300);
      const { keys, records } = ownKeys(counter);
      for (const left of [151, 52, 3]) {
        await store.commit(
          counter,
          [
            { by: 1, key: "old 1" },
            { by: 1, key: `new ${left}` },
          ],
          { create: true },
        );
        // 102 of those that are too old, two more with each script.
        expect(await on.client.zcount(records, 1, 250)).toBeLessThan(left);
      }
      expect(await on.client.zcount(records, 1, 250)).toBe(0);
      expect(await on.client.hget(keys, "old 1")).not.toBe("1");
      expect(await on.client.hexists(keys, "old 2")).toBe(0);
      expect(await on.client.hlen(keys)).toBe(await on.client.zcard(records));
    });

    test("not at all once they are kept for ever", async () => {
      const counter = newCounter();
      await (await open({ keyRetentionMs: hourMs })).commit(counter, [{ by: 1, key: "a" }], { create: true });
      await (await open({ keyRetentionMs: 0 })).commit(counter, [{ by: 1, key: "b" }], { create: true });
      const { keys, records } = ownKeys(counter);
      expect([await on.client.pttl(keys), await on.client.pttl(records)]).toEqual([-1, -1]);
    });
  });

  describe("that are not as the service left them are refused and left as they are", () => {
    const keyed: Claim = { by: 1, key: "a" };
    let store: Store;
    let counter: CounterName;
    let own: { keys: string; records: string };

    beforeEach(async () => {
      store = await open();
      counter = newCounter();
      own = ownKeys(counter);
      await store.commit(counter, [{ by: 1 }, keyed], { create: true });
    });

    test.each<[string, () => Promise<unknown>]>([
      ["a key without its record", () => on.client.del(own.records)],
      ["a key of another record", () => on.client.hset(own.keys, "a", "1")],
      ["a key that names no number", () => on.client.hset(own.keys, "a", "two")],
      ["keys of another type", () => on.client.pipeline().del(own.keys).set(own.keys, "2").exec()],
      ["records of another type", () => on.client.pipeline().del(own.records).set(own.records, "2").exec()],
      ["a record above the last number", () => on.client.set(counter, "1")],
      [
        "a record that is no record",
        () => on.client.pipeline().del(own.records).zadd(own.records, 2, "?").exec(),
      ],
    ])("%s", async (_, spoil) => {
      await spoil();
      const before = await Promise.all(
        [own.keys, own.records, counter].map((key) => on.client.dumpBuffer(key)),
      );
      const error = await rejection(store.commit(counter, [keyed], { create: true }));
      expect(error).toMatchObject({ code: "counter-unreadable", consumed: false });
      const after = await Promise.all(
        [own.keys, own.records, counter].map((key) => on.client.dumpBuffer(key)),
      );
      expect(after).toEqual(before);
    });

    test("in a batch, the plain claims of which are served", async () => {
      await on.client.del(own.records);
      const outcomes = await store.commit(counter, [{ by: 1 }, keyed, { by: 5 }], { create: true });
      expect(outcomes).toEqual([
        { value: 3 },
        { error: expect.objectContaining({ code: "counter-unreadable", consumed: false }) },
        { value: 8 },
      ]);
    });

    test("when they are shown", async () => {
      await on.client.zadd(own.records, 1, "?");
      expect(await rejection(store.record(counter, 1))).toMatchObject({ code: "counter-unreadable" });
      expect(await rejection(store.records(counter, { limit: 5 }))).toMatchObject({
        code: "counter-unreadable",
      });
    });

    test("when metadata that is no JSON is replayed", async () => {
      await on.client.zremrangebyscore(own.records, 2, 2);
      await on.client.zadd(own.records, 2, "2\n1700000000000\na\n{");
      expect(await rejection(store.commit(counter, [keyed], { create: true }))).toMatchObject({
        code: "counter-unreadable",
      });
    });

    test("until the counter is lowered by force, which removes what is above", async () => {
      await on.client.set(counter, "1");
      await store.set(counter, 1, { force: true });
      expect(await store.commit(counter, [keyed], { create: true })).toMatchObject([{ value: 2 }]);
    });
  });

  describe("above a lowered counter", () => {
    let counter: CounterName;
    let own: { keys: string; records: string };
    const count = 4_500;

    /** A lowering from 4,500 records to 100 whose instance lost its connection after the first slice, for good. */
    async function lowerHalfway(): Promise<void> {
      const proxy = await openProxy();
      const context = silentContext();
      const store = await open({ url: `redis://127.0.0.1:${proxy.port}` }, context);
      const keys = sequence(1, count).map((at): Claim => ({ by: 1, key: `key ${at}` }));
      await store.commit(counter, keys, { create: true });
      let scripts = 0;
      proxy.onRequest = (text) => {
        scripts += text.match(/\r\n(evalsha|eval)\r\n/gi)?.length ?? 0;
        // The first is not known to the server, and is sent once more as a whole.
        if (scripts > 2) void proxy.close();
      };
      await on.client.script("FLUSH");
      await store.set(counter, 100, { force: true });
      expect(context.lines.at(-1)).toEqual({
        level: "warn",
        message: expect.stringMatching(/count as gone, but could not all be removed yet/),
      });
      expect(await on.client.zcard(own.records)).toBe(count - 1_000);
    }

    beforeEach(() => {
      counter = newCounter();
      own = ownKeys(counter);
    });

    test("are removed in slices of 1,000, each by a script of its own, so that others are served in between", async () => {
      const store = await open();
      const keys = sequence(1, count).map((at): Claim => ({ by: 1, key: `key ${at}` }));
      await store.commit(counter, keys, { create: true });
      const commands: string[] = [];
      const monitor = await on.client.monitor();
      ends.push(async () => monitor.disconnect());
      monitor.on("monitor", (_time: string, [command, key, ...args]: string[]) => {
        if (/^evalsha$/i.test(command as string)) commands.push("script");
        if (key === own.records && /^zrem/i.test(command as string)) commands.push(args.join(" "));
      });
      await store.set(counter, 100, { force: true });
      const slices = [1_000, 1_000, 1_000, 1_000, 400];
      await untilTrue(() => commands.length >= 2 * slices.length);
      expect(commands).toEqual(slices.flatMap((removed) => ["script", `-${removed} -1`]));
      expect([await on.client.zcard(own.records), await on.client.hlen(own.keys)]).toEqual([100, 100]);
    });

    test("are not seen any more when the instance that removes them dies between two slices", async () => {
      await lowerHalfway();
      const store = await open();
      expect(await store.peek(counter)).toBe(100);
      expect(await store.record(counter, 101)).toBeUndefined();
      expect(await store.record(counter, 100)).toMatchObject({ value: 100 });
      expect(await store.records(counter, { limit: 5, key: "key 101" })).toEqual({ records: [] });
      for (const before of [undefined, 101, 102, count]) {
        const { records } = await store.records(counter, { limit: 1, ...(before && { before }) });
        expect(records.map(({ value }) => value)).toEqual([100]);
      }
      // Numbers without a key go on at once, past those that are left.
      expect(await commit(store, counter, [1, 1_000])).toEqual([101, 1_101]);
      expect(await store.record(counter, 1_000)).toBeUndefined();
      expect(await on.client.zcard(own.records)).toBe(count - 1_000);
    });

    test("are removed by whoever comes next with a key, who takes a new number for one of them", async () => {
      await lowerHalfway();
      const store = await open();
      await take(store, counter);
      const claims = ["key 100", "key 101", "key 4500"].map((key): Claim => ({ by: 1, key }));
      expect(await store.commit(counter, claims, { create: true })).toMatchObject([
        { value: 100, isReplay: true },
        { value: 102 },
        { value: 103 },
      ]);
      expect(await on.client.zcard(own.records)).toBe(102);
      expect(await on.client.hlen(own.keys)).toBe(102);
      expect(await on.client.hget(own.keys, "")).toBeNull();
    });

    test.each([
      [50, 50],
      [2_000, 100],
      [9_000, 100],
    ])(
      "are gone as well when the counter is set to %i by force before they are removed",
      async (value, kept) => {
        await lowerHalfway();
        const store = await open();
        await store.set(counter, value, { force: true });
        expect(await on.client.zcard(own.records)).toBe(kept);
        expect(await store.commit(counter, [{ by: 1, key: "key 4000" }], { create: true })).toMatchObject([
          { value: value + 1 },
        ]);
      },
    );
  });

  test("are not written when the memory is full, and their number is not taken", async () => {
    const full = await startRedis();
    ends.push(() => full.stop());
    const admin = new Redis(full.url);
    ends.push(async () => admin.disconnect());
    const store = await open({ url: full.url });
    const counter = newCounter();
    await store.commit(counter, [{ by: 1, key: "a" }], { create: true });
    await admin.config("SET", "maxmemory", "1");
    expect(await rejection(store.commit(counter, [{ by: 1, key: "b" }], { create: true }))).toMatchObject({
      code: "store-full",
      consumed: false,
    });
    // A replay writes nothing, and is answered.
    expect(await store.commit(counter, [{ by: 1, key: "a" }], { create: true })).toMatchObject([
      { value: 1, isReplay: true },
    ]);
    await admin.config("SET", "maxmemory", "0");
    expect(await store.commit(counter, [{ by: 1, key: "b" }], { create: true })).toMatchObject([
      { value: 2 },
    ]);
  });

  test("are answered again only when the replicas have them", async () => {
    const primary = await startRedis();
    const replica = await startRedis({ args: ["--replicaof", "127.0.0.1", String(primary.port)] });
    ends.push(
      () => primary.stop(),
      () => replica.stop(),
    );
    const store = await open({ url: primary.url, waitReplicas: 1, deadlineMs: 600 });
    const counter = newCounter();
    const keyed = () => store.commit(counter, [{ by: 1, key: "a" }], { create: true });
    let first: readonly Outcome[] = [];
    await untilTrue(async () => {
      first = await keyed().catch(() => []);
      return first.length > 0;
    });
    replica.signal("SIGSTOP");
    expect(await rejection(keyed())).toMatchObject({ code: "store-unavailable" });
    replica.signal("SIGCONT");
    await answersLater(store);
    let again: readonly Outcome[] = [];
    await untilTrue(async () => {
      again = await keyed().catch(() => []);
      return again.length > 0;
    });
    expect(again).toMatchObject([{ value: (first[0] as { value: number }).value, isReplay: true }]);
  });

  test("answer a retry with the number whose answer was lost", async () => {
    const proxy = await openProxy();
    const store = await open({ url: `redis://127.0.0.1:${proxy.port}`, deadlineMs: 300 });
    const counter = newCounter();
    proxy.faults.dropsReplies = true;
    const lost = rejection(store.commit(counter, [{ by: 1, key: "a" }], { create: true }));
    await untilTrue(async () => (await on.client.get(counter)) === "1");
    proxy.cut();
    proxy.mend();
    expect(await lost).toMatchObject({ code: "store-unavailable", consumed: true });
    await answersLater(store);
    expect(await store.commit(counter, [{ by: 1, key: "a" }], { create: true })).toMatchObject([
      { value: 1, isReplay: true },
    ]);
    expect(await take(store, counter)).toBe(2);
  });

  describeKeyedLoad(
    () => startRedis(),
    (engine) => openRedisStore({ url: engine.url, deadlineMs: 1_000 }, silentContext()),
  );
});
