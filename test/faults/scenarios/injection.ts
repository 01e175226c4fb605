import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type CounterName, parseUuidName } from "../../../src/counter/counter-name.ts";
import { Counters } from "../../../src/counter/counters.ts";
import { CounterError } from "../../../src/counter/errors.ts";
import { openFileStore } from "../../../src/store/file/file-store.ts";
import { type FsCall, installFsShim, systemError, type Verdict } from "../fs-shim.ts";
import { History } from "../history.ts";
import { type Scenario, type Trial, Wrong } from "../trial.ts";

const codes = ["EIO", "ENOSPC", "EACCES", "EMFILE", "EROFS"] as const;

/** The n-th operation, 1 being the first, and how it fails. */
interface Fault {
  readonly at: number;
  readonly code: (typeof codes)[number];
  /** Only this one; all from this one on; or this one is carried out, and its success is not told. */
  readonly mode: "once" | "from then on" | "reply lost";
}

/** A counter as one commit meets it, and what is done with it while operations fail. */
interface Situation {
  readonly name: string;
  readonly prepare: (session: Session) => Promise<void>;
  readonly work: (session: Session) => Promise<void>;
}

const twoCommits = async (session: Session) => {
  await Promise.all([1, 2, 3].map(() => session.take()));
  await session.take();
};

const situations: readonly Situation[] = [
  { name: "first use", prepare: async () => {}, work: twoCommits },
  { name: "same length", prepare: (session) => session.takeMany(3), work: twoCommits },
  { name: "longer number", prepare: (session) => session.takeMany(8), work: twoCommits },
  {
    name: "after another process",
    async prepare(session) {
      await session.takeMany(3);
      await session.reopen();
    },
    work: twoCommits,
  },
  {
    name: "directory of the Go original",
    async prepare(session) {
      fs.writeFileSync(path.join(session.storageDir, session.counter.toUpperCase()), "41\n");
      session.from = 40;
      session.history.addAnswer(session.counter, 0, 0, 41);
      await session.reopen();
    },
    work: twoCommits,
  },
  {
    name: "idle, and somebody waits",
    prepare: (session) => session.takeMany(3),
    async work(session) {
      await session.take();
      try {
        fs.chmodSync(path.join(session.storageDir, `${session.counter}.lock`), 0o1755);
      } catch {
        // The operation that failed was the one that takes the lock.
      }
      await sleep(30);
      await session.take();
    },
  },
  {
    name: "lowering",
    prepare: (session) => session.takeMany(12),
    work: (session) => session.lower(5),
  },
];

/** One store in this process, and what its callers saw. */
class Session {
  readonly storageDir: string;
  readonly counter: CounterName;
  from = 0;
  history = new History({ from: () => this.from });
  /** What the counter may be at after a lowering, by what its caller was told. */
  lowered: { readonly to: number; readonly isSure: boolean } | undefined;
  isFatal = false;
  #counters: Counters | undefined;

  constructor(storageDir: string, counter: string) {
    this.storageDir = storageDir;
    this.counter = parseUuidName(counter);
  }

  /** Opens a new store. The one before is closed, or left alone as a dead process leaves it. */
  async reopen(): Promise<void> {
    if (this.#counters && !this.isFatal) await this.close();
    this.isFatal = false;
    const log = { info() {}, warn() {}, error() {} };
    const onFatal = () => {
      this.isFatal = true;
    };
    const options = { storageDir: this.storageDir, lockStaleMs: 2_000, lockWaitMs: 5, keyRetentionMs: 0 };
    this.#counters = new Counters(await openFileStore(options, { log, onFatal }));
  }

  async close(): Promise<void> {
    const late = sleep(60_000, "late", { ref: false });
    if ((await Promise.race([this.#counters?.close(), late])) === "late")
      throw new Wrong("expected the store to close");
  }

  /** Takes a number. A failure counts as one that may have taken a number only if it says so. */
  async take(): Promise<number | undefined> {
    const start = performance.now();
    try {
      const number = await (this.#counters as Counters).increment(this.counter);
      this.history.addAnswer(this.counter, start, performance.now(), number);
      return number;
    } catch (error) {
      if (!(error instanceof CounterError))
        throw new Wrong(`expected a CounterError, got ${(error as Error).stack}`);
      if (error.consumed) this.history.addFailure(this.counter, start, performance.now());
      return undefined;
    }
  }

  async takeMany(many: number): Promise<void> {
    for (let n = 0; n < many; n += 1) await this.take();
  }

  async lower(to: number): Promise<void> {
    try {
      await (this.#counters as Counters).set(this.counter, to, { force: true });
      this.lowered = { to, isSure: true };
    } catch (error) {
      if (!(error instanceof CounterError))
        throw new Wrong(`expected a CounterError, got ${(error as Error).stack}`);
      if (error.consumed) this.lowered = { to, isSure: false };
    }
  }

  /** Once the faults are over: the counter goes on, and everything that was answered fits together. */
  async conclude(): Promise<void> {
    const before = this.history.last(this.counter);
    const first = await this.take();
    if (this.lowered && first === this.lowered.to + 1) {
      this.from = first;
      this.history = new History({ from: () => this.from });
    } else if (this.lowered?.isSure) throw new Wrong(`expected ${this.lowered.to + 1}, got ${first}`);
    await this.takeMany(2);
    if (first === undefined) throw new Wrong(`expected a number after ${before} once the faults were over`);
    const wrongs = this.history.wrongs();
    if (wrongs.length > 0) throw new Wrong(wrongs.join("\n"));
    const peeked = await (this.#counters as Counters).peek(this.counter);
    const text = fs.readFileSync(path.join(this.storageDir, this.counter), "utf8");
    if (text !== `${peeked}\n` || peeked !== first + 2)
      throw new Wrong(`expected ${first + 2}, got ${peeked} and a value file that says ${text}`);
  }
}

/**
 * Runs one case.
 *
 * @returns how many file operations there were
 */
async function inject(trial: Trial, situation: Situation, faults: readonly Fault[]): Promise<number> {
  const session = new Session(fs.mkdtempSync(path.join(memoryDir(), "faults-")), trial.random.uuid());
  await session.reopen();
  await situation.prepare(session);
  let counted = 0;
  const unforeseen: unknown[] = [];
  const note = (error: unknown) => unforeseen.push(error);
  process.on("uncaughtException", note);
  const uninstall = installFsShim((call): Verdict => {
    counted += 1;
    const fault = faults.find(({ at, mode }) => (mode === "from then on" ? at <= counted : at === counted));
    return fault && verdictOf(fault, call);
  });
  try {
    await situation.work(session);
    if (!session.isFatal) await session.close();
  } finally {
    uninstall();
    process.off("uncaughtException", note);
  }
  if (unforeseen.length > 0)
    throw new Wrong(`expected no uncaught error, got ${(unforeseen[0] as Error).stack}`);
  await session.reopen();
  await session.conclude();
  await session.close();
  trial.count("numbers", session.history.answered);
  fs.rmSync(session.storageDir, { recursive: true });
  return counted;
}

function verdictOf({ code, mode }: Fault, call: FsCall): Verdict {
  const error = systemError(code, call);
  return mode === "reply lost" ? { after: error } : error;
}

/** Where syncs cost nothing. */
function memoryDir(): string {
  return fs.existsSync("/dev/shm") ? "/dev/shm" : os.tmpdir();
}

async function injectAll(
  trial: Trial,
  situation: Situation,
  cases: readonly (readonly Fault[])[],
): Promise<void> {
  const wrongs: string[] = [];
  for (const faults of cases) {
    try {
      await inject(trial, situation, faults);
    } catch (error) {
      const what = faults.map(({ at, code, mode }) => `operation ${at} ${code} ${mode}`).join(", ");
      wrongs.push(
        `${situation.name}, ${what}: ${error instanceof Wrong ? error.message : (error as Error).stack}`,
      );
    }
    trial.count("injections");
  }
  trial.expect(wrongs.length === 0, `${wrongs.length} of ${cases.length}: ${wrongs.slice(0, 4).join("\n")}`);
}

export const injectionScenarios: readonly Scenario[] = [
  {
    name: "operation-fails",
    about:
      "the n-th file operation fails, for every n: refused without a trace, or the numbers are skipped; never repeated",
    async run(trial) {
      for (const situation of situations) {
        const count = await inject(trial, situation, []);
        const cases = Array.from({ length: count }, (_, at) => at + 1).flatMap((at) =>
          codes.flatMap((code) =>
            (["once", "from then on", "reply lost"] as const).map((mode) => [{ at, code, mode }]),
          ),
        );
        await injectAll(trial, situation, trial.random.sample(cases, trial.amount(80, cases.length)));
      }
    },
  },
  {
    name: "two-operations-fail",
    about: "every pair of file operations of a commit fails, each in a way of its own: likewise",
    async run(trial) {
      for (const situation of situations) {
        const count = await inject(trial, situation, []);
        const fault = (at: number): Fault => ({
          at,
          code: trial.random.pick(codes),
          mode: trial.random.pick(["once", "once", "reply lost"] as const),
        });
        const pairs: Fault[][] = [];
        // Behind a fault there are more operations than without it.
        for (let second = 2; second <= count + 10; second += 1)
          for (let first = 1; first < second; first += 1) pairs.push([fault(first), fault(second)]);
        await injectAll(trial, situation, trial.random.sample(pairs, trial.amount(60, pairs.length)));
      }
    },
  },
];
