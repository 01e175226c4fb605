import fs from "node:fs";
import { CounterError, type CounterErrorOptions } from "../../counter/errors.ts";

/** The `code` of an error of the operating system: `ENOENT`, `EIO` … */
export function errnoOf(error: unknown): string | undefined {
  return (error as NodeJS.ErrnoException | undefined)?.code;
}

/** Whether a file operation failed because no more can be stored: blocks, inodes or quota. */
export function isNoSpace(error: unknown): boolean {
  return errnoOf(error) === "ENOSPC" || errnoOf(error) === "EDQUOT";
}

/**
 * What a failed file operation means for a caller. The path and the system call stay in `cause`, for the log.
 *
 * @param doing the work that failed, as in "expected …, got EIO"
 */
export function storeError(error: unknown, doing: string, options: CounterErrorOptions = {}): CounterError {
  if (error instanceof CounterError) return error;
  const full = isNoSpace(error);
  return new CounterError(
    full ? "store-full" : "store-unavailable",
    `expected ${doing}, got ${full ? "a full disk" : (errnoOf(error) ?? "an unexpected failure")}`,
    { ...options, cause: error },
  );
}

/** A descriptor of a directory, to sync it with. Throws the system's error. */
export function openDirectory(directory: string): number {
  return fs.openSync(directory, fs.constants.O_RDONLY | fs.constants.O_DIRECTORY);
}

/**
 * Closes a descriptor whose writes, if any, were synced or need not be. One whose close fails is gone all the same: it must
 * not be closed again, the number may be somebody else's by then.
 */
export function closeQuietly(fd: number): void {
  try {
    fs.closeSync(fd);
  } catch {
    // Nothing that anybody waits for depends on it.
  }
}

/** Makes what a directory says of its entries (created, renamed, removed) durable. Rejects with the system's error. */
export async function syncDirectory(path: string): Promise<void> {
  const fd = openDirectory(path);
  try {
    await sync(fd);
  } finally {
    closeQuietly(fd);
  }
}

/** `fsync` in the thread pool. Rejects with the system's error. */
export function sync(fd: number): Promise<void> {
  return new Promise((resolve, reject) => {
    fs.fsync(fd, (error) => (error ? reject(error) : resolve()));
  });
}
