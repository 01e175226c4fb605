import { readFileSync } from "node:fs";
import { ask, counterName } from "./client.ts";
import { startServiceProcess } from "./contestants.ts";

export interface MemoryUse {
  /** After the start. */
  readonly beforeMb: number;
  /** When each counter has issued one number. */
  readonly afterMb: number;
  readonly failed: number;
}

/** Resident memory of the service when every counter of the directory was used once. Needs Linux's /proc. */
export async function measureMemory(
  serviceCommand: readonly string[],
  { scratch, directory, counters }: { scratch: string; directory: string; counters: number },
): Promise<MemoryUse> {
  const { url, process } = await startServiceProcess(serviceCommand, { scratch, directory });
  const beforeMb = residentMb(process.pid);
  let next = 0;
  let failed = 0;
  await ask([url], {
    connections: 256,
    nextPath: () => (next < counters ? `/${counterName(next++)}` : undefined),
    onAnswer: ({ bn }) => {
      if (bn === undefined) failed += 1;
    },
  });
  const afterMb = residentMb(process.pid);
  await process.stop();
  return { beforeMb, afterMb, failed };
}

function residentMb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1]) * 1.024e-3;
}
