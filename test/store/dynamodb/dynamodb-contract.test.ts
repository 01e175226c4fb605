import { afterAll, beforeAll } from "@jest/globals";
import { openDynamodbStore } from "../../../src/store/dynamodb/dynamodb-store.ts";
import { describeUnlessMissing } from "../../describe-unless-missing.ts";
import {
  type DynamodbEngine,
  localAccount,
  missingDynamodbLocal,
  startDynalite,
  startDynamodbLocal,
} from "../../engines/dynamodb.ts";
import { describeRecordsContract } from "../records-contract.ts";
import { silentContext } from "../silent-context.ts";
import { describeStoreContract } from "../store-contract.ts";

describeUnlessMissing("dynalite", undefined, () => describeOn(startDynalite));
describeUnlessMissing("Amazon's DynamoDBLocal", missingDynamodbLocal, () =>
  describeOn(() => startDynamodbLocal({ inMemory: true })),
);

function describeOn(start: () => Promise<DynamodbEngine>): void {
  let engine: DynamodbEngine;

  beforeAll(async () => {
    engine = await start();
  });

  afterAll(() => engine?.stop());

  describeStoreContract("the DynamoDB store", () =>
    openDynamodbStore({ ...localAccount, endpoint: engine.endpoint, createTable: true }, silentContext()),
  );

  describeRecordsContract("the DynamoDB store", (options) =>
    openDynamodbStore(
      { ...localAccount, ...options, endpoint: engine.endpoint, createTable: true },
      silentContext(),
    ),
  );
}
