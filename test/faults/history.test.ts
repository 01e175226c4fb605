import { expect, test } from "@jest/globals";
import { History } from "./history.ts";

function historyOf(...answers: [start: number, end: number, number: number][]): History {
  const history = new History();
  for (const [start, end, number] of answers) history.addAnswer("a", start, end, number);
  return history;
}

test("numbers in order, and those of overlapping requests in any order, are right", () => {
  expect(historyOf([0, 1, 1], [2, 3, 2]).wrongs()).toEqual([]);
  expect(historyOf([0, 5, 2], [1, 4, 3], [2, 6, 1]).wrongs()).toEqual([]);
  expect(historyOf([0, 1, 42]).wrongs({ from: () => 41 })).toEqual([]);
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
