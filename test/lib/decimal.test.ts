import { expect, test } from "@jest/globals";
import { minus } from "../../src/lib/decimal.ts";

test.each([
  ["12", 0n, 12],
  ["12.4", 1n, 11.4],
  ["100.1", 1n, 99.1],
  ["0.3", 2n, -1.7],
  ["-0.5", 1n, -1.5],
  ["-3", -5n, 2],
  ["9007199254740993", 2n, 9007199254740991],
  ["1E+3", 1n, 999],
])("%s minus %s is %s, without rounding in between", (text, integer, result) => {
  expect(minus(text, integer)).toBe(result);
});
