import { expect, test } from "@jest/globals";
import { runRounds, type Sample, Samples, spreadOf } from "../../bench/samples.ts";

const sample = (perSecond: number): Sample => ({ perSecond, p50Ms: 1, p99Ms: 1, failed: 0, shares: [1] });
const ratio = (a?: Sample, b?: Sample) => (a as Sample).perSecond / (b as Sample).perSecond;

test("runs everything once per round, in the same order", async () => {
  const order: string[] = [];
  const measurement = (key: string) => ({
    key,
    run: async () => {
      order.push(key);
      return sample(1);
    },
  });
  await runRounds([measurement("a"), measurement("b")], 2, () => {});
  expect(order).toEqual(["a", "b", "a", "b"]);
});

test("takes each ratio within a round, and the median of the ratios", () => {
  const samples = new Samples();
  // The machine is ten times slower in the second round; the ratios are 0.5, 0.5 and 0.8.
  for (const perSecond of [50, 5, 80]) samples.add("a", sample(perSecond));
  for (const perSecond of [100, 10, 100]) samples.add("b", sample(perSecond));
  expect(samples.compare(["a", "b"], ratio)).toEqual({ median: 0.5, min: 0.5, max: 0.8 });
});

test("compares nothing with what was not measured", () => {
  const samples = new Samples();
  samples.add("a", sample(1));
  expect(samples.compare(["a", "b"], ratio)).toBeUndefined();
});

test("gives the mean of the middle two as the median of an even number of figures", () => {
  expect(spreadOf([4, 1, 3, 2])).toEqual({ median: 2.5, min: 1, max: 4 });
});

test("remembers failed answers", () => {
  const samples = new Samples();
  samples.add("a", sample(1));
  samples.add("b", { ...sample(1), failed: 2 });
  samples.add("b", { ...sample(1), failed: 3 });
  expect(samples.failures()).toEqual([["b", 5]]);
});
