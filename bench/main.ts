import { mkdtempSync, rmSync } from "node:fs";
import { startContestants } from "./contestants.ts";
import { findBestParallelWay, floors } from "./floors.ts";
import { measureFullDirectory } from "./full-directory.ts";
import { loadRuns, warmUp } from "./load-runs.ts";
import { describeMachine } from "./machine.ts";
import { parseOptions } from "./options.ts";
import { type Findings, toMarkdown, writeDocs } from "./report.ts";
import { runRounds, type Sample } from "./samples.ts";
import { judge } from "./targets.ts";
import { findDuplicates } from "./two-processes.ts";

const options = parseOptions(process.argv.slice(2));
const { seconds } = options;
const scratch = mkdtempSync(options.scratchPrefix);
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));

const machine = describeMachine(scratch);
for (const [word, known] of machine) console.log(`${word}: ${known}`);

const { contestants, missing, stop } = await startContestants(options.lines, { ...options, scratch });
const pools = await findBestParallelWay(scratch, options.floorSeconds, options.poolSizes);
for (const contestant of contestants) await warmUp(contestant, options);
const samples = await runRounds(
  [...loadRuns(contestants, options), ...floors(scratch, options.floorSeconds, pools.best)],
  options.rounds,
  showProgress,
);
const twoProcesses = contestants.find(({ key }) => key === "service-x2");
const duplicateCheck = twoProcesses && (await findDuplicates(twoProcesses, { connections: 64, seconds }));
await stop();
const fullDirectory = options.withFullDirectory ? await measureFullDirectory(scratch, options) : undefined;
const judged = judge(samples, { duplicateCheck, fullDirectory });
const targets = options.isFull ? judged : judged.filter(({ measured }) => measured !== undefined);

const findings: Findings = {
  ...{ ...options, machine, targets, contestants, samples, missing },
  ...{ poolsTried: pools.tried, bestPool: pools.best },
};
console.log(`\n${toMarkdown(findings)}`);
if (options.isFull) writeDocs(findings);
process.exit(0);

function showProgress(round: number, key: string, { perSecond, p50Ms, p99Ms, failed }: Sample): void {
  const figures = `${perSecond.toFixed(0).padStart(7)}/s  p50 ${p50Ms.toFixed(3)} ms  p99 ${p99Ms.toFixed(3)} ms`;
  console.log(`round ${round}  ${key.padEnd(30)} ${figures}${failed > 0 ? `  ${failed} failed` : ""}`);
}
