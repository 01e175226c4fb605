import fs from "node:fs";
import path from "node:path";
import { expect, test } from "@jest/globals";
import { parsePlainName, parseUuidName } from "../../../src/counter/counter-name.ts";
import { take } from "../store-contract.ts";
import { cleanUpAfterEach, makeDirectory, openStore } from "./scratch.ts";

cleanUpAfterEach();

const uuid = "e9461f1c-ef78-4162-bcb7-e83da7287614";
const digits = uuid.replaceAll("-", "");

test("keeps a plain name under its file-safe spelling, in value file and fence", async () => {
  const root = makeDirectory();
  const { store } = await openStore(root);
  for (const name of ["default-key", "My/App.lock", ".fence"]) {
    expect(await take(store, parsePlainName(name))).toBe(1);
    expect(await take(store, parsePlainName(name))).toBe(2);
  }
  for (const file of ["default-key", "%4Dy%2F%41pp%2Elock", "%2Efence"]) {
    expect(fs.readFileSync(path.join(root, file), "utf8")).toBe("2\n");
    expect(fs.readdirSync(path.join(root, ".fence", file))).toEqual(["2"]);
  }
});

test("goes on counting after it was opened anew", async () => {
  const root = makeDirectory();
  const first = await openStore(root);
  await take(first.store, parsePlainName("MyApp"));
  await first.store.close();
  const second = await openStore(root);
  expect(await take(second.store, parsePlainName("MyApp"))).toBe(2);
  expect(second.logged).toEqual([]);
});

test("tells a name that is another spelling of a UUID from the UUID, whichever comes first", async () => {
  const root = makeDirectory();
  const { store } = await openStore(root);
  const spellings = [digits, uuid.toUpperCase(), `urn:uuid:${uuid}`, `{${uuid}}`];
  for (const spelling of spellings) await store.set(parsePlainName(spelling), 500, { force: false });
  expect(await take(store, parseUuidName(uuid.toUpperCase()))).toBe(1);
  for (const spelling of spellings) expect(await take(store, parsePlainName(spelling))).toBe(501);
  await store.close();
  fs.rmSync(path.join(root, ".fence", uuid), { recursive: true });
  const again = await openStore(root);
  expect(await take(again.store, parseUuidName(uuid))).toBe(2);
});

test("leaves the files of the Go original to the UUID's counter", async () => {
  const root = makeDirectory();
  fs.writeFileSync(path.join(root, digits), "41\n");
  const { store } = await openStore(root);
  expect(await store.peek(parsePlainName(digits))).toBeUndefined();
  expect(await take(store, parsePlainName(digits))).toBe(1);
  expect(await take(store, parsePlainName(uuid))).toBe(42);
});

test("removes what a dead process left of a value file, and no file that only looks so", async () => {
  const root = makeDirectory();
  const first = await openStore(root);
  await take(first.store, parsePlainName("MyApp"));
  await first.store.close();
  const longAgo = new Date(Date.now() - 2 * 3_600_000);
  for (const file of ["%4Dy%41pp.123", "notes.2024"]) {
    fs.writeFileSync(path.join(root, file), "1\n");
    fs.utimesSync(path.join(root, file), longAgo, longAgo);
  }
  const { store } = await openStore(root);
  // A first use waits until the directory was read.
  await take(store, parseUuidName(uuid));
  expect(fs.existsSync(path.join(root, "%4Dy%41pp.123"))).toBe(false);
  expect(fs.existsSync(path.join(root, "notes.2024"))).toBe(true);
});
