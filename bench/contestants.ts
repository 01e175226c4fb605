import { once } from "node:events";
import { mkdtempSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { freePort, isInstalled } from "../test/tools.ts";
import { answers, program, type Running, startProcess } from "./processes.ts";

/** Something that answers HTTP, ready for load. */
export interface Contestant {
  readonly key: string;
  readonly title: string;
  /** One per process; the connections are shared out evenly. */
  readonly urls: readonly string[];
  readonly method: "GET" | "POST";
  /** What stands before `/{counter}` in the path. */
  readonly prefix: string;
  /** Whether it makes a difference which counter is asked for. */
  readonly hasCounters: boolean;
  readonly processes: readonly Running[];
  /** The numbers of connections at which it is measured, when not at all. */
  readonly connections?: readonly number[] | undefined;
}

/** How a contestant comes to be. */
export interface Line {
  readonly key: string;
  readonly title: string;
  start(surroundings: Surroundings): Promise<Omit<Contestant, "key" | "title" | "connections">>;
  /** Programs without which this one is left out. */
  readonly needs?: readonly string[];
  /** The numbers of connections at which it is measured, when not at all. */
  readonly connections?: readonly number[];
}

export interface Surroundings {
  /** A directory on the disk to be measured. */
  readonly scratch: string;
  /** How the service is started: program and arguments. */
  readonly serviceCommand: readonly string[];
  /** The port of the one Redis that several lines share; it is started when first asked for. */
  redisPort(): Promise<number>;
}

/** Who runs, in the order of each round. */
export const lines: readonly Line[] = [
  {
    key: "node-noop",
    title: "node:http no-op",
    start: (surroundings) => startNoop("node-noop.js", surroundings),
  },
  {
    key: "express-noop",
    title: "Express no-op",
    start: (surroundings) => startNoop("express-noop.js", surroundings),
  },
  {
    key: "express-prototypes-noop",
    title: "Express no-op, server classes with its prototypes",
    start: (surroundings) => startNoop("express-prototypes-noop.js", surroundings),
  },
  {
    key: "service",
    title: "this service, durable files",
    start: (surroundings) => startService(1, surroundings),
  },
  {
    key: "service-x2",
    title: "this service, 2 processes on one directory",
    start: (surroundings) => startService(2, surroundings),
  },
  {
    key: "redis",
    title: "node:http + node-redis INCR, Redis fsync always",
    needs: ["redis-server"],
    start: startRedisIncr,
  },
  {
    key: "webdis",
    title: "webdis INCR, same Redis",
    needs: ["redis-server", "webdis"],
    start: startWebdis,
  },
];

const post = { method: "POST", prefix: "" } as const;

async function startNoop(file: string, { scratch }: Surroundings) {
  const server = await startServer(process.execPath, [program(`contestants/${file}`)], { scratch });
  return { ...post, urls: [server.url], hasCounters: false, processes: [server.process] };
}

export async function startService(
  count: number,
  { scratch, serviceCommand }: Surroundings,
  env: NodeJS.ProcessEnv = {},
): ReturnType<Line["start"]> {
  const directory = mkdtempSync(join(scratch, "service-"));
  const servers = [];
  for (let n = 0; n < count; n += 1) {
    servers.push(await startServiceProcess(serviceCommand, { scratch, directory, env }));
  }
  return {
    ...post,
    urls: servers.map(({ url }) => url),
    hasCounters: true,
    processes: servers.map(({ process }) => process),
  };
}

export interface ServiceOptions extends Pick<ServerOptions, "scratch" | "env" | "isReady" | "lookEveryMs"> {
  /** Its STORAGE_DIR. */
  readonly directory: string;
}

/** Starts one process of the service on a directory, with all else as it comes by default. */
export function startServiceProcess(
  [command, ...args]: readonly string[],
  { directory, env, ...options }: ServiceOptions,
) {
  return startServer(command as string, args, {
    isReady: (url) => answers(`${url}/readyz`, 200)(),
    ...options,
    env: { STORE: "file", STORAGE_DIR: directory, NODE_ENV: "production", ...env },
  });
}

async function startRedisIncr({ scratch, redisPort }: Surroundings) {
  const server = await startServer(process.execPath, [program("contestants/redis-incr.js")], {
    scratch,
    env: { REDIS_PORT: String(await redisPort()) },
  });
  return { ...post, urls: [server.url], hasCounters: true, processes: [server.process] };
}

/** As Debian configures it: two threads. */
async function startWebdis({ scratch, redisPort }: Surroundings) {
  const port = await freePort();
  const file = join(mkdtempSync(join(scratch, "webdis-")), "webdis.json");
  const config = {
    redis_host: "127.0.0.1",
    redis_port: await redisPort(),
    http_host: "127.0.0.1",
    http_port: port,
    threads: 2,
    daemonize: false,
    database: 0,
    verbosity: 0,
  };
  writeFileSync(file, JSON.stringify(config));
  const url = `http://127.0.0.1:${port}`;
  const running = await startProcess("webdis", [file], { scratch, isReady: answers(`${url}/PING`, 200) });
  return { method: "GET", prefix: "/INCR", urls: [url], hasCounters: true, processes: [running] } as const;
}

/** A Redis that syncs every write before it answers. */
export async function startRedis(scratch: string): Promise<{ port: number; process: Running }> {
  const port = await freePort();
  const settings = { port, bind: "127.0.0.1", dir: mkdtempSync(join(scratch, "redis-")), save: "" };
  const durable = { appendonly: "yes", appendfsync: "always" };
  const args = Object.entries({ ...settings, ...durable }).flatMap(([name, value]) => [
    `--${name}`,
    String(value),
  ]);
  const isReady = async () => {
    const socket = connect(port, "127.0.0.1");
    try {
      await once(socket, "connect");
      return true;
    } finally {
      socket.destroy();
    }
  };
  return { port, process: await startProcess("redis-server", args, { scratch, isReady }) };
}

interface ServerOptions {
  readonly scratch: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Whether the server at this URL is ready; without it, any answer at all will do. */
  readonly isReady?: (url: string) => Promise<boolean>;
  readonly lookEveryMs?: number;
}

async function startServer(
  command: string,
  args: readonly string[],
  { env, isReady = (url) => answers(url)(), ...options }: ServerOptions,
) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const running = await startProcess(command, args, {
    ...options,
    env: { ...env, PORT: String(port), HOST: "127.0.0.1" },
    isReady: () => isReady(url),
  });
  return { url, process: running };
}

/** Starts all that can be started here; the others come back with the reason. */
export async function startContestants(
  lines: readonly Line[],
  surroundings: Omit<Surroundings, "redisPort">,
): Promise<{ contestants: Contestant[]; missing: string[]; stop(): Promise<void> }> {
  let redis: ReturnType<typeof startRedis> | undefined;
  const redisPort = async () => {
    redis ??= startRedis(surroundings.scratch);
    return (await redis).port;
  };
  const contestants: Contestant[] = [];
  const missing: string[] = [];
  for (const { key, title, connections, needs = [], start } of lines) {
    const lacking = needs.find((command) => !isInstalled(command));
    if (lacking !== undefined) missing.push(`${title}: left out, ${lacking} is not installed`);
    else contestants.push({ key, title, connections, ...(await start({ ...surroundings, redisPort })) });
  }
  return {
    contestants,
    missing,
    async stop() {
      await Promise.all(contestants.flatMap(({ processes }) => processes.map((running) => running.stop())));
      await (await redis)?.process.stop();
    },
  };
}
