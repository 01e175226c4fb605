import type { Store } from "../../src/counter/store.ts";
import { untilTrue } from "./until.ts";

/** Resolves as soon as a store can commit (or, with `isAnswering: false`, cannot). */
export async function answersLater(store: Store, { isAnswering = true } = {}): Promise<void> {
  await untilTrue(async () => {
    const answers = await store.check().then(
      () => true,
      () => false,
    );
    return answers === isAnswering;
  });
}
