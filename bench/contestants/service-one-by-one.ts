import { readConfig } from "../../src/config.ts";
import type { CounterName } from "../../src/counter/counter-name.ts";
import { Counters } from "../../src/counter/counters.ts";
import type {
  Claim,
  CommitOptions,
  Outcome,
  RecordsQuery,
  SetOptions,
  Store,
} from "../../src/counter/store.ts";
import { createApp } from "../../src/http/app.ts";
import { createHttpServer } from "../../src/http/http-server.ts";
import { createLog } from "../../src/log.ts";
import { openStore } from "../../src/store/open-store.ts";

/** A store that commits every claim of a batch alone, as if there were no combining queue. */
class OneByOneStore implements Store {
  readonly #store: Store;
  readonly description: string;

  constructor(store: Store) {
    this.#store = store;
    this.description = `${store.description}, one claim per commit`;
  }

  async commit(name: CounterName, claims: readonly Claim[], options: CommitOptions) {
    const outcomes: Outcome[] = [];
    for (const claim of claims) outcomes.push(...(await this.#store.commit(name, [claim], options)));
    return outcomes;
  }

  peek(name: CounterName) {
    return this.#store.peek(name);
  }

  set(name: CounterName, value: number, options: SetOptions) {
    return this.#store.set(name, value, options);
  }

  record(name: CounterName, value: number) {
    return this.#store.record(name, value);
  }

  records(name: CounterName, query: RecordsQuery) {
    return this.#store.records(name, query);
  }

  check() {
    return this.#store.check();
  }

  close() {
    return this.#store.close();
  }
}

/** The service, but for the batches. */
const config = readConfig();
const log = await createLog(config.logLevel);
const store = await openStore(config, { log, onFatal: () => process.exit(1) });
const counters = new Counters(new OneByOneStore(store));
const server = createHttpServer(createApp(counters, { log }));
await server.listen(config.port, config.host);
process.once("SIGTERM", async () => {
  await server.close(1_000);
  await counters.close();
  process.exit(0);
});
