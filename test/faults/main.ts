/**
 * The fault run: real servers, real faults, and a checker of every answer. `npm run test:faults -- --help`
 */
import { parseArgs } from "node:util";
import { Random } from "./random.ts";
import { diskScenarios } from "./scenarios/disk.ts";
import { fileScenarios } from "./scenarios/files.ts";
import { injectionScenarios } from "./scenarios/injection.ts";
import { killScenarios } from "./scenarios/kill.ts";
import { loadScenarios } from "./scenarios/load.ts";
import { loweringScenarios } from "./scenarios/lowering.ts";
import { pauseScenarios } from "./scenarios/pause.ts";
import { powerScenarios } from "./scenarios/power.ts";
import { CannotRun, type Scenario, Trial } from "./trial.ts";

const usage = `npm run test:faults -- [--long] [--part 0.1] [--seed N] [--only NAME]… [--no-skip] [--list]

  --long      the amounts of a run for the record (hours), instead of a minute's worth
  --part      this share of them
  --seed      repeats the random choices of a run
  --only      runs the scenarios whose name starts so
  --no-skip   fails where a scenario cannot run
  --list      says what there is
`;

const scenarios: readonly Scenario[] = [
  ...loadScenarios,
  ...killScenarios,
  ...pauseScenarios,
  ...loweringScenarios,
  ...powerScenarios,
  ...diskScenarios,
  ...fileScenarios,
  ...injectionScenarios,
];

const { values } = parseArgs({
  options: {
    long: { type: "boolean", default: false },
    part: { type: "string" },
    seed: { type: "string" },
    only: { type: "string", multiple: true },
    "no-skip": { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

if (values.help) process.stdout.write(usage);
else if (values.list) for (const { name, about } of scenarios) say(`${name.padEnd(20)} ${about}`);
else process.exitCode = (await run()) ? 0 : 1;

async function run(): Promise<boolean> {
  const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32));
  const part = values.part === undefined ? (values.long ? 1 : undefined) : Number(values.part);
  const chosen = scenarios.filter(({ name }) => values.only?.some((start) => name.startsWith(start)) ?? true);
  say(`seed ${seed}, ${part === undefined ? "short form" : `${part} of the record's amounts`}`);
  const totals: Record<string, number> = {};
  let isWhole = chosen.length > 0;
  for (const scenario of chosen) {
    const { name, about } = scenario;
    const trial = new Trial(new Random(seed), part);
    const start = performance.now();
    let wrong: unknown;
    try {
      await scenario.run(trial);
    } catch (error) {
      wrong = error;
    }
    await trial.end();
    if (wrong instanceof CannotRun) {
      say(`SKIP  ${name}: ${wrong.message}`);
      if (values["no-skip"]) isWhole = false;
      continue;
    }
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    const figures = Object.entries(trial.figures).map(([figure, count]) => `${count} ${figure}`);
    say(`${wrong ? "WRONG" : "ok   "} ${name} (${seconds} s): ${figures.join(", ")}`);
    // What controls count is of services that were broken on purpose.
    const counted = name.endsWith("-control") ? [] : Object.entries(trial.figures);
    for (const [figure, count] of counted) totals[figure] = (totals[figure] ?? 0) + count;
    if (wrong !== undefined) {
      isWhole = false;
      say(`      ${about}`);
      say(`      ${wrong instanceof Error && wrong.name !== "Wrong" ? wrong.stack : wrong}`);
      say(`      again: npm run test:faults -- --seed ${seed} --only ${name}`);
    }
  }
  say(
    `in all: ${Object.entries(totals)
      .map(([figure, count]) => `${count} ${figure}`)
      .join(", ")}`,
  );
  say(isWhole ? "all is right" : "something is wrong");
  return isWhole;
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
