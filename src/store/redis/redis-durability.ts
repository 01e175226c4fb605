import type { Redis } from "ioredis";

/** What a Redis server says of itself; a setting that it does not tell (managed services forbid CONFIG) is missing. */
export interface RedisSettings {
  readonly aof_enabled?: string;
  readonly appendfsync?: string;
  readonly "no-appendfsync-on-rewrite"?: string;
  readonly maxmemory_policy?: string;
  readonly connected_slaves?: string;
  readonly "min-replicas-to-write"?: string;
}

/** Reads the settings that decide whether an answered number can be lost. */
export async function readSettings(server: Redis): Promise<RedisSettings> {
  const [info, ...config] = await Promise.all([
    server.info(),
    ...["appendfsync", "no-appendfsync-on-rewrite", "min-replicas-to-write"].map((name) =>
      // A refusal (NOPERM, or a CONFIG command that was renamed away) is an answer too: the setting is not known.
      server.config("GET", name).catch((error: Error) => {
        if (error.name === "ReplyError") return [];
        throw error;
      }),
    ),
  ]);
  const lines = info.split("\r\n").map((line) => line.split(/:(.*)/).slice(0, 2));
  return Object.fromEntries([...lines, ...config].filter((pair) => (pair as unknown[]).length === 2));
}

/**
 * The ways in which a server with these settings can lose a number that was answered, each with its remedy.
 *
 * @returns one phrase for each; none for a server that keeps every write
 */
export function findDurabilityRisks(settings: RedisSettings): string[] {
  const risks: string[] = [];
  const fsync = settings.appendfsync;
  if (settings.aof_enabled !== "1") {
    risks.push("a restart loses the last writes: expected appendonly yes, got no");
  } else if (fsync !== "always") {
    risks.push(`a power cut loses the last writes: expected appendfsync always, got ${fsync ?? "no answer"}`);
  } else if (settings["no-appendfsync-on-rewrite"] === "yes") {
    risks.push(
      "a power cut while the log is rewritten loses writes: expected no-appendfsync-on-rewrite no, got yes",
    );
  }
  if (settings.maxmemory_policy !== "noeviction") {
    const got = settings.maxmemory_policy ?? "no answer";
    risks.push(`a full memory may delete counters: expected maxmemory-policy noeviction, got ${got}`);
  }
  const replicas = Number(settings.connected_slaves ?? 0);
  const least = settings["min-replicas-to-write"];
  if (replicas > 0 && !(Number(least) > 0)) {
    risks.push(
      `a failover to one of the ${replicas} replicas may lose the last writes: expected min-replicas-to-write 1 or more, got ${least ?? "no answer"}`,
    );
  }
  return risks;
}
