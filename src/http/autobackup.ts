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
  readonly #options: Required<AutobackupOptions>;
  #isWanted = false;
  #running: Promise<void> | undefined;
  #failures = 0;

  constructor(options: AutobackupOptions) {
    this.#options = { timeoutMs: 30_000, ...options };
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

  /** Resolves when nothing is under way or waiting: at most after two time-outs. */
  async idle(): Promise<void> {
    await this.#running;
  }

  async #run(): Promise<void> {
    while (this.#isWanted) {
      this.#isWanted = false;
      await this.#backUp();
    }
    this.#running = undefined;
  }

  async #backUp(): Promise<void> {
    const { url, timeoutMs, log } = this.#options;
    try {
      const response = await fetch(url, { signal: AbortSignal.timeout(timeoutMs) });
      // To its end, unseen: a backup may take as long as its answer does.
      await response.body?.pipeTo(new WritableStream());
      if (!response.ok) throw new Error(`expected a backup, got status ${response.status}`);
    } catch (error) {
      this.#failures += 1;
      log.warn({ err: error, failures: this.#failures }, "a backup failed (AUTOBACKUP_URL)");
    }
  }
}
