import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

type LogLine = Record<string, unknown> & { msg: string };

/** A service in a process of its own, as `npm start` runs it, on a free port and a new directory. */
export class ServiceProcess {
  readonly child: ChildProcess;
  readonly logged: LogLine[] = [];
  stderr = "";
  readonly #exited: Promise<[number | null, NodeJS.Signals | null]>;
  #waiting: (() => void)[] = [];

  constructor(env: Record<string, string>, nodeArguments: readonly string[] = []) {
    const { PATH } = process.env;
    this.child = spawn(process.execPath, [...nodeArguments, "dist/src/main.js"], {
      env: { PATH, PORT: "0", HOST: "127.0.0.1", ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#exited = once(this.child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
    void this.#exited.then(() => this.#wake());
    this.child.stderr?.on("data", (text) => {
      this.stderr += text;
    });
    createInterface({ input: this.child.stdout as NodeJS.ReadableStream }).on("line", (line) => {
      this.logged.push(JSON.parse(line));
      this.#wake();
    });
  }

  /** Resolves to the first log line whose message fits; rejects when the process ended without one. */
  async line(message: RegExp): Promise<LogLine> {
    for (;;) {
      const line = this.logged.find(({ msg }) => message.test(msg));
      if (line) return line;
      if (this.child.exitCode !== null || this.child.signalCode !== null) {
        throw new Error(`expected a log line like ${message}, but the process ended: ${this.stderr}`);
      }
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** The URL it listens on, once it does. */
  async url(): Promise<string> {
    const { url } = await this.line(/^listening on /);
    return url as string;
  }

  /** A raw connection to it. */
  async connect(): Promise<Connection> {
    const { hostname, port } = new URL(await this.url());
    const socket = connect(Number(port), hostname);
    await once(socket, "connect");
    return new Connection(socket);
  }

  /** Resolves when it has ended, to its exit code, or the signal that ended it. */
  async exit(): Promise<number | NodeJS.Signals | null> {
    const [code, signal] = await this.#exited;
    return code ?? signal;
  }
}

/** A raw connection: what is sent is exactly what the test says. */
export class Connection {
  readonly socket: Socket;
  /** All that was received. */
  text = "";
  readonly closed: Promise<unknown>;

  constructor(socket: Socket) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.on("close", resolve));
    // A reset is an end like any other here.
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      this.text += chunk;
    });
  }

  send(text: string): void {
    this.socket.write(text);
  }

  /** Resolves to all that was received, once it fits or the connection is closed. */
  async received(expected: RegExp): Promise<string> {
    while (!expected.test(this.text) && !this.socket.destroyed) {
      await Promise.race([once(this.socket, "data"), this.closed]);
    }
    return this.text;
  }
}

const cleanups: (() => Promise<unknown>)[] = [];

/** Starts a service that `stopServices` ends and cleans up after. */
export async function startService(
  env: Record<string, string> = {},
  nodeArguments: readonly string[] = [],
): Promise<ServiceProcess & { readonly storageDir: string }> {
  const { STORAGE_DIR } = env;
  const storageDir = STORAGE_DIR ?? (await mkdtemp(join(tmpdir(), "buildnumber-")));
  const service = new ServiceProcess({ STORAGE_DIR: storageDir, ...env }, nodeArguments);
  cleanups.push(async () => {
    service.child.kill("SIGKILL");
    await service.exit();
    await rm(storageDir, { recursive: true, force: true });
  });
  return Object.assign(service, { storageDir });
}

export async function stopServices(): Promise<void> {
  for (const cleanup of cleanups.splice(0)) await cleanup();
}
