import { ask, counterName } from "./client.ts";
import type { Contestant } from "./contestants.ts";
import { cellKey, load } from "./load.ts";
import type { Options } from "./options.ts";
import type { Measurement } from "./samples.ts";

/** Beside one hot counter. */
const manyCounters = 1000;

/** The load runs of one round, in their order: all contestants at one number of connections, then at the next. */
export function loadRuns(
  contestants: readonly Contestant[],
  { connections, seconds, withManyCountersFor }: Options,
): Measurement[] {
  return connections.flatMap((connections) =>
    contestants
      .filter(({ urls }) => urls.length <= connections)
      .filter((contestant) => contestant.connections?.includes(connections) ?? true)
      .flatMap((contestant) => {
        const { key, hasCounters } = contestant;
        const withMany = hasCounters && connections === 64 && withManyCountersFor.includes(key);
        return (withMany ? [1, manyCounters] : [1]).map((counters) => ({
          key: cellKey(key, counters, connections),
          run: () => load(contestant, { connections, counters, seconds }),
        }));
      }),
  );
}

/** Uses every counter once, then one of them for a while: first use and compilation are not what is measured. */
export async function warmUp(
  { urls, method, prefix, hasCounters }: Contestant,
  { warmUpMs }: Options,
): Promise<void> {
  let unused = hasCounters ? manyCounters : 1;
  const endAt = performance.now() + warmUpMs;
  await ask(urls, {
    method,
    connections: 64,
    nextPath: () => {
      if (unused > 0) unused -= 1;
      else if (performance.now() > endAt) return undefined;
      return `${prefix}/${counterName(unused)}`;
    },
    onAnswer: () => {},
  });
}
