import { randomUUID } from "node:crypto";
import { ask } from "./client.ts";
import type { Contestant } from "./contestants.ts";

export interface DuplicateCheck {
  readonly answers: number;
  /** Answers with a number that another answer had, too. */
  readonly duplicates: number;
  readonly failed: number;
}

/** Reads every answer of several processes that issue the numbers of one hot counter, and looks for doubles. */
export async function findDuplicates(
  { urls }: Pick<Contestant, "urls">,
  { connections, seconds }: { connections: number; seconds: number },
): Promise<DuplicateCheck> {
  const path = `/${randomUUID()}`;
  const endAt = performance.now() + seconds * 1000;
  const seen = new Set<number>();
  let answers = 0;
  let failed = 0;
  await ask(urls, {
    connections,
    nextPath: () => (performance.now() < endAt ? path : undefined),
    onAnswer: ({ bn }) => {
      if (bn === undefined) failed += 1;
      else {
        answers += 1;
        seen.add(bn);
      }
    },
  });
  return { answers, duplicates: answers - seen.size, failed };
}
