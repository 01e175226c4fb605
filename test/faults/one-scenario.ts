/**
 * Runs one scenario, in a process of its own, which leads a process group: whoever started it can end all that it
 * started. Arguments: its name, the seed, and the part of the record's amount ("short" for the short form).
 */
import { Random } from "./random.ts";
import { scenarios } from "./scenarios.ts";
import { CannotRun, type Figures, Trial } from "./trial.ts";

/** What became of a scenario. */
export interface Result {
  readonly seconds: number;
  readonly figures: Figures;
  /** Why it cannot run here. */
  readonly skipped?: string;
  /** What is wrong, and what the services said meanwhile. */
  readonly wrong?: string;
  readonly complaints?: readonly string[];
}

const [name, seed, part] = process.argv.slice(2);
const scenario = scenarios.find((one) => one.name === name);
const trial = new Trial(new Random(Number(seed)), part === "short" ? undefined : Number(part));
const start = performance.now();

// Nobody waits for the result any more.
for (const signal of ["SIGTERM", "disconnect"] as const) {
  process.on(signal, async () => {
    await trial.end();
    process.exit(1);
  });
}
// Of work that goes on beside what is waited for.
process.on("unhandledRejection", tell);

try {
  await scenario?.run(trial);
  await conclude({});
} catch (error) {
  await tell(error);
}

async function tell(error: unknown): Promise<void> {
  const { name: kind, message, stack = message } = error as Error;
  if (error instanceof CannotRun) await conclude({ skipped: message });
  else await conclude({ wrong: kind === "Wrong" ? message : stack, complaints: trial.complaints });
}

async function conclude(result: Pick<Result, "skipped" | "wrong" | "complaints">): Promise<void> {
  const { figures } = trial;
  await trial.end();
  const seconds = (performance.now() - start) / 1_000;
  process.send?.({ ...result, figures, seconds } satisfies Result, () => process.exit());
}
