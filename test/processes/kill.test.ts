import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "@jest/globals";
import { History } from "../faults/history.ts";
import { createSwitch, load } from "../faults/trial.ts";
import { withTrial } from "./with-trial.ts";

const rounds = 20;
/** A promise of the service, not a measure of this machine: a killed process's lock must not be waited for. */
const longestWaitMs = 1_000;

test(
  "after kill -9 in mid-load nothing answered is repeated, and the next process answers its first request within a second",
  withTrial(async (trial) => {
    const storageDir = trial.newDirectory();
    const counters = [trial.random.uuid(), trial.random.uuid()];
    const history = new History();
    const waitsMs: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const service = await trial.start({ storageDir });
      const { start, end, number } = await trial.client(service).take(counters[0] as string, history);
      expect(number).toBeDefined();
      waitsMs.push(end - start);
      const lanes = counters.map((counter) => ({
        client: trial.client(service),
        pick: () => counter,
        depth: 4,
      }));
      const mid = createSwitch();
      const loading = load(lanes, { history, isOver: mid.isOver });
      await sleep(trial.random.integer(5, 60));
      await service.kill();
      mid.end();
      await loading;
    }
    expect(history.wrongs()).toEqual([]);
    expect(Math.max(...waitsMs)).toBeLessThan(longestWaitMs);
  }),
  60_000,
);
