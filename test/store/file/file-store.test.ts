import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, describe, expect, test } from "@jest/globals";
import { systemError } from "../../faults/fs-shim.ts";
import { newCounter } from "../new-counter.ts";
import { describeRecordsContract } from "../records-contract.ts";
import { describeStoreContract, rejection, take } from "../store-contract.ts";
import {
  cleanUpAfterEach,
  failWith,
  isSyncOf,
  makeDirectory,
  openStore,
  valueFile,
  valuePath,
} from "./scratch.ts";

cleanUpAfterEach();

const shared = fs.mkdtempSync(path.join(tmpdir(), "file-store-"));
afterAll(() => fs.rmSync(shared, { recursive: true }));

describeStoreContract("the file store", async () => (await openStore(shared)).store);

describeRecordsContract("the file store", async (options) => (await openStore(shared, options)).store);

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

describe("a failed sync of a fence", () => {
  test("leaves no other commit in flight answered, though its own sync succeeds", async () => {
    const root = makeDirectory();
    const { store, fatal } = await openStore(root);
    const [one, other] = [newCounter(), newCounter()];
    let syncs = 0;
    failWith((call) => {
      if (!isSyncOf(call, path.join(root, ".fence"))) return;
      syncs += 1;
      return syncs === 1 ? systemError("EIO", call) : undefined;
    });
    const errors = await Promise.all([rejection(take(store, one)), rejection(take(store, other))]);
    expect(errors).toMatchObject([
      { code: "store-unavailable", consumed: true },
      { code: "store-unavailable", consumed: true },
    ]);
    expect(syncs).toBe(2);
    expect(fatal).toHaveLength(1);
    expect(await rejection(take(store, newCounter()))).toMatchObject({ consumed: false });
  });

  test("leaves the value file of the Go original as it is, for that is the only copy on the disk", async () => {
    const root = makeDirectory();
    const counter = newCounter();
    fs.writeFileSync(valuePath(root, counter), "41\n");
    const { store } = await openStore(root);
    const repair = failWith((call) =>
      isSyncOf(call, path.join(root, ".fence")) ? systemError("EIO", call) : undefined,
    );
    expect(await rejection(take(store, counter))).toMatchObject({ consumed: true });
    repair();
    expect(valueFile(root, counter)).toBe("41\n");
    await store.close();
    const next = await openStore(root);
    expect(await take(next.store, counter)).toBe(43);
  });
});
