import fs from "node:fs";
import path from "node:path";
import { CounterLocks } from "../../../src/store/file/counter-locks.ts";
import { History } from "../history.ts";
import { staleMs } from "../service.ts";
import type { Scenario } from "../trial.ts";

/** Longer ago than what is taken for a leftover of a dead process. */
const longAgoMs = 2 * 3_600_000;

/** What a value file may say when its fence stands at 20, and what the next number is then. */
const contents: readonly (readonly [string | undefined, number])[] = [
  [undefined, 21],
  ["", 21],
  ["7\n", 21],
  ["20\n", 21],
  ["garbage", 21],
  ["\0\0\0", 21],
  ["9".repeat(5_000), 21],
  ["-3\n", 21],
  ["19\n99\n", 21],
  ["300\n", 301],
];

export const fileScenarios: readonly Scenario[] = [
  {
    name: "value-file",
    about:
      "a value file that is older or newer than the fence, garbage, empty or gone: the fence counts, or a raise",
    async run(trial) {
      const storageDir = trial.newDirectory();
      const service = await trial.start({ storageDir });
      const client = trial.client(service);
      const counters = contents.map(() => trial.random.uuid());
      for (const counter of counters) await client.set(counter, 20);
      trial.expect((await service.stop()) === 0, "expected the service to stop in order");
      for (const [at, [content]] of contents.entries()) {
        const file = path.join(storageDir, counters[at] as string);
        if (content === undefined) fs.rmSync(file);
        else fs.writeFileSync(file, content);
      }
      const heir = await trial.start({ storageDir });
      const heirClient = trial.client(heir);
      for (const [at, [content, next]] of contents.entries()) {
        const { number, code } = await heirClient.request("POST", counters[at] as string);
        const found = JSON.stringify(content?.slice(0, 20));
        trial.expect(number === next, `expected ${next} behind ${found}, got ${number ?? code}`);
        const text = fs.readFileSync(path.join(storageDir, counters[at] as string), "utf8");
        trial.expect(text === `${next}\n`, `expected a value file made anew behind ${found}, got ${text}`);
        trial.count("seeded files");
      }
      // While it runs, with its lock in hand.
      const counter = counters[0] as string;
      for (const [content, step] of [
        ["", 1],
        ["1\n", 1],
        ["x\n", 1],
        ["5000\n", 4_979],
      ] as const) {
        const before = (await heirClient.peek(counter)) as number;
        fs.writeFileSync(path.join(storageDir, counter), content);
        const { number } = await heirClient.request("POST", counter);
        const expected = content === "5000\n" ? 5_001 : before + step;
        trial.expect(number === expected, `expected ${expected}, got ${number}`);
        trial.count("seeded files");
      }
    },
  },
  {
    name: "leftovers",
    about:
      "what dead processes leave (temporary files, locks, half-made fences) disturbs nobody; only the old is removed",
    async run(trial) {
      const storageDir = trial.newDirectory();
      const [used, fresh] = [trial.random.uuid(), trial.random.uuid()];
      const nursery = path.join(storageDir, ".new");
      fs.mkdirSync(path.join(storageDir, ".fence"), { recursive: true });
      fs.mkdirSync(nursery);
      fs.mkdirSync(path.join(storageDir, ".fence", used));
      fs.writeFileSync(path.join(storageDir, ".fence", used, "41"), "");
      fs.writeFileSync(path.join(storageDir, used), "41\n");
      const leave = (age: "old" | "young") => {
        const files = [
          path.join(storageDir, `${trial.random.uuid()}.${trial.random.integer(1, 2 ** 31)}`),
          path.join(nursery, trial.random.uuid()),
          path.join(nursery, trial.random.uuid()),
          path.join(nursery, `${trial.random.uuid()}.probe`),
        ] as const;
        fs.writeFileSync(files[0], "4");
        fs.mkdirSync(files[1]);
        fs.mkdirSync(files[2]);
        fs.writeFileSync(path.join(files[2], "1"), "");
        fs.writeFileSync(files[3], "");
        if (age === "old")
          for (const file of files) {
            const then = new Date(Date.now() - longAgoMs);
            fs.utimesSync(file, then, then);
          }
        return files;
      };
      const old = leave("old");
      const young = leave("young");
      // Locks that will not be stale for an hour: whoever waits for them does not answer.
      for (const counter of [used, fresh]) {
        const lock = path.join(storageDir, `${counter}.lock`);
        const then = new Date(Date.now() + 3_600_000);
        fs.mkdirSync(lock);
        fs.utimesSync(lock, then, then);
      }
      const service = await trial.start({ storageDir });
      const client = trial.client(service);
      const history = new History({ from: (counter) => (counter === used ? 41 : 0) });
      for (const counter of [used, fresh]) for (let n = 0; n < 5; n += 1) await client.take(counter, history);
      trial.check(history);
      trial.checkNoFailure(history);
      trial.expect(!old.some((file) => fs.existsSync(file)), "expected old leftovers to be removed");
      trial.expect(
        young.every((file) => fs.existsSync(file)),
        "expected young ones to be left alone: they may be of a process that lives",
      );
      trial.count("seeded files", old.length + young.length + 2);
    },
  },
  {
    name: "release",
    about: "a process that lost its lock without knowing does not remove the lock of the one that has it",
    async run(trial) {
      const valuePath = path.join(trial.newDirectory(), trial.random.uuid());
      const lockPath = `${valuePath}.lock`;
      const locks = new CounterLocks(staleMs);
      trial.expect(locks.tryAcquire(valuePath) === "held", "expected to get a free lock");
      // Another process took it over. Both exist for a moment, or the inode would be used again.
      fs.renameSync(lockPath, `${lockPath}.gone`);
      fs.mkdirSync(lockPath);
      trial.expect(locks.isWanted(valuePath), "expected to notice that somebody else has the lock");
      locks.release(valuePath);
      trial.expect(fs.existsSync(lockPath), "expected the lock of somebody else to stay");
    },
  },
];
