/**
 * What callers saw, and whether that can be right.
 *
 *  - unique: no number was answered twice;
 *  - increasing: a number is larger than all that were answered before its request started;
 *  - gapless: a number is missing only where an operation was under way that could have taken it: one that failed, or one
 *    whose key had a number already (of two that claim a key at once, in two processes, the slower takes a number for
 *    nothing). It was under way between the start of a request that got a smaller number and the end of one that got a
 *    larger number, and no more numbers are missing than there were such operations;
 *  - one key, one number: all requests with one key count as one, from the start of the first to the end of the first
 *    answer. It has one number, and nobody else has that number: no other key, and no request without a key.
 *
 * Times are milliseconds of one steady clock, taken by the caller: before a request is sent, and after its answer came.
 *
 * `settle` checks what came since it was last called, and keeps of that only what the rest has to fit to, so that
 * memory does not grow with the numbers.
 */

export interface HistoryOptions {
  /** The last number of each counter before the first operation. */
  readonly from?: (counter: string) => number;
}

interface Operation {
  readonly start: number;
  readonly end: number;
}

/** All requests with one key. */
interface KeyedOperation {
  start: number;
  end: number;
  /** Undefined until there is an answer. */
  number: number | undefined;
}

interface CounterHistory {
  readonly numbers: number[];
  readonly starts: number[];
  readonly ends: number[];
  /** Operations that may have taken a number that nobody was answered. */
  takers: Operation[];
  /** The number of each key that is settled, and the requests of those that are not. */
  readonly keys: Map<string, number>;
  readonly unsettledKeys: Map<string, KeyedOperation>;
  /** Keys that were answered with two numbers. */
  readonly tornKeys: string[];
  /** What was settled: the largest number, those below it that nobody got, and the times up to then. */
  last: number;
  readonly missing: Set<number>;
  latestStart: number;
  latestEnd: number;
}

/** How many wrongs of a kind are told per counter; the rest is counted. */
const mostTold = 3;

export class History {
  readonly #counters = new Map<string, CounterHistory>();
  readonly #from: (counter: string) => number;
  readonly #wrongs: string[] = [];
  /** How many numbers were answered; for requests with a key, how many answers there were. */
  answered = 0;
  failed = 0;
  /** What the first failure was, and the first one of a request without a key. */
  firstFailure: string | undefined;
  firstPlainFailure: string | undefined;

  constructor({ from = () => 0 }: HistoryOptions = {}) {
    this.#from = from;
  }

  addAnswer(counter: string, start: number, end: number, number: number): void {
    push(this.#of(counter), { start, end }, number);
    this.answered += 1;
  }

  /** The answer of a request with a key. A replay is of a key that had its number already. */
  addKeyedAnswer(
    counter: string,
    { key, number, isReplay }: { key: string; number: number; isReplay: boolean },
    { start, end }: Operation,
  ): void {
    const history = this.#of(counter);
    this.answered += 1;
    if (isReplay) history.takers.push({ start, end });
    const settled = history.keys.get(key);
    const operation = settled === undefined ? began(history, key, start) : undefined;
    const before = settled ?? operation?.number ?? number;
    if (before !== number) history.tornKeys.push(`${key} (${before} and ${number})`);
    if (operation) {
      operation.number = before;
      operation.end = Math.min(operation.end, end);
    }
  }

  /** An operation without an answer, or with an error: it may have taken a number. */
  addFailure(
    counter: string,
    start: number,
    end: number,
    { reason = "a broken connection", key }: { reason?: string | undefined; key?: string | undefined } = {},
  ): void {
    const history = this.#of(counter);
    this.firstFailure ??= reason;
    if (key === undefined) this.firstPlainFailure ??= reason;
    history.takers.push({ start, end });
    if (key !== undefined && !history.keys.has(key)) began(history, key, start);
    this.failed += 1;
  }

  /** An answer that nobody should ever get. */
  addOddAnswer(counter: string, answer: string): void {
    this.#wrongs.push(`${counter}: expected a number or 503, got ${answer}`);
  }

  /** The largest number that was answered, or what the counter began from. */
  last(counter: string): number {
    const { numbers, last, unsettledKeys } = this.#of(counter);
    let largest = last;
    for (const number of numbers) largest = Math.max(largest, number);
    for (const { number = 0 } of unsettledKeys.values()) largest = Math.max(largest, number);
    return largest;
  }

  get counters(): string[] {
    return [...this.#counters.keys()];
  }

  /** The keys that were answered, with their numbers. */
  keysOf(counter: string): Map<string, number> {
    const { keys, unsettledKeys } = this.#of(counter);
    const answered = [...unsettledKeys].flatMap(([key, { number }]) =>
      number === undefined ? [] : [[key, number] as const],
    );
    return new Map([...keys, ...answered]);
  }

  /** What is wrong, one sentence each; empty when all is right. */
  wrongs(): string[] {
    return [...this.#wrongs, ...this.#unsettledWrongs()];
  }

  /** Checks what came until now, and forgets it but for what the rest has to fit to. No request may be under way. */
  settle(): void {
    this.#wrongs.push(...this.#unsettledWrongs());
    for (const history of this.#counters.values()) settle(history);
  }

  #unsettledWrongs(): string[] {
    return [...this.#counters].flatMap(([counter, history]) => {
      const whole = withKeys(history);
      return [
        ...told(counter, "answered twice", repeated(whole)),
        ...told(counter, "answered after larger ones", late(whole)),
        ...told(counter, "missing, and no operation failed there", missing(whole)),
        ...told(counter, "are keys that were answered with two numbers", history.tornKeys),
      ];
    });
  }

  #of(counter: string): CounterHistory {
    let history = this.#counters.get(counter);
    if (history === undefined) {
      history = {
        numbers: [],
        starts: [],
        ends: [],
        takers: [],
        keys: new Map(),
        unsettledKeys: new Map(),
        tornKeys: [],
        last: this.#from(counter),
        missing: new Set(),
        latestStart: Number.NEGATIVE_INFINITY,
        latestEnd: Number.NEGATIVE_INFINITY,
      };
      this.#counters.set(counter, history);
    }
    return history;
  }
}

function push({ numbers, starts, ends }: CounterHistory, { start, end }: Operation, number: number): void {
  numbers.push(number);
  starts.push(start);
  ends.push(end);
}

/** The requests of a key that is not settled, with one more that began then. */
function began({ unsettledKeys }: CounterHistory, key: string, start: number): KeyedOperation {
  const operation = unsettledKeys.get(key) ?? { start, end: Number.POSITIVE_INFINITY, number: undefined };
  operation.start = Math.min(operation.start, start);
  unsettledKeys.set(key, operation);
  return operation;
}

/** A history in which the answered keys are answers like others. */
function withKeys(history: CounterHistory): CounterHistory {
  if (history.unsettledKeys.size === 0) return history;
  const { numbers, starts, ends } = history;
  const whole = { ...history, numbers: [...numbers], starts: [...starts], ends: [...ends] };
  for (const operation of history.unsettledKeys.values()) {
    if (operation.number !== undefined) push(whole, operation, operation.number);
  }
  return whole;
}

function settle(history: CounterHistory): void {
  const { numbers, starts, ends } = withKeys(history);
  const nobodys = history.missing;
  let { last } = history;
  for (const number of Float64Array.from(numbers).sort()) {
    // Far more than that were told as wrong.
    for (let lost = last + 1; lost < number && lost <= last + history.takers.length; lost += 1)
      nobodys.add(lost);
    nobodys.delete(number);
    last = Math.max(last, number);
  }
  history.last = last;
  for (const start of starts) history.latestStart = Math.max(history.latestStart, start);
  for (const end of ends) history.latestEnd = Math.max(history.latestEnd, end);
  history.takers = history.takers.filter(({ end }) => end >= history.latestStart);
  for (const [key, { number }] of history.unsettledKeys) {
    if (number === undefined) continue;
    history.keys.set(key, number);
    history.unsettledKeys.delete(key);
  }
  for (const list of [history.numbers, history.starts, history.ends, history.tornKeys]) list.length = 0;
}

function told(counter: string, wrong: string, what: readonly (number | string)[]): string[] {
  if (what.length === 0) return [];
  const more = what.length > mostTold ? ` and ${what.length - mostTold} more` : "";
  return [`${counter}: ${what.slice(0, mostTold).join(", ")}${more} ${wrong}`];
}

function sortedBy(keys: readonly number[]): number[] {
  return Array.from(keys.keys()).sort((a, b) => (keys[a] as number) - (keys[b] as number));
}

function repeated({ numbers, last, missing }: CounterHistory): number[] {
  const sorted = Float64Array.from(numbers).sort();
  const isRepeated = (number: number, at: number) =>
    number === sorted[at - 1] || (number <= last && !missing.has(number));
  return [...new Set(sorted.filter(isRepeated))];
}

function late({ numbers, starts, ends, last, latestEnd }: CounterHistory): number[] {
  const wrong: number[] = [];
  const byEnd = sortedBy(ends);
  let ended = 0;
  let largest = 0;
  for (const at of sortedBy(starts)) {
    const start = starts[at] as number;
    for (; (ends[byEnd[ended] as number] as number) < start; ended += 1) {
      largest = Math.max(largest, numbers[byEnd[ended] as number] as number);
    }
    // A key that was first asked for before what is settled ended may have its number from then.
    if ((numbers[at] as number) < (start > latestEnd ? Math.max(largest, last) : largest))
      wrong.push(numbers[at] as number);
  }
  return wrong;
}

function missing({ numbers, starts, ends, takers, ...settled }: CounterHistory): number[] {
  const wrong: number[] = [];
  const byNumber = sortedBy(numbers);
  // The earliest end of an operation that got this number or a larger one.
  const earliestEnds = new Float64Array(byNumber.length);
  let earliest = Number.POSITIVE_INFINITY;
  for (let at = byNumber.length - 1; at >= 0; at -= 1) {
    earliest = Math.min(earliest, ends[byNumber[at] as number] as number);
    earliestEnds[at] = earliest;
  }
  let { last, latestStart } = settled;
  for (const [at, index] of byNumber.entries()) {
    const number = numbers[index] as number;
    const gap = number - last - 1;
    if (gap > 0) {
      const before = earliestEnds[at] as number;
      const possible = takers.filter(({ start, end }) => start <= before && end >= latestStart).length;
      for (let lost = possible + 1; lost <= gap && wrong.length <= 1_000; lost += 1) wrong.push(last + lost);
    }
    last = Math.max(last, number);
    latestStart = Math.max(latestStart, starts[index] as number);
  }
  return wrong;
}
