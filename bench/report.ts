import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { drawChart } from "./chart.ts";
import type { Contestant } from "./contestants.ts";
import type { ParallelWay } from "./floors.ts";
import { cellKey } from "./load.ts";
import type { Sample, Samples } from "./samples.ts";
import { spreadText, type TargetRow, toCount, toShort } from "./targets.ts";

/** All that a run has found out. */
export interface Findings {
  readonly machine: readonly (readonly [string, string])[];
  readonly targets: readonly TargetRow[];
  readonly contestants: readonly Contestant[];
  readonly connections: readonly number[];
  readonly rounds: number;
  readonly seconds: number;
  readonly samples: Samples;
  readonly poolsTried: readonly (ParallelWay & { readonly perSecond: number })[];
  readonly bestPool: ParallelWay;
  /** What was left out, and why. */
  readonly missing: readonly string[];
}

/** The text of `docs/benchmarks.md`, ratios first; the terminal gets the same. */
export function toMarkdown(findings: Findings): string {
  const { machine, targets, rounds, seconds, missing } = findings;
  const failures = findings.samples.failures().map(([key, failed]) => `${key}: ${failed} failed answers`);
  const notes = [...missing, ...failures].map((note) => `- ${note}\n`).join("");
  const often = rounds === 1 ? "one round" : `${rounds} rounds`;
  return `# Benchmarks

Made by \`npm run bench\`: ${often}, in each everything once and in the same order, ${seconds} s each. Ratios are taken
within a round; shown are the median and, in brackets, the least and the greatest. c is the number of connections, each
with one request under way. Absolute figures drift between machines and hours: trust the ratios.

${table(
  ["work", "measured", "target", ""],
  targets.map(({ work, measured, target, isMet }) => [
    work,
    measured ?? "not measured",
    target,
    verdict(isMet),
  ]),
)}
${notes === "" ? "" : `${notes}\n`}![Answers per second against connections](benchmarks.svg)

## Throughput of one hot counter, against the node:http no-op

${cells(findings, findings.contestants, (key, connections) => {
  const keys = [cellKey(key, 1, connections), cellKey("node-noop", 1, connections)];
  const ratio = findings.samples.compare(keys, (a, b) => (a as Sample).perSecond / (b as Sample).perSecond);
  return ratio && spreadText(ratio, toShort);
})}
## Answers per second, one hot counter

${cells(
  findings,
  findings.contestants,
  figureText(findings, 1, ({ perSecond }) => perSecond, toCount),
)}
## Answers per second, 1,000 counters

${cells(
  findings,
  withManyCounters(findings),
  figureText(findings, 1000, ({ perSecond }) => perSecond, toCount),
)}
## Latency in ms, one hot counter: p50

${cells(
  findings,
  findings.contestants,
  figureText(findings, 1, ({ p50Ms }) => p50Ms, toShort),
)}
## Latency in ms, one hot counter: p99

${cells(
  findings,
  findings.contestants,
  figureText(findings, 1, ({ p99Ms }) => p99Ms, toShort),
)}
## What the disk allows

${floorTable(findings)}
The parallel floor is the best of these: ${findings.poolsTried
    .map(({ way, poolSize, perSecond }) => `${describeWay({ way, poolSize })} ${toCount(perSecond)}/s`)
    .join("; ")}.

## Where this was measured

${table(["", ""], machine)}`;
}

/** Writes the findings down for everybody: `docs/benchmarks.md` and its picture. */
export function writeDocs(findings: Findings): void {
  const docs = fileURLToPath(new URL("../../docs/", import.meta.url));
  mkdirSync(docs, { recursive: true });
  writeFileSync(`${docs}benchmarks.md`, toMarkdown(findings));
  const series = findings.contestants
    .filter((contestant) => contestant.connections === undefined)
    .map(({ key, title }) => ({
      title,
      isOurs: key === "service",
      points: findings.connections.flatMap((connections) => {
        const spread = findings.samples.spread(cellKey(key, 1, connections), ({ perSecond }) => perSecond);
        return spread ? [{ connections, perSecond: spread.median }] : [];
      }),
    }));
  writeFileSync(`${docs}benchmarks.svg`, drawChart(series, findings.connections));
}

function verdict(isMet: boolean | undefined): string {
  if (isMet === undefined) return "";
  return isMet ? "ok" : "**misses**";
}

type Figure = (sample: Sample) => number;

function figureText(
  { samples }: Findings,
  counters: number,
  figure: Figure,
  text: (figure: number) => string,
) {
  return (key: string, connections: number) => {
    const spread = samples.spread(cellKey(key, counters, connections), figure);
    return spread && spreadText(spread, text);
  };
}

function withManyCounters({ contestants, samples }: Findings): readonly Contestant[] {
  return contestants.filter(({ key }) =>
    samples.spread(cellKey(key, 1000, 64), ({ perSecond }) => perSecond),
  );
}

/** A table of contestants by connections. */
function cells(
  { connections }: Findings,
  rows: readonly Contestant[],
  cell: (key: string, connections: number) => string | undefined,
): string {
  const columns = connections.filter((n) => rows.some(({ key }) => cell(key, n) !== undefined));
  return table(
    ["", ...columns.map((n) => `c=${n}`)],
    rows.map(({ key, title }) => [title, ...columns.map((n) => cell(key, n) ?? "")]),
  );
}

function floorTable({ samples, bestPool }: Findings): string {
  const rows = [
    ["floor-rename", "rename + directory fsync, one after the other"],
    ["floor-create", "create + write + fsync + rename + directory fsync, one after the other"],
    [
      "floor-parallel",
      `64 parallel (rename + directory fsync) in 1,000 directories, ${describeWay(bestPool)}`,
    ],
  ] as const;
  return table(
    ["", "per second", "p50 in ms", "p99 in ms"],
    rows.flatMap(([key, title]) => {
      const perSecond = samples.spread(key, (sample) => sample.perSecond);
      const p50 = samples.spread(key, (sample) => sample.p50Ms);
      const p99 = samples.spread(key, (sample) => sample.p99Ms);
      if (!perSecond || !p50 || !p99) return [];
      return [[title, spreadText(perSecond, toCount), spreadText(p50, toShort), spreadText(p99, toShort)]];
    }),
  );
}

function describeWay({ way, poolSize }: ParallelWay): string {
  const calls = way === "parallel-in-pool" ? "both calls" : "only the sync";
  return `${calls} in a pool of ${poolSize} threads`;
}

/** A Markdown table whose columns are even in plain text, too. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = head.map((_, n) => Math.max(3, ...[head, ...rows].map((row) => (row[n] as string).length)));
  const line = (row: readonly string[]) =>
    `| ${row.map((cell, n) => cell.padEnd(widths[n] as number)).join(" | ")} |\n`;
  return line(head) + line(widths.map((width) => "-".repeat(width))) + rows.map(line).join("");
}
