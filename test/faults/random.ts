/** Random numbers that a seed repeats: mulberry32 (Tommy Ettinger, public domain). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** A number in [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** An integer, both ends included. */
  integer(least: number, most: number): number {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.integer(0, choices.length - 1)] as T;
  }

  /** Some of the choices, each at most once, in their order; all of them when `most` is not below their number. */
  sample<T>(choices: readonly T[], most: number): T[] {
    const keys = choices.map(() => this.next());
    const limit = [...keys].sort((a, b) => a - b)[most] ?? 1;
    return choices.filter((_, at) => (keys[at] as number) < limit);
  }

  /** The id of a counter. */
  uuid(): string {
    const digits = () => this.integer(0, 0xffff).toString(16).padStart(4, "0");
    const [a, b, c, d, e, f, g, h] = Array.from({ length: 8 }, digits);
    return `${a}${b}-${c}-${d}-${e}-${f}${g}${h}`;
  }
}
