import { execFileSync } from "node:child_process";
import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "./client.ts";
import type { History } from "./history.ts";
import type { Random } from "./random.ts";
import { Service, type ServiceOptions } from "./service.ts";

/** What a scenario counted: the figures of the report. */
export type Figures = Record<string, number>;

export interface Scenario {
  readonly name: string;
  /** One line: the fault, and what has to hold. */
  readonly about: string;
  run(trial: Trial): Promise<void>;
}

/** A scenario cannot hold what it has to. */
export class Wrong extends Error {
  override readonly name = "Wrong";
}

/** A scenario cannot run here: it lacks a right or a program. */
export class CannotRun extends Error {
  override readonly name = "CannotRun";
}

/** One run of one scenario: its random numbers, its size, and all that has to be cleaned up after it. */
export class Trial {
  readonly random: Random;
  readonly figures: Figures = {};
  readonly #part: number | undefined;
  readonly #cleanups: (() => unknown)[] = [];

  /** @param part how much of the record's amount is run; undefined for the short form */
  constructor(random: Random, part: number | undefined) {
    this.random = random;
    this.#part = part;
  }

  /** How much to do: in the short form, and in a run for the record. */
  amount(short: number, record: number): number {
    return this.#part === undefined ? short : Math.ceil(record * this.#part);
  }

  count(figure: string, by = 1): void {
    this.figures[figure] = (this.figures[figure] ?? 0) + by;
  }

  newDirectory(parent = tmpdir()): string {
    const directory = fs.mkdtempSync(path.join(parent, "faults-"));
    this.onEnd(() => fs.rmSync(directory, { recursive: true, force: true }));
    return directory;
  }

  async start(options: ServiceOptions): Promise<Service> {
    const service = new Service(options);
    this.onEnd(() => service.kill());
    return service.listening();
  }

  client(service: Service | (() => Service)): Client {
    const client = new Client(() => (typeof service === "function" ? service() : service).port);
    this.onEnd(() => client.close());
    return client;
  }

  /**
   * Mounts a file system on a new directory, for as long as the trial lasts.
   *
   * @throws CannotRun
   */
  mount(...args: readonly string[]): string {
    const directory = this.newDirectory();
    runOrSkip("mount", [...args, directory]);
    this.onEnd(() => execFileSync("umount", [directory], { stdio: "ignore" }));
    return directory;
  }

  onEnd(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup);
  }

  /** Undoes all, the last first. */
  async end(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).reverse()) {
      try {
        await cleanup();
      } catch {
        // Gone already.
      }
    }
  }

  /** Fails the trial unless this holds. */
  expect(claim: boolean, otherwise: string): void {
    if (!claim) throw new Wrong(otherwise);
  }

  /** Fails the trial when the history cannot be right. */
  check(history: History, options: Parameters<History["wrongs"]>[0] = {}): void {
    const wrongs = history.wrongs(options);
    this.count("numbers", history.answered);
    this.count("failed requests", history.failed);
    if (wrongs.length > 0) throw new Wrong(wrongs.slice(0, 5).join("\n"));
  }

  /** Fails the trial when a request failed. */
  checkNoFailure({ failed, firstFailure }: History): void {
    this.expect(failed === 0, `expected no failure, got ${failed}, the first of them: ${firstFailure}`);
  }

  /** For controls: fails the trial unless the history shows numbers that were answered twice. */
  checkIsCaught(history: History): void {
    const found = history.wrongs().filter((wrong) => wrong.includes("answered twice"));
    this.count("numbers", history.answered);
    this.count("counters with repeated numbers", found.length);
    this.expect(found.length > 0, "expected the checker to find repeated numbers, but it found none");
  }
}

/**
 * Runs a program that the scenario cannot do without.
 *
 * @throws CannotRun when it is missing or fails: most need root
 */
export function runOrSkip(program: string, args: readonly string[]): void {
  try {
    execFileSync(program, args, { stdio: "pipe" });
  } catch (error) {
    const { code, stderr } = error as { code?: string; stderr?: Buffer };
    const reason = code === "ENOENT" ? "it is not installed" : String(stderr ?? error).trim();
    throw new CannotRun(`${program} cannot be used here: ${reason}`);
  }
}

/** Waits until something is so. Rejects after `timeoutMs`. */
export async function until(claim: () => boolean, what: string, timeoutMs = 20_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!claim()) {
    if (performance.now() > deadline) throw new Wrong(`expected ${what} within ${timeoutMs} ms`);
    await sleep(5);
  }
}

export interface Lane {
  /** A connection of its own: answers come in order, and one that waits for a lock holds up those behind it. */
  readonly client: Client;
  /** The counter of the next request. */
  readonly pick: () => string;
  /** How many requests it keeps in flight. */
  readonly depth: number;
}

/** Takes numbers until it is over. Who meets an error waits for a moment and goes on. */
export async function load(
  lanes: readonly Lane[],
  { history, isOver }: { history: History; isOver: () => boolean },
): Promise<void> {
  const caller = async ({ client, pick }: Lane) => {
    while (!isOver()) {
      const { number } = await client.take(pick(), history);
      if (number === undefined) await sleep(5);
    }
  };
  await Promise.all(lanes.flatMap((lane) => Array.from({ length: lane.depth }, () => caller(lane))));
}

/**
 * Does the work on each item, a few at a time. After a failure no more is begun, and what was begun is waited for: nothing
 * goes on behind the back of the trial.
 */
export async function eachOf<T>(
  items: readonly T[],
  work: (item: T) => Promise<void>,
  atOnce = 4,
): Promise<void> {
  const left = [...items];
  const worker = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) {
      try {
        await work(item);
      } catch (error) {
        left.length = 0;
        throw error;
      }
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: atOnce }, worker));
  for (const end of ended) if (end.status === "rejected") throw end.reason;
}

/** The signal to end a load, from outside. */
export function createSwitch(): { isOver: () => boolean; end: () => void } {
  let isOver = false;
  return {
    isOver: () => isOver,
    end: () => {
      isOver = true;
    },
  };
}
