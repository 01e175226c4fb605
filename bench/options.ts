import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type Line, lines } from "./contestants.ts";
import { delayedLines } from "./delayed-sync.ts";

/** How the bench was asked to run. */
export interface Options {
  /** Whether everything is measured, so that the docs are written. They say how long, and with how many counters. */
  readonly isFull: boolean;
  /** Who runs. */
  readonly lines: readonly Line[];
  /** Who is measured with 1,000 counters, too; by key. */
  readonly withManyCountersFor: readonly string[];
  /** Whether to measure what takes a directory with many counters. */
  readonly withFullDirectory: boolean;
  /** How many these are. */
  readonly counters: number;
  readonly connections: readonly number[];
  readonly rounds: number;
  /** Length of one load run; whole seconds, for wrk takes no others. */
  readonly seconds: number;
  readonly warmUpMs: number;
  readonly floorSeconds: number;
  /** The sizes of libuv's thread pool that are tried for the parallel floor. */
  readonly poolSizes: readonly number[];
  /** For mkdtemp: on the disk that is to be measured. */
  readonly scratchPrefix: string;
  readonly serviceCommand: readonly string[];
}

const allLines = [...lines, ...delayedLines];

/** All that a target speaks of. */
const quickKeys = allLines.map(({ key }) => key).filter((key) => key !== "express-noop");

const usage = `npm run bench -- [options]
  --quick             under a minute; writes no docs
  --only KEY,…        some of ${allLines.map(({ key }) => key).join(", ")}
  --connections N,…   default 1,16,64,256
  --rounds N          default 5
  --seconds N         length of each load run, default 3
  --counters N        how many for memory and start-up, default 1000000
  --directory PATH    where the data goes, and so which disk is measured; default dist/
  --service "COMMAND" how the service is started; it gets PORT, HOST, STORE and STORAGE_DIR`;

/** @throws Error with the usage, when an option is not known or no number */
export function parseOptions(args: readonly string[]): Options {
  try {
    return parse(args);
  } catch (error) {
    throw new Error(`${(error as Error).message}\n${usage}`);
  }
}

function parse(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean" },
      only: { type: "string" },
      connections: { type: "string" },
      rounds: { type: "string" },
      seconds: { type: "string" },
      counters: { type: "string" },
      directory: { type: "string", default: fileURLToPath(new URL("..", import.meta.url)) },
      service: { type: "string" },
    },
  });
  const isQuick = values.quick ?? false;
  mkdirSync(values.directory, { recursive: true });
  return {
    isFull: Object.keys(values).every((name) => ["directory", "seconds", "counters"].includes(name)),
    lines: pickLines(values.only?.split(",") ?? (isQuick ? quickKeys : undefined)),
    withManyCountersFor: isQuick ? ["service"] : lines.map(({ key }) => key),
    withFullDirectory: values.only === undefined,
    counters: parseNumbers(values.counters)?.[0] ?? (isQuick ? 5_000 : 1_000_000),
    connections: parseNumbers(values.connections) ?? (isQuick ? [1, 64, 256] : [1, 16, 64, 256]),
    rounds: parseNumbers(values.rounds)?.[0] ?? (isQuick ? 1 : 5),
    seconds: parseNumbers(values.seconds)?.[0] ?? (isQuick ? 1 : 3),
    warmUpMs: isQuick ? 300 : 1000,
    floorSeconds: isQuick ? 0.3 : 1,
    poolSizes: isQuick ? [4, 16] : [4, 8, 16, 32, 64],
    scratchPrefix: join(values.directory, "bench-"),
    serviceCommand: values.service?.split(" ") ?? [
      process.execPath,
      fileURLToPath(new URL("../src/main.js", import.meta.url)),
    ],
  };
}

function pickLines(keys: readonly string[] | undefined): readonly Line[] {
  const unknown = keys?.find((wanted) => !allLines.some(({ key }) => key === wanted));
  if (unknown !== undefined)
    throw new Error(`expected the key of a contestant, got ${JSON.stringify(unknown)}`);
  return allLines.filter(({ key }) => keys?.includes(key) ?? true);
}

function parseNumbers(text: string | undefined): number[] | undefined {
  return text?.split(",").map((part) => {
    const number = Number(part);
    if (!Number.isInteger(number) || number < 1)
      throw new Error(`expected a whole number from 1, got ${JSON.stringify(part)}`);
    return number;
  });
}
