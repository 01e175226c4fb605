import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "@jest/globals";
import { describeUnlessMissing } from "../describe-unless-missing.ts";
import {
  type DynamodbEngine,
  missingDynamodbLocal,
  startDynalite,
  startDynamodbLocal,
} from "../engines/dynamodb.ts";
import { missingRedis, startRedis } from "../engines/redis.ts";
import { newCounter } from "../store/new-counter.ts";
import { findMissing, run } from "../tools.ts";
import { type ServiceProcess, startService, stopServices } from "./start-service.ts";

afterEach(stopServices);

interface Place {
  readonly env: Record<string, string>;
  stop(): Promise<void>;
}

/** Where the two processes meet. `startService` removes directories. */
const stores: readonly [string, string | undefined, () => Promise<Place>][] = [
  [
    "one directory",
    undefined,
    async () => {
      const STORAGE_DIR = await mkdtemp(join(tmpdir(), "buildnumber-"));
      return { env: { STORAGE_DIR }, stop: async () => undefined };
    },
  ],
  [
    "one Redis",
    missingRedis,
    async () => {
      const { url, stop } = await startRedis();
      return { env: { STORE: "redis", REDIS_URL: url }, stop };
    },
  ],
  ["one table of dynalite", undefined, async () => tableOn(await startDynalite())],
  ["one table of DynamoDBLocal", missingDynamodbLocal, async () => tableOn(await startDynamodbLocal())],
];

function tableOn({ endpoint, stop }: DynamodbEngine): Place {
  const env = {
    STORE: "dynamodb",
    AWS_REGION: "us-east-1",
    DYNAMODB_ENDPOINT: endpoint,
    DYNAMODB_CREATE_TABLE: "true",
  };
  return { env, stop };
}

describe("twelve curls with one key against two processes print one number", () => {
  for (const [name, missing, open] of stores) {
    describeUnlessMissing(`on ${name}`, missing ?? findMissing("curl"), () => {
      test("and whoever asks again after a process was killed in between prints the same", async () => {
        const { env, stop } = await open();
        try {
          await expectOneNumber(() => startService(env));
        } finally {
          await stopServices();
          await stop();
        }
      });
    });
  }
});

async function expectOneNumber(start: () => Promise<ServiceProcess>): Promise<void> {
  const counter = newCounter();
  let pair = [await start(), await start()] as const;
  const numbers: string[] = [];
  for (const answersBeforeKill of [12, 6, 1, 0]) {
    const key = `run ${answersBeforeKill}`;
    const printed = await twelveCurls(pair, counter, key, (answers) => {
      if (answers >= answersBeforeKill) pair[0].child.kill("SIGKILL");
    });
    expect(printed.length).toBeGreaterThanOrEqual(answersBeforeKill);
    expect(await pair[0].exit()).toBe("SIGKILL");
    pair = [await start(), pair[1]];
    const again = await twelveCurls(pair, counter, key);
    expect(again).toHaveLength(12);
    expect(new Set([...printed, ...again]).size).toBe(1);
    numbers.push(again[0] as string);
  }
  for (const printed of numbers) expect(printed).toMatch(/^{"bn":[1-9]\d*}\n$/);
  expect(new Set(numbers).size).toBe(numbers.length);
}

/**
 * Asks both processes at the same time, in turn.
 *
 * @param onAnswer called at the start and after each answer, with how many there were
 * @returns what those curls printed that were answered
 */
async function twelveCurls(
  pair: readonly ServiceProcess[],
  counter: string,
  key: string,
  onAnswer: (answers: number) => void = () => undefined,
): Promise<string[]> {
  const urls = await Promise.all(pair.map((service) => service.url()));
  const printed: string[] = [];
  const curls = Array.from({ length: 12 }, async (_, at) => {
    const target = `${urls[at % urls.length]}/${counter}`;
    const args = ["--silent", "--show-error", "--fail", "-X", "POST", "-H", `Idempotency-Key: "${key}"`];
    const { code, stdout } = await run("curl", [...args, target]);
    if (code !== 0) return;
    printed.push(stdout);
    onAnswer(printed.length);
  });
  onAnswer(0);
  await Promise.all(curls);
  return printed;
}
