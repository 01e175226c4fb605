import fs from "node:fs";
import path from "node:path";
import type { Client } from "../client.ts";
import { History } from "../history.ts";
import type { Service } from "../service.ts";
import { eachOf, type Scenario, type Trial, until } from "../trial.ts";

const high = 120;
const low = 30;

/** How many file operations a server makes for one such request. */
async function countSteps(
  trial: Trial,
  request: (client: Client, counter: string) => unknown,
): Promise<number> {
  const service = await trial.start({ storageDir: trial.newDirectory(), plan: {} });
  const client = trial.client(service);
  const counter = trial.random.uuid();
  await client.set(counter, high);
  await service.arm({});
  await request(client, counter);
  const steps = await service.arm({});
  await service.kill();
  return steps;
}

/** Checks that a counter goes on from a number, for two callers, and that its file says so. */
async function checkGoesOn(
  trial: Trial,
  storageDir: string,
  counter: string,
  from: number,
  clients: Client[],
) {
  const history = new History({ from: () => from });
  for (let n = 0; n < 6; n += 1) await clients[n % clients.length]?.take(counter, history);
  trial.check(history);
  trial.expect(history.failed === 0 && history.last(counter) === from + 6, `expected to go on from ${from}`);
  const text = fs.readFileSync(path.join(storageDir, counter), "utf8");
  trial.expect(text === `${from + 6}\n`, `expected a value file that says ${from + 6}, got ${text}`);
}

export const loweringScenarios: readonly Scenario[] = [
  {
    name: "lowering-crash",
    about:
      "kill -9 at every step of a lowering: the counter is at the old or the new number, and goes on from there",
    async run(trial) {
      const storageDir = trial.newDirectory();
      const heirs = await Promise.all([1, 2].map(() => trial.start({ storageDir })));
      const clients = heirs.map((heir) => trial.client(heir));
      const lower = (client: Client, counter: string) => client.set(counter, low, { force: true });
      const steps = Array.from({ length: await countSteps(trial, lower) }, (_, at) => at + 1);
      await eachOf(trial.random.sample(steps, trial.amount(4, 1_000)), async (at) => {
        const counter = trial.random.uuid();
        const service = await trial.start({ storageDir, plan: {} });
        const client = trial.client(service);
        await client.set(counter, high);
        await service.arm({ at, act: "SIGKILL" });
        const { status } = await client.set(counter, low, { force: true });
        await service.kill();
        const from = (await clients[0]?.peek(counter)) as number;
        trial.expect(
          from === low || (from === high && status !== 200),
          `expected ${low} or ${high}, got ${from}`,
        );
        await checkGoesOn(trial, storageDir, counter, from, clients);
        trial.count("kills");
      });
    },
  },
  {
    name: "lowering-late-writer",
    about:
      "a process stopped at every step of a commit, and woken after a lowering: no number of before comes back",
    async run(trial) {
      const storageDir = trial.newDirectory();
      const other = await trial.start({ storageDir });
      const otherClient = trial.client(other);
      const service = () => trial.start({ storageDir, plan: {} });
      const take = (client: Client, counter: string) => client.request("POST", counter);
      const steps = Array.from({ length: await countSteps(trial, take) }, (_, at) => at + 1);
      await eachOf(trial.random.sample(steps, trial.amount(4, 1_000)), async (at) => {
        await wakeLate(trial, { storageDir, at, late: await service(), otherClient });
        trial.count("late writers");
      });
    },
  },
];

interface Late {
  readonly storageDir: string;
  readonly at: number;
  readonly late: Service;
  readonly otherClient: Client;
}

async function wakeLate(trial: Trial, { storageDir, at, late, otherClient }: Late): Promise<void> {
  const counter = trial.random.uuid();
  const lateClient = trial.client(late);
  await lateClient.set(counter, high);
  await late.arm({ at, act: "SIGSTOP" });
  let isAnswered = false;
  const pending = lateClient.request("POST", counter).then((answer) => {
    isAnswered = true;
    return answer.number;
  });
  await until(() => isAnswered || late.isStopped(), "an answer or a stop");
  const { status } = await otherClient.set(counter, low, { force: true });
  trial.expect(status === 200, `expected to lower the counter, got ${status}`);
  const history = new History({ from: () => low });
  for (let n = 0; n < 3; n += 1) await otherClient.take(counter, history);
  await late.wake();
  const number = await pending;
  // It took its number before the lowering, or after it: then it is the next one.
  trial.expect(
    number === high + 1 || number === low + 4,
    `expected ${high + 1} or ${low + 4}, got ${number}`,
  );
  const from = number === high + 1 ? low + 3 : low + 4;
  await checkGoesOn(trial, storageDir, counter, from, [otherClient, lateClient]);
  trial.check(history);
  await late.kill();
}
