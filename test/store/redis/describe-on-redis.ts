import { afterAll, afterEach, beforeAll } from "@jest/globals";
import { Redis } from "ioredis";
import type { Store } from "../../../src/counter/store.ts";
import { openRedisStore, type RedisStoreOptions } from "../../../src/store/redis/redis-store.ts";
import { describeUnlessMissing } from "../../describe-unless-missing.ts";
import { FaultProxy } from "../../engines/fault-proxy.ts";
import { missingRedis, type RedisEngine, startRedis } from "../../engines/redis.ts";
import { silentContext } from "../silent-context.ts";

/** What the tests of a suite work with: one server for all of them, and a client of it. */
export class OnRedis {
  engine!: RedisEngine;
  client!: Redis;
  /** What is done after the test, the last first. */
  readonly ends: (() => Promise<unknown>)[] = [];

  /** Opens a store that is closed after the test. */
  readonly open = async (
    options: Partial<RedisStoreOptions> = {},
    context = silentContext(),
  ): Promise<Store> => {
    const store = await openRedisStore({ url: this.engine.url, ...options }, context);
    this.ends.push(() => store.close());
    return store;
  };

  /** Opens a proxy to a server that is closed after the test. */
  readonly openProxy = async (port = this.engine.port): Promise<FaultProxy> => {
    const proxy = await FaultProxy.open(port);
    this.ends.push(() => proxy.close());
    return proxy;
  };
}

/** A suite over a Redis of its own. */
export function describeOnRedis(name: string, suite: (on: OnRedis) => void): void {
  describeUnlessMissing(name, missingRedis, () => {
    const on = new OnRedis();

    beforeAll(async () => {
      on.engine = await startRedis();
      on.client = new Redis(on.engine.url);
      on.client.on("error", () => undefined);
    });

    afterAll(async () => {
      on.client?.disconnect();
      await on.engine?.stop();
    });

    afterEach(async () => {
      for (const end of on.ends.splice(0).reverse()) await end();
    });

    suite(on);
  });
}
