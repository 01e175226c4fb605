import { describe, expect, test } from "@jest/globals";
import {
  type CounterName,
  fileNameOf,
  findNameOfFile,
  findUuidName,
  parsePlainName,
  parseUuidName,
  quote,
} from "../../src/counter/counter-name.ts";

const name = "e9461f1c-ef78-4162-bcb7-e83da7287614";
const digits = name.replaceAll("-", "");
const uuid = name;

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

/** Plain names with their file-safe spelling. */
const spelled: [name: string, file: string][] = [
  ["default-key", "default-key"],
  ["my_app-2", "my_app-2"],
  [uuid, uuid],
  ["MyApp", "%4Dy%41pp"],
  ["a/b", "a%2Fb"],
  ["..", "%2E%2E"],
  [".fence", "%2Efence"],
  [".new", "%2Enew"],
  [`${uuid}.lock`, `${uuid}%2Elock`],
  ["default-key.123", "default-key%2E123"],
  ["%41", "%2541"],
  ["a b\0\n", "a%20b%00%0A"],
  ["!~*'()", "%21%7E%2A%27%28%29"],
  ["Zähler", "%5A%C3%A4hler"],
  ["計", "%E8%A8%88"],
  // Other spellings of a uuidID, whose files are the Go original's: each is a name of its own.
  [uuid.toUpperCase(), "%459461%461%43-%45%4678-4162-%42%43%427-%4583%44%417287614"],
  [`urn:uuid:${uuid}`, `urn%3Auuid%3A${uuid}`],
  [`{${uuid}}`, `%7B${uuid}%7D`],
  [uuid.replaceAll("-", ""), "%659461f1cef784162bcb7e83da7287614"],
  ["0".repeat(32), `%30${"0".repeat(31)}`],
];

describe("a plain name", () => {
  test.each(spelled)("%j is the file %s, and back", (text, file) => {
    const name = parsePlainName(text);
    expect(name).toBe(text);
    expect(fileNameOf(name)).toBe(file);
    expect(findNameOfFile(file)).toBe(text);
  });

  test("is never the file of another name, of another spelling of a uuidID, or of anything that is no counter", () => {
    const files = spelled.map(([name]) => fileNameOf(name as CounterName));
    expect(new Set(files.map((file) => file.toLowerCase())).size).toBe(spelled.length);
    for (const file of files) {
      expect(file).toMatch(/^(?:[a-z0-9_-]|%[0-9A-F]{2})+$/);
      expect([undefined, file]).toContain(findUuidName(file));
    }
  });

  test.each(["", "x".repeat(201), "ä".repeat(34), "\ud800", "a\udc00b"])("is not %j", (text) => {
    expect(() => parsePlainName(text)).toThrow(
      expect.objectContaining({
        code: "invalid-counter-id",
        message: expect.stringMatching(/^expected a name/),
      }),
    );
  });

  test.each(["x".repeat(200), "ä".repeat(33), "😀".repeat(16)])("may be %s", (text) => {
    expect(parsePlainName(text)).toBe(text);
    expect(fileNameOf(text as CounterName).length).toBeLessThanOrEqual(200);
  });
});

test.each(["", "MyApp", "a.b", uuid.toUpperCase(), "%zz", "%61", "%4d", "%C3", "lost+found"])(
  "the file %j is that of no name",
  (file) => {
    expect(findNameOfFile(file)).toBeUndefined();
  },
);

describe("a quotation", () => {
  test("is one line, with control characters escaped", () => {
    expect(quote('say "hi"\n\0')).toBe('"say \\"hi\\"\\n\\u0000"');
  });

  test("ends after 60 characters", () => {
    expect(quote("x".repeat(60))).toBe(`"${"x".repeat(60)}"`);
    expect(quote("x".repeat(61))).toBe(`"${"x".repeat(60)}…"`);
  });
});
