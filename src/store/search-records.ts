import type { BuildRecord, RecordsPage, RecordsQuery } from "../counter/store.ts";

/** How many records one search looks through at most. */
const maxScanned = 10_000;

/**
 * Answers a query from records that can be read from the largest number down, as the contract of `records` says.
 *
 * @param read resolves to up to `count` records below `before` (undefined: from the top), the largest number first; fewer
 *   only when there are no more
 * @param isKept whether a record is young enough to be shown
 */
export async function searchRecords(
  { limit, before, key, metadata }: RecordsQuery,
  read: (before: number | undefined, count: number) => Promise<readonly BuildRecord[]>,
  isKept: (record: BuildRecord) => boolean,
): Promise<RecordsPage> {
  const found: BuildRecord[] = [];
  const chunk = metadata === undefined ? limit + 1 : 1_000;
  let last = before;
  for (let scanned = 0; scanned < maxScanned; ) {
    const count = Math.min(chunk, maxScanned - scanned);
    const records = await read(last, count);
    for (const record of records) {
      scanned += 1;
      if (isKept(record) && (key === undefined || record.key === key) && hasMetadata(record, metadata)) {
        // One more than asked for is there: now it is known that there is a next page.
        if (found.length === limit) return { records: found, next: last as number };
        found.push(record);
      }
      last = record.value;
    }
    if (records.length < count) return { records: found };
  }
  return { records: found, next: last as number };
}

function hasMetadata({ metadata }: BuildRecord, wanted: RecordsQuery["metadata"]): boolean {
  if (wanted === undefined) return true;
  if (metadata === undefined || !Object.hasOwn(metadata, wanted.name)) return false;
  const value = metadata[wanted.name];
  return (typeof value === "string" ? value : JSON.stringify(value)) === wanted.value;
}
