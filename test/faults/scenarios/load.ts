import fs from "node:fs";
import path from "node:path";
import { History } from "../history.ts";
import { load, type Scenario } from "../trial.ts";

/** The file of the naive service that the control is about. */
async function takeNaively(file: string): Promise<number> {
  const last = await fs.promises.readFile(file, "utf8").catch(() => "0");
  const number = Number(last) + 1;
  await fs.promises.writeFile(file, `${number}\n`);
  return number;
}

export const loadScenarios: readonly Scenario[] = [
  {
    name: "load",
    about:
      "one, two and four processes on one directory, one hot counter and 4 others: distinct, in order, gapless",
    async run(trial) {
      const storageDir = trial.newDirectory();
      const services = await Promise.all([1, 2, 3, 4].map(() => trial.start({ storageDir })));
      const counters = Array.from({ length: 5 }, () => trial.random.uuid());
      const history = new History();
      // The more processes, the slower.
      for (const [many, record] of [
        [1, 3_200_000],
        [2, 1_200_000],
        [4, 400_000],
      ] as const) {
        const lanes = services.slice(0, many).flatMap((service) =>
          counters.map((counter, at) => ({
            client: trial.client(service),
            pick: () => counter,
            depth: at === 0 ? 64 : 4,
          })),
        );
        // In rounds, so that memory stays small.
        const goal = history.answered + trial.amount(6_000, record);
        while (history.answered < goal) {
          const end = Math.min(goal, history.answered + 200_000);
          await load(lanes, { history, isOver: () => history.answered >= end });
          history.settle();
          trial.check(history);
          trial.checkNoFailure(history);
        }
      }
      for (const counter of counters) {
        const number = history.last(counter);
        const text = fs.readFileSync(path.join(storageDir, counter), "utf8");
        trial.expect(text === `${number}\n`, `expected the value file to say ${number}, got ${text}`);
      }
    },
  },
  {
    name: "load-control",
    about: "control: read, increment, write under load repeats numbers, and the checker says so",
    async run(trial) {
      const file = path.join(trial.newDirectory(), trial.random.uuid());
      const history = new History();
      const caller = async () => {
        for (let n = 0; n < 50; n += 1) {
          const start = performance.now();
          const number = await takeNaively(file);
          history.addAnswer("naive", start, performance.now(), number);
        }
      };
      await Promise.all(Array.from({ length: 8 }, caller));
      trial.checkIsCaught(history);
    },
  },
  {
    name: "first-use",
    about: "many counters first used at once by 4 processes: each starts at 1, distinct and gapless",
    async run(trial) {
      const storageDir = trial.newDirectory();
      const services = await Promise.all([1, 2, 3, 4].map(() => trial.start({ storageDir })));
      const clients = services.map((service) => trial.client(service));
      const history = new History();
      const counters = Array.from({ length: trial.amount(300, 5_000) }, () => trial.random.uuid());
      const caller = async (client: (typeof clients)[number], lane: number) => {
        for (let at = lane; at < counters.length; at += 32) {
          await client.take(counters[at] as string, history);
          await client.take(counters[at] as string, history);
        }
      };
      const lanes = Array.from({ length: 32 }, (_, lane) => lane);
      await Promise.all(clients.flatMap((client) => lanes.map((lane) => caller(client, lane))));
      trial.check(history);
      trial.count("counters", counters.length);
      trial.checkNoFailure(history);
      const short = counters.find((counter) => history.last(counter) !== 2 * clients.length);
      trial.expect(short === undefined, `expected 8 numbers of each counter, but ${short} has others`);
    },
  },
];
