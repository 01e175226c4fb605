import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { lines } from "./contestants.ts";

/** How the bench was asked to run. */
export interface Options {
  /** Under a minute, for a first look; nothing is written to docs. */
  readonly isQuick: boolean;
  /** Which contestants run, by their keys. */
  readonly only: readonly string[];
  readonly connections: readonly number[];
  readonly rounds: number;
  /** Length of one load run; whole seconds, for wrk takes no others. */
  readonly seconds: number;
  readonly floorSeconds: number;
  /** The sizes of libuv's thread pool that are tried for the parallel floor. */
  readonly poolSizes: readonly number[];
  /** For mkdtemp: on the disk that is to be measured. */
  readonly scratchPrefix: string;
  readonly serviceCommand: readonly string[];
}

const usage = `npm run bench -- [options]
  --quick             under a minute; writes no docs
  --only KEY,…        some of ${lines.map(({ key }) => key).join(", ")}
  --connections N,…   default 1,16,64,256
  --rounds N          default 5
  --seconds N         length of each load run, default 3
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
      quick: { type: "boolean", default: false },
      only: { type: "string" },
      connections: { type: "string" },
      rounds: { type: "string" },
      seconds: { type: "string" },
      directory: { type: "string", default: fileURLToPath(new URL("..", import.meta.url)) },
      service: { type: "string" },
    },
  });
  const isQuick = values.quick;
  mkdirSync(values.directory, { recursive: true });
  return {
    isQuick,
    only: values.only?.split(",") ?? lines.map(({ key }) => key),
    connections: parseNumbers(values.connections) ?? (isQuick ? [1, 64, 256] : [1, 16, 64, 256]),
    rounds: parseNumbers(values.rounds)?.[0] ?? (isQuick ? 1 : 5),
    seconds: parseNumbers(values.seconds)?.[0] ?? (isQuick ? 1 : 3),
    floorSeconds: isQuick ? 0.3 : 1,
    poolSizes: isQuick ? [4, 16] : [4, 8, 16, 32, 64],
    scratchPrefix: join(values.directory, "bench-"),
    serviceCommand: values.service?.split(" ") ?? [
      process.execPath,
      fileURLToPath(new URL("../src/main.js", import.meta.url)),
    ],
  };
}

function parseNumbers(text: string | undefined): number[] | undefined {
  return text?.split(",").map((part) => {
    const number = Number(part);
    if (!Number.isInteger(number) || number < 1)
      throw new Error(`expected a whole number from 1, got ${JSON.stringify(part)}`);
    return number;
  });
}
