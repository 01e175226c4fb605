import fs from "node:fs";
import path from "node:path";
import { expect, test } from "@jest/globals";
import type { CounterName } from "../../../src/counter/counter-name.ts";
import { Spellings } from "../../../src/store/file/spellings.ts";
import { openStorageDir } from "../../../src/store/file/storage-dir.ts";
import { newCounter } from "../new-counter.ts";
import { rejection } from "../store-contract.ts";
import { afterThisTest, cleanUpAfterEach, failWith, makeDirectory } from "./scratch.ts";

cleanUpAfterEach();

/** The spellings in a new storage directory that holds these files. */
async function openSpellings(files: readonly string[], limit?: number) {
  const directory = await openStorageDir(makeDirectory());
  afterThisTest(() => directory.close());
  for (const file of files) fs.writeFileSync(path.join(directory.root, file), "1\n");
  return { directory, spellings: new Spellings(directory, limit) };
}

function bare(name: CounterName): string {
  return name.replaceAll("-", "");
}

test("finds every file that the Go original wrote for a counter under another spelling", async () => {
  const [counter, other, canonical] = [newCounter(), newCounter(), newCounter()];
  const files = [
    counter.toUpperCase(),
    `urn:uuid:${counter}`,
    `URN:UUID:${counter.toUpperCase()}`,
    `{${counter}}`,
    bare(counter),
  ];
  const { spellings } = await openSpellings([...files, counter, other.toUpperCase(), canonical]);
  await spellings.complete();
  expect([...(await spellings.of(counter))].sort()).toEqual(files.sort());
  expect(await spellings.of(other)).toEqual([other.toUpperCase()]);
  expect(await spellings.of(canonical)).toEqual([]);
  expect(await spellings.of(newCounter())).toEqual([]);
});

test("takes no other file for a counter", async () => {
  const counter = newCounter();
  const { spellings } = await openSpellings([
    `${counter.toUpperCase()}.lock`,
    `${counter.toUpperCase()}.bak`,
    `x${bare(counter)}`,
    "notes",
    ".hidden",
  ]);
  await spellings.complete();
  expect(await spellings.of(counter)).toEqual([]);
});

test("reads the directory once, for all who ask", async () => {
  const { directory, spellings } = await openSpellings([]);
  let scans = 0;
  const scan = directory.scan.bind(directory);
  directory.scan = (visit) => {
    scans += 1;
    return scan(visit);
  };
  await Promise.all([spellings.complete(), spellings.complete()]);
  await spellings.complete();
  expect(scans).toBe(1);
});

test("reads again when it could not, and knows each file once", async () => {
  const counter = newCounter();
  const { directory, spellings } = await openSpellings([counter.toUpperCase(), bare(counter)]);
  const nursery = path.join(directory.root, ".new");
  fs.rmSync(nursery, { recursive: true });
  const failures = await Promise.all([rejection(spellings.complete()), rejection(spellings.complete())]);
  expect(failures).toMatchObject([{ code: "ENOENT" }, { code: "ENOENT" }]);
  fs.mkdirSync(nursery);
  await spellings.complete();
  expect(await spellings.of(counter)).toHaveLength(2);
});

test("more than fit in memory are read from the directory, each time", async () => {
  const counters = Array.from({ length: 5 }, newCounter);
  const { spellings } = await openSpellings(
    counters.flatMap((counter) => [counter, counter.toUpperCase(), `{${counter}}`]),
    3,
  );
  await spellings.complete();
  for (const counter of counters) {
    expect([...(await spellings.of(counter))].sort()).toEqual([counter.toUpperCase(), `{${counter}}`].sort());
  }
  expect(await spellings.of(newCounter())).toEqual([]);
});

test("a directory at the bound is kept in memory", async () => {
  const counters = Array.from({ length: 3 }, newCounter);
  const { spellings } = await openSpellings(
    counters.map((counter) => counter.toUpperCase()),
    3,
  );
  await spellings.complete();
  let reads = 0;
  failWith(({ method }) => {
    if (method === "readdirSync") reads += 1;
  });
  for (const counter of counters) expect(await spellings.of(counter)).toEqual([counter.toUpperCase()]);
  expect(reads).toBe(0);
});
