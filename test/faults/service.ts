import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import type { Plan } from "./preload.ts";

/** The root of the project, from `test/faults` or from `dist/test/faults`. */
const here = path.dirname(fileURLToPath(import.meta.url));
export const projectRoot = path.resolve(
  here,
  here.includes(`${path.sep}dist${path.sep}`) ? "../../.." : "../..",
);

/** The least that the service takes: pauses have to be longer. */
export const staleMs = 2_000;
const mostLines = 200;

export interface ServiceOptions {
  readonly storageDir: string;
  /** What the preload does from the start. With none, the server runs as it is, without any preload. */
  readonly plan?: Plan;
  /** A program that runs the server, with its arguments: `strace -f …`. */
  readonly wrapper?: readonly string[];
}

/** A real server in a process of its own. */
export class Service {
  readonly child: ChildProcess;
  /** The last lines of its log. */
  readonly log: string[] = [];
  /** How it ended: the exit code, or the signal. */
  readonly ended: Promise<number | string>;
  #port: number | undefined;

  constructor({ storageDir, plan, wrapper = [] }: ServiceOptions) {
    const preload = `--import=file://${projectRoot}/dist/test/faults/preload.js`;
    const command = [...wrapper, process.execPath, ...(plan ? [preload] : []), "dist/src/main.js"];
    this.child = spawn(command[0] as string, command.slice(1), {
      cwd: projectRoot,
      env: {
        PATH: process.env["PATH"],
        PORT: "0",
        HOST: "127.0.0.1",
        STORAGE_DIR: storageDir,
        LOCK_STALE_MS: String(staleMs),
        FAULT_PLAN: JSON.stringify(plan ?? {}),
      },
      stdio: plan ? ["ignore", "pipe", "pipe", "ipc"] : ["ignore", "pipe", "pipe"],
    });
    this.child.on("error", () => {});
    this.ended = once(this.child, "close").then(([code, signal]) => code ?? signal);
    for (const stream of [this.child.stdout, this.child.stderr]) {
      createInterface({ input: stream as NodeJS.ReadableStream }).on("line", (line) => {
        this.log.push(line);
        if (this.log.length > mostLines) this.log.shift();
        const port = /"url":"[^"]*:(\d+)\/?"/.exec(line)?.[1];
        if (port) this.#port = Number(port);
        this.child.emit("logged");
      });
    }
  }

  /** Where it listens. */
  get port(): number {
    if (this.#port === undefined) throw new Error("expected a service that listens");
    return this.#port;
  }

  /** Resolves when it listens and its store is open. */
  async listening(): Promise<this> {
    const ended = this.ended.then((how) => {
      throw new Error(`expected a service that listens, but it ended (${how}): ${this.log.join("\n")}`);
    });
    while (this.#port === undefined) await Promise.race([once(this.child, "logged"), ended]);
    ended.catch(() => {});
    return this;
  }

  /** Hands the preload a new plan. Resolves to the number of operations that the last one counted. */
  async arm(plan: Plan): Promise<number> {
    const counted = once(this.child, "message");
    this.child.send(plan);
    return (await counted)[0];
  }

  /** Ends its plan, and wakes it where that has stopped it: before its answer, or at a later step than that took. */
  async wake(): Promise<void> {
    let isDisarmed = false;
    const disarmed = this.arm({}).then(() => {
      isDisarmed = true;
    });
    while (!isDisarmed) {
      this.signal("SIGCONT");
      await Promise.race([disarmed, sleep(5)]);
    }
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** Whether a signal has stopped it, as Linux says. */
  isStopped(): boolean {
    try {
      return /\) T/.test(fs.readFileSync(`/proc/${this.child.pid}/stat`, "utf8"));
    } catch {
      return false;
    }
  }

  /** Ends it at once. */
  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.ended;
  }

  /** Ends it in order. Resolves to its exit code. */
  async stop(): Promise<number | string> {
    this.child.kill("SIGTERM");
    return this.ended;
  }
}
