import { CombiningQueue } from "../src/counter/combining-queue.ts";
import type { CounterName } from "../src/counter/counter-name.ts";
import { counterName } from "./client.ts";

/**
 * What the combining queue itself costs: claims per second, and claims per batch, when a commit does nothing but wait for
 * one turn of the event loop. `node dist/bench/queue.js`
 */
for (const callers of [1, 64, 1024]) {
  for (const counters of [1, 1000]) {
    const names = Array.from({ length: counters }, (_, n) => counterName(n) as CounterName);
    let commits = 0;
    const queue = new CombiningQueue(async (_name: CounterName, claims: readonly number[]) => {
      commits += 1;
      await new Promise(setImmediate);
      return claims;
    });
    let claims = 0;
    const startedAt = performance.now();
    await Promise.all(
      Array.from({ length: callers }, async (_, caller) => {
        for (let n = caller; performance.now() < startedAt + 500; n += 1) {
          await queue.add(names[n % counters] as CounterName, 1);
          claims += 1;
        }
      }),
    );
    const seconds = (performance.now() - startedAt) / 1000;
    const figures = `${Math.round(claims / seconds)} claims/s, ${(claims / commits).toFixed(1)} per batch`;
    console.log(`${callers} callers, ${counters} counters: ${figures}`);
  }
}
