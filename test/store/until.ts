import { setTimeout as sleep } from "node:timers/promises";

/** Resolves when a condition holds; the test's own time limit bounds it. */
export async function untilTrue(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(10);
}

/** Resolves when a list has gained so many items. */
export async function untilLonger(list: readonly unknown[], by: number): Promise<void> {
  const wanted = list.length + by;
  await untilTrue(() => list.length >= wanted);
}
