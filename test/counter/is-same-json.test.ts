import { expect, test } from "@jest/globals";
import { isSameJson } from "../../src/counter/is-same-json.ts";

const values = [
  null,
  true,
  false,
  0,
  1,
  "",
  "1",
  [],
  [1],
  [1, 2],
  [2, 1],
  {},
  { a: 1 },
  { a: "1" },
  { b: 1 },
  { 0: 1 },
];

test("every value is the same as itself in another copy, and as no other", () => {
  for (const one of values) {
    for (const other of values) expect(isSameJson(one, structuredClone(other))).toBe(one === other);
  }
});

test("the order of members does not matter, at any depth", () => {
  expect(isSameJson({ a: [{ b: 1, c: null }], d: 2 }, { d: 2, a: [{ c: null, b: 1 }] })).toBe(true);
  expect(isSameJson({ a: [{ b: 1, c: null }] }, { a: [{ b: 1, c: 0 }] })).toBe(false);
});

test("a member that is missing is not one that is null", () => {
  expect(isSameJson({ a: null }, { b: null })).toBe(false);
  expect(isSameJson({ toString: null }, {})).toBe(false);
});
