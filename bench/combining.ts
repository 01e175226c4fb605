import { parseArgs } from "node:util";
import type { CounterName } from "../src/counter/counter-name.ts";
import { Counters } from "../src/counter/counters.ts";
import type { Store, StoreContext } from "../src/counter/store.ts";
import { openDynamodbStore } from "../src/store/dynamodb/dynamodb-store.ts";
import { openRedisStore } from "../src/store/redis/redis-store.ts";
import {
  localAccount,
  missingDynamodbLocal,
  startDynalite,
  startDynamodbLocal,
} from "../test/engines/dynamodb.ts";
import type { Engine } from "../test/engines/engine.ts";
import { missingRedis, startRedis } from "../test/engines/redis.ts";

/**
 * What the combining queue saves: one hot counter, on real engines, with callers that ask again as soon as they are
 * answered. Each number of callers is measured with combining (all callers through `Counters`) and without it (one commit
 * for each call), in turn, and medians are compared within the run.
 *
 *     node dist/bench/combining.js [--seconds 1] [--rounds 3]
 */
const { values: options } = parseArgs({
  options: { seconds: { type: "string", default: "1" }, rounds: { type: "string", default: "3" } },
});
const milliseconds = Number(options.seconds) * 1_000;
const rounds = Number(options.rounds);
/** Long, so that a slow engine is measured too and not refused. */
const deadlineMs = 60_000;

const silent: StoreContext = {
  log: { info: () => undefined, warn: () => undefined, error: () => undefined },
  onFatal: (error) => {
    throw error;
  },
};

interface Bench {
  readonly title: string;
  readonly missing: string | undefined;
  readonly start: () => Promise<{ engine: Engine; store: Store }>;
}

const benches: Bench[] = [
  {
    title: "Redis (appendfsync always)",
    missing: missingRedis,
    start: async () => {
      const engine = await startRedis();
      return { engine, store: await openRedisStore({ url: engine.url, deadlineMs }, silent) };
    },
  },
  ...[
    { title: "DynamoDBLocal", missing: missingDynamodbLocal, startEngine: startDynamodbLocal },
    { title: "dynalite", missing: undefined, startEngine: startDynalite },
  ].map(({ title, missing, startEngine }) => ({
    title,
    missing,
    start: async () => {
      const engine = await startEngine();
      const settings = { ...localAccount, endpoint: engine.endpoint, createTable: true, deadlineMs };
      return { engine, store: await openDynamodbStore(settings, silent) };
    },
  })),
];

console.log(
  "| engine | callers | commands per number | numbers/s combined | numbers/s one by one | ratio | most numbers/s at 1,000 writes/s |",
);
console.log("|---|---:|---:|---:|---:|---:|---:|");
for (const { title, missing, start } of benches) {
  if (missing !== undefined) {
    console.log(`| ${title} | skipped: ${missing} | | | | | |`);
    continue;
  }
  const { engine, store } = await start();
  try {
    for (const callers of [1, 16, 64, 256]) {
      const combined: Sample[] = [];
      const alone: Sample[] = [];
      // The first round warms up and does not count.
      for (let round = 0; round <= rounds; round += 1) {
        const samples = [await measureCombined(store, callers), await measureAlone(store, callers)] as const;
        if (round === 0) continue;
        combined.push(samples[0]);
        alone.push(samples[1]);
      }
      const perNumber = median(combined.map(({ commits, numbers }) => commits / numbers));
      const [fast, slow] = [combined, alone].map((samples) => median(samples.map(({ numbers }) => numbers)));
      const perSecond = (numbers = 0) => Math.round((numbers / milliseconds) * 1_000).toLocaleString("en");
      const cells = [
        ...[title, callers, `1/${(1 / perNumber).toFixed(1)}`, perSecond(fast), perSecond(slow)],
        ...[((fast ?? 0) / (slow ?? 1)).toFixed(1), Math.round(1_000 / perNumber).toLocaleString("en")],
      ];
      console.log(`| ${cells.join(" | ")} |`);
    }
  } finally {
    await store.close();
    await engine.stop();
  }
}

interface Sample {
  readonly numbers: number;
  readonly commits: number;
}

/** A commit is one script call or one UpdateItem; tests hold the stores to that. */
async function measureCombined(store: Store, callers: number): Promise<Sample> {
  let commits = 0;
  const counting: Store = {
    description: store.description,
    commit: (...call) => {
      commits += 1;
      return store.commit(...call);
    },
    record: (...call) => store.record(...call),
    records: (...call) => store.records(...call),
    peek: (name) => store.peek(name),
    set: (...call) => store.set(...call),
    check: () => store.check(),
    close: async () => undefined,
  };
  const counters = new Counters(counting);
  const numbers = await countFor(callers, () => counters.increment("combined" as CounterName));
  return { numbers, commits };
}

async function measureAlone(store: Store, callers: number): Promise<Sample> {
  const numbers = await countFor(callers, () =>
    store.commit("alone" as CounterName, [{ by: 1 }], { create: true }),
  );
  return { numbers, commits: numbers };
}

async function countFor(callers: number, call: () => Promise<unknown>): Promise<number> {
  let answers = 0;
  const end = performance.now() + milliseconds;
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (performance.now() < end) {
        await call();
        answers += 1;
      }
    }),
  );
  return answers;
}

function median(values: readonly number[]): number {
  return [...values].sort((one, other) => one - other)[values.length >> 1] as number;
}
