#!/usr/bin/env node
/**
 * `buildnumber-table`: creates the DynamoDB table that the settings name, if it is missing, waits until it is active, and
 * proves that the service can write to it. It does what the server does at its start with DYNAMODB_CREATE_TABLE=true, so that
 * the server itself needs no right to create tables. Ends with 1 and one sentence when it cannot.
 */
import { readConfig } from "../config.ts";
import { openStore } from "../store/open-store.ts";

try {
  const config = readConfig(undefined, { STORE: "dynamodb", DYNAMODB_CREATE_TABLE: "true" });
  const silent = { info() {}, warn() {}, error() {} };
  const store = await openStore(config, { log: silent, onFatal() {} });
  try {
    await store.check();
    process.stdout.write(`${store.description} is ready\n`);
  } finally {
    await store.close();
  }
} catch (error) {
  process.stderr.write(`buildnumber-table: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
