import { expect, test } from "@jest/globals";
import { drawChart } from "../../bench/chart.ts";

const series = (title: string, perSecond: number) => ({
  title,
  isOurs: false,
  points: [1, 64].map((connections) => ({ connections, perSecond })),
});

test("keeps the labels apart, and inside the picture, where the lines end close together", () => {
  const all = [70_000, 1_000, 900, 800, 700, 600].map((perSecond, n) => series(`line ${n}`, perSecond));
  const svg = drawChart(all, [1, 64]);
  const heights = [...svg.matchAll(/y="([\d.]+)">line/g)].map(([, y]) => Number(y)).sort((a, b) => a - b);
  expect(heights).toHaveLength(6);
  for (let n = 1; n < heights.length; n += 1) {
    expect((heights[n] as number) - (heights[n - 1] as number)).toBeGreaterThanOrEqual(19);
  }
  expect(heights[5]).toBeLessThan(440);
});

test("escapes titles", () => {
  expect(drawChart([series("a < b & c", 1)], [1, 64])).toContain("a &#60; b &#38; c");
});
