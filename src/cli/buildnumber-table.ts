#!/usr/bin/env node
/**
 * `buildnumber-table`: creates the DynamoDB tables that the settings name, if they are missing, waits until they are active,
 * and proves that the service can use them. It does what the server does at its start with DYNAMODB_CREATE_TABLE=true, so
 * that the server itself needs no right to create tables. Ends with 1 and one sentence when it cannot.
 */
import { readConfig } from "../config.ts";
import type { CounterName } from "../counter/counter-name.ts";
import type { Log } from "../counter/store.ts";
import { openStore } from "../store/open-store.ts";

// Standard error is for the one sentence; what libraries warn of (the age of Node.js) stands in the service's log.
process.removeAllListeners("warning");

try {
  const config = readConfig(undefined, { STORE: "dynamodb", DYNAMODB_CREATE_TABLE: "true" });
  const warnings: string[] = [];
  const log: Log = {
    info() {},
    warn(details, message) {
      warnings.push(`${message}: ${(details as { err: Error }).err.message}`);
    },
    error() {},
  };
  const store = await openStore(config, { log, onFatal() {} });
  try {
    await store.check();
    // The server goes on without its table of keys and records; whoever asked for the tables has to know.
    if (warnings[0] !== undefined) throw new Error(warnings[0]);
    await store.record("check" as CounterName, 1);
    process.stdout.write(`${store.description} is ready\n`);
  } finally {
    await store.close();
  }
} catch (error) {
  process.stderr.write(`buildnumber-table: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
