import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "@jest/globals";
import { describeUnlessMissing, describeWithTools } from "../describe-unless-missing.ts";
import { missingRedis, startRedis } from "../engines/redis.ts";
import { type ServiceProcess, startService, stopServices } from "../server/start-service.ts";
import { findMissing, output, readCommands } from "../tools.ts";

const { PATH = "" } = process.env;
/** A counter of another interface, as the path by which tot's asks for it. */
const plain = "vend/my%20app/2";
const uuids = ["e9461f1c-ef78-4162-bcb7-e83da7287614", "00000000-0000-4000-8000-000000000001"] as const;

let dir: string;
let storageDir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "deploy-"));
  storageDir = join(dir, "data");
});
afterEach(async () => {
  await stopServices();
  await rm(dir, { recursive: true, force: true });
});

/** Runs the commands under a heading of docs/deploy.md, as they are printed there. */
async function follow(heading: string, env: Record<string, string>): Promise<string> {
  const commands = await readCommands("docs/deploy.md", heading);
  expect(commands).not.toEqual([]);
  return output("sh", ["-eu", "-c", commands.join("\n")], { env: { PATH, STORAGE_DIR: storageDir, ...env } });
}

const start = (STORAGE_DIR = storageDir) => startService({ STORAGE_DIR });

async function stop(service: ServiceProcess): Promise<void> {
  service.child.kill("SIGTERM");
  expect(await service.exit()).toBe(0);
}

async function next(service: ServiceProcess, name: string): Promise<number> {
  if (name === plain) return Number(await (await fetch(`${await service.url()}/${name}`)).text());
  const answer = await fetch(`${await service.url()}/${name}`, { method: "POST" });
  return ((await answer.json()) as { bn: number }).bn;
}

describeWithTools("docs/deploy.md", ["curl"], () => {
  test("backs up a running service, and restores it with all counters raised: no number twice", async () => {
    const BACKUP = join(dir, "backup");
    const service = await start();
    for (const name of [...uuids, plain]) await next(service, name);
    // Its last number in the backup is whatever it was when its file was copied.
    const load = Array.from({ length: 200 }, () => next(service, uuids[0]));
    expect(await follow("Back up", { BACKUP })).toBe("");
    const answered = await Promise.all(load);
    expect((await readdir(BACKUP)).sort()).toEqual([...uuids, "my%20app%2F2"].sort());
    await stop(service);

    await follow("Restore", { BACKUP });
    const restored = await start();
    const raised = await follow("Raise all counters", { SERVER: await restored.url(), MARGIN: "1000" });
    expect(raised).toMatch(/^({"bn":\d+}\n){2}$/);
    expect(raised).toContain('{"bn":1001}\n');
    expect(await next(restored, uuids[0])).toBeGreaterThan(Math.max(...answered));
    expect(await next(restored, uuids[1])).toBe(1_002);
    expect(await next(restored, plain)).toBe(1_002);
    expect(await readdir(join(storageDir, ".before"))).toContain(uuids[0]);
  });

  test("puts an old data directory of the Go original in, whose counters go on", async () => {
    const OLD = join(dir, "old");
    await mkdir(OLD);
    await mkdir(storageDir);
    await writeFile(join(OLD, uuids[0]), "41\n");
    expect(await follow("From the Go original", { OLD })).toBe("");
    expect(await next(await start(), uuids[0])).toBe(42);
  });

  test("finds all value files whole after a stop, those of lowered counters too, and one that is not", async () => {
    const service = await start();
    for (let count = 0; count < 12; count += 1) await next(service, uuids[0]);
    await next(service, uuids[1]);
    const lowered = await fetch(`${await service.url()}/${uuids[0]}?force=true`, {
      method: "PUT",
      headers: { "Content-Type": "application/json" },
      body: '{"bn":5}',
    });
    expect(lowered.status).toBe(200);
    await stop(service);
    expect(await follow("Back to the Go original", {})).toBe("");

    expect(await readFile(join(storageDir, uuids[0]), "utf8")).toBe("5\n");
    await writeFile(join(storageDir, uuids[0]), "4\n");
    expect(await follow("Back to the Go original", {})).toContain(
      `${uuids[0]}: the file says 4, the fence 5`,
    );
  });

  test("names every overlay and Compose profile that there is, and only those", async () => {
    const docs = await readFile("docs/deploy.md", "utf8");
    for (const overlay of (await readdir("k8s/overlays")).filter((name) => !name.endsWith("-traefik"))) {
      expect(docs).toContain(`kubectl apply -k k8s/overlays/${overlay}\``);
    }
    for (const [, profile] of docs.matchAll(/--profile (\w+)/g)) {
      expect(await readFile("docker-compose.yml", "utf8")).toContain(`profiles: [${profile}]`);
    }
  });
});

describeUnlessMissing("docs/deploy.md", missingRedis ?? findMissing("curl"), () => {
  test("moves all counters to a service on Redis, and may be run again", async () => {
    const service = await start();
    await next(service, uuids[0]);
    await next(service, uuids[0]);
    await next(service, uuids[1]);
    await next(service, plain);
    await stop(service);

    const redis = await startRedis();
    try {
      const other = await startService({ STORE: "redis", REDIS_URL: redis.url });
      for (let time = 0; time < 2; time += 1) {
        const moved = await follow("From one file-store pod to Redis", { SERVER: await other.url() });
        expect(moved.trim().split("\n").sort()).toEqual(['{"bn":1}', '{"bn":2}']);
      }
      expect(await next(other, uuids[0])).toBe(3);
      expect(await next(other, uuids[1])).toBe(2);
      expect(await next(other, plain)).toBe(2);
    } finally {
      await redis.stop();
    }
  });
});
