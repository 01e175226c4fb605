import { execFile } from "node:child_process";
import fs from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { counterName } from "./client.ts";

/**
 * Lays out a STORAGE_DIR with many counters at rest, each as if it had issued numbers up to 41: value file, and fence
 * with its token. Written directly, because so many first commits would take the service far longer.
 */
export async function seed(directory: string, counters: number): Promise<void> {
  fs.mkdirSync(join(directory, ".fence"), { recursive: true });
  for (let n = 0; n < counters; n += 1) {
    const name = counterName(n);
    const fence = join(directory, ".fence", name);
    fs.mkdirSync(fence);
    fs.closeSync(fs.openSync(join(fence, "41"), "wx"));
    fs.writeFileSync(join(directory, name), "41\n");
  }
  // What the disk still has to write must not be counted as the service's time.
  await promisify(execFile)("sync");
}

/** Much faster than Node's own for millions of files. */
export async function removeSeeded(directory: string): Promise<void> {
  await promisify(execFile)("rm", ["-rf", directory]);
}
