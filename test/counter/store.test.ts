import { describe, expect, test } from "@jest/globals";
import { allocate, loweringRefused, maxValue } from "../../src/counter/store.ts";

/** The numbers given, or the codes of refusal. */
function share(last: number, bys: readonly number[]) {
  const { next, outcomes } = allocate(
    last,
    bys.map((by) => ({ by })),
  );
  return {
    next,
    given: outcomes.map((outcome) => ("error" in outcome ? outcome.error.code : outcome.value)),
  };
}

describe("sharing numbers out", () => {
  test("gives each claim the numbers that follow those of the claim before it", () => {
    expect(share(0, [1])).toEqual({ next: 1, given: [1] });
    expect(share(41, [1, 1, 5, 2])).toEqual({ next: 50, given: [42, 43, 48, 50] });
  });

  test("reaches the end exactly", () => {
    expect(share(0, [maxValue])).toEqual({ next: maxValue, given: [maxValue] });
    expect(share(maxValue - 2, [1, 1])).toEqual({ next: maxValue, given: [maxValue - 1, maxValue] });
  });

  test("refuses alone a claim that would pass the end, and serves smaller ones behind it", () => {
    expect(share(maxValue - 3, [4, 2, maxValue, 1, 1])).toEqual({
      next: maxValue,
      given: ["counter-exhausted", maxValue - 1, "counter-exhausted", maxValue, "counter-exhausted"],
    });
  });

  test("does not move when every claim is refused", () => {
    expect(share(maxValue, [1, 2])).toEqual({
      next: maxValue,
      given: ["counter-exhausted", "counter-exhausted"],
    });
  });

  test("says what was wanted and where the end is", () => {
    const { outcomes } = allocate(maxValue - 1, [{ by: 7 }, { by: 1 }, { by: 1 }]);
    expect(outcomes).toMatchObject([
      {
        error: {
          message: `expected 7 more numbers to end at ${maxValue} at most, but the last one is ${maxValue - 1}`,
          consumed: false,
        },
      },
      { value: maxValue },
      {
        error: {
          message: `expected the next number to end at ${maxValue} at most, but the last one is ${maxValue}`,
        },
      },
    ]);
  });
});

test("the refusal of a lowering names both values and the way", () => {
  expect(loweringRefused(10, 4)).toMatchObject({
    code: "lowering-refused",
    consumed: false,
    message:
      "expected a value of at least 10, the last number issued, got 4 (?force=true lowers the counter)",
  });
});
