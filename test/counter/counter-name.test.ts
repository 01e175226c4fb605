import { describe, expect, test } from "@jest/globals";
import {
  type CounterName,
  fileNameOf,
  findNameOfFile,
  findUuidName,
  parsePlainName,
} from "../../src/counter/counter-name.ts";

const uuid = "e9461f1c-ef78-4162-bcb7-e83da7287614";

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
  // Other spellings of a UUID, whose files are the Go original's: each is a name of its own.
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

  test("is never the file of another name, of another spelling of a UUID, or of anything that is no counter", () => {
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
