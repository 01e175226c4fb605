import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { readConfig } from "../src/config.ts";
import type { CounterName } from "../src/counter/counter-name.ts";
import { createLog } from "../src/log.ts";
import { openStore } from "../src/store/open-store.ts";
import { counterName } from "./client.ts";
import { startServiceProcess } from "./contestants.ts";

/**
 * What keys cost in the file store, side by side in one run: throughput on one counter with and without keys, a fresh
 * key against a replay, the first request and the memory of a counter with a million records.
 * `node dist/bench/keys.js [RECORDS]`; needs wrk.
 */
const records = Number(process.argv[2] ?? 1_000_000);
const project = fileURLToPath(new URL("../..", import.meta.url));
const serviceCommand = [process.execPath, join(project, "dist/src/main.js")];
const scratch = mkdtempSync(join(project, "bench-keys-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
const directory = join(scratch, "data");
const counter = counterName(0);

interface Run {
  readonly requests: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly failed: number;
}

async function wrk(script: string, url: string, connections: number, ...args: string[]): Promise<Run> {
  const { stdout } = await promisify(execFile)("wrk", [
    ...["--threads", "1", "--connections", String(connections), "--duration", "4s", "--timeout", "10s"],
    ...["--script", join(project, "bench", script), url, "--", ...args],
  ]);
  return JSON.parse(stdout.slice(stdout.lastIndexOf("\n{")));
}

const plain = (url: string, connections: number) => wrk("wrk.lua", url, connections, "POST", "", "1");
const keyed = (url: string, connections: number, key = "new") =>
  wrk("wrk-keys.lua", url, connections, counter, key);

function say(title: string, { requests, seconds, p50Ms, failed }: Run): void {
  const perSecond = Math.round(requests / seconds);
  console.log(`${title}: ${perSecond}/s, p50 ${p50Ms.toFixed(2)} ms${failed ? `, ${failed} FAILED` : ""}`);
}

const empty = await startServiceProcess(serviceCommand, { scratch, directory });
for (const connections of [1, 64]) {
  say(`plain, c=${connections}`, await plain(empty.url, connections));
  say(`fresh keys, c=${connections}`, await keyed(empty.url, connections));
  say(`replays, c=${connections}`, await keyed(empty.url, connections, "one"));
}
await empty.process.stop();

console.log(`writing ${records} records …`);
const store = await openStore(readConfig({ STORAGE_DIR: directory }), {
  log: await createLog("error"),
  onFatal: (error) => {
    throw error;
  },
});
for (let at = 0; at < records; at += 5_000) {
  const claims = Array.from({ length: 5_000 }, (_, n) => ({
    by: 1,
    key: `https://ci.example.org/job/main/${at + n}/`,
    metadata: { commit: "60b7eca", branch: "main" },
  }));
  await store.commit(counter as CounterName, claims, { create: true });
}
await store.close();

const full = await startServiceProcess(serviceCommand, { scratch, directory });
const memory = (pid: number) => {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const mb = (name: string) =>
    Math.round(Number(new RegExp(`^${name}:\\s+(\\d+)`, "m").exec(status)?.[1]) / 1024);
  return `${mb("RssAnon")} MB and ${mb("RssFile")} MB of mapped files`;
};
console.log(`memory at the start: ${memory(full.process.pid)}`);
const startedAt = performance.now();
const first = await fetch(`${full.url}/${counter}?key=https://ci.example.org/job/main/7/`, {
  method: "POST",
});
await first.arrayBuffer();
console.log(
  `first request: ${(performance.now() - startedAt).toFixed(1)} ms, replayed ${first.headers.get("idempotency-replayed")}`,
);
for (const connections of [1, 64]) {
  say(`fresh keys beside ${records}, c=${connections}`, await keyed(full.url, connections));
}
console.log(`memory after that: ${memory(full.process.pid)}`);
await full.process.stop();
