import { mkdtempSync, rmSync } from "node:fs";
import { startContestants } from "./contestants.ts";
import { findBestParallelWay, floors } from "./floors.ts";
import { load } from "./load.ts";
import { type Options, parseOptions } from "./options.ts";
import { type Measurement, runRounds } from "./samples.ts";

const options = parseOptions(process.argv.slice(2));
const scratch = mkdtempSync(options.scratchPrefix);
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));

const { contestants, missing, stop } = await startContestants(options.only, { ...options, scratch });
for (const reason of missing) console.log(reason);
const { best, tried } = await findBestParallelWay(scratch, options.floorSeconds, options.poolSizes);
for (const { way, poolSize, perSecond } of tried)
  console.log(`${way}, pool of ${poolSize}: ${Math.round(perSecond)}/s`);

for (const contestant of contestants) await load(contestant, { connections: 64, counters: 1, seconds: 1 });
const samples = await runRounds(
  [...loads(options), ...floors(scratch, options.floorSeconds, best)],
  options.rounds,
  (round, key, { perSecond, p50Ms, p99Ms, failed }) =>
    console.log(
      `round ${round}  ${key.padEnd(32)} ${perSecond.toFixed(0).padStart(7)}/s  p50 ${p50Ms.toFixed(3)} ms  p99 ${p99Ms.toFixed(3)} ms${failed ? `  ${failed} failed` : ""}`,
    ),
);

for (const connections of options.connections) {
  for (const base of ["node-noop", "express-prototypes-noop"]) {
    const ratio = samples.compare(
      [`service/1/${connections}`, `${base}/1/${connections}`],
      (a, b) => (a?.perSecond ?? 0) / (b?.perSecond ?? 0),
    );
    if (ratio)
      console.log(
        `c=${connections} service against ${base}: ${ratio.median.toFixed(3)} (${ratio.min.toFixed(3)}–${ratio.max.toFixed(3)})`,
      );
  }
}
const p50 = samples.compare(
  ["service/1/1", "node-noop/1/1", "floor-rename"],
  (a, b, f) => ((a?.p50Ms ?? 0) - (b?.p50Ms ?? 0)) / (f?.p50Ms ?? 0),
);
if (p50)
  console.log(
    `c=1 p50 above no-op's, in rename + directory fsync: ${p50.median.toFixed(2)} (${p50.min.toFixed(2)}–${p50.max.toFixed(2)})`,
  );
await stop();

function loads({ connections, seconds }: Options): Measurement[] {
  return connections.flatMap((connections) =>
    contestants.flatMap((contestant) =>
      [1, 1000]
        .filter((counters) => counters === 1 || (contestant.hasCounters && connections === 64))
        .map((counters) => ({
          key: `${contestant.key}/${counters}/${connections}`,
          run: () => load(contestant, { connections, counters, seconds }),
        })),
    ),
  );
}
