import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { readConfig } from "../src/config.ts";
import type { CounterName } from "../src/counter/counter-name.ts";
import { createLog } from "../src/log.ts";
import { openStore } from "../src/store/open-store.ts";
import { counterName } from "./client.ts";
import { percentile } from "./samples.ts";

/**
 * One commit of the file store after the other, without queue and HTTP: on a counter that is in use, on a counter's
 * first use, and in batches. `node dist/bench/commit.js`
 */
const directory = mkdtempSync(join(fileURLToPath(new URL("..", import.meta.url)), "bench-commit-"));
process.on("exit", () => rmSync(directory, { recursive: true, force: true }));

const log = await createLog("error");
const store = await openStore(readConfig({ STORAGE_DIR: directory }), {
  log,
  onFatal: (error) => {
    throw error;
  },
});

await report("one claim, same counter", 1, () => 0);
await report("256 claims, same counter", 256, () => 0);
await report("one claim, 100 counters in turn", 1, (n) => n % 100);
await report("one claim, first use", 1, (n) => 1000 + n);
await store.close();
process.exit(0);

async function report(title: string, batch: number, counterOf: (n: number) => number): Promise<void> {
  const claims = Array.from({ length: batch }, () => ({ by: 1 }));
  const tookMs: number[] = [];
  const endAt = performance.now() + 1000;
  for (let n = 0, at = performance.now(); at < endAt; n += 1) {
    await store.commit(counterName(counterOf(n)) as CounterName, claims, { create: true });
    const now = performance.now();
    tookMs.push(now - at);
    at = now;
  }
  const sorted = Float64Array.from(tookMs).sort();
  const [p50, p99] = [percentile(sorted, 50), percentile(sorted, 99)];
  console.log(`${title}: ${sorted.length} commits/s, p50 ${p50.toFixed(3)} ms, p99 ${p99.toFixed(3)} ms`);
}
