import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { findMissing } from "../tools.ts";
import { type Engine, startEngine } from "./engine.ts";

export interface DynamodbEngine extends Engine {
  readonly endpoint: string;
}

/** What a local engine takes for an account; it checks nothing. */
export const localAccount = {
  region: "us-east-1",
  credentials: { accessKeyId: "local", secretAccessKey: "local" },
};

const require = createRequire(import.meta.url);

/** Why suites with Amazon's own engine cannot run here; undefined when they can. */
export const missingDynamodbLocal = findMissing("java");

/** Starts dynalite, a DynamoDB engine in JavaScript, with its data on disk. */
export async function startDynalite(): Promise<DynamodbEngine> {
  return withEndpoint(
    await startEngine({
      command: process.execPath,
      args: (port, dir) => [
        join(dirname(require.resolve("dynalite/package.json")), "cli.js"),
        ...[
          "--host",
          "127.0.0.1",
          "--port",
          String(port),
          "--path",
          join(dir, "db"),
          "--createTableMs",
          "50",
        ],
      ],
    }),
  );
}

/** Starts Amazon's DynamoDBLocal, with its data on disk, or in memory, where it is faster and forgets when it ends. */
export async function startDynamodbLocal({ inMemory = false } = {}): Promise<DynamodbEngine> {
  const folder = join(dirname(require.resolve("local-dynamo/package.json")), "aws_dynamodb_local");
  if (!existsSync(join(folder, "DynamoDBLocal.jar")))
    throw new Error(`expected DynamoDBLocal.jar in ${folder}`);
  return withEndpoint(
    await startEngine({
      command: "java",
      args: (port, dir) => [
        `-Djava.library.path=${join(folder, "DynamoDBLocal_lib")}`,
        ...["-Xmx256m", "-jar", join(folder, "DynamoDBLocal.jar")],
        ...["-port", String(port), "-sharedDb", ...(inMemory ? ["-inMemory"] : ["-dbPath", dir])],
      ],
    }),
  );
}

function withEndpoint(engine: Engine): DynamodbEngine {
  return { ...engine, endpoint: `http://127.0.0.1:${engine.port}` };
}
