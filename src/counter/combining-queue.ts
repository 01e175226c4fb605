import { CounterError } from "./errors.ts";

/**
 * Commits the claims of one batch; resolves to one outcome per claim, in order. Called for one counter at a time: the
 * next call for the same counter comes when this one has settled.
 */
export type Commit<Key, Claim, Outcome> = (key: Key, claims: readonly Claim[]) => Promise<readonly Outcome[]>;

interface Waiter<Claim, Outcome> {
  readonly claim: Claim;
  readonly resolve: (outcome: Outcome) => void;
  readonly reject: (reason: unknown) => void;
}

/** Work that waits its turn: a batch that still gathers waiters, or a task that wants the counter for itself. */
type Turn<Claim, Outcome> = Waiter<Claim, Outcome>[] | (() => Promise<void>);

/**
 * For how long the next commit waits for those who were just answered and come back, as parts of the time that the last
 * commit took: since the last of them came, and in all.
 */
const quietPart = 1 / 8;
const gatherPart = 1 / 2;
/** The most that counts as the time of a commit: one that took long had to wait for something else than the disk. */
const mostTookMs = 8;

/**
 * The in-process mutex of the service, as a group commit: per counter at most one commit is in flight. A claim for an
 * idle counter is committed at once, in the same tick; those that arrive meanwhile gather, and share the next commit.
 * So n callers cost far fewer than n commits, the more so the slower a commit is.
 *
 * Callers who ask again as soon as they are answered would fall into two groups, each waiting for the commit of the other.
 * So after a batch the next commit waits while they come back: a small part of what a commit takes, and not at
 * all after a single caller.
 *
 * Counters do not wait for each other, and an idle counter costs no memory. Every caller is settled on every path: when
 * a commit fails, all its waiters get that error.
 */
export class CombiningQueue<Key, Claim, Outcome> {
  readonly #commit: Commit<Key, Claim, Outcome>;
  readonly #maxWaiting: number;
  readonly #gathers: boolean;
  /** The turns that wait behind the one in flight. A counter is in the map while it has one in flight. */
  readonly #busy = new Map<Key, Turn<Claim, Outcome>[]>();
  readonly #drained: (() => void)[] = [];
  #waiting = 0;

  /**
   * @param commit what commits a batch
   * @param maxWaiting how many callers may wait, over all counters; more are refused with `overloaded`
   * @param gathers whether callers may come back as soon as they are answered, and are worth a moment's wait
   */
  constructor(
    commit: Commit<Key, Claim, Outcome>,
    { maxWaiting = 65_536, gathers = true }: { maxWaiting?: number; gathers?: boolean } = {},
  ) {
    this.#commit = commit;
    this.#maxWaiting = maxWaiting;
    this.#gathers = gathers;
  }

  /**
   * Adds one claim.
   *
   * @returns the claim's outcome, once its batch is committed
   * @throws CounterError `overloaded` when too many callers wait already; else what the commit was rejected with
   */
  add(key: Key, claim: Claim): Promise<Outcome> {
    return new Promise((resolve, reject) => {
      if (!this.#admit(reject)) return;
      const waiter = { claim, resolve, reject };
      const turns = this.#busy.get(key);
      if (turns === undefined) {
        this.#start(key, [waiter]);
        return;
      }
      const last = turns.at(-1);
      if (Array.isArray(last)) last.push(waiter);
      else turns.push([waiter]);
    });
  }

  /**
   * Runs a task that has the counter for itself: after all claims that came before it, before all that come after.
   *
   * @returns what the task resolves to
   * @throws CounterError `overloaded`; else what the task was rejected with
   */
  exclusive<T>(key: Key, task: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      if (!this.#admit(reject)) return;
      const turn = async () => {
        try {
          resolve(await task());
        } catch (error) {
          reject(error);
        }
        this.#waiting -= 1;
      };
      const turns = this.#busy.get(key);
      if (turns === undefined) this.#start(key, turn);
      else turns.push(turn);
    });
  }

  /** Resolves when nobody waits any more. Refusing newcomers is the caller's business. */
  drain(): Promise<void> {
    if (this.#busy.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#drained.push(resolve));
  }

  #admit(reject: (reason: unknown) => void): boolean {
    if (this.#waiting >= this.#maxWaiting) {
      reject(
        new CounterError("overloaded", `expected at most ${this.#maxWaiting} waiting callers, got one more`),
      );
      return false;
    }
    this.#waiting += 1;
    return true;
  }

  #start(key: Key, turn: Turn<Claim, Outcome>): void {
    this.#busy.set(key, []);
    void this.#run(key, turn);
  }

  async #run(key: Key, first: Turn<Claim, Outcome>): Promise<void> {
    const turns = this.#busy.get(key) as Turn<Claim, Outcome>[];
    for (let turn: Turn<Claim, Outcome> | undefined = first; turn; turn = turns.shift()) {
      if (!Array.isArray(turn)) await turn();
      else if (turn.length > 0) {
        const startedAtMs = performance.now();
        await this.#commitBatch(key, turn);
        const tookMs = Math.min(performance.now() - startedAtMs, mostTookMs);
        if (this.#gathers && turn.length > 1) await gather(turns, turn.length, tookMs);
      }
    }
    this.#busy.delete(key);
    if (this.#busy.size === 0) for (const resolve of this.#drained.splice(0)) resolve();
  }

  async #commitBatch(key: Key, batch: readonly Waiter<Claim, Outcome>[]): Promise<void> {
    try {
      const outcomes = await this.#commit(
        key,
        batch.map(({ claim }) => claim),
      );
      if (outcomes.length !== batch.length) {
        throw new Error(`expected ${batch.length} outcomes of a commit, got ${outcomes.length}`);
      }
      batch.forEach(({ resolve }, at) => {
        resolve(outcomes[at] as Outcome);
      });
    } catch (error) {
      // Rejecting a waiter that is already resolved does nothing, so nobody is left hanging or settled twice.
      for (const { reject } of batch) reject(error);
    }
    this.#waiting -= batch.length;
  }
}

/**
 * Waits while those who were answered come back and join those who wait already: turns of the event loop, no timer.
 *
 * @param answered how many they are
 * @param tookMs how long their commit took
 */
async function gather<Claim, Outcome>(
  turns: Turn<Claim, Outcome>[],
  answered: number,
  tookMs: number,
): Promise<void> {
  if (turns.length === 0) turns.push([]);
  const [batch] = turns;
  // Behind a task nobody can join.
  if (!Array.isArray(batch) || turns.length > 1) return;
  const all = batch.length + answered;
  // The answers are written in this turn; nobody can come back before.
  await new Promise(setImmediate);
  const endMs = performance.now() + tookMs * gatherPart;
  let quietMs = 0;
  for (let size = -1; batch.length < all && turns.length === 1; ) {
    const nowMs = performance.now();
    if (batch.length > size) quietMs = nowMs + tookMs * quietPart;
    if (nowMs >= Math.min(quietMs, endMs)) return;
    size = batch.length;
    await new Promise(setImmediate);
  }
}
