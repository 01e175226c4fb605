import { quote } from "../counter/counter-name.ts";
import { HttpError } from "./problem.ts";

/** Writes a number, and the time when it was issued, as a format says. */
export type NumberFormat = (value: number, at: Date) => string;

/** The parts of a date, in UTC. */
const dateParts: Readonly<Record<string, (iso: string) => string>> = {
  yyyy: (iso) => iso.slice(0, 4),
  yy: (iso) => iso.slice(2, 4),
  MM: (iso) => iso.slice(5, 7),
  dd: (iso) => iso.slice(8, 10),
  HH: (iso) => iso.slice(11, 13),
  mm: (iso) => iso.slice(14, 16),
  ss: (iso) => iso.slice(17, 19),
};
const datePattern = /^(?:yyyy|yy|MM|dd|HH|mm|ss|[-_.:/ T])+$/;
const longest = 255;

/**
 * Reads a format: text in which `{bn}` stands for the number, `{bn:05}` for the number with zeros before it up to five
 * digits, and `{date:yyyyMMdd}` for the time in UTC (of yyyy, yy, MM, dd, HH, mm, ss and `-_.:/ T` between them).
 *
 * @param text 1 … 255 characters, without control characters
 * @throws HttpError `invalid-format`
 */
export function parseNumberFormat(text: string): NumberFormat {
  if (text === "" || text.length > longest || /\p{Cc}/u.test(text)) throw invalid(text);
  const parts = text.split(/(\{[^{}]*\})/).map((part, at): NumberFormat => {
    if (at % 2 === 1) return parsePlace(part.slice(1, -1), text);
    if (/[{}]/.test(part)) throw invalid(text);
    return () => part;
  });
  return (value, at) => parts.map((part) => part(value, at)).join("");
}

function parsePlace(place: string, text: string): NumberFormat {
  if (place === "bn") return String;
  const digits = /^bn:0([1-9]\d?)$/.exec(place)?.[1];
  if (digits !== undefined) return (value) => String(value).padStart(Number(digits), "0");
  const pattern = place.startsWith("date:") ? place.slice("date:".length) : "";
  if (!datePattern.test(pattern)) throw invalid(text);
  return (_value, at) => {
    const iso = at.toISOString();
    return pattern.replace(/yyyy|yy|MM|dd|HH|mm|ss/g, (part) =>
      (dateParts[part] as (iso: string) => string)(iso),
    );
  };
}

function invalid(text: string): HttpError {
  return new HttpError(
    "invalid-format",
    `expected a format like 1.4.{bn}, with {bn}, {bn:05} or {date:yyyyMMdd} in it, got ${quote(text)}`,
  );
}
