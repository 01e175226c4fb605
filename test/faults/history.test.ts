import { describe, expect, test } from "@jest/globals";
import { History } from "./history.ts";

type Answer = readonly [start: number, end: number, number: number];

function historyOf(...answers: Answer[]): History {
  return add(new History(), ...answers);
}

function add(history: History, ...answers: Answer[]): History {
  for (const [start, end, number] of answers) history.addAnswer("a", start, end, number);
  return history;
}

/** Answers of requests with a key; a replay says so. */
function addKeyed(
  history: History,
  ...answers: [key: string, ...answer: Answer, isReplay?: boolean][]
): History {
  for (const [key, start, end, number, isReplay = false] of answers)
    history.addKeyedAnswer("a", { key, number, isReplay }, { start, end });
  return history;
}

test("numbers in order, and those of overlapping requests in any order, are right", () => {
  expect(historyOf([0, 1, 1], [2, 3, 2]).wrongs()).toEqual([]);
  expect(historyOf([0, 5, 2], [1, 4, 3], [2, 6, 1]).wrongs()).toEqual([]);
  expect(add(new History({ from: () => 41 }), [0, 1, 42]).wrongs()).toEqual([]);
});

test("a number that was answered twice is told", () => {
  expect(historyOf([0, 5, 1], [1, 4, 1]).wrongs()).toEqual(["a: 1 answered twice"]);
});

test("a number below one that was answered before its request started is told", () => {
  expect(historyOf([0, 1, 2], [2, 3, 1]).wrongs()).toEqual(["a: 1 answered after larger ones"]);
});

test("a missing number is told, unless an operation failed that could have taken it", () => {
  expect(historyOf([0, 1, 1], [2, 3, 3]).wrongs()).toEqual(["a: 2 missing, and no operation failed there"]);
  const history = historyOf([0, 1, 1], [2, 3, 4]);
  history.addFailure("a", 1, 2);
  expect(history.wrongs()).toEqual(["a: 3 missing, and no operation failed there"]);
  history.addFailure("a", 0.5, 9);
  expect(history.wrongs()).toEqual([]);
  const tooLate = historyOf([0, 1, 1], [2, 3, 3]);
  tooLate.addFailure("a", 4, 5);
  expect(tooLate.wrongs()).toEqual(["a: 2 missing, and no operation failed there"]);
  const tooEarly = historyOf([2, 3, 1], [4, 5, 3]);
  tooEarly.addFailure("a", 0, 1);
  expect(tooEarly.wrongs()).toEqual(["a: 2 missing, and no operation failed there"]);
});

describe("a key", () => {
  test("has one number, however often and whenever it is asked for", () => {
    const history = addKeyed(new History(), ["x", 0, 1, 1], ["y", 2, 3, 2], ["x", 4, 5, 1, true]);
    expect(history.wrongs()).toEqual([]);
    expect(history.keysOf("a")).toEqual(new Map(Object.entries({ x: 1, y: 2 })));
    expect(history.last("a")).toBe(2);
    history.settle();
    expect(addKeyed(history, ["x", 6, 7, 1, true]).wrongs()).toEqual([]);
  });

  test("with two numbers is told, before and after it is settled", () => {
    const history = addKeyed(new History(), ["x", 0, 1, 1], ["x", 2, 3, 2]);
    expect(history.wrongs()).toEqual(["a: x (1 and 2) are keys that were answered with two numbers"]);
    history.settle();
    addKeyed(history, ["x", 4, 5, 3]);
    expect(history.wrongs()).toEqual([
      "a: x (1 and 2) are keys that were answered with two numbers",
      "a: x (1 and 3) are keys that were answered with two numbers",
    ]);
  });

  test("with the number of another key, or of a request without, is told", () => {
    const twice = ["a: 1 answered twice"];
    expect(addKeyed(new History(), ["x", 0, 5, 1], ["y", 1, 4, 1]).wrongs()).toEqual(twice);
    expect(addKeyed(historyOf([0, 5, 1]), ["x", 1, 4, 1]).wrongs()).toEqual(twice);
    const settled = historyOf([0, 1, 1]);
    settled.settle();
    expect(addKeyed(settled, ["x", 2, 3, 1]).wrongs()).toContain("a: 1 answered twice");
  });

  test("may have its number from a request that failed, but not from before all of them", () => {
    const history = historyOf([2, 3, 2]);
    history.addFailure("a", 0, 1, { key: "x" });
    expect(addKeyed(history, ["x", 4, 5, 1, true]).wrongs()).toEqual([]);
    expect(addKeyed(historyOf([2, 3, 2]), ["x", 4, 5, 1, true]).wrongs()).toEqual([
      "a: 1 answered after larger ones",
    ]);
    const settled = historyOf([2, 3, 2]);
    settled.addFailure("a", 0, 1, { key: "x" });
    settled.settle();
    expect(addKeyed(settled, ["x", 4, 5, 1, true]).wrongs()).toEqual([]);
  });

  test("that loses a race may have taken a number for nothing", () => {
    const history = addKeyed(historyOf([6, 7, 3]), ["x", 0, 5, 1], ["x", 0, 5, 1, true]);
    expect(history.wrongs()).toEqual([]);
  });
});

describe("what is settled", () => {
  test("is what the rest has to fit to", () => {
    const history = historyOf([0, 1, 1], [2, 3, 2]);
    history.settle();
    expect(add(history, [4, 5, 3]).wrongs()).toEqual([]);
    expect(add(history, [6, 7, 2]).wrongs()).toEqual([
      "a: 2 answered twice",
      "a: 2 answered after larger ones",
    ]);
    expect(history.last("a")).toBe(3);
  });

  test("keeps what was wrong", () => {
    const history = historyOf([0, 5, 1], [1, 4, 1]);
    history.settle();
    expect(history.wrongs()).toEqual(["a: 1 answered twice"]);
    expect(history.answered).toBe(2);
  });

  test("keeps the operations that may have taken the numbers after it, and no others", () => {
    const history = historyOf([2, 3, 1]);
    history.addFailure("a", 2.5, 4);
    history.settle();
    expect(add(history, [5, 6, 3]).wrongs()).toEqual([]);
    const tooEarly = historyOf([2, 3, 1]);
    tooEarly.addFailure("a", 0, 1);
    tooEarly.settle();
    expect(add(tooEarly, [5, 6, 3]).wrongs()).toEqual(["a: 2 missing, and no operation failed there"]);
  });

  test("knows which numbers nobody got", () => {
    const history = historyOf([0, 1, 1], [4, 5, 4]);
    history.addFailure("a", 2, 3);
    history.addFailure("a", 2, 3, { key: "x" });
    history.settle();
    expect(addKeyed(history, ["x", 6, 7, 3, true]).wrongs()).toEqual([]);
    history.settle();
    expect(add(history, [8, 9, 3]).wrongs()).toContain("a: 3 answered twice");
  });
});
