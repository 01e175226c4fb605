/**
 * The file lock of each counter: the directory `STORAGE_DIR/<uuid>.lock`, by proper-lockfile.
 *
 * It gives order and calm between processes that share a directory, and nothing relies on it: two processes can both
 * believe to hold it (takeover of a stale lock is a race, a stopped process does not know that its lock was taken), and
 * then the fence alone keeps numbers apart. So no failure of a lock is ever an error.
 *
 * A holder keeps the lock while it has work, and has to learn that somebody waits. Whoever waits says so on the lock
 * itself, by the sticky bit of the lock's directory: it vanishes with the lock, whoever dies.
 */
import fs from "node:fs";
import lockfile from "proper-lockfile";
import { errnoOf } from "./io.ts";

/** How an attempt ended: the lock is ours, somebody else holds it, or the file system refused (its error). */
export type Attempt = "held" | "busy" | { readonly error: unknown };

const wantedBit = 0o1000;

export class CounterLocks {
  readonly #staleMs: number;
  /** What identifies each lock that is ours (undefined where that cannot be known), by its path. */
  readonly #held = new Map<string, string | undefined>();
  /** What proper-lockfile works with: the file system, but a lock that is not ours any more is never removed. */
  readonly #fs = {
    mkdirSync: fs.mkdirSync,
    statSync: fs.statSync,
    utimesSync: fs.utimesSync,
    realpathSync: fs.realpathSync,
    rmdirSync: (lockPath: string) => {
      const isStale = !this.#held.has(lockPath);
      if (isStale || this.#held.get(lockPath) === lookAt(lockPath)?.identity) fs.rmdirSync(lockPath);
    },
  };

  /** @param staleMs a lock that was not refreshed for so long is taken over, at least 2,000 */
  constructor(staleMs: number) {
    this.#staleMs = staleMs;
  }

  /** Tries once to take the lock of a counter, taking over a stale one. Never waits, never throws. */
  tryAcquire(valuePath: string): Attempt {
    const lockPath = lockPathOf(valuePath);
    try {
      lockfile.lockSync(valuePath, {
        realpath: false,
        stale: this.#staleMs,
        fs: this.#fs,
        onCompromised: () => this.#held.delete(lockPath),
      });
      this.#held.set(lockPath, lookAt(lockPath)?.identity);
      return "held";
    } catch (error) {
      return errnoOf(error) === "ELOCKED" ? "busy" : { error };
    }
  }

  /** Whether the lock is believed to be ours. */
  isHeld(valuePath: string): boolean {
    return this.#held.has(lockPathOf(valuePath));
  }

  /** Tells the holder of a lock that somebody waits for it. */
  want(valuePath: string): void {
    const lockPath = lockPathOf(valuePath);
    try {
      const { mode } = fs.statSync(lockPath);
      if ((mode & wantedBit) === 0) fs.chmodSync(lockPath, mode | wantedBit);
    } catch {
      // Given up meanwhile, or of another user's: then it is waited for in vain, and for a bounded time.
    }
  }

  /** Whether somebody waits for a lock that we hold, or took it already. */
  isWanted(valuePath: string): boolean {
    const lockPath = lockPathOf(valuePath);
    const lock = lookAt(lockPath);
    return lock === undefined || lock.identity !== this.#held.get(lockPath) || lock.isWanted;
  }

  /** Gives a lock up, if it is still ours. Never throws. */
  release(valuePath: string): void {
    const lockPath = lockPathOf(valuePath);
    try {
      lockfile.unlockSync(valuePath, { realpath: false, fs: this.#fs });
    } catch {
      // A lock that cannot be removed goes stale.
    }
    this.#held.delete(lockPath);
  }
}

function lockPathOf(valuePath: string): string {
  return `${valuePath}.lock`;
}

/** Undefined for a lock that is not there, or cannot be looked at. */
function lookAt(lockPath: string): { identity: string; isWanted: boolean } | undefined {
  try {
    const { ino, birthtimeMs, mode } = fs.statSync(lockPath);
    // The inode alone would not do: file systems give the number of a removed one to the next that is made.
    return { identity: `${ino} ${birthtimeMs}`, isWanted: (mode & wantedBit) !== 0 };
  } catch {
    return undefined;
  }
}
