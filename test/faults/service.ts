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
  /** Where its files are; it needs none with another store. */
  readonly storageDir?: string;
  /** More environment variables. */
  readonly env?: Readonly<Record<string, string>>;
  /** What the preload does from the start. With none, the server runs as it is, without any preload. */
  readonly plan?: Plan;
}

/** A real server in a process of its own. */
export class Service {
  readonly child: ChildProcess;
  /** The last lines of its log. */
  readonly log: string[] = [];
  /** How it ended: the exit code, or the signal. */
  readonly ended: Promise<number | string>;
  #port: number | undefined;
  #isKilled = false;

  constructor({ storageDir, env, plan }: ServiceOptions) {
    const preload = `--import=file://${projectRoot}/dist/test/faults/preload.js`;
    this.child = spawn(process.execPath, [...(plan ? [preload] : []), "dist/src/main.js"], {
      cwd: projectRoot,
      env: {
        PATH: process.env["PATH"],
        PORT: "0",
        HOST: "127.0.0.1",
        ...(storageDir !== undefined && { STORAGE_DIR: storageDir }),
        LOCK_STALE_MS: String(staleMs),
        FAULT_PLAN: JSON.stringify(plan ?? {}),
        ...env,
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

  /** Where it listens; undefined once it was killed or has ended, for then the port may be anybody's. */
  get port(): number | undefined {
    const { exitCode, signalCode } = this.child;
    return this.#isKilled || exitCode !== null || signalCode !== null ? undefined : this.#port;
  }

  /** The lines of its log that tell of something wrong, the last of each kind. */
  get complaints(): string[] {
    const serious = this.log.filter((line) => !/^\{"level":[123]0,/.test(line));
    return [...new Map(serious.map((line) => [/"msg":"[^"]*/.exec(line)?.[0] ?? line, line])).values()];
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
    if (signal === "SIGKILL") this.#isKilled = true;
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
    this.signal("SIGKILL");
    await this.ended;
  }

  /** Ends it in order. Resolves to its exit code. */
  async stop(): Promise<number | string> {
    this.child.kill("SIGTERM");
    return this.ended;
  }
}
