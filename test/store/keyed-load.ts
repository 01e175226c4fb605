import { expect, test } from "@jest/globals";
import { Counters } from "../../src/counter/counters.ts";
import type { Claim, Outcome, Store } from "../../src/counter/store.ts";
import type { Engine } from "../engines/engine.ts";
import { newCounter } from "./new-counter.ts";
import { sequence } from "./store-contract.ts";
import { untilLonger } from "./until.ts";

/**
 * Three instances ask for the same keys, each key again and again until it is answered everywhere, while their engine is
 * killed and started again. Invariants:
 *
 * - a key has one number, in every answer and afterwards;
 * - a number has one key, or one plain claim;
 * - the record of an answered number is there, with its key.
 */
export function describeKeyedLoad<E extends Engine>(
  start: () => Promise<E>,
  open: (engine: E) => Promise<Store>,
): void {
  test("give every key one number while the engine is killed and restarted under load", async () => {
    const engine = await start();
    const instances = await Promise.all(sequence(1, 3).map(() => open(engine)));
    const counter = newCounter();
    const numbers = new Map<string, number>();
    const owners = new Map<number, string>();
    const answered: string[] = [];
    let isDone = false;

    function check(owner: string, value: number): void {
      expect(numbers.get(owner) ?? value).toBe(value);
      expect(owners.get(value) ?? owner).toBe(owner);
      numbers.set(owner, value);
      owners.set(value, owner);
      answered.push(owner);
    }

    async function work(store: Store, worker: number): Promise<void> {
      for (let round = 0; !isDone; round += 1) {
        const key = `round ${round} of crowd ${worker % 4}`;
        const claims: Claim[] = [{ by: 1 }, { by: 1, key, metadata: { round } }];
        let outcomes: readonly Outcome[] | undefined;
        while (outcomes === undefined && !isDone) {
          outcomes = await store.commit(counter, claims, { create: true }).catch((error) => {
            expect(error).toMatchObject({ code: "store-unavailable" });
            return undefined;
          });
          if (outcomes && "error" in (outcomes[1] as Outcome)) outcomes = undefined;
          if (outcomes === undefined) await new Promise((resolve) => setTimeout(resolve, 20));
        }
        const [plain, keyed] = (outcomes ?? []) as { value: number }[];
        if (plain && keyed) {
          check(`plain ${worker} ${round}`, plain.value);
          check(key, keyed.value);
        }
      }
    }

    try {
      const load = Promise.all(
        instances.flatMap((store, at) => sequence(0, 3).map((crowd) => work(store, at * 4 + crowd))),
      );
      for (let kill = 0; kill < 3; kill += 1) {
        await untilLonger(answered, 100);
        await engine.kill();
        await engine.restart();
      }
      await untilLonger(answered, 50);
      isDone = true;
      await load;

      const [store] = instances as [Store];
      await new Counters(store).increment(counter).catch(() => undefined);
      for (const [owner, value] of numbers) {
        if (!owner.startsWith("round")) continue;
        const [again] = await store.commit(counter, [{ by: 1, key: owner }], { create: true });
        expect(again).toMatchObject({ value, isReplay: true });
        expect(await store.record(counter, value)).toMatchObject({ value, key: owner });
      }
    } finally {
      isDone = true;
      await Promise.all(instances.map((store) => store.close()));
      await engine.stop();
    }
  });
}
