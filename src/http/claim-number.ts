import type { Request, Response } from "express";
import type { CounterName } from "../counter/counter-name.ts";
import type { Counters } from "../counter/counters.ts";
import { parseIdempotencyKey } from "./idempotency-key.ts";

/**
 * Takes the next `by` numbers (default 1) for a request, under the key that it may bring. A replay says so in its headers.
 *
 * @returns the last of them
 * @throws CounterError as `Counters.claim`
 */
export async function claimNumber(
  req: Request,
  res: Response,
  counters: Counters,
  name: CounterName,
  by = 1,
): Promise<number> {
  const { value, isReplay } = await counters.claim(name, { by, key: parseIdempotencyKey(req) });
  if (isReplay) res.setHeader("Idempotency-Replayed", "true");
  return value;
}
