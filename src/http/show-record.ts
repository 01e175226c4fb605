import type { BuildRecord, Metadata } from "../counter/store.ts";

/** A record as clients see it. */
export interface ShownRecord {
  readonly bn: number;
  /** When it was committed: ISO 8601, UTC. */
  readonly at: string;
  readonly key?: string;
  readonly metadata?: Metadata;
}

export function showRecord({ value, atMs, ...rest }: BuildRecord): ShownRecord {
  return { bn: value, at: new Date(atMs).toISOString(), ...rest };
}
