import { spawn } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "../client.ts";
import { History } from "../history.ts";
import type { Service } from "../service.ts";
import { createSwitch, eachOf, load, runOrSkip, type Scenario, type Trial, until } from "../trial.ts";

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

const calls = ["rename", "fsync", "mkdir", "rmdir", "openat", "write", "pwrite64", "close"] as const;

export const killScenarios: readonly Scenario[] = [
  {
    name: "kill",
    about: "kill -9 at random under load, one to three processes: nothing answered comes again",
    async run(trial) {
      const { random } = trial;
      const storageDir = trial.newDirectory();
      const services = await Promise.all([1, 2, 3].map(() => trial.start({ storageDir })));
      const history = new History();
      const counters = Array.from({ length: 3 }, () => random.uuid());
      const { isOver, end } = createSwitch();
      const lanes = services.flatMap((_, at) => {
        const client = () => trial.client(() => services[at] as Service);
        return [
          ...counters.map((counter) => ({ client: client(), pick: () => counter, depth: 8 })),
          { client: client(), pick: () => random.uuid(), depth: 2 },
        ];
      });
      const loading = load(lanes, { history, isOver });
      for (let kills = trial.amount(12, 1_000); kills > 0; ) {
        await sleep(random.integer(5, 250));
        const victims = random.sample([0, 1, 2], random.integer(1, 3));
        for (const at of victims) services[at]?.signal("SIGKILL");
        await Promise.all(
          victims.map(async (at) => {
            await services[at]?.ended;
            services[at] = await trial.start({ storageDir });
          }),
        );
        kills -= victims.length;
        trial.count("kills", victims.length);
      }
      end();
      await loading;
      trial.check(history);
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
      runOrSkip("strace", ["-f", "-qq", "-e", "trace=none", "true"]);
      const storageDir = trial.newDirectory();
      const counter = trial.random.uuid();
      const history = new History();
      for (let kills = trial.amount(2, 60); kills > 0; kills -= 1) {
        const call = trial.random.pick(calls);
        const when = trial.random.integer(1, 40);
        // It counts from the first request on: a server that starts makes many of the same calls.
        const service = await trial.start({ storageDir });
        const client = trial.client(service);
        await client.take(counter, history);
        const inject = `inject=${call}:signal=SIGKILL:when=${when}`;
        const tracer = new Tracer(service, [`-e`, `trace=${call}`, `-e`, inject]);
        await tracer.attached(trial);
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

/** strace, attached to a server that runs already. */
class Tracer {
  readonly #service: Service;
  readonly #args: readonly string[];

  constructor(service: Service, args: readonly string[]) {
    this.#service = service;
    this.#args = args;
  }

  async attached(trial: Trial): Promise<void> {
    const pid = String(this.#service.child.pid);
    const child = spawn("strace", ["-f", "-qq", "-p", pid, "-o", "/dev/null", ...this.#args], {
      stdio: "ignore",
    });
    trial.onEnd(() => child.kill("SIGKILL"));
    await until(() => isTraced(pid), "strace to be attached");
  }
}

function isTraced(pid: string): boolean {
  const tasks = fs.readdirSync(`/proc/${pid}/task`);
  return tasks.every((task) => {
    const status = fs.readFileSync(path.join("/proc", pid, "task", task, "status"), "utf8");
    return !/^TracerPid:\t0$/m.test(status);
  });
}
