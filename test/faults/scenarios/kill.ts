import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../client.ts";
import { History } from "../history.ts";
import type { Service } from "../service.ts";
import { requireStrace, trace } from "../strace.ts";
import { createSwitch, eachOf, load, type Scenario, type Trial } from "../trial.ts";

/** How a commit can find its counter; what has to be done to bring it there; and how many numbers it has then. */
export const situations = {
  "first use": async () => {},
  "number of the same length": async (client: Client, counter: string, history: History) => {
    for (let n = 0; n < 3; n += 1) await client.take(counter, history);
  },
  "number that gets longer": async (client: Client, counter: string, history: History) => {
    for (let n = 0; n < 9; n += 1) await client.take(counter, history);
  },
} as const;

export type Situation = keyof typeof situations;

/** How many file operations a server makes from a request to a moment after its answer. */
export async function countSteps(trial: Trial, situation: Situation): Promise<number> {
  const service = await trial.start({ storageDir: trial.newDirectory(), plan: {} });
  const client = trial.client(service);
  const counter = trial.random.uuid();
  const history = new History();
  await situations[situation](client, counter, history);
  await service.arm({});
  await client.take(counter, history);
  const steps = await service.arm({});
  await service.kill();
  return steps;
}

/** A service that has a successor whenever it is killed. */
export class Member {
  readonly #trial: Trial;
  readonly #storageDir: string;
  #service: Service;

  constructor(trial: Trial, storageDir: string, service: Service) {
    this.#trial = trial;
    this.#storageDir = storageDir;
    this.#service = service;
  }

  newClient(): Client {
    return this.#trial.client(() => this.#service);
  }

  async killAndReplace(): Promise<void> {
    await this.#service.kill();
    this.#service = await this.#trial.start({ storageDir: this.#storageDir });
  }
}

/** Starts several services on one directory. */
export async function startGroup(
  trial: Trial,
  { storageDir, size }: { storageDir: string; size: number },
): Promise<Member[]> {
  const start = async () => new Member(trial, storageDir, await trial.start({ storageDir }));
  return Promise.all(Array.from({ length: size }, start));
}

/** How many kills there are before everybody waits, for what was seen to be checked. */
const killsPerRound = 50;

/** Kills some or all of a group again and again, while it is used. */
export async function killAgainAndAgain(
  trial: Trial,
  { group, history, kills }: { group: readonly Member[]; history: History; kills: number },
  use: (isOver: () => boolean) => Promise<unknown>,
): Promise<void> {
  const { random } = trial;
  for (let left = kills; left > 0; ) {
    const { isOver, end } = createSwitch();
    const using = use(isOver);
    for (let inRound = 0; inRound < killsPerRound && left > 0; ) {
      await sleep(random.integer(5, 150));
      const victims = random.sample(group, random.integer(1, group.length));
      await Promise.all(victims.map((member) => member.killAndReplace()));
      trial.count("kills", victims.length);
      inRound += victims.length;
      left -= victims.length;
    }
    end();
    await using;
    history.settle();
    trial.check(history);
  }
}

const calls = ["rename", "fsync", "mkdir", "rmdir", "openat", "write", "pwrite64", "close"] as const;

export const killScenarios: readonly Scenario[] = [
  {
    name: "kill",
    about: "kill -9 at random under load, one to three processes: nothing answered comes again",
    async run(trial) {
      const { random } = trial;
      const storageDir = trial.newDirectory();
      const history = new History();
      const counters = Array.from({ length: 3 }, () => random.uuid());
      const group = await startGroup(trial, { storageDir, size: 3 });
      const lanes = group.flatMap((member) => [
        ...counters.map((counter) => ({ client: member.newClient(), pick: () => counter, depth: 8 })),
        { client: member.newClient(), pick: () => random.uuid(), depth: 2 },
      ]);
      await killAgainAndAgain(trial, { group, history, kills: trial.amount(12, 900) }, (isOver) =>
        load(lanes, { history, isOver }),
      );
    },
  },
  {
    name: "kill-at-step",
    about:
      "kill -9 just before each file operation of a commit: nothing answered comes again, the next one goes on",
    async run(trial) {
      for (const situation of Object.keys(situations) as Situation[]) {
        const steps = Array.from({ length: await countSteps(trial, situation) }, (_, at) => at + 1);
        const storageDir = trial.newDirectory();
        const heir = await trial.start({ storageDir });
        const heirClient = trial.client(heir);
        await eachOf(trial.random.sample(steps, trial.amount(4, 1_000)), async (at) => {
          const history = new History();
          const counter = trial.random.uuid();
          const service = await trial.start({ storageDir, plan: {} });
          const client = trial.client(service);
          await situations[situation](client, counter, history);
          await service.arm({ at, act: "SIGKILL" });
          await Promise.all([1, 2, 3].map(() => client.take(counter, history)));
          await service.kill();
          for (let n = 0; n < 3; n += 1) await heirClient.take(counter, history);
          trial.expect(history.failed <= 3, "expected the next process to answer");
          trial.check(history);
          trial.count("kills");
        });
        await heir.kill();
      }
    },
  },
  {
    name: "kill-at-call",
    about: "kill -9 at system calls, by strace: nothing answered comes again",
    async run(trial) {
      requireStrace();
      const storageDir = trial.newDirectory();
      const counter = trial.random.uuid();
      const history = new History();
      for (let kills = trial.amount(2, 40); kills > 0; kills -= 1) {
        const call = trial.random.pick(calls);
        const when = trial.random.integer(1, 40);
        // It counts from the first request on: a server that starts makes many of the same calls.
        const service = await trial.start({ storageDir });
        const client = trial.client(service);
        await client.take(counter, history);
        const inject = `inject=${call}:signal=SIGKILL:when=${when}`;
        await trace(trial, service, ["-e", `trace=${call}`, "-e", inject]);
        const { isOver, end } = createSwitch();
        const loading = load([{ client, pick: () => counter, depth: 4 }], { history, isOver });
        await Promise.race([service.ended, sleep(1_500)]);
        end();
        await service.kill();
        await loading;
        trial.count("kills");
      }
      const last = await trial.start({ storageDir });
      await trial.client(last).take(counter, history);
      trial.check(history);
    },
  },
];
