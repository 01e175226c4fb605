import type { CounterError } from "../counter/errors.ts";
import type { Claim, Outcome } from "../counter/store.ts";

/** Whether a claim has a key or metadata, so that something is remembered with its number. */
export function isRecorded({ key, metadata }: Claim): boolean {
  return key !== undefined || metadata !== undefined;
}

/**
 * The outcomes of a batch when keys and records cannot be used: the claims that have none are committed without them, and
 * the others get the error.
 *
 * @param commit commits the plain claims of the batch, at least one
 * @throws the error itself, when no claim is plain; else what `commit` is rejected with
 */
export async function refuseRecorded(
  claims: readonly Claim[],
  error: CounterError,
  commit: (plain: readonly Claim[]) => Promise<readonly Outcome[]>,
): Promise<readonly Outcome[]> {
  const plain = claims.filter((claim) => !isRecorded(claim));
  if (plain.length === 0) throw error;
  const outcomes = (await commit(plain)).values();
  return claims.map((claim) => (isRecorded(claim) ? { error } : (outcomes.next().value as Outcome)));
}
