import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Express } from "express";
import { pino } from "pino";
import { Counters, type CountersOptions } from "../../src/counter/counters.ts";
import type { Store } from "../../src/counter/store.ts";
import { type AppOptions, createApp } from "../../src/http/app.ts";
import { openFileStore } from "../../src/store/file/file-store.ts";

export interface TestService {
  readonly app: Express;
  readonly counters: Counters;
  readonly storageDir: string;
  /** What was logged, one object a line. */
  readonly logged: Record<string, unknown>[];
  close(): Promise<void>;
}

export interface TestServiceOptions extends CountersOptions, Omit<AppOptions, "log"> {
  /** A store in place of the file store, for failures that a disk cannot be made to have on command. */
  readonly store?: Store;
}

/** The app on a real file store in a new directory, everything in this process. */
export async function openService({
  store,
  createCounters,
  maxWaiting,
  ...options
}: TestServiceOptions = {}): Promise<TestService> {
  const storageDir = await mkdtemp(join(tmpdir(), "buildnumber-"));
  const logged: Record<string, unknown>[] = [];
  const log = pino({ level: "info" }, { write: (line: string) => void logged.push(JSON.parse(line)) });
  const settings = { storageDir, lockStaleMs: 10_000, lockWaitMs: 250, keyRetentionMs: 0 };
  const counters = new Counters(store ?? (await openFileStore(settings, { log, onFatal: () => {} })), {
    ...(createCounters !== undefined && { createCounters }),
    ...(maxWaiting !== undefined && { maxWaiting }),
  });
  return {
    app: createApp(counters, { log, ...options }),
    counters,
    storageDir,
    logged,
    async close() {
      await counters.close();
      await rm(storageDir, { recursive: true });
    },
  };
}
