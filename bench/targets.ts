import { delaysMs } from "./delayed-sync.ts";
import type { FullDirectory } from "./full-directory.ts";
import { cellKey } from "./load.ts";

import type { Sample, Samples, Spread } from "./samples.ts";
import type { DuplicateCheck } from "./two-processes.ts";

/** What was measured outside the rounds. */
export interface Extras {
  readonly duplicateCheck: DuplicateCheck | undefined;
  readonly fullDirectory: FullDirectory | undefined;
}

/** One promise about speed, and what became of it. */
export interface TargetRow {
  readonly work: string;
  readonly target: string;
  /** Undefined when it was not. */
  readonly measured: string | undefined;
  /** Undefined when it was not measured, or cannot be judged. */
  readonly isMet: boolean | undefined;
}

type Figure = (...samples: Sample[]) => number;

const throughputRatio: Figure = (a, b) => (a as Sample).perSecond / (b as Sample).perSecond;

/** How the figures compare with the targets; every ratio is taken within a round, and judged by the median. */
export function judge(samples: Samples, { duplicateCheck, fullDirectory }: Extras): TargetRow[] {
  const hot = (key: string, connections: number) => cellKey(key, 1, connections);

  /** A row about a figure of one or several things, all from one round. */
  function row(work: string, keys: readonly string[], figure: Figure, bound: Bound): TargetRow {
    return judgeSpread(work, samples.compare(keys, figure), bound);
  }
  /** A row about throughput of the service against somebody else's, on one hot counter. */
  function against(key: string, title: string, connections: number, atLeast: number): TargetRow {
    const work = `one counter, c=${connections}, against ${title}`;
    return row(work, [hot("service", connections), hot(key, connections)], throughputRatio, { atLeast });
  }

  return [
    against("node-noop", "a node:http no-op", 256, 0.7),
    against("node-noop", "a node:http no-op", 64, 0.55),
    against("express-prototypes-noop", "an Express no-op with the prototypes", 256, 0.9),
    row(
      "one counter, c=1: p50 less the no-op's, against rename + directory fsync",
      [hot("service", 1), hot("node-noop", 1), "floor-rename"],
      (service, noop, floor) =>
        ((service as Sample).p50Ms - (noop as Sample).p50Ms) / (floor as Sample).p50Ms,
      { atMost: 2 },
    ),
    row(
      "1,000 counters, c=64, against 64 parallel (rename + directory fsync)",
      [cellKey("service", 1000, 64), "floor-parallel"],
      throughputRatio,
      { atLeast: 0.6 },
    ),
    against("redis", "INCR by node-redis, Redis fsync always", 64, 1.2),
    against("redis", "INCR by node-redis, Redis fsync always", 256, 1.2),
    against("webdis", "INCR by webdis, Redis fsync always", 256, 0.9),
    row(
      "2 processes, one counter, c=64: throughput against one process",
      [hot("service-x2", 64), hot("service", 64)],
      throughputRatio,
      { atLeast: 0.8 },
    ),
    row(
      "… answers of the busier process against the other's",
      [hot("service-x2", 64)],
      (both) => Math.max(...(both as Sample).shares) / Math.min(...(both as Sample).shares),
      { atMost: 2 },
    ),
    row("… p99", [hot("service-x2", 64)], (both) => (both as Sample).p99Ms, { atMost: 100, unit: "ms" }),
    judgeDuplicates(duplicateCheck),
    judgeMemory(fullDirectory),
    judgeStartUp(fullDirectory),
    ...delaysMs.flatMap((delayMs) => [
      row(
        `one counter, c=64, each sync ${delayMs} ms slower, against undelayed`,
        [hot(`delay-${delayMs}`, 64), hot("service", 64)],
        throughputRatio,
        { atLeast: delayMs === 2 ? 0.35 : 0.1 },
      ),
      row(
        "… the same without combining",
        [hot(`one-by-one-${delayMs}`, 64), hot("service", 64)],
        throughputRatio,
        {},
      ),
    ]),
  ];
}

interface Bound {
  readonly atLeast?: number;
  readonly atMost?: number;
  readonly unit?: string;
}

function judgeSpread(work: string, spread: Spread | undefined, { atLeast, atMost, unit }: Bound): TargetRow {
  const withUnit = (text: string) => (unit === undefined ? text : `${text} ${unit}`);
  const target =
    atLeast !== undefined
      ? withUnit(`≥ ${toShort(atLeast)}`)
      : atMost !== undefined
        ? withUnit(`≤ ${toShort(atMost)}`)
        : "";
  if (spread === undefined) return { work, target, measured: undefined, isMet: undefined };
  return {
    work,
    target,
    measured: withUnit(spreadText(spread, toShort)),
    isMet:
      target === "" ? undefined : spread.median >= (atLeast ?? 0) && spread.median <= (atMost ?? Infinity),
  };
}

function judgeDuplicates(check: DuplicateCheck | undefined): TargetRow {
  const row = { work: "… duplicates, from every answer", target: "none" };
  if (check === undefined) return { ...row, measured: undefined, isMet: undefined };
  const failed = check.failed > 0 ? `, ${check.failed} failed` : "";
  return {
    ...row,
    measured: `${check.duplicates} in ${toCount(check.answers)} answers${failed}`,
    isMet: check.duplicates === 0 && check.failed === 0,
  };
}

/** The targets are for a million counters; with fewer the figure is shown, and judged by nobody. */
const million = 1_000_000;

function judgeMemory(found: FullDirectory | undefined): TargetRow {
  const { counters = million, memory } = found ?? {};
  const row = { work: `resident memory after ${toCount(counters)} counters were used`, target: "≤ 200 MB" };
  if (memory === undefined) return { ...row, measured: undefined, isMet: undefined };
  const [before, after] = [memory.beforeMb, memory.afterMb].map((mb) => mb.toFixed(0));
  const failed = memory.failed > 0 ? `, ${memory.failed} failed` : "";
  return {
    ...row,
    measured: `${after} MB (at start ${before} MB)${failed}`,
    isMet: counters < million ? undefined : memory.afterMb <= 200 && memory.failed === 0,
  };
}

function judgeStartUp(found: FullDirectory | undefined): TargetRow {
  const { counters = million, startUpMs } = found ?? {};
  const work = `start with ${toCount(counters)} counters on disk, to the first number of one of them`;
  const row = judgeSpread(work, startUpMs, { atMost: 1000, unit: "ms" });
  return counters < million ? { ...row, isMet: undefined } : row;
}

/** Median and, where there was more than one round, the smallest and largest. */
export function spreadText({ median, min, max }: Spread, text: (figure: number) => string): string {
  return min === max ? text(median) : `${text(median)} (${text(min)}–${text(max)})`;
}

/** Three figures are enough for anything measured here. */
export function toShort(figure: number): string {
  if (figure >= 100) return figure.toFixed(0);
  return figure >= 0.1 || figure === 0 ? figure.toFixed(2) : figure.toPrecision(2);
}

export function toCount(figure: number): string {
  return Math.round(figure).toLocaleString("en-US");
}
