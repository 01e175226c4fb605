/**
 * Requests with a key, each key asked for several times by several callers of several processes, and again with the same
 * key after a failure. A key has one number for ever, and no number has two owners. (The power cuts have such load too.)
 */
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { missingRedis, startRedis } from "../../engines/redis.ts";
import type { Client } from "../client.ts";
import { History } from "../history.ts";
import type { Service } from "../service.ts";
import { requireStrace, trace } from "../strace.ts";
import {
  askAgain,
  CannotRun,
  createSwitch,
  eachOf,
  load,
  loadKeys,
  type Scenario,
  type Trial,
  until,
} from "../trial.ts";
import { killAgainAndAgain, startGroup } from "./kill.ts";
import { pauseMs } from "./pause.ts";

interface Use {
  readonly history: History;
  /** One that is used with keys and without, and one that is used without. */
  readonly keyed: string;
  readonly plain: string;
  readonly isOver: () => boolean;
}

/** Uses two counters by every client that this makes: with keys, without, and both. */
async function use(
  trial: Trial,
  newClients: readonly (() => Client)[],
  { history, keyed, plain, isOver }: Use,
): Promise<void> {
  const { random } = trial;
  const plainLanes = newClients.flatMap((newClient) =>
    [keyed, plain].map((counter) => ({ client: newClient(), pick: () => counter, depth: 2 })),
  );
  const keyedLanes = newClients.flatMap((newClient) =>
    // Two connections: what is first asked for on both has to be one request in the end.
    [1, 2].map(() => ({ client: newClient(), counter: keyed, depth: 4 })),
  );
  await Promise.all([
    load(plainLanes, { history, isOver }),
    loadKeys(keyedLanes, { history, random, isOver }),
  ]);
}

/** Stops a service. May return what is to be done before it goes on. */
type Stop = (service: Service) => Promise<(() => Promise<unknown>) | undefined>;

interface Pauses {
  readonly pauses: number;
  readonly pauseMs: number;
  readonly stop: Stop;
}

/** Stops one of two processes under load, again and again, for longer than a lock lasts. */
async function pauseOneOfTwo(trial: Trial, { pauses, pauseMs, stop }: Pauses): Promise<void> {
  const { random } = trial;
  const storageDir = trial.newDirectory();
  const services = await Promise.all([1, 2].map(() => trial.start({ storageDir })));
  const [keyed, plain] = [random.uuid(), random.uuid()];
  const history = new History();
  // Both open their records before: who opens them while another is stopped in its transaction waits with all it does.
  for (const service of services) await trial.client(service).take(keyed, history, random.uuid());
  for (let left = pauses; left > 0; left -= 1) {
    const using = createSwitch();
    const clients = services.map((service) => () => trial.client(service));
    const used = use(trial, clients, { history, keyed, plain, isOver: using.isOver });
    await sleep(random.integer(20, 200));
    const at = random.integer(0, 1);
    const [stopped, other] = [services[at], services[1 - at]] as [Service, Service];
    const letGo = await stop(stopped);
    await sleep(pauseMs);
    // What is stopped may hold the lock of the keys: then others wait for it, or get 503. Not so without keys.
    let isServed = false;
    const probe = trial
      .client(other)
      .take(keyed, history, random.uuid())
      .then(({ status }) => {
        isServed = status === 200;
      });
    const client = trial.client(other);
    for (let n = 0; n < 10; n += 1) await client.take(plain, history);
    if (!isServed) trial.count("pauses with the lock of the keys");
    await letGo?.();
    stopped.signal("SIGCONT");
    trial.count("over-stale pauses");
    await sleep(100);
    using.end();
    await Promise.all([used, probe]);
    history.settle();
    trial.check(history);
    trial.checkNoPlainFailure(history);
  }
  await askAgain(trial.client(services[0] as Service), keyed, { history, random, most: 50 });
  trial.check(history);
  await Promise.all(services.map((service) => service.kill()));
}

async function pausePairs(trial: Trial, how: Omit<Pauses, "pauses">): Promise<void> {
  const pairs = Array.from({ length: trial.amount(2, 8) }, (_, at) => at);
  await eachOf(pairs, () => pauseOneOfTwo(trial, { ...how, pauses: trial.amount(1, 8) }), pairs.length);
}

export const keyScenarios: readonly Scenario[] = [
  {
    name: "keys-kill",
    about: "kill -9 at random of three processes under load with keys: one key, one number",
    async run(trial) {
      const { random } = trial;
      const storageDir = trial.newDirectory();
      const history = new History();
      const [keyed, plain] = [random.uuid(), random.uuid()];
      const group = await startGroup(trial, { storageDir, size: 3 });
      const clients = group.map((member) => () => member.newClient());
      await killAgainAndAgain(trial, { group, history, kills: trial.amount(8, 200) }, (isOver) =>
        use(trial, clients, { history, keyed, plain, isOver }),
      );
      await Promise.all(group.map((member) => member.killAndReplace()));
      await askAgain((clients[0] as () => Client)(), keyed, { history, random, most: 500 });
      trial.check(history);
    },
  },
  {
    name: "keys-pause",
    about:
      "one of two processes is stopped under load with keys, longer than locks last: one key, one number; without keys no failure",
    async run(trial) {
      const stop: Stop = async (service) => {
        service.signal("SIGSTOP");
        return undefined;
      };
      await pausePairs(trial, { pauseMs, stop });
    },
  },
  {
    name: "keys-pause-in-lock",
    about: "likewise, stopped by strace while it holds the lock under which keys are written",
    async run(trial) {
      requireStrace();
      // Only LMDB makes this call.
      const inject = ["-e", "trace=fdatasync", "-e", "inject=fdatasync:signal=SIGSTOP:when=1"];
      const stop: Stop = async (service) => {
        const tracer = await trace(trial, service, inject);
        await until(() => tracer.told().includes("stopped by SIGSTOP"), "a stop");
        return tracer.detach;
      };
      // Longer than a request with a key waits.
      await pausePairs(trial, { pauseMs: 6_500, stop });
    },
  },
  {
    name: "keys-lost-engine",
    about:
      "Redis is killed and started again on its data, under load with keys by two services: one key, one number",
    async run(trial) {
      if (missingRedis !== undefined) throw new CannotRun(missingRedis);
      const { random } = trial;
      const engine = await startRedis();
      trial.onEnd(() => engine.stop());
      const env = { STORE: "redis", REDIS_URL: engine.url };
      const services = await Promise.all([1, 2].map(() => trial.start({ env })));
      const clients = services.map((service) => () => trial.client(service));
      const [keyed, plain] = [random.uuid(), random.uuid()];
      const history = new History();
      for (let losses = trial.amount(3, 60); losses > 0; losses -= 1) {
        const using = createSwitch();
        const used = use(trial, clients, { history, keyed, plain, isOver: using.isOver });
        await sleep(random.integer(50, 300));
        await engine.kill();
        await sleep(random.integer(0, 100));
        await engine.restart();
        trial.count("lost engines");
        await sleep(random.integer(50, 300));
        using.end();
        await used;
        history.settle();
        trial.check(history);
      }
      await askAgain((clients[0] as () => Client)(), keyed, { history, random, most: 500 });
      trial.check(history);
    },
  },
  {
    name: "keys-control",
    about:
      "control: a service whose records are taken away answers keys with other numbers, and the checker says so",
    async run(trial) {
      const storageDir = trial.newDirectory();
      const counter = trial.random.uuid();
      const history = new History();
      for (let runs = 0; runs < 2; runs += 1) {
        const service = await trial.start({ storageDir });
        const client = trial.client(service);
        await Promise.all(["x", "y", "z"].map((key) => client.take(counter, history, key)));
        await service.stop();
        fs.rmSync(path.join(storageDir, ".records"), { recursive: true });
      }
      const found = history.wrongs();
      trial.expect(
        found.some((wrong) => wrong.includes("x (") && wrong.includes("two numbers")),
        `expected the checker to find keys with two numbers, but it found: ${found}`,
      );
      trial.count("keys with two numbers", 3);
    },
  },
];
