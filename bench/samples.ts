/** What one run of one thing gave. */
export interface Sample {
  /** Answers (or operations) per second. */
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Answers that were not 200, and connections that broke. */
  readonly failed: number;
  /** The part of each process, when the load went to several; they sum up to 1. */
  readonly shares: readonly number[];
}

/** Something that can be measured again and again. */
export interface Measurement {
  readonly key: string;
  run(): Promise<Sample>;
}

/** Median, smallest and largest of a few figures. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** The samples of all rounds, by the key of what was measured: the n-th sample of each key is from round n. */
export class Samples {
  readonly #byKey = new Map<string, Sample[]>();

  add(key: string, sample: Sample): void {
    const samples = this.#byKey.get(key);
    if (samples) samples.push(sample);
    else this.#byKey.set(key, [sample]);
  }

  /** Undefined when nothing was measured under this key. */
  spread(key: string, figure: (sample: Sample) => number): Spread | undefined {
    const samples = this.#byKey.get(key);
    return samples && spreadOf(samples.map(figure));
  }

  /**
   * Compares things that were measured in the same rounds: `figure` gets one sample of each key, all from one round, so
   * that a slow minute of the machine weighs on all of them alike.
   *
   * @returns undefined when one of the keys was not measured
   */
  compare(keys: readonly string[], figure: (...samples: Sample[]) => number): Spread | undefined {
    const columns = keys.map((key) => this.#byKey.get(key));
    const rounds = Math.min(...columns.map((column) => column?.length ?? 0));
    if (rounds === 0) return undefined;
    return spreadOf(
      Array.from({ length: rounds }, (_, round) =>
        figure(...columns.map((column) => column?.[round] as Sample)),
      ),
    );
  }

  /** The keys with failed answers, and how many there were. */
  failures(): [key: string, failed: number][] {
    return [...this.#byKey]
      .map(([key, samples]): [string, number] => [key, samples.reduce((sum, { failed }) => sum + failed, 0)])
      .filter(([, failed]) => failed > 0);
  }
}

export function spreadOf(figures: readonly number[]): Spread {
  const sorted = figures.toSorted((a, b) => a - b);
  return { median: percentile(sorted, 50), min: sorted[0] as number, max: sorted.at(-1) as number };
}

/** @param sorted ascending, at least one; the result of an even count's middle is the mean of the two */
export function percentile(sorted: ArrayLike<number>, percent: number): number {
  const at = ((sorted.length - 1) * percent) / 100;
  const [low, high] = [sorted[Math.floor(at)] as number, sorted[Math.ceil(at)] as number];
  return low + (high - low) * (at - Math.floor(at));
}

/**
 * Runs everything once per round, in the same order: A B C, A B C, …
 *
 * @param onSample called after each run, to show progress
 */
export async function runRounds(
  measurements: readonly Measurement[],
  rounds: number,
  onSample: (round: number, key: string, sample: Sample) => void,
): Promise<Samples> {
  const samples = new Samples();
  for (let round = 1; round <= rounds; round += 1) {
    for (const { key, run } of measurements) {
      const sample = await run();
      samples.add(key, sample);
      onSample(round, key, sample);
    }
  }
  return samples;
}
