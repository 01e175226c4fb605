/**
 * Failing file operations, made to order: patches the functions of the one `node:fs` object that the store,
 * write-file-atomic and proper-lockfile all call. In the same process, or before a real server starts (`preload.ts`).
 */
import fs from "node:fs";

/** One file operation that is about to happen. */
export interface FsCall {
  readonly method: FsMethod;
  readonly args: readonly unknown[];
}

/**
 * What becomes of a call: it is made (undefined); it fails with this error and touches nothing; it is made, and then fails
 * (`after`: a lost reply); it writes half of what it should and reports that (`short`, for `writeSync`); it reports success
 * and touches nothing (`skip`); it is made, and reports success even if it failed (`blind`); or it is made a second later
 * (`late`, for `fsync`).
 */
// biome-ignore lint/suspicious/noConfusingVoidType: a hook that only looks on returns nothing
export type Verdict = void | Error | { readonly after: Error } | "short" | "skip" | "blind" | "late";

const methods = [
  "chmodSync",
  "chownSync",
  "closeSync",
  "existsSync",
  "fchmodSync",
  "fchownSync",
  "fstatSync",
  "fsync",
  "fsyncSync",
  "mkdirSync",
  "openSync",
  "readSync",
  "readdirSync",
  "renameSync",
  "rmSync",
  "rmdirSync",
  "statSync",
  "unlinkSync",
  "utimesSync",
  "writeSync",
] as const;

export type FsMethod = (typeof methods)[number];

type AnyFunction = (...args: unknown[]) => unknown;

/**
 * Asks `hook` about every file operation from now on. Install it before the store is opened, which keeps some of the
 * functions.
 *
 * @returns what takes the shim out again
 */
export function installFsShim(hook: (call: FsCall) => Verdict): () => void {
  const patched = fs as unknown as Record<FsMethod, AnyFunction>;
  const originals = methods.map((method) => [method, patched[method]] as const);
  let isAsking = false;
  let isInstalled = true;
  for (const [method, original] of originals) {
    patched[method] = (...args) => {
      // Operations that an operation is made of, and those of the hook itself, are not asked about.
      if (isAsking || !isInstalled) return original.apply(fs, args);
      isAsking = true;
      try {
        return carryOut(hook({ method, args }), method, original, args);
      } finally {
        isAsking = false;
      }
    };
  }
  return () => {
    isInstalled = false;
    for (const [method, original] of originals) patched[method] = original;
  };
}

/** An error as the operating system gives it. */
export function systemError(code: string, { method, args }: FsCall): Error {
  return Object.assign(new Error(`${code}: injected, ${method} '${args[0]}'`), { code, syscall: method });
}

function carryOut(verdict: Verdict, method: FsMethod, original: AnyFunction, args: unknown[]): unknown {
  if (verdict === undefined) return original.apply(fs, args);
  if (method === "fsync") {
    const callback = args[1] as (error: Error | null) => void;
    if (verdict === "late") setTimeout(() => original.apply(fs, args), 1_000);
    else setImmediate(callback, errorOf(verdict));
    return undefined;
  }
  if (typeof verdict === "object" && "after" in verdict) {
    original.apply(fs, args);
    throw verdict.after;
  }
  if (verdict instanceof Error) {
    // These report failure by their answer.
    if (method === "existsSync") return false;
    // A close that fails has closed.
    if (method === "closeSync") original.apply(fs, args);
    throw verdict;
  }
  if (verdict === "skip") return undefined;
  if (verdict === "short") return original.apply(fs, shortened(args));
  try {
    return original.apply(fs, args);
  } catch {
    return undefined;
  }
}

function errorOf(verdict: Verdict): Error | null {
  if (verdict instanceof Error) return verdict;
  return typeof verdict === "object" ? verdict.after : null;
}

/** The arguments of a `writeSync(fd, text or buffer, …)` that writes half. */
function shortened([fd, data, first, second]: unknown[]): unknown[] {
  if (typeof data === "string") return [fd, data.slice(0, data.length >> 1), first, second];
  const [offset = 0, length] = [first, second] as [number?, number?];
  return [fd, data, offset, (length ?? (data as Uint8Array).length - offset) >> 1];
}
