import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Result } from "autocannon";
import { isInstalled } from "../test/tools.ts";
import { counterName } from "./client.ts";
import type { Contestant } from "./contestants.ts";
import { percentile, type Sample } from "./samples.ts";

export interface LoadOptions {
  /** In all; each keeps one request under way. Shared out over the contestant's processes. */
  readonly connections: number;
  /** 1: one hot counter; more: each request goes to one of them at random. */
  readonly counters: number;
  readonly seconds: number;
}

/** Under which a load run is kept. */
export function cellKey(contestant: string, counters: number, connections: number): string {
  return `${contestant}/${counters}/${connections}`;
}

type Target = Pick<Contestant, "urls" | "method" | "prefix">;
type Part = Omit<Sample, "shares"> & { readonly requests: number };

const hasWrk = isInstalled("wrk");

/** The program that makes the load. */
export const loader = hasWrk ? "wrk" : "autocannon";

/**
 * Asks as fast as the answers come. With several processes, throughput is their sum, and the latencies are those of the
 * process that served worst.
 */
export async function load(target: Target, options: LoadOptions): Promise<Sample> {
  const perProcess = { ...options, connections: Math.ceil(options.connections / target.urls.length) };
  const run = hasWrk ? runWrk : runAutocannon;
  const parts = await Promise.all(target.urls.map((url) => run(url, target, perProcess)));
  const requests = parts.reduce((sum, part) => sum + part.requests, 0);
  return {
    perSecond: parts.reduce((sum, { perSecond }) => sum + perSecond, 0),
    p50Ms: Math.max(...parts.map(({ p50Ms }) => p50Ms)),
    p99Ms: Math.max(...parts.map(({ p99Ms }) => p99Ms)),
    failed: parts.reduce((sum, { failed }) => sum + failed, 0),
    shares: parts.map((part) => part.requests / requests),
  };
}

/** Found from the compiled file: the script is not compiled, and stays in `bench/`. */
const script = fileURLToPath(new URL("../../bench/wrk.lua", import.meta.url));

/** One thread: it can do more than one process of Node, and leaves the other processor to the contestant. */
async function runWrk(
  url: string,
  target: Target,
  { connections, counters, seconds }: LoadOptions,
): Promise<Part> {
  const { stdout } = await promisify(execFile)("wrk", [
    ...[
      "--threads",
      "1",
      "--connections",
      String(connections),
      "--duration",
      `${seconds}s`,
      "--timeout",
      "10s",
    ],
    ...["--script", script, url, "--", target.method, target.prefix, String(counters)],
  ]);
  const report = JSON.parse(stdout.slice(stdout.lastIndexOf("\n{"))) as Part & { seconds: number };
  return { ...report, perSecond: report.requests / report.seconds };
}

async function runAutocannon(
  url: string,
  { method, prefix }: Target,
  { connections, counters, seconds }: LoadOptions,
): Promise<Part> {
  const { default: autocannon } = await import("autocannon");
  const pathOf = (n: number) => `${prefix}/${counterName(n)}`;
  const atRandom = {
    setupRequest: <R>(request: R) => ({ ...request, path: pathOf(Math.floor(Math.random() * counters)) }),
  };
  const latenciesMs: number[] = [];
  const result = await new Promise<Result>((resolve, reject) => {
    const options = {
      url: url + pathOf(0),
      method,
      connections,
      duration: seconds,
      ...(counters > 1 ? { requests: [{ method, ...atRandom }] } : {}),
    };
    // Its own percentiles are in whole milliseconds, so the latencies are gathered one by one.
    autocannon(options, (error: Error | null, result: Result) =>
      error ? reject(error) : resolve(result),
    ).on("response", (_client, _status, _bytes, latencyMs) => latenciesMs.push(latencyMs));
  });
  const sorted = Float64Array.from(latenciesMs).sort();
  return {
    requests: sorted.length,
    perSecond: sorted.length / result.duration,
    p50Ms: percentile(sorted, 50),
    p99Ms: percentile(sorted, 99),
    failed: result.non2xx + result.errors,
  };
}
