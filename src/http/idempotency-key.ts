import type { IncomingMessage } from "node:http";
import { quote } from "../counter/counter-name.ts";
import { CounterError } from "../counter/errors.ts";
import { queryOf } from "./query-of.ts";

/**
 * The key that a request brings: in the header `Idempotency-Key`, as a string of RFC 8941 ("quoted", as the IETF draft
 * httpapi-idempotency-key-header wants it) or bare; or in `?key=`. For every dialect; the domain checks its characters.
 *
 * @returns undefined for a request without key
 * @throws CounterError `invalid-key`
 */
export function parseIdempotencyKey(req: IncomingMessage): string | undefined {
  const header = req.headers["idempotency-key"] as string | undefined;
  const asked = queryOf(req)?.getAll("key") ?? [];
  if (header === undefined && asked.length === 0) return undefined;
  const headers = header === undefined ? [] : (req.headersDistinct["idempotency-key"] as string[]);
  const [key, ...others] = new Set([...headers.map(unquote), ...asked]);
  if (others.length === 0) return key;
  throw new CounterError(
    "invalid-key",
    `expected one key in Idempotency-Key and ?key= together, got ${quote(key as string)} and ${quote(others[0] as string)}`,
  );
}

function unquote(text: string): string {
  if (!text.startsWith('"')) return text;
  const content = /^"((?:[^"\\]|\\["\\])*)"$/.exec(text)?.[1];
  if (content === undefined) {
    throw new CounterError(
      "invalid-key",
      `expected a quoted key to end in its quote, with \\ only before \\ and ", got ${quote(text)}`,
    );
  }
  return content.replace(/\\(.)/g, "$1");
}
