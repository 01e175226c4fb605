import { readFile } from "node:fs/promises";
import { DescribeTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { type DynamodbEngine, localAccount, startDynalite } from "../engines/dynamodb.ts";
import { freePort, run } from "../tools.ts";

let engine: DynamodbEngine;

beforeEach(async () => {
  engine = await startDynalite();
});
afterEach(() => engine.stop());

/** Runs the file that the package gives as the command. */
async function table(env: Record<string, string> = {}) {
  const { bin } = JSON.parse(await readFile("package.json", "utf8"));
  return run(process.execPath, [bin["buildnumber-table"]], {
    env: {
      AWS_REGION: "us-east-1",
      DYNAMODB_ENDPOINT: engine.endpoint,
      ...env,
    },
  });
}

test("creates the table, billed on demand, and is as content with one that is there", async () => {
  for (let time = 0; time < 2; time += 1) {
    expect(await table({ DYNAMODB_TABLE: "Numbers" })).toEqual({
      code: 0,
      stdout: `DynamoDB table Numbers at ${engine.endpoint} is ready\n`,
      stderr: "",
    });
  }
  const client = new DynamoDBClient({ ...localAccount, endpoint: engine.endpoint });
  const { Table } = await client.send(new DescribeTableCommand({ TableName: "Numbers" }));
  client.destroy();
  expect(Table).toMatchObject({
    TableStatus: "ACTIVE",
    KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
    BillingModeSummary: { BillingMode: "PAY_PER_REQUEST" },
  });
});

test("says what is wrong with a table that has another key", async () => {
  await table({ DYNAMODB_KEY_ATTRIBUTE: "key" });
  const { code, stdout, stderr } = await table();
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(/^buildnumber-table: expected .*DYNAMODB_KEY_ATTRIBUTE.*\n$/);
});

test("says so when only the table of keys and records cannot be created", async () => {
  expect(await table({ DYNAMODB_RECORDS_TABLE: "x" })).toEqual({
    code: 1,
    stdout: "",
    stderr: expect.stringMatching(
      /^buildnumber-table: expected to create the table of keys and records, .*, but could not: .*at least 3 characters.*\n$/,
    ),
  });
});

test("says so when only the table of keys and records cannot be used", async () => {
  expect(await table({ DYNAMODB_RECORDS_TABLE: "AtomicCounters" })).toEqual({
    code: 1,
    stdout: "",
    stderr: expect.stringMatching(/^buildnumber-table: expected .*with the index "byValue".*\n$/),
  });
});

test.each([
  [
    "an engine that is not there",
    async () => ({ DYNAMODB_ENDPOINT: `http://127.0.0.1:${await freePort()}` }),
  ],
  ["a setting that is none", async () => ({ DYNAMODB_ENDPOINT: "x" })],
])("ends with 1 and a sentence for %s", async (_name, env) => {
  const { code, stdout, stderr } = await table(await env());
  expect([code, stdout]).toEqual([1, ""]);
  expect(stderr).toMatch(
    /^buildnumber-table: .*(DynamoDB does not answer yet|DYNAMODB_ENDPOINT: expected a URL)\n$/,
  );
});
