import { expect, test } from "@jest/globals";
import { CounterError } from "../../../src/counter/errors.ts";
import { errnoOf, isNoSpace, storeError, syncDirectory } from "../../../src/store/file/io.ts";
import { systemError } from "../../faults/fs-shim.ts";
import { rejection } from "../store-contract.ts";
import { cleanUpAfterEach, failWith, makeDirectory } from "./scratch.ts";

cleanUpAfterEach();

function errorOf(code: string): Error {
  return Object.assign(new Error(`${code}: …, open '/srv/data/secret'`), { code });
}

test("an error of the system has a code, anything else has none", () => {
  expect(errnoOf(errorOf("EIO"))).toBe("EIO");
  for (const other of [new Error("other"), undefined, null, "text"]) expect(errnoOf(other)).toBe(undefined);
});

test("no more can be stored on a full disk, and beyond a quota", () => {
  expect(["ENOSPC", "EDQUOT", "EIO"].map((code) => isNoSpace(errorOf(code)))).toEqual([true, true, false]);
});

test("a failure tells what was expected and what was got, keeps its cause, and names no path", () => {
  const cause = errorOf("EIO");
  expect(storeError(cause, "to write")).toMatchObject({
    code: "store-unavailable",
    message: "expected to write, got EIO",
    consumed: false,
    cause,
  });
  expect(storeError(errorOf("ENOSPC"), "to write", { consumed: true })).toMatchObject({
    code: "store-full",
    message: "expected to write, got a full disk",
    consumed: true,
  });
  expect(storeError(new Error("other"), "to write").message).toBe(
    "expected to write, got an unexpected failure",
  );
});

test("a failure that was told already stays as it is", () => {
  const error = new CounterError("counter-exhausted", "the end");
  expect(storeError(error, "to write", { consumed: true })).toBe(error);
});

test("a sync that succeeds has failed all the same when its directory cannot be looked at any more", async () => {
  const directory = makeDirectory();
  await syncDirectory(directory);
  failWith((call) => (call.method === "fstatSync" ? systemError("EIO", call) : undefined));
  expect(await rejection(syncDirectory(directory))).toMatchObject({ code: "EIO" });
});
