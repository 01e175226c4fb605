/**
 * The fence: `STORAGE_DIR/.fence/<uuid>/` holds exactly one empty file, the *token*, whose name is the last number
 * reserved. Renaming it is an atomic compare-and-swap: whoever renames `41` to `44` owns 42 … 44 for ever; anybody
 * else who thought that 41 was the last gets ENOENT, looks again and goes on from there. It needs no lock, no clock and
 * no process that keeps its promises. The number is safe once the directory is synced.
 *
 * A token's name is
 *
 *     44        the last number reserved, and the highest that ever was
 *     100-501   the last number is 100; the counter was lowered to it, from below 501 (the *highest*)
 *
 * The highest never falls, and every lowering raises it. So no name ever comes back, which makes a late rename or
 * removal by a process that was stopped before the lowering fail; and a value file that a late writer rolled back up
 * is told from one raised by hand: only a number above the highest is a raise.
 */
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { v4 as uuidv4 } from "uuid";
import { maxValue } from "../../counter/store.ts";
import { closeQuietly, errnoOf, openDirectory, sync } from "./io.ts";

/** How far a counter is. */
export interface Mark {
  /** The last number issued, 0 … 2^53−1. */
  readonly value: number;
  /** No number above this was ever issued. Never below `value`; above it once the counter was lowered. */
  readonly highest: number;
}

/** What stands in a fence directory. */
export interface Token extends Mark {
  /** The file's name. */
  readonly name: string;
}

/** A fence directory that does not tell the number: no token, or not a directory. */
export class FenceDamagedError extends Error {
  override readonly name = "FenceDamagedError";
}

/** How often a directory is listed before an odd listing is believed. */
const mostLooks = 4;

const tokenName = /^(0|[1-9]\d{0,15})(?:-([1-9]\d{0,15}))?$/;

/** The mark of a counter that issued its numbers up to `value` and was never lowered. */
export function markAt(value: number): Mark {
  return { value, highest: value };
}

/** The mark after the last number became `value`, upwards or, as a lowering, downwards. */
export function moveMark(from: Mark, value: number): Mark {
  if (value >= from.value) return { value, highest: Math.max(from.highest, value) };
  return { value, highest: Math.min(from.highest + 1, maxValue) };
}

export function tokenOf({ value, highest }: Mark): Token {
  return { value, highest, name: value === highest ? `${value}` : `${value}-${highest}` };
}

function parseToken(name: string): Token | undefined {
  const match = tokenName.exec(name);
  if (!match) return undefined;
  const value = Number(match[1]);
  const highest = Number(match[2] ?? value);
  return highest <= maxValue && value <= highest ? { value, highest, name } : undefined;
}

/**
 * The token of a fence directory.
 *
 * Listing a directory while a file in it is renamed may show both names, or none; so an odd answer is asked for again.
 * Two tokens that stay (somebody copied one in) are made one: the larger number counts, the other is removed.
 *
 * @returns undefined when the directory does not exist: the counter has no fence yet
 * @throws FenceDamagedError for a directory without a token; else the system's error
 */
export async function readToken(directory: string): Promise<Token | undefined> {
  for (let looks = 1; ; looks += 1) {
    let names: string[];
    try {
      names = fs.readdirSync(directory);
    } catch (error) {
      if (errnoOf(error) === "ENOENT") return undefined;
      if (errnoOf(error) === "ENOTDIR") throw new FenceDamagedError("expected a directory", { cause: error });
      throw error;
    }
    const tokens = names.map(parseToken).filter((token) => token !== undefined);
    const [first, second] = tokens.sort((a, b) => b.value - a.value || b.highest - a.highest);
    if (first && !second) return first;
    if (looks >= mostLooks) {
      if (!first)
        throw new FenceDamagedError(`expected one file named after a number, got ${names.length} others`);
      // Still there after the others were seen, and no name comes back: so none of them is the one that stands.
      if (isStanding(directory, first)) return mergeTokens(directory, first, tokens.slice(1));
    }
    await sleep(looks);
  }
}

function mergeTokens(directory: string, largest: Token, others: readonly Token[]): Token {
  for (const { name } of others) fs.rmSync(path.join(directory, name), { force: true });
  const highest = Math.max(largest.highest, ...others.map((token) => token.highest));
  return { ...largest, highest };
}

/**
 * Moves a fence from one token to the next: the compare-and-swap. Not durable until the directory is synced.
 *
 * @returns false when `from` does not stand there any more
 * @throws the system's error; then nobody knows whether the fence moved
 */
export function moveFence(directory: string, from: Token, to: Token): boolean {
  try {
    fs.renameSync(`${directory}/${from.name}`, `${directory}/${to.name}`);
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw error;
  }
}

/** Whether the fence still stands at this token. */
export function isStanding(directory: string, { name }: Pick<Token, "name">): boolean {
  return fs.existsSync(`${directory}/${name}`);
}

/** A fence that is whole and synced, but not in its place yet. */
export interface BuiltFence {
  /** Where it stands until it is put up. */
  readonly building: string;
  /** A descriptor of the directory, which stays good when it is put up. The caller closes it. */
  readonly fd: number;
}

/**
 * Builds the fence of a counter that has none, under a temporary name: so there is never a fence without its token.
 *
 * @param nursery a directory on the same file system
 * @throws the system's error; nothing is left behind then
 */
export async function buildFence(nursery: string, token: Token): Promise<BuiltFence> {
  const building = path.join(nursery, uuidv4());
  fs.mkdirSync(building);
  try {
    fs.closeSync(fs.openSync(path.join(building, token.name), "wx"));
    const fd = openDirectory(building);
    try {
      await sync(fd);
    } catch (error) {
      closeQuietly(fd);
      throw error;
    }
    return { building, fd };
  } catch (error) {
    discard(building);
    throw error;
  }
}

/**
 * Renames a built fence into its place. Of several processes that do so at once, one wins. Not durable until the parent of
 * `directory` is synced.
 *
 * @returns false when another process was faster; the built fence is discarded then, but for its descriptor
 * @throws the system's error; then nobody knows whether the fence was put up
 */
export function putUpFence({ building }: BuiltFence, directory: string): boolean {
  try {
    fs.renameSync(building, directory);
    return true;
  } catch (error) {
    discard(building);
    if (errnoOf(error) === "ENOTEMPTY" || errnoOf(error) === "EEXIST") return false;
    throw error;
  }
}

function discard(building: string): void {
  try {
    fs.rmSync(building, { recursive: true, force: true });
  } catch {
    // The sweep of the next start takes what stays.
  }
}
