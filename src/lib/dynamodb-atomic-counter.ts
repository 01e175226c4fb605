/**
 * `buildnumber/dynamodb-atomic-counter`: takes the place of the package dynamodb-atomic-counter (serg-io), with its interface,
 * on the same tables. Concurrent increments of one counter share UpdateItem requests.
 *
 * Requests keep the legacy form of the original (`AttributeUpdates`, `AttributesToGet`), so that what callers merge into
 * them by `options.dynamodb` (`Expected`, …) goes on to fit.
 */
import {
  type DynamoDBClient,
  GetItemCommand,
  type GetItemCommandInput,
  UpdateItemCommand,
  type UpdateItemCommandInput,
} from "@aws-sdk/client-dynamodb";
import { CombiningQueue } from "../counter/combining-queue.ts";
import { createDynamodbClient, type DynamodbClientOptions } from "../store/dynamodb/dynamodb-client.ts";
import { CounterPromise } from "./counter-promise.ts";
import { isWhole, minus } from "./decimal.ts";

export { CounterPromise };

/** What of the configuration of the AWS SDK v2 (`AWS.Config`) has a meaning here. */
export interface ConfigOptions {
  region?: string;
  /** A URL, with or without scheme, or an `AWS.Endpoint`. */
  endpoint?: string | { readonly href: string };
  accessKeyId?: string;
  secretAccessKey?: string;
  sessionToken?: string;
  /** Credentials, or what provides them; `AWS.Credentials` will do. */
  credentials?: NonNullable<DynamodbClientOptions["credentials"]>;
  /** How often a failed request is sent again (default 2). An increment that is sent again may skip numbers. */
  maxRetries?: number;
  /** Whether an endpoint without a scheme is one of HTTPS (default true). */
  sslEnabled?: boolean;
  /** The same for DynamoDB alone. */
  dynamodb?: Omit<ConfigOptions, "dynamodb">;
}

class Config implements ConfigOptions {
  declare region?: string;
  declare endpoint?: string | { readonly href: string };
  declare accessKeyId?: string;
  declare secretAccessKey?: string;
  declare sessionToken?: string;
  declare credentials?: NonNullable<DynamodbClientOptions["credentials"]>;
  declare maxRetries?: number;
  declare sslEnabled?: boolean;
  declare dynamodb?: Omit<ConfigOptions, "dynamodb">;

  /** Sets options; those not named stay as they are. */
  update(options: ConfigOptions & Readonly<Record<string, unknown>>): void {
    Object.assign(this, options);
  }
}

/** The configuration, read when the first request is made. What is not set is found as everywhere in AWS. */
export const config = new Config();

export interface RequestOptions<Parameters, Context = unknown> {
  /** The table (default `AtomicCounters`). */
  tableName?: string;
  /** The attribute with the counter's name (default `id`). */
  keyAttribute?: string;
  /** The attribute with the last value (default `lastValue`). */
  countAttribute?: string;
  success?: (this: Context, value: number) => unknown;
  error?: (this: Context, error: unknown) => unknown;
  /** Called after success or error, with the value or the error. */
  complete?: (this: Context, valueOrError: unknown) => unknown;
  /** What callbacks get as `this`. */
  context?: Context;
  /** More parameters of the request; they take the place of ours of the same name. */
  dynamodb?: Partial<Parameters>;
}

export interface IncrementOptions<Context = unknown> extends RequestOptions<UpdateItemCommandInput, Context> {
  /** By how much (default 1; 0 counts as unset). */
  increment?: number;
}

export type GetLastValueOptions<Context = unknown> = RequestOptions<GetItemCommandInput, Context>;

/** One call's part in a request. */
interface Claim {
  readonly parameters: UpdateItemCommandInput;
  readonly countAttribute: string;
  readonly by: number;
}

const queue = new CombiningQueue<string, Claim, number>(commit);
let requestsAlone = 0;

/**
 * Increments a counter. Concurrent calls all get values of their own; those that are alike but for their callbacks, and have no
 * `dynamodb` parameters, share requests.
 *
 * @returns the new value, cut to an integer
 * @throws (by the promise) TypeError for a counter without a name; what the AWS SDK throws; RangeError for a value that is no
 *   number, or above 2^53−1
 */
export function increment<Context = unknown>(
  counterId: string,
  options?: IncrementOptions<Context>,
): CounterPromise<number, Context> {
  return answer(options, async () => {
    const { tableName, keyAttribute, countAttribute, by } = withDefaults(options);
    const parameters: UpdateItemCommandInput = {
      Key: keyOf(counterId, keyAttribute),
      AttributeUpdates: { [countAttribute]: { Action: "ADD", Value: { N: String(by) } } },
      ReturnValues: "UPDATED_NEW",
      TableName: tableName,
      ...options?.dynamodb,
    };
    const isAlone = options?.dynamodb !== undefined || !isWhole(by);
    const key = isAlone ? `alone ${requestsAlone++}` : JSON.stringify(parameters);
    return queue.add(key, { parameters, countAttribute, by });
  });
}

/**
 * The last value of a counter, 0 when there is none.
 *
 * @returns the value, cut to an integer
 * @throws (by the promise) as `increment`
 */
export function getLastValue<Context = unknown>(
  counterId: string,
  options?: GetLastValueOptions<Context>,
): CounterPromise<number, Context> {
  return answer(options, async () => {
    const { tableName, keyAttribute, countAttribute } = withDefaults(options);
    const { Item } = await client().send(
      new GetItemCommand({
        Key: keyOf(counterId, keyAttribute),
        AttributesToGet: [countAttribute],
        TableName: tableName,
        ...options?.dynamodb,
      }),
    );
    const value = Item?.[countAttribute];
    return value === undefined ? 0 : toValue(value.N, 0n);
  });
}

/** One request for all claims, which are alike: each gets its part of what was added. */
async function commit(_key: string, claims: readonly Claim[]): Promise<number[]> {
  const { parameters, countAttribute, by } = claims[0] as Claim;
  const isShared = claims.length > 1;
  const total = isShared ? String(BigInt(by) * BigInt(claims.length)) : String(by);
  const { Attributes } = await client().send(
    new UpdateItemCommand(
      isShared
        ? { ...parameters, AttributeUpdates: { [countAttribute]: { Action: "ADD", Value: { N: total } } } }
        : parameters,
    ),
  );
  const last = Attributes?.[countAttribute]?.N;
  return claims.map((_claim, at) =>
    toValue(last, isShared ? BigInt(by) * BigInt(claims.length - 1 - at) : 0n),
  );
}

let made: DynamoDBClient | undefined;

function client(): DynamoDBClient {
  made ??= createDynamodbClient(toClientOptions({ ...config, ...config.dynamodb }));
  return made;
}

function toClientOptions(options: ConfigOptions): DynamodbClientOptions {
  const { region, endpoint, accessKeyId, secretAccessKey, sessionToken, sslEnabled, maxRetries } = options;
  const hasKeys = accessKeyId !== undefined && secretAccessKey !== undefined;
  const credentials =
    options.credentials ??
    (hasKeys ? { accessKeyId, secretAccessKey, ...(sessionToken && { sessionToken }) } : undefined);
  const url = typeof endpoint === "object" ? endpoint.href : endpoint;
  const scheme = sslEnabled === false ? "http" : "https";
  return {
    ...(region && { region }),
    ...(url && { endpoint: /^https?:\/\//.test(url) ? url : `${scheme}://${url}` }),
    ...(credentials && { credentials }),
    ...(maxRetries !== undefined && { maxAttempts: maxRetries + 1 }),
  };
}

function answer<Context>(
  options: RequestOptions<unknown, Context> | undefined,
  ask: () => Promise<number>,
): CounterPromise<number, Context> {
  return CounterPromise.of(ask(), options?.context)
    .done(options?.success)
    .fail(options?.error)
    .always(options?.complete);
}

function withDefaults(
  options: Pick<IncrementOptions, "tableName" | "keyAttribute" | "countAttribute" | "increment"> | undefined,
) {
  return {
    tableName: options?.tableName || "AtomicCounters",
    keyAttribute: options?.keyAttribute || "id",
    countAttribute: options?.countAttribute || "lastValue",
    by: options?.increment || 1,
  };
}

function keyOf(counterId: unknown, keyAttribute: string): Record<string, { S: string }> {
  if (typeof counterId === "string" && counterId !== "") return { [keyAttribute]: { S: counterId } };
  throw new TypeError(`expected the name of a counter, got ${JSON.stringify(counterId)}`);
}

function toValue(last: string | undefined, later: bigint): number {
  const value = Math.trunc(last === undefined ? Number.NaN : minus(last, later));
  if (isWhole(value)) return value;
  throw new RangeError(
    `expected a value from -(2^53-1) to 2^53-1, got ${last === undefined ? "no number" : last}`,
  );
}
