import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { describe, expect, test } from "@jest/globals";
import { openStorageDir } from "../../../src/store/file/storage-dir.ts";
import { type FsCall, systemError } from "../../faults/fs-shim.ts";
import { newCounter } from "../new-counter.ts";
import { rejection } from "../store-contract.ts";
import {
  afterThisTest,
  asNobody,
  cleanUpAfterEach,
  failWith,
  isSyncOf,
  makeDirectory,
  openedIn,
} from "./scratch.ts";

cleanUpAfterEach();

async function open(root: string) {
  const directory = await openStorageDir(root);
  afterThisTest(() => directory.close());
  return directory;
}

describe("opening", () => {
  test("makes what is missing, and syncs every directory that got an entry", async () => {
    const above = makeDirectory();
    const root = path.join(above, "a", "b", "c");
    const synced: number[] = [];
    failWith((call) => {
      if (call.method === "fsync") synced.push(fs.fstatSync(call.args[0] as number).ino);
    });
    const directory = await open(root);
    expect(fs.readdirSync(root).sort()).toEqual([".fence", ".new"]);
    expect(directory).toMatchObject({ root, fences: `${root}/.fence`, nursery: `${root}/.new` });
    for (const parent of [above, path.join(above, "a"), path.join(above, "a", "b"), root]) {
      expect(synced).toContain(fs.statSync(parent).ino);
    }
  });

  test("takes a directory as it is, and a link to one", async () => {
    const root = makeDirectory();
    const counter = newCounter();
    fs.writeFileSync(path.join(root, counter), "41\n");
    await open(root);
    const link = path.join(makeDirectory(), "link");
    fs.symlinkSync(root, link);
    await open(link);
    expect(fs.readdirSync(root).sort()).toEqual([".fence", ".new", counter].sort());
    expect(fs.readdirSync(path.join(root, ".new"))).toEqual([]);
  });

  test("understands a path relative to the working directory", async () => {
    const root = makeDirectory();
    expect((await open(path.relative(process.cwd(), root))).root).toBe(root);
  });

  test("refuses a file in its place, or above it, or in the place of its rooms", async () => {
    const file = path.join(makeDirectory(), "file");
    fs.writeFileSync(file, "");
    const below = path.join(file, "data");
    const rooms = [".fence", ".new"].map((room) => {
      const root = makeDirectory();
      fs.writeFileSync(path.join(root, room), "");
      return [root, path.join(root, room)] as const;
    });
    for (const [root, named] of [[file, file], [below, file], ...rooms] as const) {
      expect((await rejection(openStorageDir(root))).message).toBe(
        `expected STORAGE_DIR to be a directory, but ${named} is a file or lies below one`,
      );
    }
  });

  const isLinux = process.platform === "linux";
  (isLinux ? test : test.skip)("refuses a place where the system makes no directories", async () => {
    expect((await rejection(openStorageDir("/proc/data/deep"))).message).toContain(
      "but /proc/data/deep is not: ENOENT",
    );
    expect((await rejection(openStorageDir("/proc"))).message).toContain("but /proc is not: ENOENT");
  });

  test("goes on when another process makes the same at the same time", async () => {
    const root = path.join(makeDirectory(), "data");
    failWith(({ method, args }) => {
      if (method === "mkdirSync" && args[0] === root && !fs.existsSync(root)) execFileSync("mkdir", [root]);
    });
    await open(root);
  });

  test("refuses in one sentence a directory that may not be written", async () => {
    const root = makeDirectory();
    fs.chmodSync(root, 0o555);
    const error = await asNobody(() => rejection(openStorageDir(root)));
    expect(error).toMatchObject({
      message: `expected STORAGE_DIR to be a directory that can be written, renamed in and synced, but ${root} is not: EACCES`,
      cause: { code: "EACCES" },
    });
  });

  test.each([
    ["cannot be written", "writeSync"],
    ["cannot be renamed in", "renameSync"],
    ["cannot be synced", "fsync"],
  ])("refuses a directory that %s, and keeps no descriptor of it", async (_name, method) => {
    const root = makeDirectory();
    failWith((call) => (call.method === method ? systemError("EIO", call) : undefined));
    const error = await rejection(openStorageDir(root));
    expect(error.message).toMatch(/can be written, renamed in and synced, but .* is not: EIO$/);
    expect(openedIn(root)).toEqual([]);
  });
});

describe("proving that the disk can be written", () => {
  test("leaves nothing behind", async () => {
    const directory = await open(makeDirectory());
    await Promise.all([directory.prove(), directory.prove()]);
    expect(fs.readdirSync(directory.nursery)).toEqual([]);
  });

  test("fails when only a part is written, as on a disk that fills up", async () => {
    const directory = await open(makeDirectory());
    const repair = failWith(({ method }) => (method === "writeSync" ? "short" : undefined));
    expect(await rejection(directory.prove())).toMatchObject({ code: "ENOSPC" });
    repair();
    expect(fs.readdirSync(directory.nursery)).toEqual([]);
  });

  const failures: readonly [string, (call: FsCall, nursery: string) => boolean][] = [
    ["the file cannot be made", ({ method }) => method === "openSync"],
    ["it cannot be written", ({ method }) => method === "writeSync"],
    ["it cannot be synced", ({ method }) => method === "fsync"],
    ["it cannot be renamed", ({ method }) => method === "renameSync"],
    ["its directory cannot be synced", (call, nursery) => isSyncOf(call, nursery)],
  ];
  test.each(failures)("fails when %s, and leaves nothing behind", async (_name, isIt) => {
    const directory = await open(makeDirectory());
    const repair = failWith((call) => (isIt(call, directory.nursery) ? systemError("EIO", call) : undefined));
    expect(await rejection(directory.prove())).toMatchObject({ code: "EIO" });
    repair();
    expect(fs.readdirSync(directory.nursery)).toEqual([]);
  });
});

describe("a directory is empty", () => {
  test("until a counter has a file or a fence", async () => {
    const directory = await open(makeDirectory());
    expect(await directory.isEmpty()).toBe(true);
    fs.writeFileSync(path.join(directory.root, "notes"), "");
    fs.mkdirSync(path.join(directory.root, `${newCounter()}.lock`));
    expect(await directory.isEmpty()).toBe(true);
    const spelling = path.join(directory.root, newCounter().toUpperCase());
    fs.writeFileSync(spelling, "1\n");
    expect(await directory.isEmpty()).toBe(false);
    fs.rmSync(spelling);
    fs.mkdirSync(path.join(directory.fences, newCounter()));
    expect(await directory.isEmpty()).toBe(false);
  });
});

describe("scanning", () => {
  test("visits every file that could be a counter, and nothing else", async () => {
    const directory = await open(makeDirectory());
    const names = Array.from({ length: 1_500 }, newCounter);
    for (const name of names) fs.writeFileSync(path.join(directory.root, name), "");
    for (const name of ["notes", `${names[0]}.lock`, `${names[0]}.123`, "a.b"]) {
      fs.writeFileSync(path.join(directory.root, name), "");
    }
    const visited: string[] = [];
    await directory.scan((name) => visited.push(name));
    expect(visited.sort()).toEqual([...names, "notes"].sort());
  });

  test("removes what dead processes left, when it is older than an hour, and never a lock", async () => {
    const { root, nursery, scan } = await openForScan();
    const counter = newCounter();
    const [oldMs, youngMs] = [61 * 60_000, 59 * 60_000];
    const made = [
      [root, `${counter}.1234`, oldMs, "swept"],
      [root, `${counter}.5678`, youngMs, "stays"],
      [root, `${counter}.lock`, oldMs, "stays"],
      [root, `${counter}.12x`, oldMs, "stays"],
      [root, `${counter.toUpperCase()}.12`, oldMs, "stays"],
      [root, "notes.12", oldMs, "stays"],
      [root, counter, oldMs, "stays"],
      [nursery, "probe.probe", oldMs, "swept"],
      [nursery, "young.probe", youngMs, "stays"],
      [nursery, "half-made", oldMs, "swept"],
      [nursery, "being-made", youngMs, "stays"],
    ] as const;
    for (const [directory, name, ageMs] of made) {
      const file = path.join(directory, name);
      if (/lock|made/.test(name)) {
        fs.mkdirSync(file);
        if (name !== `${counter}.lock`) fs.writeFileSync(path.join(file, "41"), "");
      } else fs.writeFileSync(file, "");
      const then = new Date(Date.now() - ageMs);
      fs.utimesSync(file, then, then);
    }
    await scan();
    for (const [directory, name, , fate] of made) {
      expect([name, fs.existsSync(path.join(directory, name)) ? "stays" : "swept"]).toEqual([name, fate]);
    }
    expect(fs.readdirSync(nursery).sort()).toEqual(["being-made", "young.probe"]);
  });

  test("takes a half-made fence out of its place before it empties it: an empty one could be put up", async () => {
    const { nursery, scan } = await openForScan();
    const building = path.join(nursery, "building");
    fs.mkdirSync(building);
    fs.writeFileSync(path.join(building, "41"), "");
    fs.utimesSync(building, new Date(0), new Date(0));
    failWith((call) => (call.method === "rmSync" ? systemError("EIO", call) : undefined));
    await scan();
    expect(fs.readdirSync(nursery)).toEqual(["building.abandoned"]);
    expect(fs.readdirSync(`${building}.abandoned`)).toEqual(["41"]);
  });

  test("does without what another process swept first", async () => {
    const { root, nursery, scan } = await openForScan();
    for (const file of [path.join(root, `${newCounter()}.1`), path.join(nursery, "old")]) {
      fs.writeFileSync(file, "");
      fs.utimesSync(file, new Date(0), new Date(0));
    }
    failWith(({ method, args }) => {
      if (method === "statSync") fs.rmSync(args[0] as string, { force: true });
    });
    await scan();
    expect(fs.readdirSync(nursery)).toEqual([]);
  });
});

async function openForScan() {
  const directory = await open(makeDirectory());
  return { root: directory.root, nursery: directory.nursery, scan: () => directory.scan(() => {}) };
}
