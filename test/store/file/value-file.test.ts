import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { afterEach, describe, expect, test } from "@jest/globals";
import {
  adoptValueFile,
  isUntouched,
  overwriteValueFile,
  readValueFile,
  replaceValueFile,
  valueText,
  type WrittenFile,
} from "../../../src/store/file/value-file.ts";
import { systemError } from "../../faults/fs-shim.ts";
import { newCounter } from "../new-counter.ts";
import { cleanUpAfterEach, failWith, makeDirectory } from "./scratch.ts";

cleanUpAfterEach();

function makeFile(text?: string): string {
  const file = path.join(makeDirectory(), newCounter());
  if (text !== undefined) fs.writeFileSync(file, text);
  return file;
}

describe("reading", () => {
  test.each([
    ["as the Go original wrote it", "41\n", 41],
    ["zero", "0\n", 0],
    ["without a newline", "7", 7],
    ["with what the missing truncation of the original left behind", "301\n\n", 301],
    ["with the end of a longer number behind it", "42\n99\n", 42],
    ["with anything behind the first line", "5\nfive\n", 5],
    ["after blanks and a tab", " \t 12\n", 12],
    ["before blanks", "12 \t\n", 12],
    ["with a plus sign", "+12\n", 12],
    ["minus zero", "-0\n", 0],
    ["with leading zeros", "000012\n", 12],
    ["of zeros only", "0000\n", 0],
    ["with more leading zeros than a number has digits", `${"0".repeat(400)}12\n`, 12],
    ["with a line end from Windows", "12\r\n", 12],
    ["the largest", "9007199254740991\n", 2 ** 53 - 1],
    ["in a file that is longer than what is read of it", `12\n${"x".repeat(10_000)}`, 12],
  ])("finds a number %s", (_name, text, value) => {
    expect(readValueFile(makeFile(text))).toMatchObject({ state: "number", value });
  });

  test("gives the text too, so that an odd one can be told", () => {
    expect(readValueFile(makeFile("42\n99\n"))).toEqual({ state: "number", value: 42, text: "42\n99\n" });
  });

  test.each([
    ["an empty file", "", "an empty file"],
    ["an empty line", "\n42\n", '""'],
    ["blanks", "   \n", '"   "'],
    ["a word", "build\n", '"build"'],
    ["a number and a word", "42 builds\n", '"42 builds"'],
    ["a fraction", "4.2\n", '"4.2"'],
    ["hexadecimal digits", "0x2a\n", '"0x2a"'],
    ["an exponent", "1e3\n", '"1e3"'],
    ["a negative number", "-5\n", '"-5"'],
    ["two signs", "+-5\n", '"+-5"'],
    ["a sign alone", "-\n", '"-"'],
    ["2^53", "9007199254740992\n", '"9007199254740992"'],
    ["17 digits", "10000000000000000\n", '"10000000000000000"'],
    ["what a power cut may leave", "\0\0\0", '"\\u0000\\u0000\\u0000"'],
    ["a byte order mark", "\ufeff42\n", '"ï»¿42"'],
    ["digits of another script", "\u0664\u0662\n", '"Ù¤Ù¢"'],
    ["a line too long to be shown", "x".repeat(100), `"${"x".repeat(40)}"`],
    ["a line longer than what is read, which may go on", `${"0".repeat(4_096)}42\n`, `"${"0".repeat(40)}"`],
  ])("finds no number in %s", (_name, text, got) => {
    expect(readValueFile(makeFile(text))).toEqual({
      state: "unreadable",
      reason: `expected a number from 0 to 9007199254740991, got ${got}`,
    });
  });

  test("tells a file that is not there", () => {
    expect(readValueFile(makeFile())).toEqual({ state: "missing" });
  });

  test("finds the number in a file that comes while it is looked for", () => {
    const file = makeFile();
    failWith((call) => {
      if (call.method !== "openSync" || call.args[0] !== file || fs.existsSync(file)) return undefined;
      fs.writeFileSync(file, "42\n");
      return systemError("ENOENT", call);
    });
    expect(readValueFile(file)).toMatchObject({ state: "number", value: 42 });
  });

  test("throws at a directory, a FIFO (without waiting for its writer) and a loop of links", () => {
    const directory = makeDirectory();
    expect(() => readValueFile(directory)).toThrow(expect.objectContaining({ code: "EISDIR" }));
    const fifo = makeFile();
    execFileSync("mkfifo", [fifo]);
    expect(() => readValueFile(fifo)).toThrow(expect.objectContaining({ code: "ESPIPE" }));
    const loop = makeFile();
    fs.symlinkSync(loop, loop);
    expect(() => readValueFile(loop)).toThrow(expect.objectContaining({ code: "ELOOP" }));
  });
});

/** Replaces a file for as long as the test goes on. */
function write(file: string, text: string): WrittenFile {
  const written = replaceValueFile(file, text) as WrittenFile;
  opened.push(written.fd);
  return written;
}

const opened: number[] = [];

afterEach(() => {
  for (const fd of opened.splice(0)) fs.closeSync(fd);
});

describe("a written file is untouched", () => {
  test("as long as it says what was written and nothing more", () => {
    const file = makeFile();
    const written = write(file, "42\n");
    expect(isUntouched(file, written)).toBe(true);
    for (const edited of ["43\n", "42", "42\n\n", ""]) {
      fs.writeFileSync(file, edited);
      expect(isUntouched(file, written)).toBe(false);
    }
  });

  test("as long as it stands in its place", () => {
    const file = makeFile();
    const written = write(file, "42\n");
    fs.renameSync(makeFile("42\n"), file);
    expect(isUntouched(file, written)).toBe(false);
    fs.rmSync(file);
    expect(isUntouched(file, written)).toBe(false);
  });
});

describe("replacing", () => {
  test("writes decimal and a newline, whatever was there before, and leaves no temporary file", () => {
    for (const before of [undefined, "", "41\n", "a much longer text than any number\n"]) {
      const file = makeFile(before);
      expect(write(file, valueText(42)).text).toBe("42\n");
      expect(fs.readFileSync(file, "utf8")).toBe("42\n");
      expect(fs.readdirSync(path.dirname(file))).toEqual([path.basename(file)]);
    }
  });

  test("makes a new file, so that a reader never sees a mixture", () => {
    const file = makeFile("99\n");
    const reader = fs.openSync(file, "r");
    write(file, "100\n");
    expect(fs.readFileSync(reader, "utf8")).toBe("99\n");
    fs.closeSync(reader);
  });

  test("gives the file to the running user, with the mode of any new file", () => {
    const file = makeFile("1\n");
    fs.chmodSync(file, 0o600);
    write(file, "2\n");
    const other = path.join(path.dirname(file), "new");
    fs.writeFileSync(other, "");
    const { mode, uid, gid } = fs.statSync(file);
    expect({ mode, uid, gid }).toMatchObject({
      mode: fs.statSync(other).mode,
      uid: fs.statSync(other).uid,
      gid: fs.statSync(other).gid,
    });
  });

  test("tells when only a part was written, as on a disk that fills up", () => {
    const file = makeFile("99\n");
    failWith(({ method }) => (method === "writeSync" ? "short" : undefined));
    expect(replaceValueFile(file, "100\n")).toBeUndefined();
  });

  test("tells when another process took the temporary file away", () => {
    const file = makeFile("99\n");
    failWith(({ method, args }) => {
      if (method === "renameSync") fs.rmSync(args[0] as string);
    });
    expect(replaceValueFile(file, "100\n")).toBeUndefined();
    expect(fs.readFileSync(file, "utf8")).toBe("99\n");
  });

  test("throws the system's error, and leaves the old file and no other", () => {
    const file = makeFile("99\n");
    for (const method of ["openSync", "writeSync", "closeSync", "chmodSync", "renameSync"]) {
      const repair = failWith((call) => (call.method === method ? systemError("EIO", call) : undefined));
      expect(() => replaceValueFile(file, "100\n")).toThrow(expect.objectContaining({ code: "EIO" }));
      repair();
      expect(fs.readFileSync(file, "utf8")).toBe("99\n");
      expect(fs.readdirSync(path.dirname(file))).toEqual([path.basename(file)]);
    }
  });
});

test("a replaced file that cannot be read back throws the system's error", () => {
  const file = makeFile("99\n");
  failWith((call) => (call.method === "readSync" ? systemError("EIO", call) : undefined));
  expect(() => replaceValueFile(file, "100\n")).toThrow(expect.objectContaining({ code: "EIO" }));
});

describe("adopting", () => {
  test("takes over a file that says exactly what is expected, to overwrite it", () => {
    const file = makeFile("41\n");
    const adopted = adoptValueFile(file, "41\n") as WrittenFile;
    opened.push(adopted.fd);
    expect(isUntouched(file, adopted)).toBe(true);
    expect(overwriteValueFile(adopted, "42\n")).toBe(true);
    expect(fs.readFileSync(file, "utf8")).toBe("42\n");
  });

  test("leaves what is missing, or says something else, to be replaced", () => {
    expect(adoptValueFile(makeFile(), "41\n")).toBeUndefined();
    for (const text of ["40\n", "41", "41\n\n", " 41\n", ""]) {
      expect(adoptValueFile(makeFile(text), "41\n")).toBeUndefined();
    }
  });

  test("leaves a file with other names to be replaced: a link, or one whose backup is a link", () => {
    const file = makeFile("41\n");
    const other = path.join(path.dirname(file), "other");
    fs.symlinkSync(file, other);
    expect(adoptValueFile(other, "41\n")).toBeUndefined();
    fs.rmSync(other);
    fs.linkSync(file, other);
    expect(adoptValueFile(file, "41\n")).toBeUndefined();
  });

  test("leaves what is no file, or cannot be read, to be replaced", () => {
    const fifo = makeFile();
    execFileSync("mkfifo", [fifo]);
    expect(adoptValueFile(fifo, "41\n")).toBeUndefined();
    const file = makeFile("41\n");
    failWith((call) => (call.method === "readSync" ? systemError("EIO", call) : undefined));
    expect(adoptValueFile(file, "41\n")).toBeUndefined();
  });
});

describe("overwriting", () => {
  test("changes the file in place", () => {
    const file = makeFile();
    const written = write(file, "41\n");
    expect(overwriteValueFile(written, "42\n")).toBe(true);
    expect(fs.readFileSync(file, "utf8")).toBe("42\n");
    expect(fs.statSync(file).ino).toBe(written.ino);
    expect(isUntouched(file, written)).toBe(true);
  });

  test("grows a number by one digit", () => {
    const file = makeFile();
    const written = write(file, "99\n");
    expect(overwriteValueFile(written, "100\n")).toBe(true);
    expect(fs.readFileSync(file, "utf8")).toBe("100\n");
    expect(isUntouched(file, written)).toBe(true);
  });

  test("leaves a text that is shorter, or longer by more, to be replaced", () => {
    const file = makeFile();
    const written = write(file, "99\n");
    for (const text of ["9\n", "1000\n"]) expect(overwriteValueFile(written, text)).toBe(false);
    expect(fs.readFileSync(file, "utf8")).toBe("99\n");
  });

  test("tells when it failed, or wrote a part", () => {
    for (const failure of ["short", "EIO"]) {
      const written = write(makeFile(), "41\n");
      const repair = failWith((call) => {
        if (call.method !== "writeSync") return undefined;
        return failure === "short" ? "short" : systemError(failure, call);
      });
      expect(overwriteValueFile(written, "42\n")).toBe(false);
      repair();
    }
  });

  test("writes to the file that was opened, not to the one that took its place", () => {
    const file = makeFile();
    const written = write(file, "41\n");
    write(file, "50\n");
    overwriteValueFile(written, "42\n");
    expect(fs.readFileSync(file, "utf8")).toBe("50\n");
  });
});
