import { setTimeout as sleep } from "node:timers/promises";
import {
  type AttributeValue,
  BatchGetItemCommand,
  type BatchGetItemCommandOutput,
  BatchWriteItemCommand,
  type BatchWriteItemCommandOutput,
  type DynamoDBClient,
  PutItemCommand,
  QueryCommand,
  type QueryCommandInput,
  type QueryCommandOutput,
  UpdateTimeToLiveCommand,
  type WriteRequest,
} from "@aws-sdk/client-dynamodb";
import { type CounterName, quote } from "../../counter/counter-name.ts";
import { CounterError } from "../../counter/errors.ts";
import {
  type BuildRecord,
  maxValue,
  type Outcome,
  type RecordsPage,
  type RecordsQuery,
} from "../../counter/store.ts";
import { searchRecords } from "../search-records.ts";
import { isConditionFailure, type TableUse } from "./dynamodb-errors.ts";
import { ensureTable, type TableDefinition } from "./dynamodb-table.ts";

/** How the store sends a request: within the deadline, and again where that is allowed. */
export type Send = <T>(
  request: (abortSignal: AbortSignal) => Promise<T>,
  options: { sendsUnknownAgain: boolean; consumes: boolean; use: TableUse },
) => Promise<T>;

export interface DynamodbRecordsOptions {
  readonly client: DynamoDBClient;
  readonly table: string;
  /** How long keys and records are kept; 0 for ever. */
  readonly retentionMs: number;
  readonly send: Send;
}

type Item = Record<string, AttributeValue>;

/** The index by number of one counter's records. */
const index = "byValue";
/** How often a key that comes and goes, or what the engine left over of a batch, is tried. */
const maxRounds = 16;
/** How many requests of one batch are under way at once. */
const maxAtOnce = 64;

const names = { "#counter": "counter", "#value": "value" };

/**
 * The second table: what is remembered of numbers. A record with a key is one item, so that key and record stand and fall
 * together.
 *
 * | attribute  | |
 * | ---------- | --- |
 * | `counter`  | S, hash key: the counter's name |
 * | `entry`    | S, range key: `key:` and the idempotency key, or `number:` and the number of a record without key |
 * | `value`    | N: the number; range key of the local index `byValue` |
 * | `at`       | N: when it was put, in milliseconds since 1970, by the clock of the instance that put it |
 * | `metadata` | S: JSON, if there is any |
 * | `expires`  | N: when DynamoDB may delete the item, in seconds since 1970 (TTL), if ever |
 *
 * DynamoDB deletes late, days maybe, so every reader looks at `at` itself, and an item that is too old can be replaced.
 */
export class DynamodbRecords {
  readonly #client: DynamoDBClient;
  readonly #table: string;
  readonly #retentionMs: number;
  readonly #send: Send;
  readonly #use: TableUse;
  /** Whether the table was there once: then a claim without key can take its number before it is asked again. */
  #isFound = false;

  constructor({ client, table, retentionMs, send }: DynamodbRecordsOptions) {
    this.#client = client;
    this.#table = table;
    this.#retentionMs = retentionMs;
    this.#send = send;
    this.#use = {
      table,
      settings: "DYNAMODB_RECORDS_TABLE",
      rights: "dynamodb:BatchGetItem, dynamodb:BatchWriteItem, dynamodb:PutItem and dynamodb:Query",
      shape: `"counter" and "entry" (strings), with the index "${index}" on "value" (a number)`,
    };
  }

  /**
   * Creates the table if there is none, and has DynamoDB delete what has expired.
   *
   * @param deadlineMs after how long one request gives up, in milliseconds
   * @throws what the SDK throws
   */
  async create({ deadlineMs }: { deadlineMs: number }): Promise<void> {
    const definition = {
      TableName: this.#table,
      AttributeDefinitions: [
        { AttributeName: "counter", AttributeType: "S" },
        { AttributeName: "entry", AttributeType: "S" },
        { AttributeName: "value", AttributeType: "N" },
      ],
      KeySchema: [
        { AttributeName: "counter", KeyType: "HASH" },
        { AttributeName: "entry", KeyType: "RANGE" },
      ],
      LocalSecondaryIndexes: [
        {
          IndexName: index,
          KeySchema: [
            { AttributeName: "counter", KeyType: "HASH" },
            { AttributeName: "value", KeyType: "RANGE" },
          ],
          Projection: { ProjectionType: "ALL" },
        },
      ],
    } satisfies TableDefinition;
    const isCreated = await ensureTable(this.#client, definition, { deadlineMs });
    if (!isCreated) return;
    const specification = { Enabled: true, AttributeName: "expires" };
    await this.#client.send(
      new UpdateTimeToLiveCommand({ TableName: this.#table, TimeToLiveSpecification: specification }),
      { abortSignal: AbortSignal.timeout(deadlineMs) },
    );
  }

  /**
   * Finds the records of keys. Fails when there is no table, also when there are no keys to look for.
   *
   * @returns those that are young enough, by key
   */
  async find(name: CounterName, keys: ReadonlySet<string>): Promise<Map<string, BuildRecord>> {
    const entries = [...keys].map(keyEntry);
    if (entries.length === 0 && !this.#isFound) entries.push(numberEntry(0));
    const found = new Map<string, BuildRecord>();
    const now = Date.now();
    await inTurn(chunks(entries, 100), async (chunk) => {
      let wanted = chunk.map((entry) => ({ counter: { S: name }, entry: { S: entry } }) as Item);
      for (let round = 0; wanted.length > 0; round += 1) {
        await this.#pause(round);
        const { Responses, UnprocessedKeys } = await this.#ask<BatchGetItemCommandOutput>((abortSignal) =>
          this.#client.send(
            new BatchGetItemCommand({
              RequestItems: { [this.#table]: { Keys: wanted, ConsistentRead: true } },
            }),
            { abortSignal },
          ),
        );
        for (const item of Responses?.[this.#table] ?? []) {
          const record = parseRecord(item);
          if (this.#isKept(record, now)) found.set(record.key as string, record);
        }
        wanted = UnprocessedKeys?.[this.#table]?.Keys ?? [];
      }
    });
    this.#isFound = true;
    return found;
  }

  /**
   * Puts the new records of a batch, the first of each key winning. A claim that lost its key to another instance becomes
   * a replay, and its own number is skipped; one whose record cannot be put gets the error.
   */
  async keep(name: CounterName, outcomes: readonly Outcome[]): Promise<Outcome[]> {
    const fresh = outcomes.flatMap((outcome) =>
      "record" in outcome && outcome.record && !outcome.isReplay ? [outcome.record] : [],
    );
    const standing = new Map<number, BuildRecord | CounterError>();
    const keyed = fresh.filter(({ key }) => key !== undefined).map((record) => [record]);
    const others = chunks(
      fresh.filter(({ key }) => key === undefined),
      25,
    );
    await inTurn([...keyed, ...others], async (records) => {
      const [first] = records as [BuildRecord];
      const result = await (first.key === undefined
        ? this.#putAll(name, records)
        : this.#put(name, first, first.key)
      ).catch(consumed);
      for (const record of records) standing.set(record.value, result ?? record);
    });
    return outcomes.map((outcome) => {
      const stands = "value" in outcome ? standing.get(outcome.value) : undefined;
      if (stands === undefined || !("value" in outcome)) return outcome;
      if (stands instanceof CounterError) return { error: stands };
      // Also ours: a put whose answer was lost, and which found itself when it was sent again.
      return stands.value === outcome.value
        ? outcome
        : { value: stands.value, record: stands, isReplay: true };
    });
  }

  async record(name: CounterName, value: number): Promise<BuildRecord | undefined> {
    const records = await this.#query(name, "#value = :value", value, 1);
    const now = Date.now();
    return records.find((record) => this.#isKept(record, now));
  }

  async records(name: CounterName, query: RecordsQuery): Promise<RecordsPage> {
    const now = Date.now();
    const { key } = query;
    return searchRecords(
      query,
      async (before = maxValue + 1, count) => {
        if (key === undefined) return this.#query(name, "#value < :value", before, count);
        const record = (await this.find(name, new Set([key]))).get(key);
        return record && record.value < before ? [record] : [];
      },
      (record) => this.#isKept(record, now),
    );
  }

  /** Removes all keys and records above a number. Without the table there are none. */
  async removeAbove(name: CounterName, value: number): Promise<void> {
    try {
      for (;;) {
        const input = this.#range(name, "#value > :value", value, 1_000);
        const { Items = [] } = await this.#ask<QueryCommandOutput>((abortSignal) =>
          this.#client.send(
            new QueryCommand({
              ...input,
              ProjectionExpression: "#counter, #entry",
              ExpressionAttributeNames: { ...names, "#entry": "entry" },
            }),
            { abortSignal },
          ),
        );
        if (Items.length === 0) return;
        const requests = Items.map((item) => ({ DeleteRequest: { Key: item } }));
        await inTurn(chunks(requests, 25), (chunk) => this.#write(chunk)).catch((error) => {
          throw consumed(error);
        });
      }
    } catch (error) {
      const { cause } = error as CounterError;
      if ((cause as Error | undefined)?.name !== "ResourceNotFoundException") throw error;
    }
  }

  /** @returns the record that has the key now: this one, or that of another instance which was first */
  async #put(name: CounterName, record: BuildRecord, key: string): Promise<BuildRecord> {
    const isFree = "attribute_not_exists(#entry)";
    for (let round = 0; round < maxRounds; round += 1) {
      const oldest = Date.now() - this.#retentionMs;
      const command = new PutItemCommand({
        TableName: this.#table,
        Item: this.#item(name, record),
        ...(this.#retentionMs === 0
          ? { ConditionExpression: isFree, ExpressionAttributeNames: { "#entry": "entry" } }
          : {
              ConditionExpression: `${isFree} OR #at <= :oldest`,
              ExpressionAttributeNames: { "#entry": "entry", "#at": "at" },
              ExpressionAttributeValues: { ":oldest": { N: String(oldest) } },
            }),
      });
      try {
        await this.#ask((abortSignal) => this.#client.send(command, { abortSignal }));
        return record;
      } catch (error) {
        if (!isConditionFailure(error as Error)) throw error;
      }
      const winner = (await this.find(name, new Set([key]))).get(key);
      if (winner) return winner;
    }
    throw new CounterError(
      "store-unavailable",
      `expected a key that stays or goes, got neither in ${maxRounds} times`,
    );
  }

  async #putAll(name: CounterName, records: readonly BuildRecord[]): Promise<undefined> {
    await this.#write(records.map((record) => ({ PutRequest: { Item: this.#item(name, record) } })));
  }

  /** @param requests up to 25 */
  async #write(requests: WriteRequest[]): Promise<void> {
    let wanted = requests;
    for (let round = 0; wanted.length > 0; round += 1) {
      await this.#pause(round);
      const { UnprocessedItems } = await this.#ask<BatchWriteItemCommandOutput>((abortSignal) =>
        this.#client.send(new BatchWriteItemCommand({ RequestItems: { [this.#table]: wanted } }), {
          abortSignal,
        }),
      );
      wanted = UnprocessedItems?.[this.#table] ?? [];
    }
  }

  /** Before what a throttled engine left over is sent again. */
  async #pause(round: number): Promise<void> {
    if (round === maxRounds)
      throw new CounterError(
        "store-unavailable",
        "expected DynamoDB to take the whole batch, but it is throttled",
      );
    if (round > 0) await sleep(Math.min(25 * 2 ** round, 500) * (0.5 + Math.random() / 2));
  }

  async #query(name: CounterName, range: string, value: number, count: number): Promise<BuildRecord[]> {
    const records: BuildRecord[] = [];
    let start: Item | undefined;
    do {
      const input = this.#range(name, range, value, count - records.length);
      const page: QueryCommandOutput = await this.#ask((abortSignal) =>
        this.#client.send(new QueryCommand({ ...input, ...(start && { ExclusiveStartKey: start }) }), {
          abortSignal,
        }),
      );
      records.push(...(page.Items ?? []).map(parseRecord));
      start = page.LastEvaluatedKey;
    } while (start !== undefined && records.length < count);
    return records;
  }

  #range(name: CounterName, range: string, value: number, count: number): QueryCommandInput {
    return {
      TableName: this.#table,
      IndexName: index,
      KeyConditionExpression: `#counter = :counter AND ${range}`,
      ExpressionAttributeNames: names,
      ExpressionAttributeValues: { ":counter": { S: name }, ":value": { N: String(value) } },
      ScanIndexForward: false,
      ConsistentRead: true,
      Limit: count,
    };
  }

  /** Sends a request that may be sent again whatever became of it: every one of this table may. */
  #ask<T>(request: (abortSignal: AbortSignal) => Promise<T>): Promise<T> {
    return this.#send(request, { sendsUnknownAgain: true, consumes: false, use: this.#use });
  }

  #item(name: CounterName, { value, atMs, key, metadata }: BuildRecord): Item {
    const expires = Math.ceil((atMs + this.#retentionMs) / 1_000);
    return {
      counter: { S: name },
      entry: { S: key === undefined ? numberEntry(value) : keyEntry(key) },
      value: { N: String(value) },
      at: { N: String(atMs) },
      ...(metadata && { metadata: { S: JSON.stringify(metadata) } }),
      ...(this.#retentionMs > 0 && { expires: { N: String(expires) } }),
    };
  }

  #isKept({ atMs }: BuildRecord, now: number): boolean {
    return this.#retentionMs === 0 || atMs + this.#retentionMs > now;
  }
}

const keyEntry = (key: string) => `key:${key}`;
const numberEntry = (value: number) => `number:${value}`;

function parseRecord(item: Item): BuildRecord {
  const [value, atMs] = [item["value"]?.N, item["at"]?.N].map((text) =>
    /^\d{1,16}$/.test(text ?? "") ? Number(text) : 0,
  );
  const [, kind, key] = /^(key|number):(.+)$/s.exec(item["entry"]?.S ?? "") ?? [];
  try {
    if (!value || !atMs || value > maxValue || key === undefined) throw new Error("not a record");
    const json = item["metadata"]?.S;
    return {
      value,
      atMs,
      ...(kind === "key" && { key }),
      ...(json !== undefined && { metadata: JSON.parse(json) }),
    };
  } catch (cause) {
    throw new CounterError(
      "counter-unreadable",
      `expected a record with entry, value and at, got ${quote(JSON.stringify(item))}`,
      { cause },
    );
  }
}

/** The error of a claim whose number is taken already. */
function consumed(error: CounterError): CounterError {
  return new CounterError(error.code, error.message, { consumed: true, cause: error });
}

function chunks<T>(items: readonly T[], size: number): T[][] {
  const starts = Array.from({ length: Math.ceil(items.length / size) }, (_, at) => at * size);
  return starts.map((start) => items.slice(start, start + size));
}

/** Does the work for every item, for `maxAtOnce` of them at a time. */
async function inTurn<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const turns = items.values();
  const workers = Array.from({ length: Math.min(maxAtOnce, items.length) }, async () => {
    for (const item of turns) await work(item);
  });
  await Promise.all(workers);
}
