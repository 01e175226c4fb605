import fs from "node:fs";
import path from "node:path";
import { expect, test } from "@jest/globals";
import { History } from "../faults/history.ts";
import { load, type Trial } from "../faults/trial.ts";
import { withTrial } from "./with-trial.ts";

async function startFour(trial: Trial) {
  const storageDir = trial.newDirectory();
  const services = await Promise.all([1, 2, 3, 4].map(() => trial.start({ storageDir })));
  return { storageDir, services };
}

test(
  "four processes that use new counters at the same time start each at 1, and give distinct numbers without gaps",
  withTrial(async (trial) => {
    const { services } = await startFour(trial);
    const clients = services.map((service) => trial.client(service));
    const counters = Array.from({ length: 40 }, () => trial.random.uuid());
    const history = new History();
    await Promise.all(
      counters.flatMap((counter) =>
        clients.flatMap((client) => [client.take(counter, history), client.take(counter, history)]),
      ),
    );
    expect(history.wrongs()).toEqual([]);
    expect(history.failed).toBe(0);
    expect(counters.map((counter) => history.last(counter))).toEqual(counters.map(() => 8));
  }),
);

test(
  "four processes under steady load give distinct numbers in order and without gaps, and the value files say the last",
  withTrial(async (trial) => {
    const { storageDir, services } = await startFour(trial);
    const counters = Array.from({ length: 3 }, () => trial.random.uuid());
    const lanes = services.flatMap((service) =>
      counters.map((counter) => ({ client: trial.client(service), pick: () => counter, depth: 8 })),
    );
    const history = new History();
    await load(lanes, { history, isOver: () => history.answered >= 4_000 });
    expect(history.wrongs()).toEqual([]);
    expect(history.failed).toBe(0);
    for (const counter of counters) {
      const text = fs.readFileSync(path.join(storageDir, counter), "utf8");
      expect(text).toBe(`${history.last(counter)}\n`);
    }
  }),
);
