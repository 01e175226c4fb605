import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { History } from "../history.ts";
import type { Service } from "../service.ts";
import {
  askAgain,
  createSwitch,
  load,
  loadKeys,
  repeatedNumbers,
  runOrSkip,
  type Scenario,
  type Trial,
  until,
} from "../trial.ts";

/** `FS_IOC_SHUTDOWN` with `FS_SHUTDOWN_FLAGS_NOLOGFLUSH`: the file system ends as it would without power. */
const cut =
  'open(my $d, "<", $ARGV[0]) or die; my $how = pack("L", 2); ioctl($d, 0x8004587d, $how) or die $!';

const kinds = {
  ext4: { megabytes: 512, make: ["mkfs.ext4", "-q", "-F"] },
  xfs: { megabytes: 320, make: ["mkfs.xfs", "-q", "-f"] },
} as const;

type Kind = keyof typeof kinds;

/** A file system of its own that can lose power. */
class Disk {
  readonly directory: string;
  readonly #image: string;

  constructor(trial: Trial, kind: Kind) {
    const room = trial.newDirectory();
    this.#image = path.join(room, "image");
    this.directory = path.join(room, "mounted");
    fs.mkdirSync(this.directory);
    fs.writeFileSync(this.#image, "");
    fs.truncateSync(this.#image, kinds[kind].megabytes * 2 ** 20);
    const [program, ...args] = kinds[kind].make;
    runOrSkip(program, [...args, this.#image]);
    runOrSkip("perl", ["-e", "1"]);
    this.mount();
    trial.onEnd(() => execFileSync("umount", [this.directory], { stdio: "ignore" }));
  }

  mount(): void {
    runOrSkip("mount", ["-o", "loop", this.#image, this.directory]);
  }

  cutPower(): void {
    execFileSync("perl", ["-e", cut, this.directory], { stdio: "pipe" });
  }

  async restart(): Promise<void> {
    // The kernel may still be busy with files of a process that has just died.
    for (let tries = 1; ; tries += 1) {
      try {
        execFileSync("umount", [this.directory], { stdio: "pipe" });
        break;
      } catch (error) {
        if (tries === 100) throw error;
        await sleep(20);
      }
    }
    this.mount();
  }
}

/** A disk with a directory that the Go original used: of one of its counters there is only a value file, at 41. */
class UsedDisk extends Disk {
  readonly storageDir = path.join(this.directory, "data");
  readonly original: string;

  constructor(trial: Trial, kind: Kind) {
    super(trial, kind);
    this.original = trial.random.uuid();
    fs.mkdirSync(this.storageDir);
    fs.writeFileSync(path.join(this.storageDir, this.original.toUpperCase()), "41\n");
    execFileSync("sync", ["-f", this.storageDir]);
  }

  newHistory(): History {
    return new History({ from: (counter) => (counter === this.original ? 41 : 0) });
  }
}

/** Uses counters of many kinds: steady ones, ever new ones, one of the Go original, and one with keys. */
function useAll(
  trial: Trial,
  { service, counters, history }: { service: Service; counters: readonly string[]; history: History },
): { end: () => void; ended: Promise<unknown> } {
  const { random } = trial;
  const { isOver, end } = createSwitch();
  const lane = (pick: () => string) => ({ client: trial.client(service), pick, depth: 4 });
  const lanes = [...counters.map((counter) => lane(() => counter)), lane(() => random.uuid())];
  return { end, ended: load(lanes, { history, isOver }) };
}

/**
 * Cuts the power again and again, under load: steady counters and ever new ones, one with keys, and one that is lowered.
 */
async function cutPower(trial: Trial, kind: Kind, cuts: number): Promise<void> {
  const { random } = trial;
  const disk = new UsedDisk(trial, kind);
  const { storageDir } = disk;
  const history = disk.newHistory();
  const counters = [random.uuid(), random.uuid(), disk.original];
  const keyed = random.uuid();
  // One that lives through all: a key that was not answered is asked for again after the power cut.
  let service = await trial.start({ storageDir });
  const keyedLanes = [1, 2].map(() => ({ client: trial.client(() => service), counter: keyed, depth: 4 }));
  for (let left = cuts; left > 0; left -= 1) {
    const lowered = random.uuid();
    const client = trial.client(service);
    const keySwitch = createSwitch();
    const using = useAll(trial, { service, counters, history });
    const usingKeys = loadKeys(keyedLanes, { history, random, isOver: keySwitch.isOver });
    await client.set(lowered, 500);
    const lowering = await client.set(lowered, 100, { force: true });
    await sleep(random.integer(10, 150));
    disk.cutPower();
    // What is answered from now on was durable before, or is no answer.
    await sleep(random.integer(0, 20));
    using.end();
    keySwitch.end();
    await service.kill();
    await using.ended;
    await disk.restart();
    trial.count(`power cuts on ${kind}`);
    service = await trial.start({ storageDir });
    await usingKeys;
    const heirClient = trial.client(service);
    const peeked = await heirClient.peek(lowered);
    trial.expect(
      lowering.status === 200 && peeked === 100,
      `expected a lowering to outlive the power cut, got ${lowering.status} and ${peeked}`,
    );
    const touched = random.sample(
      history.counters.filter((counter) => counter !== keyed),
      20,
    );
    await Promise.all(touched.map((counter) => heirClient.take(counter, history)));
    await askAgain(heirClient, keyed, { history, random, most: 20 });
    history.settle();
    trial.check(history);
  }
  trial.expect((await service.stop()) === 0, "expected the service to stop in order after a power cut");
}

/** How many power cuts a control gets: one alone may come when everything happens to be on the disk. */
const mostControlCuts = 30;

/** Cuts the power of a service that syncs no directory, until numbers came twice. */
async function cutPowerUnsynced(trial: Trial, kind: Kind): Promise<void> {
  const disk = new UsedDisk(trial, kind);
  const { storageDir } = disk;
  const history = disk.newHistory();
  const counters = [trial.random.uuid(), disk.original];
  for (let cuts = 0; cuts < mostControlCuts && repeatedNumbers(history).length === 0; cuts += 1) {
    const service = await trial.start({ storageDir, plan: { isDirectorySyncSkipped: true } });
    const using = useAll(trial, { service, counters, history });
    await sleep(trial.random.integer(50, 150));
    disk.cutPower();
    using.end();
    await service.kill();
    await using.ended;
    await disk.restart();
    trial.count(`power cuts on ${kind}`);
  }
  trial.checkIsCaught(history);
}

/** Shuts the file system down between the rename of the fence and its sync, and lets the server go on. */
async function cutBeforeSync(trial: Trial, kind: Kind): Promise<void> {
  const disk = new Disk(trial, kind);
  const storageDir = path.join(disk.directory, "data");
  const counter = trial.random.uuid();
  const history = new History();
  const service = await trial.start({ storageDir, plan: {} });
  const client = trial.client(service);
  for (let n = 0; n < 3; n += 1) await client.take(counter, history);
  await service.arm({ at: 1, act: "late", method: "fsync", path: "/.fence/" });
  const pending = client.take(counter, history);
  const valueFile = path.join(storageDir, counter);
  await until(() => fs.readFileSync(valueFile, "utf8") === "4\n", "the value file to be written");
  disk.cutPower();
  const { number } = await pending;
  trial.expect(number === undefined, `expected no answer of what is not on the disk, got ${number}`);
  await until(() => service.child.exitCode !== null, "the service to end");
  trial.expect(service.child.exitCode === 1, `expected exit code 1, got ${service.child.exitCode}`);
  await disk.restart();
  const heir = await trial.start({ storageDir });
  for (let n = 0; n < 3; n += 1) await trial.client(heir).take(counter, history);
  trial.check(history);
  await heir.kill();
}

export const powerScenarios: readonly Scenario[] = (["ext4", "xfs"] as const).flatMap((kind) => [
  {
    name: `power-${kind}`,
    about: `power cuts under load on ${kind}: what was answered is there, numbers, first uses, lowerings and keys alike`,
    run: (trial) => cutPower(trial, kind, trial.amount(2, 200)),
  },
  {
    name: `shutdown-${kind}`,
    about: `${kind} shuts itself down between the rename of a fence and its sync: no answer, exit code not 0`,
    run: (trial) => cutBeforeSync(trial, kind),
  },
  {
    name: `power-${kind}-control`,
    about: `control: without syncs of directories a power cut on ${kind} repeats numbers, and the checker says so`,
    run: (trial) => cutPowerUnsynced(trial, kind),
  },
]);
