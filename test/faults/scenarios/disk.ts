import fs from "node:fs";
import path from "node:path";
import type { Answer } from "../client.ts";
import { History } from "../history.ts";
import { Service } from "../service.ts";
import { load, type Scenario, type Trial } from "../trial.ts";

/** Uses new and known counters on a small disk until it is full, asks on, frees it, and asks again. */
async function fill(trial: Trial, options: string): Promise<void> {
  const storageDir = trial.mount("-t", "tmpfs", "-o", options, "tmpfs");
  const service = await trial.start({ storageDir });
  const client = trial.client(service);
  const history = new History();
  const known = trial.random.uuid();
  const ballast = path.join(storageDir, "ballast.d");
  fs.mkdirSync(ballast);
  for (let n = 0; n < 8; n += 1) fs.writeFileSync(path.join(ballast, String(n)), Buffer.alloc(4096));
  await client.take(known, history);
  const refusals: Answer[] = [];
  for (let n = 0; refusals.length < 20; n += 1) {
    trial.expect(n < 5_000, "expected the disk to be full by now");
    const answer = await takeSurely(client, history, n % 4 === 0 ? known : trial.random.uuid());
    if (answer.number === undefined) refusals.push(answer);
  }
  const odd = refusals.find(({ status, code }) => status !== 503 || code !== "store-full");
  trial.expect(odd === undefined, `expected 503 store-full, got ${odd?.status} ${odd?.code}`);
  trial.count("refusals of a full disk", refusals.length);
  fs.rmSync(ballast, { recursive: true });
  for (let n = 0; n < 20; n += 1) {
    const { status } = await takeSurely(client, history, known);
    trial.expect(status === 200, `expected the service to go on once there is room, got ${status}`);
  }
  trial.check(history);
  trial.expect((await service.stop()) === 0, "expected the service to stop in order");
}

/** Takes a number; a refusal counts as one that may have taken it only if it says so. */
async function takeSurely(
  client: { request(method: string, target: string): Promise<Answer> },
  history: History,
  counter: string,
): Promise<Answer> {
  const answer = await client.request("POST", counter);
  if (answer.number !== undefined) history.addAnswer(counter, answer.start, answer.end, answer.number);
  else if (answer.status === undefined || answer.isConsumed)
    history.addFailure(counter, answer.start, answer.end, { reason: answer.detail });
  return answer;
}

/** What only the paths of temporary files contain. */
const temporaryFile = ".";

async function cutWritesShort(
  trial: Trial,
  { processes, path: file = "" }: { processes: number; path?: string },
): Promise<void> {
  const { random } = trial;
  const storageDir = trial.newDirectory();
  const plan = { method: "writeSync", at: 3, act: "short", isRepeated: true, path: file };
  const start = () => trial.start({ storageDir, plan });
  const services = await Promise.all(Array.from({ length: processes }, start));
  const counters = Array.from({ length: 4 }, () => random.uuid());
  const picks = [...counters.map((counter) => () => counter), () => random.uuid()];
  const history = new History();
  const lanes = services.flatMap((service) =>
    picks.map((pick) => ({ client: trial.client(service), pick, depth: 4 })),
  );
  const many = trial.amount(1_500, 20_000);
  await load(lanes, { history, isOver: () => history.answered >= many });
  trial.check(history);
  trial.checkNoFailure(history);
  const writes = await Promise.all(services.map((service) => service.arm({})));
  const shortWrites = writes.map((counted) => Math.floor(counted / plan.at));
  trial.count(
    "short writes",
    shortWrites.reduce((sum, more) => sum + more, 0),
  );
  for (const counter of random.sample(history.counters, 200)) {
    const text = fs.readFileSync(path.join(storageDir, counter), "utf8");
    const number = history.last(counter);
    trial.expect(text === `${number}\n`, `expected the value file to say ${number}, got ${text}`);
  }
}

export const diskScenarios: readonly Scenario[] = [
  {
    name: "disk-full",
    about: "a full disk: 503 store-full, no number burnt by asking on, and it goes on once there is room",
    run: (trial) => fill(trial, "size=256k"),
  },
  {
    name: "inodes-full",
    about: "no inodes left: likewise",
    run: (trial) => fill(trial, "size=16m,nr_inodes=64"),
  },
  {
    name: "short-write",
    about:
      "every third write is cut short, under load: no failure, nothing lost, and whole value files at the end",
    async run(trial) {
      // A number that is cut short in its place could be taken by another process for one that was raised by hand.
      await cutWritesShort(trial, { processes: 1 });
      await cutWritesShort(trial, { processes: 2, path: temporaryFile });
    },
  },
  {
    name: "sync-fails",
    about:
      "a file that cannot be synced is refused; a fence that cannot be is the end, exit code not 0; then it goes on",
    async run(trial) {
      const storageDir = trial.newDirectory();
      const counter = trial.random.uuid();
      const history = new History();
      // At the start: the root, the probe file, the probe's directory.
      for (const at of [1, 2, 3]) {
        const service = new Service({ storageDir, plan: { at, act: "EIO", method: "fsync" } });
        trial.onEnd(() => service.kill());
        const how = await service.ended;
        trial.expect(how === 1, `expected a refusal to start when sync ${at} fails, got ${how}`);
        trial.expect(
          service.log.some((line) => line.startsWith("buildnumber: expected STORAGE_DIR")),
          "expected a sentence for the operator",
        );
        trial.count("failed syncs");
      }
      // A new fence that is not in its place yet: refused, nothing consumed, and the next request is served.
      const builder = await trial.start({ storageDir, plan: {} });
      const builderClient = trial.client(builder);
      await builder.arm({ at: 1, act: "EIO", method: "fsync" });
      const refused = await takeSurely(builderClient, history, counter);
      trial.expect(refused.status === 503 && !refused.isConsumed, `expected 503, got ${refused.status}`);
      const served = await takeSurely(builderClient, history, counter);
      trial.expect(served.number === 1, `expected number 1, got ${served.number ?? served.code}`);
      await builder.kill();
      // The fence: of the known counter its own directory, of a new one the directory of all fences.
      for (const target of [counter, trial.random.uuid()]) {
        const service = await trial.start({ storageDir, plan: {} });
        const client = trial.client(service);
        if (target === counter) await client.take(counter, history);
        await service.arm({ at: 1, act: "EIO", method: "fsync", path: "/.fence" });
        const answers = await Promise.all([1, 2, 3].map(() => takeSurely(client, history, target)));
        const answered = answers.find(({ number }) => number !== undefined);
        trial.expect(answered === undefined, `expected no answer, got ${answered?.number}`);
        const how = await service.ended;
        trial.expect(how === 1, `expected exit code 1, got ${how}`);
        trial.count("failed syncs");
        const heir = await trial.start({ storageDir });
        const { status } = await trial.client(heir).take(target, history);
        trial.expect(status === 200, `expected the next process to answer, got ${status}`);
        await heir.kill();
      }
      trial.check(history);
    },
  },
];
