import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type CounterName, fileNameOf } from "../../counter/counter-name.ts";
import type { CounterLocks } from "./counter-locks.ts";

/**
 * How long a lock is kept under load before those who wait for it are let in. Each change of hands costs some milliseconds,
 * and whoever waits has to wait for all slices before.
 */
const sliceMs = 60;
/** How long a lock is kept without work: taking it again costs more than keeping it. */
const idleMs = 3000;
/** How often a waiter looks for the lock. */
const pollMs = 1;
/** How long the one who gave a lock up stands back: long enough for a waiter to look. */
const standBackMs = 3 * pollMs;
/**
 * How often idle counters are looked over; how many are retired each time, for that syncs, which live commits feel; and how
 * many are asked for waiters, and again for each that has one: where one is waited for, others are.
 */
const sweepMs = 10;
const sweepRetires = 32;
const sweepLooks = 64;

/** A counter with work in hand or just done: what is known of it, for as long as that is cheaper than finding out. */
export interface ActiveCounter<Known> {
  readonly name: CounterName;
  /** Its value file, which is also what its lock is named after. */
  readonly valuePath: string;
  /** What the last commit left behind; undefined where it has to be read again. Valid while the lock is held. */
  known: Known | undefined;
  isBusy: boolean;
  /** The fence is known to outlive a power cut, as an entry of its parent. */
  isLinked: boolean;
  /** The value file was written, and not yet synced. */
  isUnsettled: boolean;
  /** When the last work ended, and when the lock was taken or last refused to others; milliseconds of a steady clock. */
  usedMs: number;
  heldMs: number;
  /** How long the lock is worth waiting for: nothing any more once it was waited for in vain. */
  patienceMs: number;
  retiring: Promise<void> | undefined;
}

export interface ActiveCountersOptions<Known> {
  readonly locks: CounterLocks;
  readonly root: string;
  /** How long to wait for a lock that another process holds. */
  readonly lockWaitMs: number;
  /** How many counters are kept active. More only while more are busy. */
  readonly most?: number;
  /** A lock could not be taken because of this error of the file system. */
  readonly onLockError: (error: unknown) => void;
  /** Makes the counter's files whole before its lock is given up for good. Must not reject. */
  readonly settle: (counter: ActiveCounter<Known>) => Promise<void>;
  /** Lets go of what is known. */
  readonly forget: (counter: ActiveCounter<Known>) => void;
}

/**
 * The counters that have their lock held and their state known, the least recently used first. Bounded: however many
 * counters there are, only those of the last moment take memory, descriptors and locks.
 */
export class ActiveCounters<Known> {
  readonly #options: Required<ActiveCountersOptions<Known>>;
  readonly #counters = new Map<CounterName, ActiveCounter<Known>>();
  #sweeping: NodeJS.Timeout | undefined;
  /** Whom the sweep has not asked for waiters in this round. */
  #unasked: ActiveCounter<Known>[] = [];

  constructor(options: ActiveCountersOptions<Known>) {
    this.#options = { most: 1024, ...options };
  }

  /**
   * Makes a counter active and takes its lock, or goes without it: `known` is kept only while the lock stayed ours.
   * One caller per counter at a time; it calls `leave` when done.
   */
  async enter(name: CounterName): Promise<ActiveCounter<Known>> {
    // Nothing may be awaited between this look and `isBusy`, or the counter could be retired in that moment.
    while (this.#counters.get(name)?.retiring !== undefined) await this.#counters.get(name)?.retiring;
    const counter = this.#counters.get(name) ?? this.#create(name);
    counter.isBusy = true;
    // Delete and set again: the map is in order of use.
    this.#counters.delete(name);
    this.#counters.set(name, counter);
    if (this.#counters.size > this.#options.most) await this.#makeRoom();
    const { locks } = this.#options;
    if (locks.isHeld(counter.valuePath)) {
      const now = performance.now();
      if (now - counter.heldMs < sliceMs) return counter;
      counter.heldMs = now;
      if (!locks.isWanted(counter.valuePath)) return counter;
      locks.release(counter.valuePath);
      await sleep(standBackMs);
    }
    this.#options.forget(counter);
    await this.#acquire(counter);
    return counter;
  }

  /** Ends the work that `enter` began. The counter stays active for a moment. */
  leave(counter: ActiveCounter<Known>): void {
    counter.isBusy = false;
    counter.usedMs = performance.now();
    this.#sweeping ??= setTimeout(() => this.#sweep(), sweepMs).unref();
  }

  /** Settles every counter and gives its lock up. Nobody may be in between `enter` and `leave`. */
  async close(): Promise<void> {
    clearTimeout(this.#sweeping);
    await Promise.all([...this.#counters.values()].map((counter) => this.#retire(counter)));
  }

  #create(name: CounterName): ActiveCounter<Known> {
    return {
      name,
      valuePath: path.join(this.#options.root, fileNameOf(name)),
      known: undefined,
      isBusy: true,
      isLinked: false,
      isUnsettled: false,
      usedMs: 0,
      heldMs: 0,
      patienceMs: this.#options.lockWaitMs,
      retiring: undefined,
    };
  }

  async #acquire(counter: ActiveCounter<Known>): Promise<void> {
    const { locks, lockWaitMs, onLockError } = this.#options;
    const deadlineMs = performance.now() + counter.patienceMs;
    for (;;) {
      const attempt = locks.tryAcquire(counter.valuePath);
      if (attempt === "held") {
        counter.heldMs = performance.now();
        counter.patienceMs = lockWaitMs;
        return;
      }
      if (attempt !== "busy") {
        onLockError(attempt.error);
        return;
      }
      if (performance.now() >= deadlineMs) {
        counter.patienceMs = 0;
        return;
      }
      locks.want(counter.valuePath);
      await sleep(pollMs);
    }
  }

  async #makeRoom(): Promise<void> {
    while (this.#counters.size > this.#options.most) {
      const oldest = this.#oldestIdle();
      if (oldest === undefined) return;
      await this.#retire(oldest);
    }
  }

  /** The least recently used counter without work; one that is being retired already if there is no other. */
  #oldestIdle(): ActiveCounter<Known> | undefined {
    let retiring: ActiveCounter<Known> | undefined;
    for (const counter of this.#counters.values()) {
      if (counter.isBusy) continue;
      if (counter.retiring === undefined) return counter;
      retiring ??= counter;
    }
    return retiring;
  }

  #retire(counter: ActiveCounter<Known>): Promise<void> {
    const { settle } = this.#options;
    counter.retiring ??= settle(counter).then(() => {
      this.#letGo(counter);
      this.#counters.delete(counter.name);
    });
    return counter.retiring;
  }

  #letGo(counter: ActiveCounter<Known>): void {
    this.#options.locks.release(counter.valuePath);
    this.#options.forget(counter);
  }

  /** Retires what is idle for long, and what others wait for. */
  #sweep(): void {
    this.#retireIdle();
    this.#letWaitersIn();
    this.#sweeping = this.#counters.size > 0 ? setTimeout(() => this.#sweep(), sweepMs).unref() : undefined;
  }

  #retireIdle(): void {
    const latestMs = performance.now() - idleMs;
    let retires = sweepRetires;
    for (const counter of this.#counters.values()) {
      if (!isAtRest(counter)) continue;
      if (counter.usedMs > latestMs || retires-- <= 0) break;
      void this.#retire(counter);
    }
  }

  /** In rounds over all counters, so that none is waited for long. */
  #letWaitersIn(): void {
    if (this.#unasked.length === 0) this.#unasked = [...this.#counters.values()];
    // One that was used a moment ago is about to be used again: `enter` sees to its waiters, when its slice is over.
    const latestMs = performance.now() - sweepMs;
    let retires = sweepRetires;
    for (let looks = sweepLooks; looks > 0; looks -= 1) {
      const counter = this.#unasked.pop();
      if (counter === undefined) break;
      if (!isAtRest(counter) || counter.usedMs > latestMs || !this.#options.locks.isWanted(counter.valuePath))
        continue;
      // Whoever waits need not wait for our syncs: they are for a directory at rest, and this one is not.
      this.#letGo(counter);
      if (retires-- > 0) void this.#retire(counter);
      looks += sweepLooks;
    }
  }
}

/** Whether a counter has no work in hand, and is not on its way out. */
function isAtRest({ isBusy, retiring }: ActiveCounter<unknown>): boolean {
  return !isBusy && retiring === undefined;
}
