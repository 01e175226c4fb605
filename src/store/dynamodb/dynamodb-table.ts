import {
  CreateTableCommand,
  type CreateTableCommandInput,
  DescribeTableCommand,
  type DynamoDBClient,
  waitUntilTableExists,
} from "@aws-sdk/client-dynamodb";

/** Name, keys and indexes of a table. */
export type TableDefinition = Pick<
  CreateTableCommandInput,
  "TableName" | "AttributeDefinitions" | "KeySchema" | "LocalSecondaryIndexes"
>;

/**
 * Creates a table, billed on demand, if there is none of that name, and waits until it is active. Several processes may
 * do so at once.
 *
 * @param deadlineMs after how long one request gives up, in milliseconds
 * @param maxWaitSeconds how long the table may take to become active
 * @returns whether this call created it
 * @throws what the SDK throws; `AbortError` when an answer, or the table, does not come in time
 */
export async function ensureTable(
  client: DynamoDBClient,
  definition: TableDefinition,
  { deadlineMs, maxWaitSeconds = 60 }: { deadlineMs: number; maxWaitSeconds?: number },
): Promise<boolean> {
  const name = { TableName: definition.TableName };
  let isCreated = false;
  try {
    const { Table } = await client.send(new DescribeTableCommand(name), {
      abortSignal: AbortSignal.timeout(deadlineMs),
    });
    if (Table?.TableStatus === "ACTIVE" || Table?.TableStatus === "UPDATING") return false;
  } catch (error) {
    if ((error as Error).name !== "ResourceNotFoundException") throw error;
    isCreated = await createTable(client, definition, deadlineMs);
  }
  await waitUntilTableExists(
    {
      client,
      maxWaitTime: maxWaitSeconds,
      minDelay: 0.2,
      maxDelay: 2,
      abortSignal: AbortSignal.timeout(maxWaitSeconds * 1_000),
    },
    name,
  );
  return isCreated;
}

async function createTable(
  client: DynamoDBClient,
  definition: TableDefinition,
  deadlineMs: number,
): Promise<boolean> {
  try {
    await client.send(new CreateTableCommand({ ...definition, BillingMode: "PAY_PER_REQUEST" }), {
      abortSignal: AbortSignal.timeout(deadlineMs),
    });
    return true;
  } catch (error) {
    // Another process creates it at this moment.
    if ((error as Error).name !== "ResourceInUseException") throw error;
    return false;
  }
}
