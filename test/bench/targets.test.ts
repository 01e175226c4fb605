import { expect, test } from "@jest/globals";
import { cellKey } from "../../bench/load.ts";
import { Samples } from "../../bench/samples.ts";
import { judge } from "../../bench/targets.ts";

const nothing = { duplicateCheck: undefined, fullDirectory: undefined };
const work = "one counter, c=64, against a node:http no-op";

function samplesOf(ours: readonly number[]): Samples {
  const samples = new Samples();
  const rest = { p50Ms: 1, p99Ms: 1, failed: 0, shares: [1] };
  for (const perSecond of ours) {
    samples.add(cellKey("service", 1, 64), { ...rest, perSecond });
    samples.add(cellKey("node-noop", 1, 64), { ...rest, perSecond: 100 });
  }
  return samples;
}

test("judges by the median", () => {
  const find = (ours: number[]) => judge(samplesOf(ours), nothing).find((row) => row.work === work);
  expect(find([10, 60, 90])).toEqual({ work, target: "≥ 0.55", measured: "0.60 (0.10–0.90)", isMet: true });
  expect(find([10, 50, 90])).toMatchObject({ measured: "0.50 (0.10–0.90)", isMet: false });
});

test("does not judge what was not measured", () => {
  for (const row of judge(new Samples(), nothing)) {
    expect(row).toMatchObject({ measured: undefined, isMet: undefined });
  }
});

test("takes one duplicate for a miss", () => {
  const rows = judge(new Samples(), {
    ...nothing,
    duplicateCheck: { answers: 1000, duplicates: 1, failed: 0 },
  });
  expect(rows.find(({ target }) => target === "none")).toMatchObject({
    measured: "1 in 1,000 answers",
    isMet: false,
  });
});

test("judges memory and start only with a million counters", () => {
  const at = (counters: number) =>
    judge(new Samples(), {
      ...nothing,
      fullDirectory: {
        counters,
        startUpMs: { median: 2000, min: 2000, max: 2000 },
        memory: { beforeMb: 80, afterMb: 150, failed: 0 },
      },
    })
      .filter(({ measured }) => measured !== undefined)
      .map(({ isMet }) => isMet);
  expect(at(1_000_000)).toEqual([true, false]);
  expect(at(5_000)).toEqual([undefined, undefined]);
});
