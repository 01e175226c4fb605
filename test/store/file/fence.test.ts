import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "@jest/globals";
import {
  buildFence,
  FenceDamagedError,
  isStanding,
  markAt,
  moveFence,
  moveMark,
  putUpFence,
  readToken,
  tokenOf,
} from "../../../src/store/file/fence.ts";
import { systemError } from "../../faults/fs-shim.ts";
import { rejection } from "../store-contract.ts";
import { afterThisTest, cleanUpAfterEach, failWith, makeDirectory, openedIn } from "./scratch.ts";

cleanUpAfterEach();

const maxValue = 2 ** 53 - 1;

/** A fence's directory with these files in it. */
function makeFence(...names: string[]): string {
  const directory = makeDirectory();
  for (const name of names) fs.writeFileSync(path.join(directory, name), "");
  return directory;
}

describe("a mark", () => {
  test("that was never lowered has one number in its name", () => {
    expect(tokenOf(markAt(44))).toEqual({ value: 44, highest: 44, name: "44" });
    expect(tokenOf(moveMark(markAt(44), 47)).name).toBe("47");
    expect(tokenOf(moveMark(markAt(0), 0)).name).toBe("0");
  });

  test("keeps the highest number beside the value once it was lowered, and every lowering raises that", () => {
    const lowered = moveMark(markAt(500), 100);
    expect(tokenOf(lowered).name).toBe("100-501");
    expect(tokenOf(moveMark(lowered, 101)).name).toBe("101-501");
    expect(tokenOf(moveMark(lowered, 100)).name).toBe("100-501");
    expect(tokenOf(moveMark(lowered, 0)).name).toBe("0-502");
  });

  test("is one number again when the value has passed the highest", () => {
    const lowered = moveMark(markAt(500), 100);
    expect(tokenOf(moveMark(lowered, 501)).name).toBe("501");
    expect(tokenOf(moveMark(lowered, 1_000)).name).toBe("1000");
  });

  test("never comes back, whatever the moves: the highest, then the value grow", () => {
    const seen = new Set<string>();
    let mark = markAt(0);
    for (const value of [1, 2, 0, 1, 2, 3, 0, 1, 7, 7, 6, 7, 8, 9, 0, 10, 5, 11, 12]) {
      const next = moveMark(mark, value);
      const isGreater =
        next.highest > mark.highest || (next.highest === mark.highest && next.value >= mark.value);
      expect(isGreater).toBe(true);
      if (next.value !== mark.value) {
        expect(seen).not.toContain(tokenOf(next).name);
      }
      seen.add(tokenOf(next).name);
      mark = next;
    }
  });

  test("ends at 2^53 - 1", () => {
    expect(tokenOf(moveMark(markAt(maxValue), 5))).toEqual({
      value: 5,
      highest: maxValue,
      name: `5-${maxValue}`,
    });
  });
});

describe("reading", () => {
  test.each([
    ["0", 0, 0],
    ["41", 41, 41],
    ["100-501", 100, 501],
    ["0-1", 0, 1],
    ["9007199254740991", maxValue, maxValue],
    ["5-9007199254740991", 5, maxValue],
  ])("finds %s", async (name, value, highest) => {
    const directory = makeFence(name);
    expect(await readToken(directory)).toEqual({ name, value, highest });
    expect(fs.readdirSync(directory)).toEqual([name]);
  });

  test("finds no fence where there is no directory", async () => {
    expect(await readToken(path.join(makeDirectory(), "missing"))).toBe(undefined);
  });

  test("finds the token among files of other names, and leaves those alone", async () => {
    const directory = makeFence("41", ".DS_Store", "notes", "042", "7-3", "9007199254740992", "1-", "-1");
    expect(await readToken(directory)).toMatchObject({ name: "41" });
    expect(fs.readdirSync(directory)).toHaveLength(8);
  });

  test.each([
    ["no file", []],
    [
      "files of other names only",
      ["notes", "041", "7-3", "41.tmp", "9007199254740992", "0-0", "5-9007199254740992"],
    ],
  ])("refuses a directory with %s", async (_name, names) => {
    const directory = makeFence(...names);
    const error = await rejection(readToken(directory));
    expect(error).toBeInstanceOf(FenceDamagedError);
    expect(error.message).toBe(`expected one file named after a number, got ${names.length} others`);
    expect(fs.readdirSync(directory)).toHaveLength(names.length);
  });

  test("refuses a file in the directory's place", async () => {
    const file = path.join(makeDirectory(), "fence");
    fs.writeFileSync(file, "41\n");
    const error = await rejection(readToken(file));
    expect(error).toBeInstanceOf(FenceDamagedError);
    expect(error).toMatchObject({ message: "expected a directory", cause: { code: "ENOTDIR" } });
  });

  test("throws the system's error when the directory cannot be listed", async () => {
    const directory = makeFence("41");
    failWith((call) => (call.method === "readdirSync" ? systemError("EIO", call) : undefined));
    expect(await rejection(readToken(directory))).toMatchObject({ code: "EIO" });
  });

  test.each([
    [["41", "44"], "44"],
    [["9", "10"], "10"],
    [["500", "44", "100-501"], "500"],
    [["100-501", "100-600"], "100-600"],
    [["100-501", "100"], "100-501"],
  ])("of two tokens that stay, %j, keeps the larger number", async (names, larger) => {
    const directory = makeFence(...names);
    expect(await readToken(directory)).toMatchObject({ name: larger });
    expect(fs.readdirSync(directory)).toEqual([larger]);
  });

  test("keeps the highest number of any when it makes several tokens one", async () => {
    expect(await readToken(makeFence("200", "100-501"))).toEqual({ name: "200", value: 200, highest: 501 });
  });

  test.each([
    ["both names", ["41", "44"]],
    ["no name", []],
  ])("looks again when the listing shows %s for a moment, during a rename", async (_name, torn) => {
    const directory = makeFence("44");
    let looks = 0;
    showing((real) => (++looks < 3 ? torn : real));
    expect(await readToken(directory)).toMatchObject({ name: "44" });
    expect(looks).toBe(3);
    expect(fs.readdirSync(directory)).toEqual(["44"]);
  });

  test("never removes the one token there is because of a name that is gone by then", async () => {
    const directory = makeFence("100-501");
    let looks = 0;
    showing((real) => (++looks <= 4 ? ["500", ...real] : real));
    expect(await readToken(directory)).toMatchObject({ name: "100-501" });
    expect(fs.readdirSync(directory)).toEqual(["100-501"]);
  });
});

/** Lets directory listings show something else than what is there. */
function showing(listing: (real: string[]) => string[]): void {
  const original = fs.readdirSync as (directory: string) => string[];
  fs.readdirSync = ((directory: string) => listing(original(directory))) as typeof fs.readdirSync;
  afterThisTest(() => {
    fs.readdirSync = original as typeof fs.readdirSync;
  });
}

describe("moving", () => {
  const [from, to] = [tokenOf(markAt(41)), tokenOf(markAt(44))];

  test("succeeds for one of those who start from the same token", () => {
    const directory = makeFence("41");
    expect(isStanding(directory, from)).toBe(true);
    expect(moveFence(directory, from, to)).toBe(true);
    expect(moveFence(directory, from, tokenOf(markAt(42)))).toBe(false);
    expect(fs.readdirSync(directory)).toEqual(["44"]);
    expect([isStanding(directory, from), isStanding(directory, to)]).toEqual([false, true]);
  });

  test("to where it stands is no move", () => {
    const directory = makeFence("41");
    expect(moveFence(directory, from, from)).toBe(true);
    expect(moveFence(directory, to, to)).toBe(false);
    expect(fs.readdirSync(directory)).toEqual(["41"]);
  });

  test("throws any other error of the system", () => {
    const directory = makeFence("41");
    fs.mkdirSync(path.join(directory, "44"));
    expect(() => moveFence(directory, from, to)).toThrow(expect.objectContaining({ code: "EISDIR" }));
  });
});

describe("putting up", () => {
  const token = tokenOf(markAt(3));

  test("makes a fence that has its token from the first moment", async () => {
    const root = makeDirectory();
    const fence = path.join(root, "fence");
    const built = await buildFence(root, token);
    expect(fs.readdirSync(built.building)).toEqual(["3"]);
    expect(await readToken(fence)).toBe(undefined);
    expect(putUpFence(built, fence)).toBe(true);
    expect(await readToken(fence)).toEqual(token);
    expect(fs.fstatSync(built.fd).ino).toBe(fs.statSync(fence).ino);
    fs.closeSync(built.fd);
    expect(fs.readdirSync(root)).toEqual(["fence"]);
  });

  test("succeeds for one of several, and takes away what the others built", async () => {
    const root = makeDirectory();
    const fence = path.join(root, "fence");
    const built = await Promise.all([1, 2, 3].map((value) => buildFence(root, tokenOf(markAt(value)))));
    expect(built.map((each) => putUpFence(each, fence))).toEqual([true, false, false]);
    expect(await readToken(fence)).toEqual(tokenOf(markAt(1)));
    for (const { fd } of built) fs.closeSync(fd);
    expect(fs.readdirSync(root)).toEqual(["fence"]);
  });

  test("takes away what it built when the system refuses", async () => {
    const root = makeDirectory();
    const built = await buildFence(root, token);
    const inTheWay = path.join(root, "file");
    fs.writeFileSync(inTheWay, "");
    expect(() => putUpFence(built, inTheWay)).toThrow(expect.objectContaining({ code: "ENOTDIR" }));
    fs.closeSync(built.fd);
    expect(fs.readdirSync(root)).toEqual(["file"]);
  });

  test("tells of EEXIST as of ENOTEMPTY: systems differ", async () => {
    const root = makeDirectory();
    const built = await buildFence(root, token);
    failWith((call) => (call.method === "renameSync" ? systemError("EEXIST", call) : undefined));
    expect(putUpFence(built, path.join(root, "fence"))).toBe(false);
    fs.closeSync(built.fd);
  });

  test.each(["openSync", "closeSync", "fsync"] as const)(
    "leaves nothing behind when %s fails while it is built",
    async (method) => {
      const root = makeDirectory();
      const repair = failWith((call) => (call.method === method ? systemError("EIO", call) : undefined));
      expect(await rejection(buildFence(root, token))).toMatchObject({ code: "EIO" });
      repair();
      expect(fs.readdirSync(root)).toEqual([]);
      expect(openedIn(root)).toEqual([]);
    },
  );

  test("leaves to the next start what cannot be taken away", async () => {
    const root = makeDirectory();
    const built = await buildFence(root, token);
    failWith((call) => (/^(rm|rename)Sync$/.test(call.method) ? systemError("EROFS", call) : undefined));
    expect(() => putUpFence(built, path.join(root, "fence"))).toThrow(
      expect.objectContaining({ code: "EROFS", syscall: "renameSync" }),
    );
    fs.closeSync(built.fd);
    expect(fs.readdirSync(root)).toHaveLength(1);
  });

  test("needs a nursery to build in", async () => {
    const missing = path.join(makeDirectory(), "missing");
    expect(await rejection(buildFence(missing, token))).toMatchObject({ code: "ENOENT" });
  });
});
