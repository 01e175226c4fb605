/**
 * What callers saw, and whether that can be right.
 *
 *  - unique: no number was answered twice;
 *  - increasing: a number is larger than all that were answered before its request started;
 *  - gapless: a number is missing only where an operation failed that could have taken it: one that was under way
 *    between the start of a request that got a smaller number and the end of one that got a larger number, and no more
 *    numbers than such operations.
 *
 * Times are milliseconds of one steady clock, taken by the caller: before a request is sent, and after its answer came.
 */

interface CounterHistory {
  readonly numbers: number[];
  readonly starts: number[];
  readonly ends: number[];
  readonly failures: { readonly start: number; readonly end: number }[];
}

/** How many wrongs of a kind are told per counter; the rest is counted. */
const mostTold = 3;

export class History {
  readonly #counters = new Map<string, CounterHistory>();
  /** How many numbers were answered. */
  answered = 0;
  failed = 0;
  /** What the first failure was. */
  firstFailure = "";

  addAnswer(counter: string, start: number, end: number, number: number): void {
    const { numbers, starts, ends } = this.#of(counter);
    numbers.push(number);
    starts.push(start);
    ends.push(end);
    this.answered += 1;
  }

  /** An operation without an answer, or with an error: it may have taken a number. */
  addFailure(counter: string, start: number, end: number, reason = "a broken connection"): void {
    this.firstFailure ||= reason;
    this.#of(counter).failures.push({ start, end });
    this.failed += 1;
  }

  /** The largest number that was answered, or 0. */
  last(counter: string): number {
    return this.#of(counter).numbers.reduce((largest, number) => Math.max(largest, number), 0);
  }

  get counters(): string[] {
    return [...this.#counters.keys()];
  }

  /**
   * @param from the last number of each counter before the first operation
   * @returns what is wrong, one sentence each; empty when all is right
   */
  wrongs({ from = () => 0 }: { from?: (counter: string) => number } = {}): string[] {
    return [...this.#counters].flatMap(([counter, history]) => [
      ...told(counter, "answered twice", repeated(history)),
      ...told(counter, "answered after larger ones", late(history)),
      ...told(counter, "missing, and no operation failed there", missing(history, from(counter))),
    ]);
  }

  #of(counter: string): CounterHistory {
    let history = this.#counters.get(counter);
    if (history === undefined) {
      history = { numbers: [], starts: [], ends: [], failures: [] };
      this.#counters.set(counter, history);
    }
    return history;
  }
}

function told(counter: string, wrong: string, numbers: readonly number[]): string[] {
  if (numbers.length === 0) return [];
  const more = numbers.length > mostTold ? ` and ${numbers.length - mostTold} more` : "";
  return [`${counter}: ${numbers.slice(0, mostTold).join(", ")}${more} ${wrong}`];
}

function sortedBy(keys: readonly number[]): number[] {
  return Array.from(keys.keys()).sort((a, b) => (keys[a] as number) - (keys[b] as number));
}

function repeated({ numbers }: CounterHistory): number[] {
  const sorted = Float64Array.from(numbers).sort();
  return [...new Set(sorted.filter((number, at) => number === sorted[at - 1]))];
}

function late({ numbers, starts, ends }: CounterHistory): number[] {
  const wrong: number[] = [];
  const byEnd = sortedBy(ends);
  let ended = 0;
  let largest = 0;
  for (const at of sortedBy(starts)) {
    for (; (ends[byEnd[ended] as number] as number) < (starts[at] as number); ended += 1) {
      largest = Math.max(largest, numbers[byEnd[ended] as number] as number);
    }
    if ((numbers[at] as number) < largest) wrong.push(numbers[at] as number);
  }
  return wrong;
}

function missing({ numbers, starts, ends, failures }: CounterHistory, from: number): number[] {
  const wrong: number[] = [];
  const byNumber = sortedBy(numbers);
  // The earliest end of an operation that got this number or a larger one.
  const earliestEnds = new Float64Array(byNumber.length);
  let earliest = Number.POSITIVE_INFINITY;
  for (let at = byNumber.length - 1; at >= 0; at -= 1) {
    earliest = Math.min(earliest, ends[byNumber[at] as number] as number);
    earliestEnds[at] = earliest;
  }
  let last = from;
  let latestStart = Number.NEGATIVE_INFINITY;
  for (const [at, index] of byNumber.entries()) {
    const number = numbers[index] as number;
    const gap = number - last - 1;
    if (gap > 0) {
      const before = earliestEnds[at] as number;
      const possible = failures.filter(({ start, end }) => start <= before && end >= latestStart).length;
      for (let lost = possible + 1; lost <= gap; lost += 1) wrong.push(last + lost);
    }
    last = Math.max(last, number);
    latestStart = Math.max(latestStart, starts[index] as number);
  }
  return wrong;
}
