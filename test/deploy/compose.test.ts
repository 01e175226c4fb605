import { readFile } from "node:fs/promises";
import { expect, test } from "@jest/globals";
import { parse } from "yaml";
import { settings } from "../../src/config.ts";
import { describeWithTools } from "../describe-unless-missing.ts";
import { output, run } from "../tools.ts";

interface ComposeService {
  image: string;
  command?: string[];
  environment?: Record<string, string>;
  labels?: Record<string, string>;
  ports?: string[];
  profiles?: string[];
  volumes?: string[];
  [setting: string]: unknown;
}

const { PATH = "" } = process.env;
const profiles = ["redis", "dynamodb", "take-over"];
/** What the client of DynamoDB reads by itself. */
const credentials = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

/** What `docker-compose config` makes of a file: an error if it objects to anything. */
async function config(file: string, env: Record<string, string> = {}) {
  const args = ["-f", file, ...profiles.flatMap((profile) => ["--profile", profile]), "config"];
  const yaml = await output("docker-compose", args, { env: { PATH, ...env } });
  return parse(yaml) as { services: Record<string, ComposeService>; volumes: object };
}

async function serviceOf(file: string, name: string, env?: Record<string, string>): Promise<ComposeService> {
  const service = (await config(file, env)).services[name];
  if (!service) throw new Error(`expected a service ${name}`);
  return service;
}

/** Those of a `.env` file: `NAME=value` at the start of a line. */
function readEnvFile(text: string): Record<string, string> {
  return Object.fromEntries([...text.matchAll(/^([A-Z_]+)=(.*)$/gm)].map(([, name, value]) => [name, value]));
}

describeWithTools("docker-compose.yml", ["docker-compose"], () => {
  test("runs the service on the loopback with the volume data, restarted, its root read-only", async () => {
    const service = await serviceOf("docker-compose.yml", "buildnumber");
    expect(service).toMatchObject({
      image: "buildnumber",
      ports: ["127.0.0.1:8080:8080/tcp"],
      volumes: ["data:/data:rw"],
      restart: "unless-stopped",
      init: true,
      read_only: true,
      cap_drop: ["ALL"],
    });
    expect(service.profiles).toBeUndefined();
  });

  test("lets the service drain before it is killed", async () => {
    const { stop_grace_period } = await serviceOf("docker-compose.yml", "buildnumber");
    const drainMs = Number(settings.find(({ name }) => name === "DRAIN_TIMEOUT_MS")?.default);
    // The store has 2 s to close after the drain.
    expect(Number.parseInt(String(stop_grace_period), 10) * 1_000).toBeGreaterThan(drainMs + 2_000);
  });

  test("sets only what the service knows as a setting", async () => {
    const { services } = await config("docker-compose.yml");
    const known = [...settings.map(({ name }) => name), ...credentials];
    const own = Object.values(services).filter(({ image }) => image === "buildnumber");
    const names = own.flatMap(({ environment = {} }) => Object.keys(environment));
    expect(names.filter((name) => !known.includes(name))).toEqual([]);
  });

  test("passes on every setting but those that say where to listen and where the numbers are", async () => {
    const fixed = /^(STORE|HOST|PORT|STORAGE_DIR|REDIS_URL|DYNAMODB_.*|AWS_.*)$/;
    const { environment = {} } = await serviceOf("docker-compose.yml", "buildnumber");
    const free = settings.map(({ name }) => name).filter((name) => !fixed.test(name));
    expect(Object.keys(environment).sort()).toEqual(free.sort());
  });

  test("has two replicas on a Redis that keeps every answered number, in the profile redis", async () => {
    const { services } = await config("docker-compose.yml");
    const replicas = Object.values(services).filter(({ environment }) => environment?.["STORE"] === "redis");
    expect(replicas).toHaveLength(2);
    expect(new Set(replicas.flatMap(({ ports }) => ports)).size).toBe(2);
    for (const { profiles, environment } of replicas) {
      expect(profiles).toEqual(["redis"]);
      expect(services).toHaveProperty([new URL(environment?.["REDIS_URL"] ?? "").hostname]);
    }
    expect(services["redis"]?.command?.join(" ")).toContain("--appendonly yes --appendfsync always");
  });

  test("has a replica on a local DynamoDB in the profile dynamodb", async () => {
    const { services } = await config("docker-compose.yml");
    const { profiles, environment } = services["buildnumber-dynamodb"] as ComposeService;
    expect(profiles).toEqual(["dynamodb"]);
    expect(services).toHaveProperty([new URL(environment?.["DYNAMODB_ENDPOINT"] ?? "").hostname]);
  });
});

describeWithTools("docker-compose-traefik.yml", ["docker-compose"], () => {
  const file = "docker-compose-traefik.yml";

  test("takes host, prefix and address from the .env that env.sample is copied to", async () => {
    const env = readEnvFile(await readFile("env.sample", "utf8"));
    const { labels } = await serviceOf(file, "buildnumber", env);
    expect(labels).toMatchObject({
      "traefik.http.routers.buildnumber.rule": "Host(`example.com`) && PathPrefix(`/buildnumber/`)",
      "traefik.http.middlewares.buildnumber-strip.stripprefix.prefixes": "/buildnumber",
      "traefik.http.routers.buildnumber.middlewares": "buildnumber-strip",
      "traefik.http.services.buildnumber.loadbalancer.server.port": "8080",
    });
  });

  test("runs the service of docker-compose.yml, on the same volume", async () => {
    const env = readEnvFile(await readFile("env.sample", "utf8"));
    const { labels: _, ...behind } = await serviceOf(file, "buildnumber", env);
    expect(behind).toEqual(await serviceOf("docker-compose.yml", "buildnumber"));
  });

  test("refuses to start without the host", async () => {
    const { code, stderr } = await run("docker-compose", ["-f", file, "config"], { env: { PATH } });
    expect(code).not.toBe(0);
    expect(stderr).toContain("see env.sample");
  });

  test("runs a Traefik that talks to every Docker: 3.6.2 or later", async () => {
    const { image } = (await config(file, readEnvFile(await readFile("env.sample", "utf8")))).services[
      "traefik"
    ] as ComposeService;
    const [major, minor, patch] = image.replace("traefik:v", "").split(".").map(Number) as [
      number,
      number,
      number,
    ];
    expect(major * 1_000_000 + minor * 1_000 + patch).toBeGreaterThanOrEqual(3_006_002);
  });
});
