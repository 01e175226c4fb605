import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { program } from "./processes.ts";
import type { Measurement, Sample } from "./samples.ts";

/** The best way found to have 64 renames with their directory syncs in flight. */
export interface ParallelWay {
  readonly way: "parallel-in-pool" | "parallel-on-the-spot";
  readonly poolSize: number;
}

/** What the disk itself allows, without any server. */
export function floors(scratch: string, seconds: number, best: ParallelWay): Measurement[] {
  return [
    { key: "floor-rename", run: () => measure("rename", scratch, seconds) },
    { key: "floor-create", run: () => measure("create", scratch, seconds) },
    { key: "floor-parallel", run: () => measure(best.way, scratch, seconds, best.poolSize) },
  ];
}

/**
 * A floor is worth something only if nobody could do better, so several ways are tried: both calls in libuv's thread
 * pool or only the sync, and pools of several sizes.
 */
export async function findBestParallelWay(
  scratch: string,
  seconds: number,
  poolSizes: readonly number[],
): Promise<{ best: ParallelWay; tried: (ParallelWay & { perSecond: number })[] }> {
  const tried = [];
  for (const poolSize of poolSizes) {
    for (const way of ["parallel-in-pool", "parallel-on-the-spot"] as const) {
      const { perSecond } = await measure(way, scratch, seconds, poolSize);
      tried.push({ way, poolSize, perSecond });
    }
  }
  const best = tried.reduce((a, b) => (b.perSecond > a.perSecond ? b : a));
  return { best, tried };
}

async function measure(way: string, scratch: string, seconds: number, poolSize = 4): Promise<Sample> {
  const directory = mkdtempSync(join(scratch, "floor-"));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [program("floor-process.js"), way, directory, String(seconds)],
    { env: { ...process.env, UV_THREADPOOL_SIZE: String(poolSize) } },
  );
  rmSync(directory, { recursive: true });
  return JSON.parse(stdout) as Sample;
}
