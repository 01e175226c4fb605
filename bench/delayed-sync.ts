import { type Line, startService } from "./contestants.ts";
import { program } from "./processes.ts";

/** What is added to each sync, in ms: a good and a bad cloud disk. */
export const delaysMs = [2, 10] as const;

/**
 * The service on a slow disk, as it is and with every claim committed alone: what combining is for.
 * Only at 64 connections, with one hot counter.
 */
export const delayedLines: readonly Line[] = [
  ...delaysMs.map(
    (delayMs): Line => ({
      key: `delay-${delayMs}`,
      title: `this service, each sync ${delayMs} ms slower`,
      connections: [64],
      start: (surroundings) => startService(1, surroundings, delayed(delayMs)),
    }),
  ),
  ...delaysMs.map(
    (delayMs): Line => ({
      key: `one-by-one-${delayMs}`,
      title: `the same without combining, each sync ${delayMs} ms slower`,
      connections: [64],
      start: (surroundings) =>
        startService(1, { ...surroundings, serviceCommand: oneByOne }, delayed(delayMs)),
    }),
  ),
];

const oneByOne = [process.execPath, program("contestants/service-one-by-one.js")];

function delayed(delayMs: number): NodeJS.ProcessEnv {
  return { NODE_OPTIONS: `--import ${program("sync-delay.js")}`, SYNC_DELAY_MS: String(delayMs) };
}
