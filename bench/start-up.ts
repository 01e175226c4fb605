import { counterName } from "./client.ts";
import { startServiceProcess } from "./contestants.ts";
import { type Spread, spreadOf } from "./samples.ts";

/**
 * How long the service takes, from its start to its first number, in a directory with many counters.
 *
 * @returns milliseconds; the page cache is warm, the process is not
 */
export async function measureStartUp(
  serviceCommand: readonly string[],
  {
    scratch,
    directory,
    counters,
    starts,
  }: { scratch: string; directory: string; counters: number; starts: number },
): Promise<Spread> {
  const tookMs: number[] = [];
  for (let n = 0; n < starts; n += 1) {
    const path = `/${counterName(Math.floor((counters * (n + 0.5)) / starts))}`;
    const startedAt = performance.now();
    const { process } = await startServiceProcess(serviceCommand, {
      scratch,
      directory,
      lookEveryMs: 2,
      isReady: async (url) => {
        const response = await fetch(url + path, { method: "POST" });
        await response.arrayBuffer();
        return response.status === 200;
      },
    });
    tookMs.push(performance.now() - startedAt);
    await process.stop();
  }
  return spreadOf(tookMs);
}
