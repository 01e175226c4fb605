import type { Log } from "../counter/store.ts";

export interface AutobackupOptions {
  /** What is asked for by GET. */
  readonly url: string;
  /** After how long a backup counts as failed, in milliseconds (default 30,000). */
  readonly timeoutMs?: number;
  readonly log: Log;
}

/**
 * Tells another service to back up after each success, as the micro-incrementer did, but never in the way of an answer.
 *
 * At most one request is under way, and at most one waits: successes that come meanwhile share the next one. So each of
 * them is followed by a backup that started after it, however slow the other side is.
 */
export class Autobackup {
  readonly #url: string;
  readonly #log: Log;
  #timeoutMs: number;
  #isWanted = false;
  #running: Promise<void> | undefined;
  /** Gives up the backup under way. */
  #current = new AbortController();
  #failures = 0;

  constructor({ url, timeoutMs = 30_000, log }: AutobackupOptions) {
    this.#url = url;
    this.#timeoutMs = timeoutMs;
    this.#log = log;
  }

  /** How many backups have failed. */
  get failures(): number {
    return this.#failures;
  }

  /** Asks for a backup that starts from now on. Never throws, never waits. */
  request(): void {
    this.#isWanted = true;
    this.#running ??= this.#run();
  }

  /**
   * Resolves when nothing is under way or waiting. The backup under way and the one that waits get no more than this time,
   * in milliseconds, from now and from its start: a stop does not wait for a side that never answers.
   */
  async close(eachWithinMs: number): Promise<void> {
    this.#timeoutMs = Math.min(this.#timeoutMs, eachWithinMs);
    const current = this.#current;
    const timer = setTimeout(
      () => current.abort(new Error(`expected a backup within ${eachWithinMs} ms at a stop`)),
      eachWithinMs,
    );
    await this.#running;
    clearTimeout(timer);
  }

  async #run(): Promise<void> {
    while (this.#isWanted) {
      this.#isWanted = false;
      await this.#backUp();
    }
    this.#running = undefined;
  }

  async #backUp(): Promise<void> {
    const current = new AbortController();
    this.#current = current;
    const timeoutMs = this.#timeoutMs;
    const timer = setTimeout(
      () => current.abort(new Error(`expected a backup within ${timeoutMs} ms`)),
      timeoutMs,
    );
    try {
      const response = await fetch(this.#url, { signal: current.signal });
      // To its end, unseen: a backup may take as long as its answer does.
      await response.body?.pipeTo(new WritableStream());
      if (!response.ok) throw new Error(`expected a backup, got status ${response.status}`);
    } catch (error) {
      this.#failures += 1;
      this.#log.warn({ err: error, failures: this.#failures }, "a backup failed (AUTOBACKUP_URL)");
    } finally {
      clearTimeout(timer);
    }
  }
}
