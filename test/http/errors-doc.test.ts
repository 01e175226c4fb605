import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { errorCodes } from "../../src/counter/errors.ts";
import { httpErrorCodes, statusCodes } from "../../src/http/problem.ts";

test("docs/errors.md lists each error code with its status and meaning, and no other", () => {
  const rows = readFileSync("docs/errors.md", "utf8")
    .split("\n")
    .filter((line) => line.startsWith("| `"));
  const documented = rows.map((row) => {
    const [, code, status, meaning] = row.split("|").map((cell) => cell.trim());
    return [code?.replaceAll("`", ""), Number(status), meaning];
  });
  const known = Object.entries({ ...errorCodes, ...httpErrorCodes });
  expect(documented).toEqual(
    known.map(([code, meaning]) => [code, statusCodes[code as keyof typeof statusCodes], meaning]),
  );
});
