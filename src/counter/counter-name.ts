import { CounterError } from "./errors.ts";

/**
 * The name of a counter: a UUID in its one canonical spelling, lower-case and hyphenated, or any plain name, as it is.
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

/** The longest file-safe spelling of a name: with what is put behind it, it fits in a file name (255 bytes). */
const longestFileName = 200;

/**
 * The counter that a plain name names, in the dialects that have such names. Only the lower-case hyphenated spelling of a
 * UUID names the UUID's counter; any other text is a name of its own, so that keys which exist already go on.
 *
 * @param text 1 … 200 bytes, in the file-safe spelling
 * @throws CounterError `invalid-counter-id`
 */
export function parsePlainName(text: string): CounterName {
  const name = text as CounterName;
  const bytes = isWellFormed(text) ? fileNameOf(name).length : Number.NaN;
  if (bytes >= 1 && bytes <= longestFileName) return name;
  throw new CounterError(
    "invalid-counter-id",
    `expected a name of 1 to ${longestFileName} bytes in its percent-encoded form, got ${quote(text)}`,
  );
}

const fileSafe = /^[a-z0-9_-]+$/;

/**
 * The file-safe spelling of a name, one to one: [a-z0-9_-] stand for themselves, all other bytes of its UTF-8 are `%XX`.
 * So it never holds a '.' (which marks what is no counter), a '/', or letters that differ in case alone.
 *
 * The one plain name that would then look like another spelling of a UUID, 32 hexadecimal digits, has its first one
 * encoded: the file of that name is the Go original's, and belongs to the UUID's counter.
 */
export function fileNameOf(name: CounterName): string {
  if (fileSafe.test(name)) {
    const uuid = findUuidName(name);
    return uuid === undefined || uuid === name ? name : encodeByte(name) + name.slice(1);
  }
  // encodeURIComponent spares some characters that are not file-safe here.
  return encodeURIComponent(name).replace(/%..|[A-Z.!~*'()]/g, (part) =>
    part.length === 1 ? encodeByte(part) : part,
  );
}

/** The counter whose file-safe spelling this is; undefined when it is none. */
export function findNameOfFile(file: string): CounterName | undefined {
  try {
    const name = decodeURIComponent(file) as CounterName;
    return name !== "" && fileNameOf(name) === file ? name : undefined;
  } catch {
    return undefined;
  }
}

/** `%XX` for the first character of an ASCII text. */
function encodeByte(text: string): string {
  return `%${text.charCodeAt(0).toString(16).toUpperCase()}`;
}

/** Whether a text has no half of a surrogate pair, which UTF-8 cannot say. */
function isWellFormed(text: string): boolean {
  return !/\p{Surrogate}/u.test(text);
}

/** What a caller sent, fit for one line of an error message: quoted, control characters escaped, at most 60 characters. */
export function quote(text: string): string {
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
}
