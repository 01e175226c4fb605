import { Cluster, Redis } from "ioredis";

export type RedisClient = Redis | Cluster;

/**
 * Where a Redis is, as its URL says. One server: `redis://user:password@host:6379/0`, `rediss://` for TLS, or a socket
 * (`unix:///run/redis.sock?db=0`). Sentinel: `redis-sentinel://user:password@host1:26379,host2:26379/0#master-name`.
 * Cluster: `redis-cluster://user:password@host1:6379,host2:6379`. The last two with TLS: `rediss-sentinel://`,
 * `rediss-cluster://`.
 */
export interface RedisAddress {
  readonly kind: "single" | "sentinel" | "cluster";
  readonly nodes: readonly { readonly host: string; readonly port: number }[];
  readonly socketPath?: string;
  readonly masterName?: string;
  readonly username?: string;
  readonly password?: string;
  readonly db: number;
  readonly isTls: boolean;
}

const scheme = /^(?:(redis|rediss)(?:-(sentinel|cluster))?|(unix)):\/\//;

/**
 * Reads a Redis URL.
 *
 * @throws Error which says what was expected; it never shows the URL, which may hold a password
 */
export function parseRedisUrl(text: string): RedisAddress {
  const [start, tls, many, unix] = scheme.exec(text) ?? [];
  if (start === undefined) {
    throw new Error(
      "expected a Redis URL that begins with redis://, rediss://, unix://, redis-sentinel:// or redis-cluster://",
    );
  }
  const kind = (many ?? "single") as RedisAddress["kind"];
  // URL takes one host: the list of hosts is read apart from it, the rest (escapes included) by URL.
  const [, authority = "", behind = ""] = /^([^/?#]*)(.*)$/s.exec(text.slice(start.length)) ?? [];
  const at = authority.lastIndexOf("@");
  const hosts = authority.slice(at + 1);
  const url = parse(`redis://${authority.slice(0, at + 1)}${unix ? "socket" : "host"}${behind}`);
  const path = decodeURIComponent(url.pathname);
  const dbText = unix ? (url.searchParams.get("db") ?? "") : path.replace(/^\//, "");
  if (!/^\d{0,5}$/.test(dbText)) throw new Error("expected a database number at the end of the Redis URL");
  const masterName = decodeURIComponent(url.hash.slice(1));
  if (kind === "sentinel" && masterName === "") {
    throw new Error(
      "expected the master's name at the end of the Sentinel URL, as in redis-sentinel://host:26379#mymaster",
    );
  }
  if (kind === "cluster" && Number(dbText) !== 0)
    throw new Error("expected no database number: a cluster has only 0");
  const defaultPort = kind === "sentinel" ? 26_379 : 6_379;
  const nodes = unix ? [] : hosts.split(",").map((host) => parseHost(host, defaultPort));
  if (kind === "single" && nodes.length > 1) {
    throw new Error(
      "expected one host in a redis:// URL; several are a redis-cluster:// or redis-sentinel:// URL",
    );
  }
  return {
    kind,
    nodes,
    ...(unix ? { socketPath: path } : {}),
    ...(kind === "sentinel" ? { masterName } : {}),
    ...(url.username === "" ? {} : { username: decodeURIComponent(url.username) }),
    ...(url.password === "" ? {} : { password: decodeURIComponent(url.password) }),
    db: Number(dbText),
    isTls: tls === "rediss",
  };
}

/** One phrase without user and password. */
export function describeAddress({ kind, nodes, socketPath, masterName, db }: RedisAddress): string {
  const hosts = socketPath ?? nodes.map(({ host, port }) => `${host}:${port}`).join(",");
  if (kind === "cluster") return `Redis Cluster at ${hosts}`;
  const where =
    kind === "sentinel" ? `Redis master ${masterName}, Sentinel at ${hosts}` : `Redis at ${hosts}`;
  return `${where}, database ${db}`;
}

/**
 * A client that never sends a command twice and never keeps one back. A command is sent at once or refused; when the
 * connection is lost, all that were sent are rejected, their fate being unknown. It connects again by itself, for ever,
 * waiting 50 ms at first and 2 s at most.
 *
 * @param deadlineMs after which a command is rejected, and a connection that says nothing is given up
 */
export function createRedisClient(
  address: RedisAddress,
  { deadlineMs }: { deadlineMs: number },
): RedisClient {
  const { kind, nodes, socketPath, masterName, username, password, db, isTls } = address;
  const retryStrategy = (attempt: number) => Math.min(50 * 2 ** Math.min(attempt - 1, 10), 2_000);
  const options = {
    lazyConnect: true,
    connectTimeout: deadlineMs,
    // How long closing waits for a connection that is gone already.
    disconnectTimeout: 100,
    commandTimeout: deadlineMs,
    socketTimeout: deadlineMs,
    autoResendUnfulfilledCommands: false,
    // With 0, commands that lost their connection are rejected when it closes; otherwise they would wait for the next.
    maxRetriesPerRequest: 0,
    // After a failover behind one address, the old master is a replica: find the new one. (`true` does not resend.)
    reconnectOnError: (error: Error) => error.message.startsWith("READONLY"),
    ...(username === undefined ? {} : { username }),
    ...(password === undefined ? {} : { password }),
    ...(isTls ? { tls: {} } : {}),
  };
  if (kind === "cluster") {
    return new Cluster([...nodes], {
      lazyConnect: true,
      enableOfflineQueue: false,
      // 0 switches off what would send a command again after a lost connection. Redirections (MOVED, ASK, TRYAGAIN) are
      // followed: a node that redirects a command has not run it.
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
      clusterRetryStrategy: retryStrategy,
      slotsRefreshTimeout: deadlineMs,
      redisOptions: options,
    });
  }
  const single = { ...options, enableOfflineQueue: false, retryStrategy, db };
  if (kind === "sentinel") {
    return new Redis({
      ...single,
      sentinels: [...nodes],
      name: masterName as string,
      sentinelRetryStrategy: retryStrategy,
      sentinelCommandTimeout: deadlineMs,
      ...(isTls ? { enableTLSForSentinelMode: true, sentinelTLS: {} } : {}),
    });
  }
  if (socketPath !== undefined) return new Redis({ ...single, path: socketPath });
  const { host, port } = nodes[0] as { host: string; port: number };
  return new Redis({ ...single, host, port });
}

function parse(text: string): URL {
  try {
    return new URL(text);
  } catch {
    throw new Error(
      "expected a Redis URL like redis://user:password@host:6379/0 (special characters percent-encoded)",
    );
  }
}

function parseHost(text: string, defaultPort: number): { host: string; port: number } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:,\s]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = bracketed ?? plain;
  if (host === undefined)
    throw new Error(`expected a host and port like redis.example:${defaultPort} in the Redis URL`);
  return { host, port: port === undefined ? defaultPort : Number(port) };
}
