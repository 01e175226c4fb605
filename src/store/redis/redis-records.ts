import type { BuildRecord } from "../../counter/store.ts";

/** Keys that begin so are the service's own. */
export const reserved = "buildnumber:";

/**
 * Where the keys and records of a counter are: `buildnumber:{the counter's key}:keys` and `…:records`, whose braces put
 * them into the counter's slot. A counter's key that has braces with something in between, which then decide on its slot
 * (Redis Cluster specification, "Hash tags"), stands percent-encoded behind them: `buildnumber:{b}:a%7Bb%7Dc:keys`.
 *
 * @returns undefined for a key that no other can be put beside in a cluster: a `}` of its own would end the tag
 */
export function ownKeys(key: string): { keys: string; records: string; sharesSlot: boolean } {
  const [, tag] = /^[^{]*\{([^}]+)\}/.exec(key) ?? [];
  const base = `${reserved}{${tag ?? key}}:${tag === undefined ? "" : `${encodeURIComponent(key)}:`}`;
  return {
    keys: `${base}keys`,
    records: `${base}records`,
    sharesSlot: tag !== undefined || !key.includes("}"),
  };
}

/**
 * Reads a record as the scripts write it: number, time in milliseconds since 1970, key and metadata (JSON), a line each,
 * the last two empty where there are none.
 *
 * @returns undefined when it is anything else
 */
export function parseRecord(text: string): BuildRecord | undefined {
  const [, value, at, key, json] = /^([1-9]\d{0,15})\n(\d{1,15})\n([^\n]*)\n([^\n]*)$/.exec(text) ?? [];
  if (value === undefined) return undefined;
  try {
    return {
      value: Number(value),
      atMs: Number(at),
      ...(key && { key }),
      ...(json && { metadata: JSON.parse(json) }),
    };
  } catch {
    return undefined;
  }
}
