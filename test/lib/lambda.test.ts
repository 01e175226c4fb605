import { execFile } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { CreateTableCommand, DynamoDBClient, waitUntilTableExists } from "@aws-sdk/client-dynamodb";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { handler, type LambdaAnswer } from "../../src/lib/lambda.ts";
import { type DynamodbEngine, localAccount, startDynalite } from "../engines/dynamodb.ts";

const uuid = "e9461f1c-ef78-4162-bcb7-e83da7287614";
const outer = { ...process.env };
let engine: DynamodbEngine;

beforeAll(async () => {
  engine = await startDynalite();
  Object.assign(process.env, {
    AWS_REGION: "us-east-1",
    DYNAMODB_ENDPOINT: engine.endpoint,
    LOG_LEVEL: "silent",
    STORE_DEADLINE_MS: "1000",
  });
});
afterAll(async () => {
  process.env = outer;
  await engine?.stop();
});

/** What the original's tests sent: no more than this of a REST event. */
function bare(line: string): object {
  const [httpMethod, target = ""] = line.split(" ");
  const { pathname, searchParams } = new URL(target, "http://x");
  return { httpMethod, path: pathname, queryStringParameters: Object.fromEntries(searchParams) };
}

/** A whole event of a REST API (payload format 1.0). */
function rest(line: string, body: string | null = null): object {
  const [httpMethod, target = ""] = line.split(" ");
  const { pathname, searchParams } = new URL(target, "http://x");
  const query = searchParams.size > 0 ? Object.fromEntries(searchParams) : null;
  return {
    resource: "/{proxy+}",
    path: pathname,
    httpMethod,
    headers: { Accept: "*/*", Host: "abc.execute-api.us-east-1.amazonaws.com" },
    multiValueHeaders: { Accept: ["*/*"], Host: ["abc.execute-api.us-east-1.amazonaws.com"] },
    queryStringParameters: query,
    multiValueQueryStringParameters: query && Object.fromEntries([...searchParams].map(([k, v]) => [k, [v]])),
    requestContext: { stage: "prod", path: `/prod${pathname}`, identity: { sourceIp: "192.0.2.1" } },
    body,
    isBase64Encoded: false,
  };
}

/** An event of an HTTP API or a function URL (payload format 2.0). */
function http(line: string, { body = "", stage = "$default" } = {}): object {
  const [method, target = ""] = line.split(" ");
  const { pathname, search } = new URL(target, "http://x");
  return {
    version: "2.0",
    routeKey: "$default",
    rawPath: stage === "$default" ? pathname : `/${stage}${pathname}`,
    rawQueryString: search.slice(1),
    headers: { accept: "*/*", host: "abc.lambda-url.us-east-1.on.aws" },
    requestContext: { stage, http: { method, path: pathname, sourceIp: "192.0.2.1" } },
    ...(body !== "" && { body: Buffer.from(body).toString("base64") }),
    isBase64Encoded: body !== "",
  };
}

function expectAnswer(answer: LambdaAnswer, statusCode: number, body: string): void {
  expect(answer).toMatchObject({ statusCode, body });
  expect(answer.headers).toMatchObject({
    "content-type": "application/json",
    "cache-control": "no-store",
  });
}

test("answers a missing table as the original answered a failure, and goes on when it is there", async () => {
  const failed = await handler(bare("POST /counter/increment?counter=c"));
  expect(failed.statusCode).toBe(500);
  expect(JSON.parse(failed.body)).toEqual({
    error_code: "error_incrementing_probably_database_error",
    error_description: expect.stringMatching(/^Error: expected /),
  });
  const client = new DynamoDBClient({ endpoint: engine.endpoint, ...localAccount });
  const TableName = "AtomicCounters";
  await client.send(
    new CreateTableCommand({
      TableName,
      KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
      AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
      BillingMode: "PAY_PER_REQUEST",
    }),
  );
  await waitUntilTableExists({ client, maxWaitTime: 10, minDelay: 0.1 }, { TableName });
  client.destroy();
  expectAnswer(
    await handler(bare("POST /counter/increment?counter=c")),
    200,
    '{"counter":"c","new_value":1}',
  );
});

describe("the contract of the original", () => {
  test("its tests: 404, an event that is none, an increment, no counter", async () => {
    expectAnswer(await handler(bare("GET /foo")), 404, '{"error_code":"404_not_found"}');
    expectAnswer(await handler({ unknown: "event" }, null), 400, '{"error_code":"unsupported_event"}');
    await handler(bare("PUT /incrementer/poop/122"));
    expectAnswer(
      await handler(bare("POST /counter/increment?counter=poop"), null),
      200,
      '{"counter":"poop","new_value":123}',
    );
    expectAnswer(
      await handler(bare("POST /counter/increment")),
      400,
      '{"error_code":"counter_not_specified"}',
    );
  });

  test("queryStringParameters of null, at which it threw", async () => {
    const event = { httpMethod: "POST", path: "/counter/increment", queryStringParameters: null };
    expectAnswer(await handler(event), 400, '{"error_code":"counter_not_specified"}');
  });

  test.each([undefined, null, {}, { requestContext: {} }, { Records: [] }])(
    "%j is no event that it supports",
    async (event) => {
      expectAnswer(await handler(event), 400, '{"error_code":"unsupported_event"}');
    },
  );

  test.each(["GET /", "GET /foo/bar", "POST /metrics", "GET /counter/increment?counter=c", "DELETE /x"])(
    "%s is unknown",
    async (line) => {
      for (const event of [rest(line), http(line)]) {
        expectAnswer(await handler(event), 404, '{"error_code":"404_not_found"}');
      }
    },
  );
});

describe.each([
  ["a REST API", rest, (line: string, body: string) => rest(line, body)],
  ["an HTTP API", http, (line: string, body: string) => http(line, { body })],
  [
    "an HTTP API with a stage",
    (line: string) => http(line, { stage: "prod" }),
    (line: string, body: string) => http(line, { stage: "prod", body }),
  ],
] as const)("events of %s", (_name, ask, tell) => {
  test("reach every interface", async () => {
    await handler(tell(`PUT /${uuid}?force=true`, '{"bn":41}'));
    const answer = await handler(ask(`POST /${uuid}`));
    expect(answer).toMatchObject({ statusCode: 200, body: '{"bn":42}\n' });
    expect(answer.headers).toMatchObject({ "content-type": "application/json; charset=utf-8" });
    expect((await handler(ask(`HEAD /${uuid}`))).body).toBe("");
    expect((await handler(ask("PUT /incrementer/a%20b/300"))).body).toBe('{"success":true}');
    expect((await handler(ask("GET /incrementer/a%20b"))).body).toBe("301");
    await handler(tell("POST /vend/job", "7"));
    expect((await handler(ask("GET /vend/job"))).body).toBe("8");
    expectAnswer(
      await handler(ask("POST /counter/increment?counter=a%20b")),
      200,
      '{"counter":"a b","new_value":302}',
    );
    expect((await handler(ask("GET /readyz"))).statusCode).toBe(200);
    const refused = await handler(ask(`DELETE /${uuid}`));
    expect(refused.statusCode).toBe(405);
    expect(refused.headers).toMatchObject({ allow: "GET, HEAD, POST, PUT, OPTIONS" });
  });
});

test("gives concurrent events distinct numbers", async () => {
  const answers = await Promise.all(
    Array.from({ length: 200 }, () => handler(rest("POST /counter/increment?counter=many"))),
  );
  const values = answers.map(({ body }) => JSON.parse(body).new_value).sort((a, b) => a - b);
  expect(values).toEqual(Array.from({ length: 200 }, (_value, at) => at + 1));
});

test("serves as one bundled file, without a package beside it", async () => {
  const dir = await mkdtemp(join(tmpdir(), "lambda-"));
  await promisify(execFile)("npm", ["run", "--silent", "build:lambda", "--", `--outfile=${dir}/index.cjs`]);
  const source = `
    const { handler } = require(process.argv[1]);
    handler(JSON.parse(process.argv[2])).then(({ body }) => console.log(body));`;
  const event = JSON.stringify(rest("POST /counter/increment?counter=bundle"));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    ["-e", source, resolve(dir, "index.cjs"), event],
    { cwd: dir, env: { ...process.env, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true" } },
  );
  expect(stdout).toBe('{"counter":"bundle","new_value":1}\n');
  await rm(dir, { recursive: true });
});
