import { z } from "zod";
import { dialectNames, rootDialectNames } from "./http/fixed-paths.ts";

/** The longest time that Node's timers take, in ms (24.8 days). */
const maxTimerMs = 2_147_483_647;

/**
 * Every setting of the server, by the name of its environment variable. The order is that of `env.sample` and of the
 * table in the README, which a test holds against this schema.
 */
const schema = z.object({
  STORE: oneOf("file", "redis", "dynamodb").default("file").meta({
    description: "Where counters live: file, redis or dynamodb.",
  }),
  PORT: integer(0, 65_535)
    .default(8080)
    .meta({ description: "The TCP port to listen on; 0 takes any free one." }),
  HOST: z
    .string()
    .optional()
    .meta({ description: "The address or host name to listen on; unset means all interfaces." }),
  STORAGE_DIR: z.string().default("data").meta({ description: "The directory of the file store." }),
  REDIS_URL: z.string().default("redis://127.0.0.1:6379").meta({
    description: "Where Redis is: redis://, rediss://, unix://, redis-sentinel:// or redis-cluster://.",
  }),
  REDIS_PREFIX: z.string().default("").meta({
    description: "What stands before every counter's name in its Redis key.",
  }),
  REDIS_REQUIRE_DURABLE: boolean().default(false).meta({
    description:
      "Whether a Redis whose settings let answered numbers be lost is refused, not just warned of.",
  }),
  REDIS_WAIT_REPLICAS: integer(0, 100).default(0).meta({
    description: "How many Redis replicas must have a number before it is answered.",
  }),
  DYNAMODB_TABLE: z.string().default("AtomicCounters").meta({ description: "The DynamoDB table." }),
  DYNAMODB_KEY_ATTRIBUTE: z.string().default("id").meta({
    description: "The attribute with the counter's name, the key of the table.",
  }),
  DYNAMODB_VALUE_ATTRIBUTE: z.string().default("lastValue").meta({
    description: "The attribute with the last number issued.",
  }),
  DYNAMODB_RECORDS_TABLE: z.string().optional().meta({
    description: "The DynamoDB table of keys and records; unset means DYNAMODB_TABLE with Records behind it.",
  }),
  DYNAMODB_CREATE_TABLE: boolean().default(false).meta({
    description: "Whether missing tables are created, billed on demand.",
  }),
  DYNAMODB_ENDPOINT: z.url({ error: "expected a URL" }).optional().meta({
    description: "The URL of an engine other than Amazon's; on this machine it needs no credentials.",
  }),
  AWS_REGION: z.string().optional().meta({
    description: "The region of the table; unset means as everywhere in AWS.",
  }),
  STORE_DEADLINE_MS: integer(100, 60_000).default(5_000).meta({
    unit: "ms",
    description: "The time after which a call to Redis or DynamoDB gives up.",
  }),
  KEY_RETENTION_DAYS: integer(0, 36_500).default(90).meta({
    unit: "days",
    description: "The time for which keys and records are kept; 0 keeps them for ever.",
  }),
  CREATE_COUNTERS: boolean()
    .default(true)
    .meta({ description: "Whether POST brings a counter that was never used into being; else it gets 404." }),
  DIALECTS: listOf(...dialectNames)
    .default([...dialectNames])
    .meta({
      description: "The older interfaces that are spoken beside the main one, with commas between, or none.",
    }),
  ROOT_DIALECT: oneOf(...rootDialectNames)
    .default("buildnumber")
    .meta({
      description:
        "The interface at /, buildnumber or micro-incrementer; the main one is else under /buildnumber.",
    }),
  AUTOBACKUP: boolean().default(false).meta({
    description: "Whether each success of the micro-incrementer interface is followed by a backup.",
  }),
  AUTOBACKUP_URL: z
    .url({ protocol: /^https?$/, error: "expected a URL that begins with http:// or https://" })
    .default("http://persistence/data")
    .meta({ description: "What is asked for by GET to make a backup." }),
  LOG_LEVEL: oneOf("trace", "debug", "info", "warn", "error", "fatal", "silent").default("info").meta({
    description: "The least level that is logged: trace, debug, info, warn, error, fatal or silent.",
  }),
  LOG_REQUESTS: boolean().default(false).meta({ description: "Whether each request is logged." }),
  LOCK_STALE_MS: integer(2_000, maxTimerMs).default(10_000).meta({
    unit: "ms",
    description: "The age from which the file lock of a dead process may be taken over.",
  }),
  LOCK_WAIT_MS: integer(0, maxTimerMs).default(250).meta({
    unit: "ms",
    description: "The longest wait for the file lock, after which a commit goes on by the fence alone.",
  }),
  DRAIN_TIMEOUT_MS: integer(0, maxTimerMs)
    .default(10_000)
    .meta({ unit: "ms", description: "The longest time that requests in flight get to finish at a stop." }),
});

/** What one setting makes of another. */
const consistent = schema.refine(
  ({ DIALECTS, ROOT_DIALECT }) => ROOT_DIALECT === "buildnumber" || DIALECTS.includes(ROOT_DIALECT),
  { path: ["ROOT_DIALECT"], error: "expected one of the interfaces that DIALECTS names" },
);

/** The settings of the server; which environment variable gives which is in `readConfig`. */
export type Config = ReturnType<typeof readConfig>;

/** What `env.sample` and the README say of one setting. */
export interface Setting {
  /** The environment variable. */
  readonly name: string;
  /** As it would be written in the environment; undefined when there is no default. */
  readonly default: string | undefined;
  /** The unit of the value, for a quantity. */
  readonly unit: string | undefined;
  /** One sentence. */
  readonly description: string;
}

export const settings: readonly Setting[] = Object.entries(schema.shape).map(([name, type]) => {
  const { unit, description = "" } = type.meta() as { unit?: string; description?: string };
  const standard = type.safeParse(undefined).data;
  return { name, default: standard === undefined ? undefined : String(standard), unit, description };
});

/** Settings that cannot be used. The message has one line for each mistake, by name; it never quotes a value. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/**
 * Reads the settings, from the environment unless told otherwise. An empty value counts as unset.
 *
 * @param fixed settings that go before the environment
 * @throws ConfigError with all mistakes at once
 */
export function readConfig(
  env: Readonly<Record<string, string | undefined>> = process.env,
  fixed: Readonly<Record<string, string>> = {},
) {
  const given = Object.keys(schema.shape).map((name) => [
    name,
    (fixed[name] ?? env[name])?.trim() || undefined,
  ]);
  const { data, error } = consistent.safeParse(Object.fromEntries(given));
  if (error) {
    throw new ConfigError(
      error.issues.map(({ path, message }) => `${path.join(".")}: ${message}`).join("\n"),
    );
  }
  const keyRetentionMs = data.KEY_RETENTION_DAYS * 86_400_000;
  return Object.freeze({
    store: data.STORE,
    file: {
      storageDir: data.STORAGE_DIR,
      lockStaleMs: data.LOCK_STALE_MS,
      lockWaitMs: data.LOCK_WAIT_MS,
      keyRetentionMs,
    },
    redis: {
      url: data.REDIS_URL,
      prefix: data.REDIS_PREFIX,
      requireDurable: data.REDIS_REQUIRE_DURABLE,
      waitReplicas: data.REDIS_WAIT_REPLICAS,
      keyRetentionMs,
      deadlineMs: data.STORE_DEADLINE_MS,
    },
    dynamodb: {
      table: data.DYNAMODB_TABLE,
      keyAttribute: data.DYNAMODB_KEY_ATTRIBUTE,
      valueAttribute: data.DYNAMODB_VALUE_ATTRIBUTE,
      keyRetentionMs,
      createTable: data.DYNAMODB_CREATE_TABLE,
      deadlineMs: data.STORE_DEADLINE_MS,
      ...(data.DYNAMODB_RECORDS_TABLE !== undefined && { recordsTable: data.DYNAMODB_RECORDS_TABLE }),
      ...(data.DYNAMODB_ENDPOINT !== undefined && { endpoint: data.DYNAMODB_ENDPOINT }),
      ...(data.AWS_REGION !== undefined && { region: data.AWS_REGION }),
      ...(isOnThisMachine(data.DYNAMODB_ENDPOINT) && !hasCredentials(env) && { credentials: anyCredentials }),
    },
    port: data.PORT,
    host: data.HOST,
    createCounters: data.CREATE_COUNTERS,
    dialects: data.DIALECTS,
    rootDialect: data.ROOT_DIALECT,
    autobackup: data.AUTOBACKUP,
    autobackupUrl: data.AUTOBACKUP_URL,
    logLevel: data.LOG_LEVEL,
    logRequests: data.LOG_REQUESTS,
    drainTimeoutMs: data.DRAIN_TIMEOUT_MS,
  });
}

/** Local engines check no credentials, but the client will not send a request without. */
const anyCredentials = { accessKeyId: "local", secretAccessKey: "local" };

function isOnThisMachine(url: string | undefined): boolean {
  return url !== undefined && ["localhost", "127.0.0.1", "[::1]"].includes(new URL(url).hostname);
}

function hasCredentials(env: Readonly<Record<string, string | undefined>>): boolean {
  return [env["AWS_ACCESS_KEY_ID"], env["AWS_PROFILE"]].some((value) => value);
}

function integer(min: number, max: number) {
  const error = `expected an integer from ${min} to ${max}`;
  return z
    .string()
    .regex(/^\d{1,15}$/, { error, abort: true })
    .transform(Number)
    .pipe(z.number().min(min, { error }).max(max, { error }));
}

function boolean() {
  const meanings = new Map([
    ["true", true],
    ["1", true],
    ["false", false],
    ["0", false],
  ]);
  return z.string().transform((text, context) => {
    const meaning = meanings.get(text.toLowerCase());
    if (meaning === undefined) context.addIssue("expected true or false");
    return meaning ?? z.NEVER;
  });
}

function oneOf<const Choice extends string>(...choices: Choice[]) {
  return z.enum(choices, { error: `expected ${choices.join(", ")}` });
}

/** Some of the choices, with commas between, or "none". */
function listOf<const Choice extends string>(...choices: Choice[]) {
  return z.string().transform((text, context): Choice[] => {
    const named = text === "none" ? [] : text.split(",").map((name) => name.trim());
    const known = choices.filter((choice) => named.includes(choice));
    if (known.length < named.length) context.addIssue(`expected some of ${choices.join(", ")}, or none`);
    return known;
  });
}
