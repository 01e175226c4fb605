/**
 * The fault run: real servers, real faults, and a checker of every answer. `npm run test:faults -- --help`
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import os from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { Result } from "./one-scenario.ts";
import { scenarios } from "./scenarios.ts";
import { eachOf, type Figures, type Scenario } from "./trial.ts";

const usage = `npm run test:faults -- [--long] [--part 0.1] [--seed N] [--only NAME]… [--jobs N] [--no-skip] [--list]

  --long      the amounts of a run for the record, instead of a minute's worth
  --part      this share of them
  --seed      repeats the random choices of a run
  --only      runs the scenarios whose name starts so
  --jobs      how many scenarios run side by side (default: one per core, and one that waits)
  --no-skip   fails where a scenario cannot run
  --list      says what there is
`;

const { values } = parseArgs({
  options: {
    long: { type: "boolean", default: false },
    part: { type: "string" },
    seed: { type: "string" },
    only: { type: "string", multiple: true },
    jobs: { type: "string" },
    "no-skip": { type: "boolean", default: false },
    list: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});

const seed = Number(values.seed ?? Math.floor(Math.random() * 2 ** 32));
const part = values.part ?? (values.long ? "1" : "short");
const jobs = Number(values.jobs ?? os.availableParallelism() + 1);
/** A scenario that takes longer hangs. */
const limitMs = part === "short" ? 300_000 : 7_200_000;
/** How long one that hangs may take to give back what it mounted. */
const graceMs = 10_000;
const running = new Set<Run>();

process.on("SIGINT", endAll);
process.on("SIGTERM", endAll);
if (values.help) process.stdout.write(usage);
else if (values.list) for (const { name, about } of scenarios) say(`${name.padEnd(22)} ${about}`);
else process.exitCode = (await run()) ? 0 : 1;

async function run(): Promise<boolean> {
  const chosen = scenarios.filter(({ name }) => values.only?.some((start) => name.startsWith(start)) ?? true);
  say(`seed ${seed}, ${part === "short" ? "short form" : `${part} of the record's amounts`}`);
  const start = performance.now();
  const totals: Figures = {};
  const tests = { failed: 0, skipped: 0, passed: 0 };
  const runAndReport = async (scenario: Scenario) => {
    const result = await runScenario(scenario);
    tests[report(scenario, result)] += 1;
    // What controls count is of services that were broken on purpose.
    const counted = scenario.name.endsWith("-control") ? [] : Object.entries(result.figures);
    for (const [figure, count] of counted) totals[figure] = (totals[figure] ?? 0) + count;
  };
  await eachOf(chosen, runAndReport, jobs);
  say(`in all, in ${((performance.now() - start) / 60_000).toFixed(1)} minutes:`);
  for (const [figure, count] of Object.entries(totals)) say(`${String(count).padStart(10)} ${figure}`);
  const counts = Object.entries(tests).flatMap(([how, many]) => (many > 0 ? [`${many} ${how}`] : []));
  say(`Tests: ${[...counts, `${chosen.length} total`].join(", ")}`);
  return chosen.length > 0 && tests.failed === 0 && (tests.skipped === 0 || !values["no-skip"]);
}

interface Run {
  readonly child: ChildProcess;
  /** How it ended, in words. */
  readonly ended: Promise<string>;
}

/** Runs a scenario in a process of its own: one waits while another works, and one that hangs can be ended. */
async function runScenario({ name }: Scenario): Promise<Result> {
  const program = fileURLToPath(new URL("one-scenario.js", import.meta.url));
  const child = fork(program, [name, String(seed), part], { detached: true });
  const ended = once(child, "exit").then(([code, signal]) => `exit code ${code ?? signal}`);
  const current = { child, ended };
  running.add(current);
  const start = performance.now();
  let result: Result | undefined;
  child.on("message", (message) => {
    result = message as Result;
  });
  let how = await Promise.race([ended, sleep(limitMs, undefined, { ref: false })]);
  if (how === undefined) how = `no end within ${limitMs / 1_000} s`;
  await end(current);
  running.delete(current);
  const seconds = (performance.now() - start) / 1_000;
  return result ?? { figures: {}, seconds, wrong: `expected a result, got ${how}` };
}

/** Ends a scenario and all that it started. */
async function end({ child, ended }: Run): Promise<void> {
  child.kill("SIGTERM");
  await Promise.race([ended, sleep(graceMs, undefined, { ref: false })]);
  try {
    process.kill(-(child.pid as number), "SIGKILL");
  } catch {
    // Nobody is left.
  }
}

async function endAll(): Promise<void> {
  await Promise.all([...running].map(end));
  process.exit(1);
}

function report({ name, about }: Scenario, result: Result): "failed" | "skipped" | "passed" {
  const { seconds, figures, skipped, wrong, complaints = [] } = result;
  if (skipped !== undefined) {
    say(`SKIP  ${name}: ${skipped}`);
    return "skipped";
  }
  const counts = Object.entries(figures).map(([figure, count]) => `${count} ${figure}`);
  say(`${wrong ? "WRONG" : "ok   "} ${name} (${seconds.toFixed(1)} s): ${counts.join(", ")}`);
  if (wrong === undefined) return "passed";
  say(`      ${about}`);
  for (const line of [...wrong.split("\n"), ...complaints]) say(`      ${line}`);
  say(`      again: npm run test:faults -- --seed ${seed} --only ${name}`);
  return "failed";
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
