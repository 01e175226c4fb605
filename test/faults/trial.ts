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
  readonly #services: Service[] = [];
  readonly #checked = new WeakMap<History, { answered: number; failed: number }>();

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
    if (by > 0) this.figures[figure] = (this.figures[figure] ?? 0) + by;
  }

  newDirectory(parent = tmpdir()): string {
    const directory = fs.mkdtempSync(path.join(parent, "faults-"));
    this.onEnd(() => fs.rmSync(directory, { recursive: true, force: true }));
    return directory;
  }

  async start(options: ServiceOptions): Promise<Service> {
    const service = new Service(options);
    this.#services.push(service);
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

  /** Fails the trial when the history cannot be right. Counts what came to it since it was last checked. */
  check(history: History): void {
    const wrongs = history.wrongs();
    const { answered, failed } = history;
    const before = this.#checked.get(history) ?? { answered: 0, failed: 0 };
    this.count("numbers", answered - before.answered);
    this.count("failed requests", failed - before.failed);
    this.#checked.set(history, { answered, failed });
    if (wrongs.length > 0) throw new Wrong(wrongs.slice(0, 5).join("\n"));
  }

  /** What the services said of themselves that is not in order: the last lines of each. */
  get complaints(): string[] {
    return this.#services.flatMap(({ complaints }) => complaints);
  }

  /** Fails the trial when a request failed. */
  checkNoFailure({ failed, firstFailure }: History): void {
    this.expect(failed === 0, `expected no failure, got ${failed}, the first of them: ${firstFailure}`);
  }

  /** Fails the trial when a request without a key failed. */
  checkNoPlainFailure({ firstPlainFailure: first }: History): void {
    this.expect(first === undefined, `expected no failure of a request without a key, got: ${first}`);
  }

  /** For controls: fails the trial unless the history shows numbers that were answered twice. */
  checkIsCaught(history: History): void {
    const found = repeatedNumbers(history);
    this.count("numbers", history.answered);
    this.count("counters with repeated numbers", found.length);
    this.expect(found.length > 0, "expected the checker to find repeated numbers, but it found none");
  }
}

/** What a history tells of numbers that were answered twice. */
export function repeatedNumbers(history: History): string[] {
  return history.wrongs().filter((wrong) => wrong.includes("answered twice"));
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
export async function until(claim: () => boolean, what: string, timeoutMs = 60_000): Promise<void> {
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

export interface KeyedLane {
  /** Its callers do not have to wait for one another, but for answers to come in order. */
  readonly client: Client;
  readonly counter: string;
  /** How many requests it keeps in flight. */
  readonly depth: number;
}

/** How many requests in a row are for the same key, and which share of all is for one of long ago. */
const asksPerKey = 6;
const oldShare = 0.1;

/**
 * Asks for numbers with keys until it is over: each key several times by whoever comes, and some once more much later.
 * Who meets an error asks again, with the same key, until there is an answer: at the end every key has one.
 */
export async function loadKeys(
  lanes: readonly KeyedLane[],
  { history, random, isOver }: { history: History; random: Random; isOver: () => boolean },
): Promise<void> {
  const run = random.uuid();
  const asked = new Map<string, number>();
  const nextKey = (counter: string) => {
    const turn = asked.get(counter) ?? 0;
    asked.set(counter, turn + 1);
    const newest = Math.floor(turn / asksPerKey);
    return `${run} ${random.next() < oldShare ? random.integer(0, newest) : newest}`;
  };
  const caller = async ({ client, counter }: KeyedLane) => {
    while (!isOver()) await insist(client, counter, history, nextKey(counter));
  };
  await Promise.all(lanes.flatMap((lane) => Array.from({ length: lane.depth }, () => caller(lane))));
}

/** Asks with a key until there is an answer. */
async function insist(client: Client, counter: string, history: History, key: string): Promise<void> {
  while ((await client.take(counter, history, key)).number === undefined) await sleep(5);
}

/** Asks for some of the keys of a counter that were answered once more: what they stand for has to be the same. */
export async function askAgain(
  client: Client,
  counter: string,
  { history, random, most }: { history: History; random: Random; most: number },
): Promise<void> {
  const keys = random.sample([...history.keysOf(counter).keys()], most);
  await Promise.all(keys.map((key) => insist(client, counter, history, key)));
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
