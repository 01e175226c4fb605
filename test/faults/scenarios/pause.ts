import { setTimeout as sleep } from "node:timers/promises";
import { History } from "../history.ts";
import type { Plan } from "../preload.ts";
import { type Service, staleMs } from "../service.ts";
import { createSwitch, eachOf, type Lane, load, type Scenario, type Trial, until } from "../trial.ts";
import { countSteps, type Situation, situations } from "./kill.ts";

/** Longer than a lock lasts that nobody refreshes: proper-lockfile dates a new one up to a second ahead. */
export const pauseMs = staleMs + 1_200;

interface Pause {
  readonly situation: Situation;
  /** Where the process stops itself. */
  readonly plan: Plan;
  /** Another process on the same directory, which goes on meanwhile; undefined: there is none. */
  readonly other?: Service | undefined;
}

/**
 * Stops a process in the middle of a commit for longer than the lock's stale time, while another goes on.
 *
 * @returns what all callers saw
 */
export async function pause(
  trial: Trial,
  storageDir: string,
  { situation, plan, other }: Pause,
): Promise<History> {
  const history = new History();
  const counter = trial.random.uuid();
  const service = await trial.start({ storageDir, plan: {} });
  const client = trial.client(service);
  await situations[situation](client, counter, history);
  await service.arm(plan);
  let isAnswered = false;
  const waiting = Promise.all([1, 2, 3].map(() => client.take(counter, history))).then(() => {
    isAnswered = true;
  });
  await until(() => isAnswered || service.isStopped(), "an answer or a stop");
  const lanes = other ? [{ client: trial.client(other), pick: () => counter, depth: 2 }] : [];
  const { isOver, end } = createSwitch();
  const loading = load(lanes, { history, isOver });
  if (service.isStopped()) {
    await sleep(pauseMs);
    trial.count("over-stale pauses");
  }
  await service.wake();
  await waiting;
  const both = load([...lanes, { client, pick: () => counter, depth: 2 }], { history, isOver });
  await sleep(100);
  end();
  await Promise.all([loading, both]);
  await service.kill();
  return history;
}

export const pauseScenarios: readonly Scenario[] = [
  {
    name: "pause",
    about:
      "SIGSTOP at every step of a commit, longer than the lock lasts, alone and beside others: distinct, in order, gapless",
    async run(trial) {
      const storageDir = trial.newDirectory();
      const other = await trial.start({ storageDir });
      const all: Pause[] = [];
      for (const situation of Object.keys(situations) as Situation[]) {
        for (let at = await countSteps(trial, situation); at > 0; at -= 1) {
          const plan = { at, act: "SIGSTOP" };
          all.push({ situation, plan, other });
          if (at % 5 === 0) all.push({ situation, plan });
        }
      }
      const count = trial.amount(8, Math.max(260, all.length));
      const chosen = trial.random.sample(all, count);
      while (chosen.length < count) chosen.push(trial.random.pick(all));
      await eachOf(
        chosen,
        async (what) => {
          const history = await pause(trial, storageDir, what);
          trial.check(history);
          trial.checkNoFailure(history);
        },
        16,
      );
    },
  },
  {
    name: "pause-control",
    about: "control: without the fence the same pause repeats numbers, and the checker says so",
    async run(trial) {
      const storageDir = trial.newDirectory();
      const other = await trial.start({ storageDir });
      const plan = {
        at: 1,
        act: "SIGSTOP",
        method: "renameSync",
        path: "/.fence/",
        isFenceBlind: true,
      };
      trial.checkIsCaught(
        await pause(trial, storageDir, { situation: "number of the same length", plan, other }),
      );
    },
  },
  {
    name: "takeover",
    about:
      "two waiters take over one stale lock at once, and its owner comes back: distinct, in order, gapless",
    async run(trial) {
      for (let rounds = trial.amount(1, 10); rounds > 0; rounds -= 1) {
        const storageDir = trial.newDirectory();
        const history = new History();
        const counter = trial.random.uuid();
        const services = await Promise.all([1, 2, 3].map(() => trial.start({ storageDir, plan: {} })));
        const [owner, first] = services as [Service, Service];
        const lanes = services.map((service) => ({
          client: trial.client(service),
          pick: () => counter,
          depth: 2,
        }));
        const [ownerLane, firstLane, secondLane] = lanes as [Lane, Lane, Lane];
        // The owner stops with the lock in hand, and the first waiter between its look at the stale lock and its removal.
        await ownerLane.client.take(counter, history);
        await owner.arm({ at: 1, act: "SIGSTOP", method: "renameSync", path: "/.fence/" });
        const ofOwner = ownerLane.client.take(counter, history);
        await until(() => owner.isStopped(), "the owner to stop");
        await sleep(pauseMs);
        await first.arm({ at: 1, act: "SIGSTOP", method: "rmdirSync", path: ".lock" });
        const ofFirst = firstLane.client.take(counter, history);
        await until(() => first.isStopped(), "the first waiter to stop in its takeover");
        const { isOver, end } = createSwitch();
        const loading = load([secondLane], { history, isOver });
        await sleep(trial.random.integer(20, 200));
        first.signal("SIGCONT");
        owner.signal("SIGCONT");
        await Promise.all([ofOwner, ofFirst]);
        const all = load(lanes, { history, isOver });
        await sleep(300);
        end();
        await Promise.all([loading, all]);
        trial.check(history);
        trial.checkNoFailure(history);
        trial.count("takeovers");
        await Promise.all(services.map((service) => service.kill()));
      }
    },
  },
];
