import { expect, test } from "@jest/globals";
import { parseOptions } from "../../bench/options.ts";

test("only an unshortened run may write the docs", () => {
  expect(parseOptions([]).isFull).toBe(true);
  expect(parseOptions(["--quick"]).isFull).toBe(false);
  expect(parseOptions(["--only", "node-noop"]).isFull).toBe(false);
  expect(parseOptions(["--rounds", "7"]).isFull).toBe(false);
});

test.each([
  ["an unknown contestant", ["--only", "apache"], 'expected the key of a contestant, got "apache"'],
  ["no number", ["--connections", "1,many"], 'expected a whole number from 1, got "many"'],
  ["an unknown option", ["--fast"], "--fast"],
])("refuses %s, and says how it is used", (_title, args, message) => {
  expect(() => parseOptions(args)).toThrow(message);
  expect(() => parseOptions(args)).toThrow("npm run bench -- [options]");
});
