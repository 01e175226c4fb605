import fs from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterEach } from "@jest/globals";
import type { CounterName } from "../../../src/counter/counter-name.ts";
import type { Store } from "../../../src/counter/store.ts";
import { type FileStoreOptions, openFileStore } from "../../../src/store/file/file-store.ts";
import { type FsCall, installFsShim, type Verdict } from "../../faults/fs-shim.ts";

/** One line that a store logged. */
export interface Logged {
  readonly level: "info" | "warn" | "error";
  readonly details: Record<string, unknown>;
  readonly message: string;
}

export interface OpenedStore {
  readonly store: Store;
  readonly logged: Logged[];
  /** What `onFatal` was called with. */
  readonly fatal: Error[];
}

const cleanups: (() => void | Promise<void>)[] = [];

/** Takes away, latest first, what the functions of this file made for a test. */
export function cleanUpAfterEach(): void {
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });
}

export function afterThisTest(cleanup: () => void | Promise<void>): void {
  cleanups.push(cleanup);
}

/** A directory that is new and empty. */
export function makeDirectory(): string {
  const directory = fs.mkdtempSync(path.join(tmpdir(), "file-store-"));
  afterThisTest(() => fs.rmSync(directory, { recursive: true, force: true, maxRetries: 3 }));
  return directory;
}

/** Opens a store, with what it logs and whether it gave up. */
export async function openStore(
  storageDir: string,
  options: Partial<FileStoreOptions> = {},
): Promise<OpenedStore> {
  const logged: Logged[] = [];
  const fatal: Error[] = [];
  function logger(level: Logged["level"]) {
    return (details: object, message: string) => {
      logged.push({ level, details: details as Record<string, unknown>, message });
    };
  }
  const store = await openFileStore(
    { storageDir, lockStaleMs: 10_000, lockWaitMs: 250, keyRetentionMs: 0, ...options },
    {
      log: { info: logger("info"), warn: logger("warn"), error: logger("error") },
      onFatal: (error) => fatal.push(error),
    },
  );
  afterThisTest(() => store.close());
  return { store, logged, fatal };
}

/** Lets file operations fail until the end of the test, or until the returned function is called. */
export function failWith(hook: (call: FsCall) => Verdict): () => void {
  const remove = installFsShim(hook);
  afterThisTest(remove);
  return remove;
}

/**
 * Does work as a user whom permissions bind, as they do not bind root.
 */
export async function asNobody<T>(work: () => Promise<T>): Promise<T> {
  const { geteuid, seteuid } = process as Required<Pick<typeof process, "geteuid" | "seteuid">>;
  if (geteuid() !== 0) return work();
  const nobody = 65_534;
  seteuid(nobody);
  try {
    return await work();
  } finally {
    seteuid(0);
  }
}

/** Whether a call syncs this directory or file. */
export function isSyncOf({ method, args }: FsCall, file: string): boolean {
  return method === "fsync" && fs.fstatSync(args[0] as number).ino === fs.statSync(file).ino;
}

export function valuePath(root: string, counter: CounterName): string {
  return path.join(root, counter);
}

export function fencePath(root: string, counter: CounterName): string {
  return path.join(root, ".fence", counter);
}

/** What the value file says. */
export function valueFile(root: string, counter: CounterName): string {
  return fs.readFileSync(valuePath(root, counter), "utf8");
}

/** The names in the fence's directory. */
export function fence(root: string, counter: CounterName): string[] {
  return fs.readdirSync(fencePath(root, counter));
}

/** A promise, and what resolves it. */
export function createGate(): { readonly opened: Promise<void>; readonly open: () => void } {
  let open = () => {};
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { opened, open };
}

/** What this process has open of a directory, files that are removed meanwhile included; nothing where there is no /proc. */
export function openedIn(root: string): string[] {
  if (!fs.existsSync("/proc/self/fd")) return [];
  return fs.readdirSync("/proc/self/fd").flatMap((fd) => {
    try {
      const file = fs.readlinkSync(`/proc/self/fd/${fd}`);
      return file.startsWith(root) ? [file] : [];
    } catch {
      // The descriptor of this very listing.
      return [];
    }
  });
}
