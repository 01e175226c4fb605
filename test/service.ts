import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const { PATH = "" } = process.env;

/** The real server, as its own process on a free port and a directory of its own. */
export interface Service {
  readonly url: string;
  readonly port: number;
  readonly dir: string;
  readonly pid: number;
  /** Ends the process by SIGTERM; resolves to its exit code. */
  stop(): Promise<number | null>;
  /** Also removes the directory. */
  remove(): Promise<void>;
}

export interface ServiceOptions {
  /** STORAGE_DIR (default: a new directory). */
  readonly dir?: string;
  /** Starts the server some other way than `node dist/src/main.js`. */
  readonly start?: (env: Record<string, string>) => ChildProcess;
}

/** Starts the server and waits, up to 20 s, until it is ready. */
export async function startService({ dir, start = startMain }: ServiceOptions = {}): Promise<Service> {
  const storageDir = dir ?? (await mkdtemp(join(tmpdir(), "service-")));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const child = start({ PORT: String(port), STORAGE_DIR: storageDir });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (text) => {
      output = `${output}${text}`.slice(-4_000);
    });
  }
  async function stop() {
    if (child.exitCode === null && child.signalCode === null) {
      const gone = once(child, "exit");
      child.kill("SIGTERM");
      await gone;
    }
    return child.exitCode;
  }
  for (let attempt = 0; !(await isReady(url)); attempt += 1) {
    if (child.exitCode !== null || attempt === 400) {
      await stop();
      throw new Error(`expected the service to be ready on port ${port}, got: ${output}`);
    }
    await sleep(50);
  }
  return {
    url,
    port,
    dir: storageDir,
    pid: child.pid as number,
    stop,
    async remove() {
      await stop();
      await rm(storageDir, { recursive: true, force: true });
    },
  };
}

/** A port of 127.0.0.1 that nothing listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

function startMain(env: Record<string, string>): ChildProcess {
  return spawn(process.execPath, ["dist/src/main.js"], {
    env: { PATH, ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
}

async function isReady(url: string): Promise<boolean> {
  try {
    return (await fetch(`${url}/readyz`)).ok;
  } catch {
    return false;
  }
}
