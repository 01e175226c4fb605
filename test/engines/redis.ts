import { connect } from "node:net";
import { findMissing } from "../tools.ts";
import { type Engine, startEngine } from "./engine.ts";

export interface RedisEngine extends Engine {
  readonly url: string;
}

/** A server that loses nothing: every write is synced before its answer. */
export const durableArgs = ["--appendonly", "yes", "--appendfsync", "always"];

/** Why Redis suites cannot run here; undefined when they can. */
export const missingRedis = findMissing("redis-server");

/** Starts `redis-server` on a free port and a temporary directory, by default so that it loses nothing. */
export async function startRedis({
  args = durableArgs,
  port,
}: {
  args?: readonly string[];
  port?: number;
} = {}): Promise<RedisEngine> {
  const engine = await startEngine({
    command: "redis-server",
    args: (port, dir) => ["--port", String(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", ...args],
    isReady: answersPing,
    ...(port === undefined ? {} : { port }),
  });
  return { ...engine, url: `redis://127.0.0.1:${engine.port}` };
}

/** Any answer but "loading" will do: a server that wants a password serves too. */
export function answersPing(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => socket.write("PING\r\n"));
    socket.once("data", (data) => {
      socket.destroy();
      resolve(!data.toString().startsWith("-LOADING"));
    });
    socket.once("error", () => resolve(false));
  });
}
