import { setTimeout as sleep } from "node:timers/promises";
import {
  type AttributeValue,
  type DynamoDBClient,
  GetItemCommand,
  type GetItemCommandOutput,
  UpdateItemCommand,
  type UpdateItemCommandInput,
  type UpdateItemCommandOutput,
} from "@aws-sdk/client-dynamodb";
import { type CounterName, quote } from "../../counter/counter-name.ts";
import { CounterError, counterNotFound } from "../../counter/errors.ts";
import {
  allocate,
  type BuildRecord,
  type Claim,
  type CommitOptions,
  type Log,
  loweringRefused,
  maxValue,
  type Outcome,
  type RecordsPage,
  type RecordsQuery,
  type RetentionOptions,
  type SetOptions,
  type Store,
  type StoreContext,
} from "../../counter/store.ts";
import { isRecorded, refuseRecorded } from "../recorded-claims.ts";
import { createDynamodbClient, type DynamodbClientOptions } from "./dynamodb-client.ts";
import {
  explain,
  fateOf,
  isConditionFailure,
  isMisconfigured,
  isThrottling,
  type TableUse,
} from "./dynamodb-errors.ts";
import { DynamodbRecords } from "./dynamodb-records.ts";
import { ensureTable, type TableDefinition } from "./dynamodb-table.ts";

export interface DynamodbStoreOptions
  extends Omit<DynamodbClientOptions, "maxAttempts">,
    Partial<RetentionOptions> {
  /** The table (default `AtomicCounters`). */
  readonly table?: string;
  /** The attribute that is the table's key, a string: the counter's name (default `id`). */
  readonly keyAttribute?: string;
  /** The attribute with the last number issued (default `lastValue`). */
  readonly valueAttribute?: string;
  /** The table of keys and records (default: the name of the table and `Records`). */
  readonly recordsTable?: string;
  /** Create the tables, billed on demand, if they are missing (default false). */
  readonly createTable?: boolean;
  /** After how long a call gives up, in milliseconds (default 5,000). */
  readonly deadlineMs?: number;
}

/** Names that begin so are kept for the service itself. */
const reserved = "buildnumber:";

/** How often one request is sent at most, in all. */
const maxAttempts = 3;
/** How often a change that other processes got in the way of is tried. */
const maxRaces = 16;

/**
 * Opens the store that keeps each counter as one item of a DynamoDB table, as the older libraries laid it out.
 *
 * It asks once. An engine that does not answer is no error: the store refuses (`store-unavailable`) until it does. With
 * `createTable` the table is created as soon as it answers.
 *
 * @throws CounterError `store-unavailable` when somebody has to change something first: no table, no credentials, no
 *   rights, another key
 */
export async function openDynamodbStore(
  options: DynamodbStoreOptions,
  context: StoreContext,
): Promise<Store> {
  // The store sends requests again by itself, since only it knows which may be.
  const client = createDynamodbClient({ ...options, maxAttempts: 1 });
  const store = new DynamodbStore(client, options, context.log);
  try {
    await store.prepare();
  } catch (error) {
    await store.close();
    throw error;
  }
  return store;
}

class DynamodbStore implements Store {
  readonly description: string;
  readonly #client: DynamoDBClient;
  readonly #log: Log;
  readonly #table: string;
  readonly #keyAttribute: string;
  readonly #names: { readonly "#value": string };
  readonly #use: TableUse;
  readonly #records: DynamodbRecords;
  readonly #deadlineMs: number;
  readonly #createTable: boolean;
  /** Set once the table is there, or not ours to create. */
  #isPrepared = false;
  /** The refusal until then: one for all, so that the log says it once. */
  readonly #notPrepared: CounterError;
  readonly #closed = new AbortController();
  readonly #inHand = new Set<Promise<unknown>>();
  #closing: Promise<void> | undefined;

  constructor(client: DynamoDBClient, options: DynamodbStoreOptions, log: Log) {
    this.#client = client;
    this.#log = log;
    this.#table = options.table ?? "AtomicCounters";
    this.#keyAttribute = options.keyAttribute ?? "id";
    this.#names = { "#value": options.valueAttribute ?? "lastValue" };
    this.#use = {
      table: this.#table,
      settings: "DYNAMODB_TABLE",
      rights: "dynamodb:GetItem and dynamodb:UpdateItem",
      shape: "DYNAMODB_KEY_ATTRIBUTE (a string, the table's only key) and DYNAMODB_VALUE_ATTRIBUTE",
    };
    this.#records = new DynamodbRecords({
      client,
      table: options.recordsTable ?? `${this.#table}Records`,
      retentionMs: options.keyRetentionMs ?? 0,
      send: (request, options) => this.#send(request, options),
    });
    this.#deadlineMs = options.deadlineMs ?? 5_000;
    this.#createTable = options.createTable ?? false;
    const where = options.endpoint ?? options.region ?? "the default region";
    this.description = `DynamoDB table ${this.#table} at ${where}`;
    this.#notPrepared = new CounterError(
      "store-unavailable",
      `expected the table "${this.#table}", but DynamoDB does not answer yet`,
    );
  }

  /** Makes the table ready; when the engine does not answer, goes on trying behind the scenes. */
  async prepare(): Promise<void> {
    try {
      await this.#prepareOnce();
    } catch (error) {
      if (needsChange(error as CounterError)) throw error;
      this.#log.warn({ store: this.description, err: error }, "expected DynamoDB to answer, but it does not");
      if (!this.#isPrepared) void this.#prepareLater();
    }
  }

  /** @throws CounterError `store-unavailable` */
  async #prepareOnce(): Promise<void> {
    if (this.#createTable) {
      const definition = {
        TableName: this.#table,
        AttributeDefinitions: [{ AttributeName: this.#keyAttribute, AttributeType: "S" }],
        KeySchema: [{ AttributeName: this.#keyAttribute, KeyType: "HASH" }],
      } satisfies TableDefinition;
      await ensureTable(this.#client, definition, { deadlineMs: this.#deadlineMs }).catch((error: Error) => {
        throw this.#explain(error, false, this.#use);
      });
      await this.#createRecords();
    }
    this.#isPrepared = true;
    await this.check();
  }

  /** Whatever is wrong with the table of records is no matter of plain requests. */
  async #createRecords(): Promise<void> {
    try {
      await this.#records.create({ deadlineMs: this.#deadlineMs });
    } catch (error) {
      // Local engines do not know the expiry of items: the records stay there, and are not shown.
      if ((error as Error).name === "UnknownOperationException") return;
      this.#log.warn(
        { store: this.description, err: error },
        "expected to create the table of keys and records, whose old items expire, but could not",
      );
    }
  }

  async #prepareLater(): Promise<void> {
    for (let attempt = 0; !this.#closed.signal.aborted && !this.#isPrepared; attempt += 1) {
      try {
        await sleep(Math.min(100 * 2 ** Math.min(attempt, 6), 5_000), undefined, {
          signal: this.#closed.signal,
        });
        await this.#prepareOnce();
        this.#log.info({ store: this.description }, "DynamoDB answers again");
      } catch (error) {
        const { message } = error as CounterError;
        if (needsChange(error as CounterError))
          this.#log.error({ store: this.description, err: error }, message);
      }
    }
  }

  async commit(
    name: CounterName,
    claims: readonly Claim[],
    { create }: CommitOptions,
  ): Promise<readonly Outcome[]> {
    checkName(name);
    if (!claims.some(isRecorded)) return this.#take(name, claims, create);
    let known: Map<string, BuildRecord>;
    try {
      known = await this.#records.find(name, new Set(claims.flatMap(({ key }) => key ?? [])));
    } catch (error) {
      return refuseRecorded(claims, error as CounterError, (plain) => this.#take(name, plain, create));
    }
    return this.#records.keep(name, await this.#take(name, claims, create, known));
  }

  /** Takes the numbers of a batch. */
  async #take(
    name: CounterName,
    claims: readonly Claim[],
    create: boolean,
    known: ReadonlyMap<string, BuildRecord> = new Map(),
  ): Promise<readonly Outcome[]> {
    let total = 0;
    // The last number from which all claims fit.
    let limit = maxValue;
    const keys = new Set(known.keys());
    for (const { by, max = maxValue, key } of claims) {
      if (key !== undefined && keys.has(key)) continue;
      if (key !== undefined) keys.add(key);
      total = Math.min(total + by, maxValue + 1);
      limit = Math.min(limit, max - total);
    }
    if (total === 0) return allocate(0, claims, known).outcomes;
    // The usual way: one ADD for the whole batch, on the condition that all of it fits.
    if (limit >= 0) {
      const fits = "#value BETWEEN :zero AND :limit";
      const next = await this.#update(
        name,
        {
          UpdateExpression: "ADD #value :total",
          ConditionExpression: create ? `attribute_not_exists(#value) OR ${fits}` : fits,
          ExpressionAttributeValues: numbers({ ":total": total, ":zero": 0, ":limit": limit }),
          ReturnValues: "UPDATED_NEW",
        },
        { sendsUnknownAgain: true },
      );
      if (next !== undefined)
        return this.#share(name, next.Attributes?.[this.#names["#value"]], total, claims, known);
    }
    return this.#commitWhatFits(name, claims, create, known);
  }

  async peek(name: CounterName): Promise<number | undefined> {
    checkName(name);
    const key = { [this.#keyAttribute]: { S: name } };
    const { Item } = await this.#send<GetItemCommandOutput>(
      (abortSignal) =>
        this.#client.send(
          new GetItemCommand({
            TableName: this.#table,
            Key: key,
            ConsistentRead: true,
            ProjectionExpression: "#value",
            ExpressionAttributeNames: this.#names,
          }),
          { abortSignal },
        ),
      { sendsUnknownAgain: true, consumes: false, use: this.#use },
    );
    const value = Item?.[this.#names["#value"]];
    if (value === undefined) return undefined;
    const last = parseInteger(value);
    if (last === undefined) throw this.#unreadable(name, value);
    return last;
  }

  async record(name: CounterName, value: number): Promise<BuildRecord | undefined> {
    return this.#records.record(name, value);
  }

  async records(name: CounterName, query: RecordsQuery): Promise<RecordsPage> {
    return this.#records.records(name, query);
  }

  async set(name: CounterName, value: number, { force }: SetOptions): Promise<void> {
    for (let race = 0; race < maxRaces; race += 1) {
      const last = await this.peek(name);
      if (last !== undefined && value < last && !force) throw loweringRefused(last, value);
      // Before the value: afterwards, others might have put new ones there already.
      if (force) await this.#records.removeAbove(name, value);
      const done = await this.#update(
        name,
        {
          UpdateExpression: "SET #value = :value",
          ConditionExpression: "attribute_not_exists(#value) OR #value BETWEEN :zero AND :limit",
          ExpressionAttributeValues: numbers({
            ":value": value,
            ":zero": 0,
            ":limit": force ? maxValue : value,
          }),
        },
        // Sent again after others counted on, it would lower the counter a second time.
        { sendsUnknownAgain: false },
      );
      if (done !== undefined) return;
    }
    throw this.#tooManyRaces();
  }

  /** Asks for a write on a condition that no item meets, so it needs the same rights as a commit, and writes nothing. */
  async check(): Promise<void> {
    await this.#update(
      `${reserved}check` as CounterName,
      {
        UpdateExpression: "SET #value = #value",
        ConditionExpression: "attribute_exists(#key)",
        ExpressionAttributeNames: { ...this.#names, "#key": this.#keyAttribute },
      },
      { sendsUnknownAgain: true, consumes: false },
    );
  }

  close(): Promise<void> {
    this.#closing ??= this.#end();
    return this.#closing;
  }

  async #end(): Promise<void> {
    await Promise.allSettled(this.#inHand);
    this.#closed.abort();
    this.#client.destroy();
  }

  /** Near the end of the range: reads the last number, shares out what fits, and swaps the value if it is still the same. */
  async #commitWhatFits(
    name: CounterName,
    claims: readonly Claim[],
    create: boolean,
    known: ReadonlyMap<string, BuildRecord>,
  ): Promise<Outcome[]> {
    for (let race = 0; race < maxRaces; race += 1) {
      const last = await this.peek(name);
      if (last === undefined && !create) throw counterNotFound();
      const { next, outcomes } = allocate(last ?? 0, claims, known);
      if (next === (last ?? 0)) return outcomes;
      const done = await this.#update(
        name,
        {
          UpdateExpression: "SET #value = :next",
          ConditionExpression: last === undefined ? "attribute_not_exists(#value)" : "#value = :last",
          ExpressionAttributeValues: numbers({
            ":next": next,
            ...(last === undefined ? {} : { ":last": last }),
          }),
        },
        { sendsUnknownAgain: false },
      );
      if (done !== undefined) return outcomes;
    }
    throw this.#tooManyRaces();
  }

  async #share(
    name: CounterName,
    stored: AttributeValue | undefined,
    total: number,
    claims: readonly Claim[],
    known: ReadonlyMap<string, BuildRecord>,
  ): Promise<Outcome[]> {
    const next = parseInteger(stored);
    if (next !== undefined) return allocate(next - total, claims, known).outcomes;
    // A fraction below the end met the condition, which cannot ask for integers: take back what was added. Nobody gets
    // numbers of such a counter, so that nothing comes between.
    await this.#update(
      name,
      { UpdateExpression: "ADD #value :back", ExpressionAttributeValues: numbers({ ":back": -total }) },
      { sendsUnknownAgain: false },
    );
    throw this.#unreadable(name, stored);
  }

  /**
   * Sends an update of one counter's item.
   *
   * @returns undefined when its condition did not hold
   */
  async #update(
    name: CounterName,
    input: Omit<UpdateItemCommandInput, "TableName" | "Key">,
    { sendsUnknownAgain, consumes = true }: { sendsUnknownAgain: boolean; consumes?: boolean },
  ): Promise<UpdateItemCommandOutput | undefined> {
    const command = {
      TableName: this.#table,
      Key: { [this.#keyAttribute]: { S: name } },
      ExpressionAttributeNames: this.#names,
      ...input,
    };
    try {
      return await this.#send(
        (abortSignal) => this.#client.send(new UpdateItemCommand(command), { abortSignal }),
        { sendsUnknownAgain, consumes, use: this.#use },
      );
    } catch (error) {
      if (isConditionFailure(error as Error)) return undefined;
      throw error;
    }
  }

  /**
   * Sends a request within the deadline, up to three times: again when it was certainly not carried out (throttled, or no
   * connection), and where `sendsUnknownAgain` allows it also when nobody knows, which may skip numbers.
   */
  async #send<T>(
    request: (abortSignal: AbortSignal) => Promise<T>,
    options: { sendsUnknownAgain: boolean; consumes: boolean; use: TableUse },
  ): Promise<T> {
    if (this.#closed.signal.aborted)
      throw new CounterError("store-unavailable", "expected an open store, but it is closed");
    if (!this.#isPrepared) throw this.#notPrepared;
    const sent = this.#attempt(request, options);
    this.#inHand.add(sent);
    try {
      return await sent;
    } finally {
      this.#inHand.delete(sent);
    }
  }

  async #attempt<T>(
    request: (abortSignal: AbortSignal) => Promise<T>,
    { sendsUnknownAgain, consumes, use }: { sendsUnknownAgain: boolean; consumes: boolean; use: TableUse },
  ): Promise<T> {
    const deadline = AbortSignal.timeout(this.#deadlineMs);
    let consumed = false;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await request(deadline);
      } catch (cause) {
        const error = cause as Error;
        const isUnknown = fateOf(error) === "unknown";
        if (isConditionFailure(error)) throw error;
        consumed ||= consumes && isUnknown;
        const mayGoAgain = isUnknown ? sendsUnknownAgain : isThrottling(error) || !isMisconfigured(error);
        if (attempt === maxAttempts || !mayGoAgain || deadline.aborted)
          throw this.#explain(error, consumed, use);
        await sleep(25 * 2 ** attempt * (0.5 + Math.random() / 2));
      }
    }
  }

  #explain(error: Error, consumed: boolean, use: TableUse): CounterError {
    return error instanceof CounterError ? error : explain(error, { use, consumed });
  }

  #unreadable(name: CounterName, value: AttributeValue | undefined): CounterError {
    const attribute = this.#names["#value"];
    return new CounterError(
      "counter-unreadable",
      `expected an integer (N) from 0 to ${maxValue} in the attribute "${attribute}" of ${quote(name)}, got ${quote(JSON.stringify(value))}`,
    );
  }

  #tooManyRaces(): CounterError {
    return new CounterError(
      "store-unavailable",
      `expected to be the only one at the counter once in ${maxRaces} times`,
    );
  }
}

/** Whether the failure is one that only somebody's change can end. */
function needsChange({ cause }: CounterError): boolean {
  return cause instanceof Error && isMisconfigured(cause);
}

function checkName(name: CounterName): void {
  if (!name.startsWith(reserved)) return;
  throw new CounterError(
    "invalid-counter-id",
    `expected a name that does not begin with "${reserved}", which is kept for the service itself, got ${quote(name)}`,
  );
}

function numbers(values: Readonly<Record<string, number>>): Record<string, AttributeValue> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, { N: String(value) }]));
}

/** The integer, 0 … 2^53−1, that an attribute holds; undefined when it holds anything else. */
function parseInteger(value: AttributeValue | undefined): number | undefined {
  const text = value?.N;
  if (text === undefined || !/^\d{1,16}$/.test(text)) return undefined;
  const number = Number(text);
  return number <= maxValue ? number : undefined;
}
