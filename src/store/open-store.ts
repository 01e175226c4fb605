import type { Config } from "../config.ts";
import type { Store, StoreContext } from "../counter/store.ts";

/**
 * Opens the store that the settings name. The only place that knows every backend; each is loaded when it is chosen.
 *
 * @throws Error with one clear sentence for the operator, when this store cannot be used
 */
export async function openStore(config: Config, context: StoreContext): Promise<Store> {
  switch (config.store) {
    case "file": {
      const { openFileStore } = await import("./file/file-store.ts");
      return openFileStore(config.file, context);
    }
    case "redis": {
      const { openRedisStore } = await import("./redis/redis-store.ts");
      return openRedisStore(config.redis, context);
    }
    case "dynamodb": {
      const { openDynamodbStore } = await import("./dynamodb/dynamodb-store.ts");
      return openDynamodbStore(config.dynamodb, context);
    }
  }
}
