import { execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { History } from "../history.ts";
import type { Plan } from "../preload.ts";
import type { Service } from "../service.ts";
import { createSwitch, load, runOrSkip, type Scenario, type Trial, until } from "../trial.ts";

/** `FS_IOC_SHUTDOWN` with `FS_SHUTDOWN_FLAGS_NOLOGFLUSH`: the file system ends as it would without power. */
const cut =
  'open(my $d, "<", $ARGV[0]) or die; my $how = pack("L", 2); ioctl($d, 0x8004587d, $how) or die $!';

const kinds = {
  ext4: { megabytes: 64, make: ["mkfs.ext4", "-q", "-F"] },
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

interface Cuts {
  readonly kind: Kind;
  readonly cuts: number;
  readonly plan?: Plan;
}

/** Cuts the power again and again, under load: two steady counters and ever new ones, and one that is lowered. */
async function cutPower(trial: Trial, { kind, cuts, plan }: Cuts): Promise<History> {
  const { random } = trial;
  const disk = new Disk(trial, kind);
  const storageDir = path.join(disk.directory, "data");
  const history = new History();
  const counters = [random.uuid(), random.uuid()];
  const original = random.uuid();
  fs.mkdirSync(storageDir);
  fs.writeFileSync(path.join(storageDir, original.toUpperCase()), "41\n");
  execFileSync("sync");
  for (let left = cuts; left > 0; left -= 1) {
    const service: Service = await trial.start(plan ? { storageDir, plan } : { storageDir });
    const lowered = random.uuid();
    const client = trial.client(service);
    const { isOver, end } = createSwitch();
    const lane = (pick: () => string) => ({ client: trial.client(service), pick, depth: 4 });
    const lanes = [...counters, original].map((counter) => lane(() => counter));
    const loading = load([...lanes, lane(() => random.uuid())], { history, isOver });
    await client.set(lowered, 500);
    const lowering = await client.set(lowered, 100, { force: true });
    await sleep(random.integer(10, 150));
    disk.cutPower();
    // What is answered from now on was durable before, or is no answer.
    await sleep(random.integer(0, 20));
    end();
    await service.kill();
    await loading;
    await disk.restart();
    trial.count(`power cuts on ${kind}`);
    if (plan !== undefined) continue;
    const heir = await trial.start({ storageDir });
    const heirClient = trial.client(heir);
    const peeked = await heirClient.peek(lowered);
    trial.expect(
      lowering.status === 200 && peeked === 100,
      `expected a lowering to outlive the power cut, got ${peeked}`,
    );
    for (const counter of random.sample(history.counters, 20)) await heirClient.take(counter, history);
    trial.expect((await heir.stop()) === 0, "expected the service to start and stop after a power cut");
    trial.check(history, { from: (counter) => (counter === original ? 41 : 0) });
    trial.figures["numbers"] = history.answered;
    trial.figures["failed requests"] = history.failed;
  }
  return history;
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
    about: `power cuts under load on ${kind}: what was answered is there, numbers, first uses and lowerings alike`,
    async run(trial) {
      await cutPower(trial, { kind, cuts: trial.amount(2, 200) });
    },
  },
  {
    name: `shutdown-${kind}`,
    about: `${kind} shuts itself down between the rename of a fence and its sync: no answer, exit code not 0`,
    run: (trial) => cutBeforeSync(trial, kind),
  },
  {
    name: `power-${kind}-control`,
    about: `control: without syncs of directories a power cut on ${kind} repeats numbers, and the checker says so`,
    async run(trial) {
      trial.checkIsCaught(await cutPower(trial, { kind, cuts: 3, plan: { isDirectorySyncSkipped: true } }));
    },
  },
]);
