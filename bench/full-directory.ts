import { join } from "node:path";
import { type MemoryUse, measureMemory } from "./memory.ts";
import type { Options } from "./options.ts";
import type { Spread } from "./samples.ts";
import { removeSeeded, seed } from "./seed.ts";
import { measureStartUp } from "./start-up.ts";

/** What the service needs in a directory with many counters. */
export interface FullDirectory {
  readonly counters: number;
  readonly startUpMs: Spread;
  readonly memory: MemoryUse;
}

/** One directory for both measurements, for it takes minutes to make. */
export async function measureFullDirectory(
  scratch: string,
  { counters, serviceCommand, rounds }: Options,
): Promise<FullDirectory> {
  const at = { scratch, directory: join(scratch, "full-directory"), counters };
  console.log(`laying out ${counters} counters`);
  await seed(at.directory, counters);
  console.log("starting the service in that directory");
  const startUpMs = await measureStartUp(serviceCommand, { ...at, starts: rounds });
  console.log("using every counter once");
  const memory = await measureMemory(serviceCommand, at);
  await removeSeeded(at.directory);
  return { counters, startUpMs, memory };
}
