import { describe, expect, test } from "@jest/globals";
import { CounterError, counterNotFound, counterUnreadable, errorCodes } from "../../src/counter/errors.ts";

describe("an error", () => {
  test("has a code, a message and, for the log, its cause", () => {
    const cause = new Error("EIO");
    const error = new CounterError("store-unavailable", "expected a disk, got none", { cause });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: "CounterError",
      code: "store-unavailable",
      message: "expected a disk, got none",
      cause,
    });
  });

  test("consumed no number, unless it says so", () => {
    expect(new CounterError("stopping", "stopping").consumed).toBe(false);
    expect(new CounterError("store-full", "full", { consumed: true }).consumed).toBe(true);
  });

  test("has no cause where there is none", () => {
    expect(new CounterError("stopping", "stopping")).not.toHaveProperty("cause");
  });
});

test("an unreadable counter is named, with the reason, and was left as it is", () => {
  const cause = new Error("EACCES");
  expect(counterUnreadable("e9461f1c", "expected a number, got none", cause)).toMatchObject({
    code: "counter-unreadable",
    message: "counter e9461f1c cannot be read and was left as it is: expected a number, got none",
    consumed: false,
    cause,
  });
});

test("a counter that was not found is not named: the caller has just done so", () => {
  expect(counterNotFound()).toMatchObject({ code: "counter-not-found", consumed: false });
});

test("codes are kebab-case, and each says in a sentence what it means", () => {
  for (const [code, meaning] of Object.entries(errorCodes)) {
    expect(code).toMatch(/^[a-z]+(-[a-z]+)*$/);
    expect(meaning).toMatch(/^[A-Z].*\.$/);
  }
});
