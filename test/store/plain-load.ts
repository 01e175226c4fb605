import { expect, test } from "@jest/globals";
import { Counters } from "../../src/counter/counters.ts";
import type { Store } from "../../src/counter/store.ts";
import type { Engine } from "../engines/engine.ts";
import { newCounter } from "./new-counter.ts";
import { sequence, take } from "./store-contract.ts";
import { untilLonger } from "./until.ts";

/**
 * Three instances with 16 callers each count one counter, while their engine is killed and started again. Invariants: no
 * number is answered twice; each caller's numbers grow; the counter goes on.
 *
 * @param kills how often the engine is killed
 * @param answersBetween how many numbers are answered between two kills, at least
 */
export function describePlainLoad<E extends Engine>(
  start: () => Promise<E>,
  open: (engine: E) => Promise<Store>,
  { kills, answersBetween }: { kills: number; answersBetween: number },
): void {
  test("repeats no answered number when the engine is killed and restarted under load", async () => {
    const engine = await start();
    const instances = await Promise.all(sequence(1, 3).map(() => open(engine)));
    const counter = newCounter();
    const answered: number[] = [];
    let isDone = false;

    async function call(counters: Counters): Promise<void> {
      let last = 0;
      while (!isDone) {
        try {
          const number = await counters.increment(counter);
          expect(number).toBeGreaterThan(last);
          last = number;
          answered.push(number);
        } catch (error) {
          expect(error).toMatchObject({ code: "store-unavailable" });
          await new Promise((resolve) => setTimeout(resolve, 20));
        }
      }
    }

    try {
      const load = instances.flatMap((store) => {
        const counters = new Counters(store);
        return sequence(1, 16).map(() => call(counters));
      });
      for (let kill = 0; kill < kills; kill += 1) {
        await untilLonger(answered, answersBetween);
        await engine.kill();
        await engine.restart();
      }
      await untilLonger(answered, 100);
      isDone = true;
      await Promise.all(load);
      expect(new Set(answered).size).toBe(answered.length);
      expect(await take(instances[0] as Store, counter)).toBeGreaterThan(Math.max(...answered));
    } finally {
      isDone = true;
      await Promise.all(instances.map((store) => store.close()));
      await engine.stop();
    }
  });
}
