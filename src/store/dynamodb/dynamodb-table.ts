import {
  CreateTableCommand,
  DescribeTableCommand,
  type DynamoDBClient,
  waitUntilTableExists,
} from "@aws-sdk/client-dynamodb";

/** A table whose items have one string as their key. */
export interface TableOptions {
  readonly table: string;
  readonly keyAttribute: string;
}

/**
 * Creates a table, billed on demand, if there is none of that name, and waits until it is active. Several processes may
 * do so at once.
 *
 * @param maxWaitSeconds how long the table may take to become active
 * @throws what the SDK throws; `TimeoutError` when the table is not active in time
 */
export async function ensureTable(
  client: DynamoDBClient,
  { table, keyAttribute }: TableOptions,
  { maxWaitSeconds = 60 }: { maxWaitSeconds?: number } = {},
): Promise<void> {
  try {
    const { Table } = await client.send(new DescribeTableCommand({ TableName: table }));
    if (Table?.TableStatus === "ACTIVE" || Table?.TableStatus === "UPDATING") return;
  } catch (error) {
    if ((error as Error).name !== "ResourceNotFoundException") throw error;
    await createTable(client, { table, keyAttribute });
  }
  await waitUntilTableExists(
    { client, maxWaitTime: maxWaitSeconds, minDelay: 0.2, maxDelay: 2 },
    { TableName: table },
  );
}

async function createTable(client: DynamoDBClient, { table, keyAttribute }: TableOptions): Promise<void> {
  try {
    await client.send(
      new CreateTableCommand({
        TableName: table,
        AttributeDefinitions: [{ AttributeName: keyAttribute, AttributeType: "S" }],
        KeySchema: [{ AttributeName: keyAttribute, KeyType: "HASH" }],
        BillingMode: "PAY_PER_REQUEST",
      }),
    );
  } catch (error) {
    // Another process creates it at this moment.
    if ((error as Error).name !== "ResourceInUseException") throw error;
  }
}
