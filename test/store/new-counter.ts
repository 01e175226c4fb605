import { randomUUID } from "node:crypto";
import type { CounterName } from "../../src/counter/counter-name.ts";

/** A counter that no test has used. */
export function newCounter(): CounterName {
  return randomUUID() as CounterName;
}
