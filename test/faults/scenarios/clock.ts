import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { History } from "../history.ts";
import type { Service, ServiceOptions } from "../service.ts";
import { CannotRun, createSwitch, load, type Scenario, type Trial } from "../trial.ts";

/** How far a clock may be off. */
const offsetsMs = [-3_600_000, 0, 3_600_000, 2_500, -2_500] as const;

interface Clocks {
  /** How the process with this number is started. */
  readonly options: (at: number) => Omit<ServiceOptions, "storageDir">;
  readonly step: (service: Service, at: number, offMs: number) => unknown;
}

/** Three processes on one directory, whose clocks step again and again. */
async function stepClocks(trial: Trial, { options, step }: Clocks): Promise<void> {
  const storageDir = trial.newDirectory();
  const services = await Promise.all([0, 1, 2].map((at) => trial.start({ storageDir, ...options(at) })));
  const history = new History();
  const counter = trial.random.uuid();
  const { isOver, end } = createSwitch();
  const lanes = services.map((service) => ({
    client: trial.client(service),
    pick: () => counter,
    depth: 8,
  }));
  const loading = load(lanes, { history, isOver });
  for (let steps = 0; steps < trial.amount(20, 200); steps += 1) {
    const at = trial.random.integer(0, services.length - 1);
    await step(services[at] as Service, at, trial.random.pick(offsetsMs));
    await sleep(trial.random.integer(10, 100));
    trial.count("clock steps");
  }
  end();
  await loading;
  trial.check(history);
  trial.checkNoFailure(history);
}

/** Debian's `faketime`. */
function findLibfaketime(): string {
  const folders = fs.readdirSync("/usr/lib").map((folder) => `/usr/lib/${folder}/faketime`);
  const library = folders.map((folder) => path.join(folder, "libfaketime.so.1")).find(fs.existsSync);
  if (library === undefined) throw new CannotRun("libfaketime is not installed");
  return library;
}

export const clockScenarios: readonly Scenario[] = [
  {
    name: "clock",
    about: "clocks of Node.js an hour apart, stepping back and forth under load: distinct, in order, gapless",
    run: (trial) =>
      stepClocks(trial, {
        options: () => ({ plan: {} }),
        step: (service, _, clockOffMs) => service.arm({ clockOffMs }),
      }),
  },
  {
    name: "clock-of-system",
    about: "likewise the clocks that the processes see of the system, by libfaketime",
    async run(trial) {
      const library = findLibfaketime();
      const room = trial.newDirectory();
      const file = (at: number) => path.join(room, String(at));
      const write = (at: number, offMs: number) => {
        fs.writeFileSync(`${file(at)}.new`, `${offMs < 0 ? "" : "+"}${offMs / 1_000}s\n`);
        fs.renameSync(`${file(at)}.new`, file(at));
      };
      await stepClocks(trial, {
        options(at) {
          write(at, offsetsMs[at] as number);
          return {
            env: {
              LD_PRELOAD: library,
              FAKETIME_TIMESTAMP_FILE: file(at),
              FAKETIME_NO_CACHE: "1",
              // Timers go on, and the times of files are those of the disk, which the others see too.
              FAKETIME_DONT_FAKE_MONOTONIC: "1",
              NO_FAKE_STAT: "1",
            },
          };
        },
        step: (_service, at, offMs) => write(at, offMs),
      });
    },
  },
];
