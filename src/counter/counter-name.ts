import { CounterError } from "./errors.ts";

/**
 * The name of a counter, in its one canonical spelling: a UUID counter is named by the lower-case hyphenated form.
 * Two equal names are the same counter, in every dialect and every store.
 */
export type CounterName = string & { readonly __brand: "CounterName" };

const hyphenated = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const spellings = /^(?:urn:uuid:([0-9a-f-]{36})|\{([0-9a-f-]{36})\}|([0-9a-f-]{36})|([0-9a-f]{32}))$/i;
const compact = /^(.{8})(.{4})(.{4})(.{4})(.{12})$/;

/**
 * The counter that a UUID names, in whatever spelling the Go original took (Go's `uuid.Parse`): hyphenated,
 * `urn:uuid:` before it, braces around it, or 32 hexadecimal digits; any case, any version and variant.
 *
 * @returns the name, or undefined when `text` is no UUID in any of these spellings
 */
export function findUuidName(text: string): CounterName | undefined {
  if (hyphenated.test(text)) return text as CounterName;
  const match = spellings.exec(text);
  if (!match) return undefined;
  const digits = match[1] ?? match[2] ?? match[3];
  const name = (digits ?? (match[4] as string).replace(compact, "$1-$2-$3-$4-$5")).toLowerCase();
  return hyphenated.test(name) ? (name as CounterName) : undefined;
}

/**
 * Like `findUuidName`, for what a caller sent.
 *
 * @throws CounterError `invalid-counter-id`
 */
export function parseUuidName(text: string): CounterName {
  const name = findUuidName(text);
  if (name === undefined) {
    throw new CounterError(
      "invalid-counter-id",
      `invalid UUID format: expected an id like e9461f1c-ef78-4162-bcb7-e83da7287614, got ${quote(text)}`,
    );
  }
  return name;
}

/** What a caller sent, fit for one line of an error message: quoted, control characters escaped, at most 60 characters. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
