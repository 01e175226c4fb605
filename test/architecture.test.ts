import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "@jest/globals";

/** The composition roots: they alone know both sides of the Store interface. */
const roots = new Set([
  "main.ts",
  "server.ts",
  "cli/buildnumber-table.ts",
  "lib/open-counters.ts",
  "lib/lambda.ts",
]);

/** What each room may import of the others. A file beside the rooms is named by its path. */
const allowed: Record<string, readonly string[]> = {
  counter: [],
  http: ["counter"],
  store: ["counter"],
  cli: ["counter", "lib"],
  lib: ["counter"],
};

/** Further imports that single files need, with the reason. */
const exceptions: Record<string, readonly string[]> = {
  // Chooses the backend by the settings.
  "store/open-store.ts": ["config.ts"],
  // Per-call tables, decrements and fractions: they use DynamoDB itself, not the integer domain.
  "lib/dynamodb-atomic-counter.ts": ["store"],
  "lib/distributed-counter.ts": ["store"],
};

const files = readdirSync("src", { recursive: true, encoding: "utf8" }).filter((path) =>
  path.endsWith(".ts"),
);
const room = (path: string) => (path.includes("/") ? (path.split("/")[0] as string) : path);
const source = (path: string) => readFileSync(join("src", path), "utf8");

/** All modules that a file names in an import, static or dynamic, of values or types. */
function importsOf(path: string): string[] {
  const named = source(path).matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/g);
  return [...named].map(([, name]) => name as string);
}

function relativeImportsOf(path: string): string[] {
  return importsOf(path)
    .filter((name) => name.startsWith("."))
    .map((name) => normalize(join(dirname(path), name)));
}

test("reads the imports of the source", () => {
  expect(relativeImportsOf("store/open-store.ts")).toContain("store/file/file-store.ts");
  expect(relativeImportsOf("http/dialects/buildnumber.ts")).toContain("counter/counters.ts");
});

test.each(files.filter((path) => path.includes("/") && !roots.has(path)))(
  "%s imports against no direction of flow",
  (path) => {
    const ours = [room(path), ...(allowed[room(path)] ?? []), ...(exceptions[path] ?? [])];
    expect(relativeImportsOf(path).filter((target) => !ours.includes(room(target)))).toEqual([]);
  },
);

test("the domain uses neither HTTP nor a backend nor any package", () => {
  const foreign = files
    .filter((path) => room(path) === "counter")
    .flatMap((path) => importsOf(path).filter((name) => !name.startsWith(".")));
  expect(foreign).toEqual([]);
});

test("only open-store.ts, and the libraries that are about one engine, name a backend from outside of its room", () => {
  const knowing = ["store/open-store.ts", "lib/dynamodb-atomic-counter.ts", "lib/distributed-counter.ts"];
  const backend = (path: string) => /^store\/([^/]+)\//.exec(path)?.[1];
  const strangers = files.filter(
    (path) =>
      !knowing.includes(path) &&
      relativeImportsOf(path).some((target) => backend(target) && backend(target) !== backend(path)),
  );
  expect(strangers).toEqual([]);
});

test("only config.ts reads the environment", () => {
  expect(files.filter((path) => /\bprocess\.env\b|\benv\b.*"node:process"/.test(source(path)))).toEqual([
    "config.ts",
  ]);
});
