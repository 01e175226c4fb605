import type { DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { afterAll, afterEach, beforeAll } from "@jest/globals";
import type { Store } from "../../../src/counter/store.ts";
import { createDynamodbClient } from "../../../src/store/dynamodb/dynamodb-client.ts";
import { type DynamodbStoreOptions, openDynamodbStore } from "../../../src/store/dynamodb/dynamodb-store.ts";
import { describeUnlessMissing } from "../../describe-unless-missing.ts";
import {
  type DynamodbEngine,
  localAccount,
  missingDynamodbLocal,
  startDynalite,
  startDynamodbLocal,
} from "../../engines/dynamodb.ts";
import { FaultProxy } from "../../engines/fault-proxy.ts";
import { silentContext } from "../silent-context.ts";

/** What the tests of a suite work with: one engine for all of them, in which the default tables are. */
export class OnDynamodb {
  engine!: DynamodbEngine;
  client!: DynamoDBClient;
  /** Starts an engine of the same kind, for who ends it. */
  readonly start: () => Promise<DynamodbEngine>;
  /** What is done after the test, the last first. */
  readonly ends: (() => Promise<unknown>)[] = [];

  constructor(start: () => Promise<DynamodbEngine>) {
    this.start = start;
  }

  /** Opens a store that is closed after the test. */
  readonly open = async (options: DynamodbStoreOptions = {}, context = silentContext()): Promise<Store> => {
    const store = await openDynamodbStore(
      { ...localAccount, endpoint: this.engine.endpoint, createTable: true, ...options },
      context,
    );
    this.ends.push(() => store.close());
    return store;
  };

  /** Opens a proxy to the engine that is closed after the test. */
  readonly openProxy = async (): Promise<FaultProxy> => {
    const proxy = await FaultProxy.open(this.engine.port);
    this.ends.push(() => proxy.close());
    return proxy;
  };
}

/** A suite over both engines, dynalite and Amazon's own. */
export function describeOnDynamodb(name: string, suite: (on: OnDynamodb) => void): void {
  for (const [engineName, missing, start] of [
    ["dynalite", undefined, startDynalite],
    ["Amazon's DynamoDBLocal", missingDynamodbLocal, startDynamodbLocal],
  ] as const) {
    describeUnlessMissing(`${name} on ${engineName}`, missing, () => {
      const on = new OnDynamodb(start);

      beforeAll(async () => {
        on.engine = await start();
        on.client = createDynamodbClient({ ...localAccount, endpoint: on.engine.endpoint });
        await (await on.open()).close();
      });

      afterAll(async () => {
        on.client?.destroy();
        await on.engine?.stop();
      });

      afterEach(async () => {
        for (const end of on.ends.splice(0).reverse()) await end();
      });

      suite(on);
    });
  }
}
