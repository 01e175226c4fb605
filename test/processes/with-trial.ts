import { Random } from "../faults/random.ts";
import { Trial } from "../faults/trial.ts";

/** Runs a test with a trial, and cleans up after it: processes, directories. Prints the seed (SEED repeats one) on failure. */
export function withTrial(run: (trial: Trial) => Promise<void>): () => Promise<void> {
  return async () => {
    const { SEED } = process.env;
    const seed = Number(SEED ?? Math.floor(Math.random() * 2 ** 32));
    const trial = new Trial(new Random(seed), undefined);
    try {
      await run(trial);
    } catch (error) {
      throw new Error(`with SEED=${seed}: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    } finally {
      await trial.end();
    }
  };
}
