import { describe, expect, test } from "@jest/globals";
import { findUuidName, parseUuidName, quote } from "../../src/counter/counter-name.ts";

const name = "e9461f1c-ef78-4162-bcb7-e83da7287614";
const digits = name.replaceAll("-", "");

describe("every spelling that the Go original took is the same counter", () => {
  test.each([
    ["lower case and hyphens", name],
    ["upper case", name.toUpperCase()],
    ["mixed case", "e9461F1c-EF78-4162-bcb7-e83dA7287614"],
    ["a URN", `urn:uuid:${name}`],
    ["a URN in upper case", `URN:UUID:${name.toUpperCase()}`],
    ["braces", `{${name}}`],
    ["braces and upper case", `{${name.toUpperCase()}}`],
    ["no hyphens", digits],
    ["no hyphens and upper case", digits.toUpperCase()],
  ])("%s", (_name, spelling) => {
    expect(findUuidName(spelling)).toBe(name);
    expect(parseUuidName(spelling)).toBe(name);
  });

  test.each([
    ["the nil UUID", "00000000-0000-0000-0000-000000000000"],
    ["all ones", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    ["no known version or variant", "01234567-89ab-cdef-0123-456789abcdef"],
  ])("with any hexadecimal digits: %s", (_name, any) => {
    expect(parseUuidName(any)).toBe(any);
    expect(parseUuidName(any.toUpperCase().replaceAll("-", ""))).toBe(any);
  });
});

describe("near misses are no counter", () => {
  test.each([
    ["nothing", ""],
    ["a blank before it", ` ${name}`],
    ["a newline behind it", `${name}\n`],
    ["a digit too few", name.slice(0, -1)],
    ["a digit too many", `${name}0`],
    ["31 digits", digits.slice(0, -1)],
    ["33 digits", `${digits}0`],
    ["36 digits", `${digits}0000`],
    ["a letter that is no digit", name.replace("e", "g")],
    ["a hyphen moved", "e9461f1ce-f78-4162-bcb7-e83da7287614"],
    ["hyphens only", "-".repeat(36)],
    ["one hyphen missing, one digit more", "e9461f1c-ef78-4162-bcb70e83da7287614"],
    ["half the braces", `{${name}`],
    ["the other half", `${name}}`],
    ["parentheses", `(${name})`],
    ["braces around bare digits", `{${digits}}`],
    ["a URN of bare digits", `urn:uuid:${digits}`],
    ["another URN", `urn:guid:${name}`],
    ["a URN in braces", `{urn:uuid:${name}}`],
    ["two of them", `${name}${name}`],
    ["the name of its lock", `${name}.lock`],
    ["a path", `../${name}`],
    ["a NUL behind it", `${name}\0`],
    ["digits of another script", name.replace("9", "９")],
    ["a letter that is a K in lower case only", name.replace("f", "\u212a")],
  ])("%s", (_name, text) => {
    expect(findUuidName(text)).toBe(undefined);
    expect(() => parseUuidName(text)).toThrow(
      expect.objectContaining({
        code: "invalid-counter-id",
        consumed: false,
        message: `invalid UUID format: expected an id like ${name}, got ${quote(text)}`,
      }),
    );
  });
});

describe("a quotation", () => {
  test("is one line, with control characters escaped", () => {
    expect(quote('say "hi"\n\0')).toBe('"say \\"hi\\"\\n\\u0000"');
  });

  test("ends after 60 characters", () => {
    expect(quote("x".repeat(60))).toBe(`"${"x".repeat(60)}"`);
    expect(quote("x".repeat(61))).toBe(`"${"x".repeat(60)}…"`);
  });
});
