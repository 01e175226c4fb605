import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { accepts, freePort } from "../tools.ts";

/** A real engine that a test started: its own process, port and directory. */
export interface Engine {
  readonly port: number;
  /** Ends the process at once, as a crash does (or another signal), and resolves when it is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Stops (SIGSTOP) or continues (SIGCONT) the process. */
  signal(signal: NodeJS.Signals): void;
  /** Starts the process again on the same port and directory. */
  restart(): Promise<void>;
  /** Ends the process and removes its directory. */
  stop(): Promise<void>;
}

export interface EngineOptions {
  readonly command: string;
  /** The arguments for a port and a directory. */
  readonly args: (port: number, dir: string) => readonly string[];
  /** Resolves to whether the engine on this port serves (default: it takes connections). */
  readonly isReady?: (port: number) => Promise<boolean>;
  /** The port (default: a free one). */
  readonly port?: number;
}

/** Starts an engine and waits, up to 20 s, until it serves. */
export async function startEngine({
  command,
  args,
  isReady = accepts,
  port: wanted,
}: EngineOptions): Promise<Engine> {
  const dir = await mkdtemp(join(tmpdir(), "engine-"));
  const port = wanted ?? (await freePort());
  let child: ChildProcess | undefined;
  let output = "";

  async function start(): Promise<void> {
    const started = spawn(command, [...args(port, dir)], { cwd: dir, stdio: ["ignore", "pipe", "pipe"] });
    child = started;
    for (const stream of [started.stdout, started.stderr]) {
      stream.on("data", (text) => {
        output = `${output}${text}`.slice(-2_000);
      });
    }
    started.on("error", (error) => {
      output += error.message;
    });
    for (let attempt = 0; attempt < 400; attempt += 1) {
      if (started.exitCode !== null) break;
      if (await isReady(port)) return;
      await sleep(50);
    }
    await kill();
    throw new Error(`expected ${command} to serve on port ${port}, got: ${output}`);
  }

  async function kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const running = child;
    child = undefined;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    const gone = once(running, "exit");
    running.kill(signal);
    // A stopped process takes no signal but SIGKILL.
    running.kill("SIGCONT");
    await gone;
  }

  await start();
  return {
    port,
    kill,
    signal: (signal) => {
      child?.kill(signal);
    },
    restart: start,
    stop: async () => {
      await kill();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
