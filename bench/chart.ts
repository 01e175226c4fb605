/** One line of the picture. */
export interface Series {
  readonly title: string;
  readonly points: readonly { readonly connections: number; readonly perSecond: number }[];
  /** Drawn stronger: what the picture is about. */
  readonly isOurs: boolean;
}

const [width, height] = [960, 480];
const plot = { left: 64, right: 560, top: 56, bottom: 424 };
const labelGap = 20;

/** Throughput against connections, as an SVG that reads well on light and on dark. */
export function drawChart(series: readonly Series[], connections: readonly number[]): string {
  const top = niceCeiling(
    Math.max(...series.flatMap(({ points }) => points.map(({ perSecond }) => perSecond))),
  );
  const x = (n: number) =>
    round(
      plot.left + (connections.indexOf(n) / Math.max(1, connections.length - 1)) * (plot.right - plot.left),
    );
  const y = (perSecond: number) => round(plot.bottom - (perSecond / top) * (plot.bottom - plot.top));

  const grid = [0, 1, 2, 3, 4].map((n) => {
    const value = (top * n) / 4;
    return [
      `<line class="grid" x1="${plot.left}" x2="${plot.right}" y1="${y(value)}" y2="${y(value)}"/>`,
      `<text class="tick" x="${plot.left - 8}" y="${y(value) + 4}" text-anchor="end">${value === 0 ? 0 : `${value / 1000}k`}</text>`,
    ].join("");
  });
  const ticks = connections.map(
    (n) => `<text class="tick" x="${x(n)}" y="${plot.bottom + 20}" text-anchor="middle">${n}</text>`,
  );
  const lines = series.map(({ points, isOurs }, n) => {
    const at = points.map((point) => `${x(point.connections)},${y(point.perSecond)}`);
    const dots = points.map(
      (point) => `<circle cx="${x(point.connections)}" cy="${y(point.perSecond)}" r="3"/>`,
    );
    return `<g class="s${n}${isOurs ? " ours" : ""}"><polyline points="${at.join(" ")}"/>${dots.join("")}</g>`;
  });

  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="title">`,
    '<title id="title">Answers per second against connections, one hot counter</title>',
    `<style>${style(series.length)}</style>`,
    `<rect class="paper" width="${width}" height="${height}"/>`,
    `<text class="heading" x="${plot.left - 40}" y="30">Answers per second against connections, one hot counter</text>`,
    ...grid,
    ...ticks,
    `<text class="tick" x="${(plot.left + plot.right) / 2}" y="${plot.bottom + 42}" text-anchor="middle">connections</text>`,
    ...lines,
    ...labels(series, y),
    "</svg>",
  ].join("\n")}\n`;
}

/** Beside the lines' ends, moved apart where these are close together. */
function labels(series: readonly Series[], y: (perSecond: number) => number): string[] {
  const wanted = series
    .map(({ title, points, isOurs }, n) => ({ title, isOurs, n, end: y(points.at(-1)?.perSecond ?? 0) }))
    .sort((a, b) => a.end - b.end);
  let lowest = Number.NEGATIVE_INFINITY;
  const placed = wanted.map((label) => {
    lowest = Math.max(label.end, lowest + labelGap);
    return { ...label, at: lowest };
  });
  // Those that were pushed off the bottom move up again, and the others before them.
  let highest = plot.bottom + labelGap;
  for (const label of placed.toReversed()) {
    label.at = Math.min(label.at, highest - labelGap);
    highest = label.at;
  }
  return placed.map(({ title, isOurs, n, end, at }) => {
    const text = title.replace(/[&<>]/g, (char) => `&#${char.charCodeAt(0)};`);
    return [
      `<g class="s${n}${isOurs ? " ours" : ""}">`,
      `<path class="leader" d="M${plot.right + 8} ${end}L${plot.right + 24} ${round(at)}"/>`,
      `<text x="${plot.right + 30}" y="${round(at) + 4}">${text}</text></g>`,
    ].join("");
  });
}

/** Colours with at least 3 : 1 against their background, and told apart by people who see few colours (Okabe and Ito). */
const light = ["#767676", "#a06a00", "#c2410c", "#0072b2", "#00786b", "#b0307d", "#6b5b00", "#4b4b9b"];
const dark = ["#a3a3a3", "#e69f00", "#ff8a5c", "#56b4e9", "#2fd3ae", "#f08cc6", "#f0e442", "#a5a5ff"];

function style(count: number): string {
  const colours = (palette: readonly string[]) =>
    Array.from({ length: count }, (_, n) => `.s${n}{--c:${palette[n % palette.length]}}`).join("");
  return [
    "text{font:13px system-ui,sans-serif}.heading{font-size:16px;font-weight:600}",
    ".paper{fill:#fff}.heading{fill:#1f2328}.tick{fill:#59636e}.grid{stroke:#d1d9e0}",
    colours(light),
    "polyline{fill:none;stroke:var(--c);stroke-width:1.5}circle{fill:var(--c)}.leader{fill:none;stroke:var(--c)}",
    "g text{fill:var(--c)}.ours polyline{stroke-width:3}.ours text{font-weight:600}",
    "@media (prefers-color-scheme:dark){.paper{fill:#0d1117}.heading{fill:#f0f6fc}.tick{fill:#9198a1}.grid{stroke:#3d444d}",
    `${colours(dark)}}`,
  ].join("");
}

/** The next number of four even steps that a person would draw. */
function niceCeiling(figure: number): number {
  const magnitude = 10 ** Math.floor(Math.log10(figure));
  return ([1, 2, 4, 6, 8, 10].find((step) => step * magnitude >= figure) as number) * magnitude;
}

function round(figure: number): number {
  return Math.round(figure * 10) / 10;
}
