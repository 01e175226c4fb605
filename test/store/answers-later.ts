import { setTimeout as sleep } from "node:timers/promises";
import type { Store } from "../../src/counter/store.ts";

/** Resolves as soon as a store can commit (or, with `isAnswering: false`, cannot); the test's time limit bounds it. */
export async function answersLater(store: Store, { isAnswering = true } = {}): Promise<void> {
  for (;;) {
    const answers = await store.check().then(
      () => true,
      () => false,
    );
    if (answers === isAnswering) return;
    await sleep(10);
  }
}
