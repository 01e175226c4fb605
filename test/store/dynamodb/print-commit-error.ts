import { openDynamodbStore } from "../../../src/store/dynamodb/dynamodb-store.ts";
import { localAccount } from "../../engines/dynamodb.ts";
import { newCounter } from "../new-counter.ts";
import { silentContext } from "../silent-context.ts";

/** A process that takes a number at the endpoint of its first argument, and prints how that failed. */
const store = await openDynamodbStore(
  { ...localAccount, endpoint: process.argv[2] as string },
  silentContext(),
);
await store.commit(newCounter(), [{ by: 1 }], { create: true }).catch(({ code, consumed }) => {
  console.log(JSON.stringify({ code, consumed }));
});
await store.close();
