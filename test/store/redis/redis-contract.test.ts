import { afterAll, beforeAll } from "@jest/globals";
import { openRedisStore } from "../../../src/store/redis/redis-store.ts";
import { describeUnlessMissing } from "../../describe-unless-missing.ts";
import { missingRedis, type RedisEngine, startRedis } from "../../engines/redis.ts";
import { describeRecordsContract } from "../records-contract.ts";
import { silentContext } from "../silent-context.ts";
import { describeStoreContract } from "../store-contract.ts";

describeUnlessMissing("Redis", missingRedis, () => {
  let redis: RedisEngine;

  beforeAll(async () => {
    redis = await startRedis();
  });

  afterAll(() => redis?.stop());

  describeStoreContract("the Redis store", () => openRedisStore({ url: redis.url }, silentContext()));

  describeRecordsContract("the Redis store", (options) =>
    openRedisStore({ url: redis.url, ...options }, silentContext()),
  );

  describeStoreContract("the Redis store with a prefix in another database", () =>
    openRedisStore({ url: `${redis.url}/3`, prefix: "team:" }, silentContext()),
  );
});
