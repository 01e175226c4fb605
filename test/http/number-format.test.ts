import { expect, test } from "@jest/globals";
import { parseNumberFormat } from "../../src/http/number-format.ts";

const at = new Date(Date.UTC(2026, 0, 2, 3, 4, 5, 678));

test.each([
  ["{bn}", "57"],
  ["1.4.{bn}", "1.4.57"],
  ["{bn:05}", "00057"],
  ["{bn:01}", "57"],
  ["{bn:012}", "000000000057"],
  ["{date:yyyyMMdd}.{bn}", "20260102.57"],
  ["{date:yy-MM-ddTHH:mm:ss}", "26-01-02T03:04:05"],
  ["{bn}{bn}", "5757"],
  ["no place", "no place"],
  ["ü{bn}€", "ü57€"],
])("%s writes %s", (format, written) => {
  expect(parseNumberFormat(format)(57, at)).toBe(written);
});

test.each([
  "",
  "{",
  "}",
  "{bn",
  "bn}",
  "{{bn}}",
  "{}",
  "{bn:5}",
  "{bn:0}",
  "{bn:0100}",
  "{bn:}",
  "{BN}",
  "{date}",
  "{date:}",
  "{date:yyyMM}",
  "{date:week}",
  "{bn}\n",
  "x".repeat(256),
])("%j is refused", (format) => {
  expect(() => parseNumberFormat(format)).toThrow(/^expected a format like/);
});
