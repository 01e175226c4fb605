/**
 * The value file: `STORAGE_DIR/<uuid>`, the last number issued in decimal and a newline, as the Go original wrote it
 * (`%d\n`). It is what people, backups and other tools read; it is a copy of what the fence says, so syncing it can wait.
 *
 * A reader sees the old or the new number and nothing between. In general the file is replaced (a temporary file,
 * renamed). One that says exactly what the last commit left is overwritten in place by one small write, if the new number
 * has as many digits or one more: making and freeing an inode per number costs ten times as much, and on ext4 more
 * than the sync of the fence (`docs/decisions/0003-value-file-in-place.md`).
 *
 * Reading follows the original: leading blanks, a sign and leading zeros are fine, and only the first line counts,
 * because the original never truncated: `301\n\n` is 301, `42\n99\n` is 42. What has no number there is unreadable,
 * an empty file too: it may be all that a power cut left of a large number.
 */
import fs from "node:fs";
import { onExit } from "signal-exit";
import writeFileAtomic from "write-file-atomic";
import { maxValue } from "../../counter/store.ts";
import { closeQuietly, errnoOf } from "./io.ts";

export type ValueFile =
  | { readonly state: "missing" }
  | { readonly state: "number"; readonly value: number; readonly text: string }
  | { readonly state: "unreadable"; readonly reason: string };

/** What the value file of a counter at `value` says. */
export function valueText(value: number): string {
  return `${value}\n`;
}

/** More than any number needs: a longer file is not read any further, and a longer line is no number. */
const longestBytes = 4096;
const numberLine = /^[ \t]*([+-]?)0*(\d{1,16})[ \t\r]*$/;

// write-file-atomic removes its temporary file on exit by a handler that it registers per write. With one handler that
// stays, those come and go without hooking into the process's signals thirty times per write.
onExit(() => {});

/**
 * Reads a value file.
 *
 * @returns `unreadable` for content without a number from 0 to 2^53−1
 * @throws the system's error when the file is there but cannot be read
 */
export function readValueFile(path: string): ValueFile {
  const text = readStart(path);
  if (text === undefined) return { state: "missing" };
  const line = text.split("\n", 1)[0] as string;
  // A line that does not end within what is read may go on with more digits.
  const match = line.length < longestBytes ? numberLine.exec(line) : undefined;
  const value = match ? Number(`${match[1]}${match[2]}`) : Number.NaN;
  if (!Number.isSafeInteger(value) || value < 0) {
    const got = text === "" ? "an empty file" : JSON.stringify(line.slice(0, 40));
    return { state: "unreadable", reason: `expected a number from 0 to ${maxValue}, got ${got}` };
  }
  return { state: "number", value: Math.abs(value), text };
}

/** A descriptor to read or sync a value file with. Throws the system's error. */
export function openValueFile(path: string): number {
  // Not blocking: a FIFO in this place must not stop the service.
  return fs.openSync(path, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
}

const buffer = Buffer.alloc(longestBytes);

function readStart(path: string): string | undefined {
  let fd: number;
  try {
    fd = openValueFile(path);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    const found = fs.lstatSync(path, { throwIfNoEntry: false });
    if (!found) return undefined;
    // A link that leads nowhere is no missing file: the number may be on a disk that is not mounted.
    if (found.isSymbolicLink()) throw error;
    // Put there in between, by another process.
    return readStart(path);
  }
  try {
    return textOf(fd);
  } finally {
    fs.closeSync(fd);
  }
}

function textOf(fd: number): string {
  return buffer.toString("latin1", 0, fs.readSync(fd, buffer, 0, longestBytes, 0));
}

/** A value file as we wrote or adopted it, kept open for as long as the lock is ours. */
export interface WrittenFile {
  readonly fd: number;
  readonly ino: number;
  text: string;
}

/**
 * Replaces a value file atomically, without syncing it.
 *
 * @returns the file, which the caller closes. Undefined when it does not say `text`, and is to be written again: a short
 *   write (which write-file-atomic takes for success); another process replaced the file in between; or it took our
 *   temporary file away (two containers, both with pid 1, give theirs the same names)
 * @throws the system's error
 */
export function replaceValueFile(path: string, text: string): WrittenFile | undefined {
  try {
    // Mode and owner are given (-1: ours, as it is), or every write would stat the old file for them. The call changes its
    // options, so they are made each time.
    writeFileAtomic.sync(path, text, { fsync: false, mode: fileMode, chown: { uid: -1, gid: -1 } });
    const fd = fs.openSync(path, "r+");
    try {
      if (textOf(fd) === text) return { fd, ino: fs.fstatSync(fd).ino, text };
    } catch (error) {
      fs.closeSync(fd);
      throw error;
    }
    fs.closeSync(fd);
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
  }
  return undefined;
}

/**
 * Takes over a value file that others wrote, to overwrite it, if it says exactly `text`.
 *
 * @returns the file, which the caller closes. Undefined when it is to be replaced: it says something else, is not ours to
 *   write, or has other names (a link, or a backup made by links, whose copy must not change)
 */
export function adoptValueFile(path: string, text: string): WrittenFile | undefined {
  let fd: number;
  try {
    fd = fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_NOFOLLOW | fs.constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  try {
    const { ino, nlink } = fs.fstatSync(fd);
    if (nlink === 1 && textOf(fd) === text) return { fd, ino, text };
  } catch {
    // No file that can be read at an offset: not one of ours.
  }
  closeQuietly(fd);
  return undefined;
}

/**
 * Whether a file that we wrote still stands in its place, has no other name, and says what we wrote. Throws the system's
 * error.
 */
export function isUntouched(path: string, { fd, ino, text }: WrittenFile): boolean {
  const standing = fs.statSync(path, { throwIfNoEntry: false });
  return standing?.ino === ino && standing.nlink === 1 && textOf(fd) === text;
}

/**
 * Overwrites a file that was just seen to be untouched with a text of the same length, or one longer: a reader who
 * still goes by the old length gets all digits of the new number, and lacks only the newline.
 *
 * @returns false when it is to be replaced: the text has another length, or the write failed
 */
export function overwriteValueFile(file: WrittenFile, text: string): boolean {
  const growth = text.length - file.text.length;
  if (growth !== 0 && growth !== 1) return false;
  try {
    file.text = text;
    return fs.writeSync(file.fd, text, 0) === text.length;
  } catch {
    return false;
  }
}

const fileMode = 0o666 & ~process.umask();
