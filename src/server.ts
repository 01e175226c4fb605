import { setTimeout } from "node:timers/promises";
import type { Logger } from "pino";
import type { Config } from "./config.ts";
import { Counters } from "./counter/counters.ts";
import { createApp } from "./http/app.ts";
import { Autobackup } from "./http/autobackup.ts";
import { createHttpServer } from "./http/http-server.ts";
import { openStore } from "./store/open-store.ts";
import { OpeningStore } from "./store/opening-store.ts";

/** The longest wait for a store to close, after the drain. */
const storeCloseMs = 2_000;
/** The longest wait for each of the backups that are left, at most two. */
const backupMs = 500;

export interface ServerContext {
  readonly log: Logger;
  /** Called once when the store cannot be answered for any more. `/readyz` fails by then; the process has to end. */
  readonly onFatal: () => void;
}

export interface Server {
  /** Where it listens. */
  readonly url: string;
  /**
   * Settles when the store is open, to a phrase that says which one and where. Until then `/readyz` and all counters
   * answer 503.
   *
   * @throws Error with one clear sentence when the store cannot be used
   */
  readonly opened: Promise<string>;
  /**
   * Ends in order: no new connections, the requests in flight are answered, then the store is closed. Takes at most
   * DRAIN_TIMEOUT_MS and two seconds for the store. Never rejects; may be called again.
   */
  close(): Promise<void>;
}

/**
 * Puts the service together and listens: store → counters → app → HTTP server.
 *
 * @throws Error with one clear sentence when it cannot listen
 */
export async function startServer(config: Config, { log, onFatal }: ServerContext): Promise<Server> {
  const store = new OpeningStore();
  const counters = new Counters(store, { createCounters: config.createCounters });
  const autobackup = new Autobackup({ url: config.autobackupUrl, log });
  const app = createApp(counters, {
    log,
    logRequests: config.logRequests,
    dialects: config.dialects,
    rootDialect: config.rootDialect,
    ...(config.autobackup && { backUp: () => autobackup.request() }),
  });
  const httpServer = createHttpServer(app);

  // Listening comes first: a second start by mistake meets the taken port before it touches the store.
  const url = await httpServer.listen(config.port, config.host);
  const context = {
    log,
    onFatal: (error: Error) => {
      log.fatal({ err: error }, "the store has failed for good; the service stops");
      onFatal();
    },
  };
  const opened = store.adopt(openStore(config, context)).then(() => store.description);

  async function drain(): Promise<void> {
    const isWhole = await httpServer.close(config.drainTimeoutMs);
    if (!isWhole) log.warn({}, "the time to drain is over; the requests still in flight were cut off");
    await counters.close();
    await autobackup.close(backupMs);
  }

  let closing: Promise<void> | undefined;
  return {
    url,
    opened,
    close() {
      closing ??= Promise.race([
        drain(),
        // Only a store that hangs can take longer than the drain; what it answered is safe already.
        setTimeout(config.drainTimeoutMs + storeCloseMs, undefined, { ref: false }),
      ]);
      return closing;
    },
  };
}
