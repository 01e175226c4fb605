/**
 * The layout of STORAGE_DIR:
 *
 *     <name>           the value file of a counter
 *     <name>.lock/     its lock, while a process works on it
 *     <name>.<digits>  what a killed process left of a value file that it was writing
 *     .fence/<name>/   its fence, with one empty file named after the last number reserved
 *     .new/            fences that are being built, and the probes that show that the disk can be written
 *
 * <name> is the file-safe spelling of the counter's name: a UUID as it is, lower-case and hyphenated. The Go original's
 * files have UUIDs in other spellings as well. A name with a '.' is never a counter. Nothing of another process is ever
 * removed, but what it left more than an hour ago.
 */
import fs from "node:fs";
import path from "node:path";
import { v4 as uuidv4 } from "uuid";
import { type CounterName, findNameOfFile, findUuidName } from "../../counter/counter-name.ts";
import { closeQuietly, errnoOf, openDirectory, sync, syncDirectory } from "./io.ts";

const leftover = /^([a-z0-9_%A-F-]+)\.\d+$/;
const leftoverAgeMs = 3_600_000;

/**
 * Opens a storage directory: makes what is missing, durably, and proves that it can be used.
 *
 * @throws Error whose message is one sentence for the operator
 */
export async function openStorageDir(storageDir: string): Promise<StorageDir> {
  const root = path.resolve(storageDir);
  let directory: StorageDir | undefined;
  try {
    await makeDirectory(root);
    for (const own of [".fence", ".new"]) await makeDirectory(path.join(root, own));
    directory = new StorageDir(root);
    await sync(directory.rootFd);
    await directory.prove();
    return directory;
  } catch (error) {
    directory?.close();
    const code = errnoOf(error);
    throw new Error(
      code === "ENOTDIR"
        ? `expected STORAGE_DIR to be a directory, but ${(error as NodeJS.ErrnoException).path} is a file or lies below one`
        : `expected STORAGE_DIR to be a directory that can be written, renamed in and synced, but ${root} is not: ${code}`,
      { cause: error },
    );
  }
}

/**
 * Makes a directory that is missing, and those above it, durably. Level by level: Node's own way does not end where the
 * system makes nothing below a directory that is there, as in /proc.
 */
async function makeDirectory(directory: string): Promise<void> {
  if (fs.existsSync(directory)) {
    if (fs.statSync(directory).isDirectory()) return;
    throw Object.assign(new Error("not a directory"), { code: "ENOTDIR", path: directory });
  }
  const parent = path.dirname(directory);
  await makeDirectory(parent);
  try {
    fs.mkdirSync(directory);
  } catch (error) {
    // Another process was faster.
    if (errnoOf(error) !== "EEXIST") throw error;
  }
  await syncDirectory(parent);
}

export class StorageDir {
  readonly root: string;
  readonly fences: string;
  readonly nursery: string;
  /** Descriptors to sync the two directories with. */
  readonly rootFd: number;
  readonly fencesFd: number;

  constructor(root: string) {
    this.root = root;
    this.fences = path.join(root, ".fence");
    this.nursery = path.join(root, ".new");
    this.rootFd = openDirectory(this.root);
    this.fencesFd = openDirectory(this.fences);
  }

  close(): void {
    closeQuietly(this.rootFd);
    closeQuietly(this.fencesFd);
  }

  /** Shows that a file can be written, renamed and synced at this moment. Throws the system's error. */
  async prove(): Promise<void> {
    const probe = path.join(this.nursery, `${uuidv4()}.probe`);
    const renamed = `${probe}d`;
    try {
      const fd = fs.openSync(probe, "wx");
      try {
        const text = "a number and a newline\n";
        const written = fs.writeSync(fd, text);
        if (written < text.length) throw Object.assign(new Error("short write"), { code: "ENOSPC" });
        await sync(fd);
      } finally {
        fs.closeSync(fd);
      }
      fs.renameSync(probe, renamed);
      await syncDirectory(this.nursery);
    } finally {
      for (const file of [probe, renamed]) fs.rmSync(file, { force: true });
    }
  }

  /** Whether no counter was ever used here. Throws the system's error. */
  async isEmpty(): Promise<boolean> {
    // A counter of ours has a fence; only those of the Go original, all UUIDs, may have none.
    return (await isFree(this.fences, findNameOfFile)) && (await isFree(this.root, findUuidName));
  }

  /**
   * Calls `visit` with the name of every file that could be a counter, in no order, and on the way removes what dead
   * processes left. Takes memory for a few thousand names at most, and lets other work go on.
   *
   * @throws the system's error
   */
  async scan(visit: (name: string) => void): Promise<void> {
    const oldest = Date.now() - leftoverAgeMs;
    for await (const { name } of await fs.promises.opendir(this.root, { bufferSize: 1024 })) {
      if (!name.includes(".")) visit(name);
      else if (this.#isLeftover(name)) removeIfOlder(path.join(this.root, name), oldest);
    }
    for (const name of fs.readdirSync(this.nursery)) {
      const abandoned = path.join(this.nursery, name);
      // Renamed before it is emptied: should its builder live after all, it must not put up an empty fence.
      removeIfOlder(abandoned, oldest, `${abandoned}.abandoned`);
    }
  }

  /** A file beside a plain name may be a user's: it is ours if that counter has a fence, as it has before its value file. */
  #isLeftover(name: string): boolean {
    const [, file] = leftover.exec(name) ?? [];
    if (file === undefined) return false;
    return findUuidName(file) === file || fs.existsSync(path.join(this.fences, file));
  }
}

/** Whether no file of a directory is that of a counter. */
async function isFree(directory: string, find: (file: string) => CounterName | undefined): Promise<boolean> {
  for await (const { name } of await fs.promises.opendir(directory)) {
    if (find(name) !== undefined) return false;
  }
  return true;
}

function removeIfOlder(file: string, oldest: number, renamed = file): void {
  try {
    if (fs.statSync(file).mtimeMs >= oldest) return;
    if (renamed !== file) fs.renameSync(file, renamed);
    fs.rmSync(renamed, { recursive: true });
  } catch {
    // Another process was faster, or may not: no harm, it is only a leftover.
  }
}
