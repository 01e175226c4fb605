import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "@jest/globals";
import { describeStoreContract, newCounter, take } from "../store-contract.ts";
import { cleanUpAfterEach, makeDirectory, openStore } from "./scratch.ts";

cleanUpAfterEach();

const shared = fs.mkdtempSync(path.join(tmpdir(), "file-store-"));
afterAll(() => fs.rmSync(shared, { recursive: true }));

describeStoreContract("the file store", async () => (await openStore(shared)).store);

describe("closing", () => {
  test("waits for a peek in hand, which needs the directory's descriptors until its end", async () => {
    const root = makeDirectory();
    const counter = newCounter();
    const before = await openStore(root);
    await take(before.store, counter);
    await before.store.close();
    const { store, fatal } = await openStore(root);
    const peek = store.peek(counter);
    await store.close();
    expect(await peek).toBe(1);
    expect(fatal).toEqual([]);
  });
});
