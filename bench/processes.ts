import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

/** A process under load. */
export interface Running {
  readonly pid: number;
  stop(): Promise<void>;
}

export interface StartOptions {
  readonly env?: NodeJS.ProcessEnv;
  /** Where the process finds and leaves its files, and where its output goes. */
  readonly scratch: string;
  /** Asked again and again until it is true; a rejection means not yet. */
  readonly isReady: () => Promise<boolean>;
  /** How long it may take (default 30,000 ms). */
  readonly readyWithinMs?: number;
  /** Milliseconds between two looks (default 20). */
  readonly lookEveryMs?: number;
}

const children = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of children) child.kill("SIGKILL");
});
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));

/** Starts a program, and resolves when it is ready to be measured. */
export async function startProcess(
  command: string,
  args: readonly string[],
  { env = {}, scratch, isReady, readyWithinMs = 30_000, lookEveryMs = 20 }: StartOptions,
): Promise<Running> {
  const logFile = join(mkdtempSync(join(scratch, "log-")), "output");
  const log = openSync(logFile, "a");
  const child = spawn(command, args, {
    cwd: scratch,
    env: { ...process.env, ...env },
    stdio: ["ignore", log, log],
  });
  closeSync(log);
  await once(child, "spawn");
  children.add(child);
  child.once("exit", () => children.delete(child));

  const giveUpAt = performance.now() + readyWithinMs;
  while (!(await isReady().catch(() => false))) {
    if (hasEnded(child) || performance.now() > giveUpAt) {
      child.kill("SIGKILL");
      throw new Error(
        `expected ${command} ${args.join(" ")} to be ready, got ${readFileSync(logFile, "utf8").slice(-2000)}`,
      );
    }
    await sleep(lookEveryMs);
  }
  return { pid: child.pid as number, stop: () => stopChild(child) };
}

async function stopChild(child: ChildProcess): Promise<void> {
  if (hasEnded(child)) return;
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await ended;
  clearTimeout(timer);
}

function hasEnded(child: ChildProcess): boolean {
  return child.exitCode !== null || child.signalCode !== null;
}

/** The path of a compiled program of this bench: `program("contestants/node-noop.js")`. */
export function program(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url));
}

/** A check for `isReady`: GET answers with the status wanted (any below 500 when none is given). */
export function answers(url: string, status?: number): () => Promise<boolean> {
  return async () => {
    const response = await fetch(url);
    await response.arrayBuffer();
    return status === undefined ? response.status < 500 : response.status === status;
  };
}
