import fs from "node:fs";
import path from "node:path";
import { History } from "../history.ts";
import { createSwitch, load, type Scenario } from "../trial.ts";

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
      // In rounds, so that memory stays small: what one round ends with is where the next has to go on.
      const last = new Map<string, number>();
      for (const many of [1, 2, 4]) {
        const lanes = services.slice(0, many).flatMap((service) =>
          counters.map((counter, at) => ({
            client: trial.client(service),
            pick: () => counter,
            depth: at === 0 ? 64 : 4,
          })),
        );
        for (let left = Math.ceil(trial.amount(20_000, 3_600_000) / 3); left > 0; ) {
          const history = new History();
          const size = Math.min(left, 200_000);
          await load(lanes, { history, isOver: () => history.answered >= size });
          trial.check(history, { from: (counter) => last.get(counter) ?? 0 });
          trial.checkNoFailure(history);
          for (const counter of history.counters) last.set(counter, history.last(counter));
          left -= history.answered;
        }
      }
      for (const [counter, number] of last) {
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
      const counters = Array.from({ length: trial.amount(300, 20_000) }, () => trial.random.uuid());
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
  {
    name: "clock",
    about: "clocks an hour apart, stepping back and forth under load: distinct, in order, gapless",
    async run(trial) {
      const storageDir = trial.newDirectory();
      const services = await Promise.all([1, 2, 3].map(() => trial.start({ storageDir, plan: {} })));
      const history = new History();
      const counter = trial.random.uuid();
      const { isOver, end } = createSwitch();
      const lanes = services.map((service) => ({
        client: trial.client(service),
        pick: () => counter,
        depth: 8,
      }));
      const loading = load(lanes, { history, isOver });
      for (let steps = 0; steps < trial.amount(20, 400); steps += 1) {
        const clockOffMs = trial.random.pick([-3_600_000, 0, 3_600_000, 2_500, -2_500]);
        await trial.random.pick(services).arm({ clockOffMs });
        await new Promise((resolve) => setTimeout(resolve, trial.random.integer(10, 100)));
        trial.count("clock steps");
      }
      end();
      await loading;
      trial.check(history);
      trial.checkNoFailure(history);
    },
  },
];
