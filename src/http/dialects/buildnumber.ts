import type { IRouter, Request, Response } from "express";
import { parseUuidName, quote } from "../../counter/counter-name.ts";
import type { Claimed, Counters } from "../../counter/counters.ts";
import { CounterError, counterNotFound } from "../../counter/errors.ts";
import { type BuildRecord, maxValue, type RecordsQuery } from "../../counter/store.ts";
import { allowOnly } from "../allow-only.ts";
import { parseIdempotencyKey } from "../idempotency-key.ts";
import { type NumberFormat, parseNumberFormat } from "../number-format.ts";
import { HttpError } from "../problem.ts";
import { queryOf } from "../query-of.ts";
import { readBody } from "../read-body.ts";
import { readMetadata } from "../read-metadata.ts";
import { jsonType, send, textType } from "../send.ts";
import { type ShownRecord, showRecord } from "../show-record.ts";
import { wantsText } from "../wants-text.ts";

/**
 * The main dialect, at `/` or `/buildnumber`: POST takes the next number of a counter, GET shows the last one, PUT sets it;
 * `/builds` below it shows what is recorded of its numbers.
 *
 * Takes every path of one segment (`/{id}/` as well: the Go original redirected it), so it is added after the routes
 * with a name.
 */
export function addBuildnumber(app: IRouter, counters: Counters): void {
  app
    .route("/:id")
    .post(createTaker(counters))
    // Each a route of its own: HEAD must never be an implicit form of something that consumes.
    .get(showNumber)
    .head(showNumber)
    .put(async (req, res) => {
      const name = parseUuidName(req.params.id);
      const value = parseValue(await readBody(req));
      await counters.set(name, value, {
        force: queryOf(req)?.get("force") === "true",
      });
      sendNumber(req, res, value);
    })
    .all(allowOnly("GET", "HEAD", "POST", "PUT"));
  app
    .route("/:id/builds")
    .get(async (req, res) => {
      const name = parseUuidName(req.params.id);
      const query = queryOf(req) ?? new URLSearchParams();
      const { records, next } = await counters.records(name, recordsQueryOf(query));
      const link = next === undefined ? [] : ["Link", nextLink(query, next)];
      const shown = records.map(showRecord);
      if (wantsText(req)) send(res, 200, textType, shown.map(({ bn }) => `${bn}\n`).join(""), link);
      else send(res, 200, jsonType, `${JSON.stringify(shown)}\n`, link);
    })
    .all(allowOnly("GET", "HEAD"));
  app
    .route("/:id/builds/last")
    .get(async (req, res) => {
      const name = parseUuidName(req.params.id);
      const format = formatOf(queryOf(req));
      const [record] = (await counters.records(name, { limit: 1 })).records;
      if (!record) throw new CounterError("record-not-found", "expected a record, but this counter has none");
      sendRecord(req, res, record, format);
    })
    .all(allowOnly("GET", "HEAD"));
  app
    .route("/:id/builds/:number")
    .get(async (req, res) => {
      const name = parseUuidName(req.params.id);
      const format = formatOf(queryOf(req));
      const value = parseInteger("in the path", req.params.number, 1, maxValue);
      sendRecord(req, res, await counters.record(name, value), format);
    })
    .all(allowOnly("GET", "HEAD"));

  async function showNumber(req: Request<{ id: string }>, res: Response): Promise<void> {
    const value = await counters.peek(parseUuidName(req.params.id));
    if (value === undefined) throw counterNotFound();
    sendNumber(req, res, value);
  }
}

/**
 * Adds the one route that nearly all requests take, for ids in their usual spelling: put before all other routes, it spares
 * them the comparison with each. It does what `addBuildnumber` does for these requests.
 */
export function addUsualPost(app: IRouter, counters: Counters): void {
  app.post(/^\/(?<id>[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/, createTaker(counters));
}

function createTaker(counters: Counters) {
  return async (req: Request<{ id: string }>, res: Response): Promise<void> => {
    const name = parseUuidName(req.params.id);
    const query = queryOf(req);
    const format = formatOf(query);
    const max = integerOf(query, "max", 1, maxValue);
    const key = parseIdempotencyKey(req);
    const metadata = await readMetadata(req);
    sendClaimed(req, res, await counters.claim(name, { max, key, metadata }), format, max);
  };
}

function sendNumber(req: Request<{ id: string }>, res: Response, value: number): void {
  // The Go original ended its answers in a newline.
  if (wantsText(req)) send(res, 200, textType, `${value}\n`);
  else send(res, 200, jsonType, `{"bn":${value}}\n`);
}

function sendClaimed(
  req: Request,
  res: Response,
  { value, record, isReplay }: Claimed,
  format: NumberFormat | undefined,
  max: number | undefined,
): void {
  const headers: string[] = [];
  if (isReplay) headers.push("Idempotency-Replayed", "true");
  if (max !== undefined) headers.push("Build-Number-Remaining", String(Math.max(0, max - value)));
  const formatted = format?.(value, new Date(record?.atMs ?? Date.now()));
  if (wantsText(req)) send(res, 200, textType, `${formatted ?? value}\n`, headers);
  else if (formatted === undefined) send(res, 200, jsonType, `{"bn":${value}}\n`, headers);
  else send(res, 200, jsonType, `${JSON.stringify({ bn: value, formatted })}\n`, headers);
}

function sendRecord(
  req: Request,
  res: Response,
  record: BuildRecord,
  format: NumberFormat | undefined,
): void {
  const formatted = format?.(record.value, new Date(record.atMs));
  const shown: ShownRecord & { formatted?: string } = {
    ...showRecord(record),
    ...(formatted !== undefined && { formatted }),
  };
  if (wantsText(req)) send(res, 200, textType, `${formatted ?? record.value}\n`);
  else send(res, 200, jsonType, `${JSON.stringify(shown)}\n`);
}

function formatOf(query: URLSearchParams | undefined): NumberFormat | undefined {
  const text = query?.get("format") ?? undefined;
  return text === undefined ? undefined : parseNumberFormat(text);
}

const metadataPrefix = "metadata.";

/** What a list is asked for: `limit` (20), `before`, `key`, and one `metadata.NAME`. */
function recordsQueryOf(query: URLSearchParams): RecordsQuery {
  const limit = integerOf(query, "limit", 1, 1_000) ?? 20;
  const before = integerOf(query, "before", 1, maxValue);
  const key = query.get("key") ?? undefined;
  const [found, ...others] = [...query].filter(([name]) => name.startsWith(metadataPrefix));
  if (others.length > 0) {
    throw new HttpError("bad-request", "expected one condition on the metadata at a time, got more");
  }
  const metadata = found && { name: found[0].slice(metadataPrefix.length), value: found[1] };
  return {
    limit,
    ...(before !== undefined && { before }),
    ...(key !== undefined && { key }),
    ...(metadata && { metadata }),
  };
}

/** The next page as a web link (RFC 8288), relative: whatever path a proxy gave the service, it leads there. */
function nextLink(query: URLSearchParams, before: number): string {
  const next = new URLSearchParams(query);
  next.set("before", String(before));
  return `<?${next}>; rel="next"`;
}

function integerOf(
  query: URLSearchParams | undefined,
  name: string,
  least: number,
  most: number,
): number | undefined {
  const text = query?.get(name) ?? undefined;
  return text === undefined ? undefined : parseInteger(`?${name}= to be`, text, least, most);
}

function parseInteger(what: string, text: string, least: number, most: number): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= least && value <= most) return value;
  throw new HttpError(
    "bad-request",
    `expected ${what} an integer from ${least} to ${most}, got ${quote(text)}`,
  );
}

/** The number that the body of a PUT says, whatever its Content-Type: `curl -d` calls all it sends a form. */
function parseValue(body: string): number {
  let bn: unknown;
  try {
    ({ bn } = JSON.parse(body));
  } catch {
    // Refused below, like everything else that holds no number.
  }
  if (typeof bn === "number" && Number.isSafeInteger(bn) && bn >= 0) return bn;
  throw new CounterError(
    "invalid-value",
    `expected a JSON body like {"bn":300}, with an integer from 0 to ${maxValue}, got ${quote(body)}`,
  );
}
