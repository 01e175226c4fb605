/**
 * `buildnumber/distributed-counter`: the class of the Python package distributed_counter (wontonst) for TypeScript, on the
 * tables that it makes: the key attribute `key` (a string), and `counter_value` (a number, fractions included). Programs in both
 * languages may work on one table. Concurrent changes of one counter share UpdateItem requests.
 */
import {
  CreateTableCommand,
  type DynamoDBClient,
  type DynamoDBClientConfig,
  GetItemCommand,
  PutItemCommand,
  UpdateItemCommand,
  waitUntilTableExists,
} from "@aws-sdk/client-dynamodb";
import { CombiningQueue } from "../counter/combining-queue.ts";
import { CounterError } from "../counter/errors.ts";
import { createDynamodbClient } from "../store/dynamodb/dynamodb-client.ts";
import { isWhole, minus } from "./decimal.ts";

export { CounterError };

/** Where DynamoDB is and who asks. What is not set is found as everywhere in AWS. */
export interface DistributedCounterOptions {
  readonly region?: string;
  /** Another engine than Amazon's, as `http://127.0.0.1:8000`. */
  readonly endpointUrl?: string;
  readonly credentials?: NonNullable<DynamoDBClientConfig["credentials"]>;
  /** Any other option of the AWS SDK's client. */
  readonly config?: DynamoDBClientConfig;
}

export interface CreateTableOptions {
  /** Provisioned reads a second (default 1). */
  readonly readCapacityUnits?: number;
  /** Provisioned writes a second (default 1). */
  readonly writeCapacityUnits?: number;
  /** Whether a table that exists already is an error (default false). */
  readonly raiseCreatedException?: boolean;
}

const keyAttribute = "key";
const names = { "#value": "counter_value" };
const maxWaitSeconds = 300;

/** What is changed: one counter, with or without a value to start from. */
interface Target {
  readonly key: string;
  readonly initial: number | undefined;
}

export class DistributedCounter {
  readonly #table: string;
  readonly #client: DynamoDBClient;
  readonly #queue = new CombiningQueue<string, number, number>((target, amounts) =>
    this.#change(JSON.parse(target), amounts),
  );
  /** Set by `createTable`; the next call waits for it. */
  #isNew = false;
  #existing: Promise<unknown> | undefined;

  constructor(tableName: string, options: DistributedCounterOptions = {}) {
    const { region, endpointUrl, credentials, config } = options;
    this.#table = tableName;
    this.#client = createDynamodbClient(
      {
        ...(region !== undefined && { region }),
        ...(endpointUrl !== undefined && { endpoint: endpointUrl }),
        ...(credentials !== undefined && { credentials }),
      },
      config,
    );
  }

  /**
   * Creates the table. The next call waits until it exists, 5 minutes at most.
   *
   * @throws what the AWS SDK throws; `ResourceInUseException` (the table exists) only with `raiseCreatedException`
   */
  async createTable(options: CreateTableOptions = {}): Promise<void> {
    const { readCapacityUnits = 1, writeCapacityUnits = 1, raiseCreatedException = false } = options;
    try {
      await this.#client.send(
        new CreateTableCommand({
          TableName: this.#table,
          KeySchema: [{ AttributeName: keyAttribute, KeyType: "HASH" }],
          AttributeDefinitions: [{ AttributeName: keyAttribute, AttributeType: "S" }],
          ProvisionedThroughput: {
            ReadCapacityUnits: readCapacityUnits,
            WriteCapacityUnits: writeCapacityUnits,
          },
        }),
      );
      this.#isNew = true;
    } catch (error) {
      if (raiseCreatedException || (error as Error).name !== "ResourceInUseException") throw error;
    }
  }

  /**
   * Stores a value, whatever was there. A fraction is kept (Python's class cut it off).
   *
   * @throws CounterError `invalid-value`; what the AWS SDK throws
   */
  async put(key: string, count: number): Promise<void> {
    checkNumber(count);
    await this.#untilTableExists();
    await this.#client.send(
      new PutItemCommand({
        TableName: this.#table,
        Item: { [keyAttribute]: { S: key }, [names["#value"]]: { N: String(count) } },
      }),
    );
  }

  /**
   * The value, as of all changes that were answered before.
   *
   * @returns undefined for a key that was never used
   * @throws what the AWS SDK throws
   */
  async get(key: string): Promise<number | undefined> {
    await this.#untilTableExists();
    const { Item } = await this.#client.send(
      new GetItemCommand({
        TableName: this.#table,
        Key: { [keyAttribute]: { S: key } },
        ConsistentRead: true,
        ProjectionExpression: "#value",
        ExpressionAttributeNames: names,
      }),
    );
    const text = Item?.[names["#value"]]?.N;
    return text === undefined ? undefined : Number(text);
  }

  /**
   * Adds to the value. A key that was never used starts at `initial`; without that it is an error. Both at once and
   * atomically: of several first callers, each gets a result of its own.
   *
   * @returns the new value
   * @throws CounterError `invalid-value` (not a number), `counter-not-found`; what the AWS SDK throws
   */
  async increment(key: string, count: number, initial?: number): Promise<number> {
    checkNumber(count);
    if (initial !== undefined) checkNumber(initial);
    await this.#untilTableExists();
    const target: Target = { key, initial };
    if (isWhole(count)) return this.#queue.add(JSON.stringify(target), count);
    const [value] = await this.#change(target, [count]);
    return value as number;
  }

  /** Takes away from the value: `increment` by the opposite. */
  async decrement(key: string, count: number, initial?: number): Promise<number> {
    checkNumber(count);
    return this.increment(key, -count, initial);
  }

  /** Closes the connections. */
  close(): void {
    this.#client.destroy();
  }

  /** Adds several amounts, whole ones if there is more than one, by one request. */
  async #change({ key, initial }: Target, amounts: readonly number[]): Promise<number[]> {
    if (amounts.length === 1) return [Number(await this.#add(key, String(amounts[0]), initial))];
    let sum = 0n;
    const sums = amounts.map((amount) => {
      sum += BigInt(amount);
      return sum;
    });
    const text = await this.#add(key, String(sum), initial);
    return sums.map((upToHere) => minus(text, sum - upToHere));
  }

  async #add(key: string, total: string, initial: number | undefined): Promise<string> {
    try {
      const { Attributes } = await this.#client.send(
        new UpdateItemCommand({
          TableName: this.#table,
          Key: { [keyAttribute]: { S: key } },
          ...(initial === undefined
            ? {
                UpdateExpression: "SET #value = #value + :total",
                ConditionExpression: "attribute_exists(#value)",
              }
            : { UpdateExpression: "SET #value = if_not_exists(#value, :initial) + :total" }),
          ExpressionAttributeNames: names,
          ExpressionAttributeValues: {
            ":total": { N: total },
            ...(initial !== undefined && { ":initial": { N: String(initial) } }),
          },
          ReturnValues: "UPDATED_NEW",
        }),
      );
      return Attributes?.[names["#value"]]?.N as string;
    } catch (cause) {
      if ((cause as Error).name !== "ConditionalCheckFailedException") throw cause;
      throw new CounterError(
        "counter-not-found",
        "expected a key that was used before, or a value to start from",
        { cause },
      );
    }
  }

  async #untilTableExists(): Promise<void> {
    if (this.#isNew) {
      this.#isNew = false;
      this.#existing = waitUntilTableExists(
        { client: this.#client, maxWaitTime: maxWaitSeconds, minDelay: 0.2, maxDelay: 2 },
        { TableName: this.#table },
      ).catch((error) => {
        this.#isNew = true;
        throw error;
      });
    }
    await this.#existing;
  }
}

function checkNumber(count: unknown): void {
  if (typeof count === "number" && Number.isFinite(count)) return;
  throw new CounterError("invalid-value", `expected a number, got ${JSON.stringify(count) ?? String(count)}`);
}
