import type { CounterName } from "../../../src/counter/counter-name.ts";
import { openRedisStore } from "../../../src/store/redis/redis-store.ts";
import { silentContext } from "../silent-context.ts";

/** A process that takes one number of the counter `myapp` at the URL of its first argument, and prints it. */
const store = await openRedisStore({ url: process.argv[2] as string }, silentContext());
console.log(JSON.stringify(await store.commit("myapp" as CounterName, [{ by: 1 }], { create: true })));
await store.close();
