import fs from "node:fs";
import { join } from "node:path";
import { percentile, type Sample } from "./samples.ts";

/**
 * Measures what the disk itself allows, in a process of its own (the size of libuv's pool is fixed at start):
 * `node floor-process.js WAY DIRECTORY SECONDS`; prints one sample as JSON.
 *
 * The files are those of the service's fence: a directory that holds one empty file, whose name is a number.
 */
interface Fence {
  readonly path: string;
  readonly fd: number;
  last: number;
}

const [way = "", directory = "", seconds = "1"] = process.argv.slice(2);
const latenciesMs: number[] = [];

/** One after the other, by blocking calls: no thread hop, so the shortest way there is. */
function renameOneByOne(fence: Fence): void {
  fs.renameSync(join(fence.path, String(fence.last)), join(fence.path, String(fence.last + 1)));
  fence.last += 1;
  fs.fsyncSync(fence.fd);
}

function createOneByOne({ path, fd }: Fence): void {
  const temporary = join(path, "value.new");
  const file = fs.openSync(temporary, "w");
  fs.writeSync(file, "12345\n");
  fs.fsyncSync(file);
  fs.closeSync(file);
  fs.renameSync(temporary, join(path, "value"));
  fs.fsyncSync(fd);
}

/** Rename and sync both in the pool. */
async function renameInPool(fence: Fence): Promise<void> {
  const [from, to] = [join(fence.path, String(fence.last)), join(fence.path, String(fence.last + 1))];
  fence.last += 1;
  await new Promise<void>((resolve, reject) => {
    fs.rename(from, to, (failed) => {
      if (failed) return reject(failed);
      fs.fsync(fence.fd, (error) => (error ? reject(error) : resolve()));
    });
  });
}

/** The rename, which only touches memory, on the spot; the sync in the pool: one hop instead of two. */
async function renameOnTheSpot(fence: Fence): Promise<void> {
  fs.renameSync(join(fence.path, String(fence.last)), join(fence.path, String(fence.last + 1)));
  fence.last += 1;
  await new Promise<void>((resolve, reject) => {
    fs.fsync(fence.fd, (error) => (error ? reject(error) : resolve()));
  });
}

function openFences(count: number): Fence[] {
  return Array.from({ length: count }, (_, n) => {
    const path = fs.mkdtempSync(join(directory, `${n}-`));
    fs.writeFileSync(join(path, "1"), "");
    return { path, fd: fs.openSync(path, "r"), last: 1 };
  });
}

function repeat(step: (fence: Fence) => void): void {
  const [fence] = openFences(1) as [Fence];
  const endAt = performance.now() + Number(seconds) * 1000;
  for (let at = performance.now(); at < endAt; ) {
    step(fence);
    const now = performance.now();
    latenciesMs.push(now - at);
    at = now;
  }
}

/** 64 at a time over 1,000 fences; no two ever work on the same one. */
async function repeatInParallel(step: (fence: Fence) => Promise<void>): Promise<void> {
  const parallel = 64;
  const fences = openFences(1000);
  const endAt = performance.now() + Number(seconds) * 1000;
  await Promise.all(
    Array.from({ length: parallel }, async (_, worker) => {
      const own = fences.filter((_fence, n) => n % parallel === worker);
      for (let turn = 0, at = performance.now(); at < endAt; turn += 1) {
        await step(own[turn % own.length] as Fence);
        const now = performance.now();
        latenciesMs.push(now - at);
        at = now;
      }
    }),
  );
}

const ways: Record<string, () => void | Promise<void>> = {
  rename: () => repeat(renameOneByOne),
  create: () => repeat(createOneByOne),
  "parallel-in-pool": () => repeatInParallel(renameInPool),
  "parallel-on-the-spot": () => repeatInParallel(renameOnTheSpot),
};

const run = ways[way];
if (!run) throw new Error(`expected one of ${Object.keys(ways).join(", ")}, got ${JSON.stringify(way)}`);
const startedAt = performance.now();
await run();
const tookMs = performance.now() - startedAt;
const sorted = Float64Array.from(latenciesMs).sort();
const sample: Sample = {
  perSecond: (sorted.length / tookMs) * 1000,
  p50Ms: percentile(sorted, 50),
  p99Ms: percentile(sorted, 99),
  failed: 0,
  shares: [1],
};
console.log(JSON.stringify(sample));
