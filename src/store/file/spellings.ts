import { type CounterName, findUuidName } from "../../counter/counter-name.ts";
import type { StorageDir } from "./storage-dir.ts";

/** More counters with other spellings than this are not kept in memory; see `of`. */
const mostNames = 50_000;

/**
 * The value files that the Go original wrote under another spelling than the canonical one: upper case, `urn:uuid:…`,
 * braces, no hyphens. To it each spelling was a counter of its own; here they are one, and a counter that starts without a
 * fence must know them all, or it would issue their numbers again. Mixed case makes them too many to try, so the
 * directory is read once, in the background.
 */
export class Spellings {
  readonly #directory: StorageDir;
  readonly #limit: number;
  readonly #files = new Map<CounterName, string[]>();
  #isComplete = false;
  #isTooMany = false;
  #scan: Promise<void> | undefined;

  constructor(directory: StorageDir, limit = mostNames) {
    this.#directory = directory;
    this.#limit = limit;
  }

  /**
   * Resolves when the directory was read once; at once when it was already. A read that failed is started again.
   *
   * @throws the system's error
   */
  async complete(): Promise<void> {
    if (this.#isComplete) return;
    this.#scan ??= this.#read().finally(() => {
      this.#scan = undefined;
    });
    await this.#scan;
  }

  /**
   * The files of a counter under other spellings, as far as they were found. When the directory holds too many to be kept
   * in memory, it is read again: slow, and right.
   *
   * @throws the system's error
   */
  async of(name: CounterName): Promise<readonly string[]> {
    if (!this.#isTooMany) return this.#files.get(name) ?? [];
    const files: string[] = [];
    await this.#directory.scan((file) => {
      if (file !== name && findUuidName(file) === name) files.push(file);
    });
    return files;
  }

  async #read(): Promise<void> {
    this.#files.clear();
    this.#isTooMany = false;
    await this.#directory.scan((file) => {
      const name = findUuidName(file);
      if (name === undefined || name === file) return;
      const files = this.#files.get(name);
      if (files) files.push(file);
      else if (this.#files.size < this.#limit) this.#files.set(name, [file]);
      else this.#isTooMany = true;
    });
    this.#isComplete = true;
  }
}
