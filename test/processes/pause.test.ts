import { expect, test } from "@jest/globals";
import { pause } from "../faults/scenarios/pause.ts";
import { withTrial } from "./with-trial.ts";

/** Just before the compare-and-swap: the process has read how far the counter is, and believes to hold the lock. */
const inCriticalSection = { at: 1, act: "SIGSTOP", method: "renameSync", path: "/.fence/" };
const situation = "number of the same length";

test(
  "a process stopped inside its critical section for longer than its lock lasts repeats no number of those that went on",
  withTrial(async (trial) => {
    const storageDir = trial.newDirectory();
    const other = await trial.start({ storageDir });
    const history = await pause(trial, storageDir, { situation, plan: inCriticalSection, other });
    expect(trial.figures["over-stale pauses"]).toBe(1);
    expect(history.wrongs()).toEqual([]);
    expect(history.failed).toBe(0);
  }),
);

test(
  "control: the same with the fence taken out repeats numbers",
  withTrial(async (trial) => {
    const storageDir = trial.newDirectory();
    const other = await trial.start({ storageDir });
    const plan = { ...inCriticalSection, isFenceBlind: true };
    const history = await pause(trial, storageDir, { situation, plan, other });
    expect(history.wrongs().join("\n")).toContain("answered twice");
  }),
);
