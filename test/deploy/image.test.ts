import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmod,
  chown,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  realpath,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "@jest/globals";
import { parse } from "yaml";
import { settings } from "../../src/config.ts";
import { describeWithTools } from "../describe-unless-missing.ts";
import { output } from "../tools.ts";

const { PATH = "" } = process.env;
const { validate } = createRequire(import.meta.url)("dockerfile-utils") as typeof import("dockerfile-utils");
const uuid = "e9461f1c-ef78-4162-bcb7-e83da7287614";
/** The uid of `node` in the official image. */
const nodeUid = 1000;

describe("the Dockerfile", () => {
  test("has nothing that dockerfile-utils objects to", async () => {
    expect(validate(await readFile("Dockerfile", "utf8"))).toEqual([]);
  });
});

/** The image's service, as a process. */
interface Running {
  readonly process: ChildProcess;
  readonly url: string;
}

interface ImageConfig {
  readonly User: string;
  readonly Env: string[];
  readonly Cmd: string[];
  readonly WorkingDir: string;
  readonly Volumes: object;
  readonly ExposedPorts: object;
  readonly Labels: Record<string, string>;
  readonly Healthcheck: { Test: string[] };
}

const isRoot = process.getuid?.() === 0;

/**
 * Builds the image with buildah, and runs what it holds: in a mount namespace of its own, chrooted, with the image's
 * command, variables, directory and user. The base is made of this machine's Node.js and npm, and tagged with the name
 * of the official one, so that no registry of images is needed.
 */
describeWithTools("the image", ["buildah", "unshare", "chroot", isRoot ? "sh" : "root's rights"], () => {
  let dir: string;
  let root: string;
  let config: ImageConfig;
  const processes: ChildProcess[] = [];
  const volumes: string[] = [];

  const buildah = (...args: string[]) =>
    output("buildah", ["--root", join(dir, "storage"), "--runroot", join(dir, "run"), ...args], {
      env: { PATH },
    });

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), "image-"));
    await makeBase(join(dir, "base"));
    const base = (await buildah("from", "scratch")).trim();
    await buildah("copy", "--quiet", base, join(dir, "base"), "/");
    await buildah("config", "--env", "PATH=/usr/local/bin:/usr/bin:/bin", base);
    await buildah("commit", "--quiet", base, "docker.io/library/node:24-slim");

    await makeContext(join(dir, "context"));
    const npmCache = (await output("npm", ["config", "get", "cache"])).trim();
    await mkdir(npmCache, { recursive: true });
    await buildah(
      ...["bud", "--isolation", "chroot", "--pull-never", "--format", "docker", "--tag", "buildnumber"],
      ...["--volume", `${npmCache}:/root/.npm`, join(dir, "context")],
    );
    const container = (await buildah("from", "--pull-never", "localhost/buildnumber")).trim();
    root = (await buildah("mount", container)).trim();
    config = JSON.parse(await buildah("inspect", "--type", "image", "localhost/buildnumber")).Docker.config;
  }, 300_000);

  afterEach(async () => {
    for (const process of processes.splice(0)) await end(process);
    for (const volume of volumes.splice(0)) await rm(volume, { recursive: true });
  });

  afterAll(async () => {
    await buildah("umount", "--all");
    await rm(dir, { recursive: true, force: true });
  });

  /** Starts a command of the image on a volume, its root read-only, as the image's user or another. */
  function start(
    volume: string,
    {
      command = config.Cmd,
      user = config.User,
      env = {},
    }: { command?: string[]; user?: string; env?: object } = {},
  ) {
    const variables = [...config.Env, ...Object.entries(env).map(([name, value]) => `${name}=${value}`)];
    const script = `set -e
      root=$1 volume=$2 user=$3; shift 3
      mount --bind "$root" "$root"
      mount -o remount,bind,ro "$root"
      mount --bind "$volume" "$root/data"
      exec chroot --userspec="$user" "$root" /usr/bin/env -i --chdir=${config.WorkingDir} "$@"`;
    return spawn(
      "unshare",
      ["--mount", "sh", "-c", script, "sh", root, volume, user, ...variables, ...command],
      {
        stdio: ["ignore", "pipe", "pipe"],
      },
    );
  }

  /** A directory as a volume, owned by a user. */
  async function makeVolume(uid: number): Promise<string> {
    const volume = await mkdtemp(join(tmpdir(), "volume-"));
    await chown(volume, uid, uid);
    volumes.push(volume);
    return volume;
  }

  /** Starts the service on a free port, and waits for the line that says where it listens. */
  async function startImage(
    volume: string,
    { user = config.User, host = "127.0.0.1" } = {},
  ): Promise<Running> {
    const process = start(volume, { user, env: { PORT: 0, HOST: host } });
    processes.push(process);
    let logged = "";
    process.stderr.on("data", (text) => {
      logged += text;
    });
    for await (const line of createInterface({ input: process.stdout })) {
      logged += line;
      const { msg, url } = JSON.parse(line) as { msg: string; url: string };
      if (msg.startsWith("listening on ")) return { process, url };
    }
    throw new Error(`expected the image to serve, got: ${logged}`);
  }

  const next = async ({ url }: Running) => {
    const answer = await fetch(`${url}/${uuid}`, { method: "POST" });
    return { status: answer.status, body: await answer.text() };
  };

  test("says what it is, and where its numbers are", () => {
    expect(config).toMatchObject({
      User: "node",
      Cmd: ["node", "dist/src/main.js"],
      Volumes: { "/data": {} },
      ExposedPorts: { "8080/tcp": {} },
    });
    expect(config.Env).toEqual(
      expect.arrayContaining(["STORAGE_DIR=/data", "PORT=8080", "NODE_ENV=production"]),
    );
    expect(config.Labels).toMatchObject({
      "org.opencontainers.image.title": "buildnumber",
      "org.opencontainers.image.licenses": "MIT",
    });
  });

  test("serves as its user on a read-only root, stores in the volume, and ends by SIGTERM with 0", async () => {
    const volume = await makeVolume(nodeUid);
    const service = await startImage(volume);
    expect(await next(service)).toEqual({ status: 200, body: expect.stringMatching(/^\{"bn":1\}\s*$/) });
    expect(await readFile(join(volume, uuid), "utf8")).toBe("1\n");
    expect((await stat(join(volume, uuid))).uid).toBe(nodeUid);
    expect(await readFile(`/proc/${service.process.pid}/status`, "utf8")).toMatch(
      new RegExp(`^Uid:\\s+${nodeUid}\\s`, "m"),
    );
    expect(await end(service.process)).toBe(0);
  });

  test("serves as any user who owns the volume", async () => {
    const service = await startImage(await makeVolume(54_321), { user: "54321:54321" });
    expect(await next(service)).toMatchObject({ status: 200 });
  });

  test.each(["127.0.0.1", "127.0.0.2"])(
    "is healthy while the service is ready, and not when it is gone, where it listens on %s",
    async (host) => {
      const volume = await makeVolume(nodeUid);
      const service = await startImage(volume, { host });
      const [kind, ...command] = config.Healthcheck.Test;
      expect(kind).toBe("CMD");
      const { port } = new URL(service.url);
      const check = (env: object) => exitCode(start(volume, { command, env: { PORT: port, ...env } }));
      expect(await check({ HOST: host })).toBe(0);
      // Without a host the service listens on all interfaces.
      expect(await check({ HOST: "" })).toBe(host === "127.0.0.1" ? 0 : 1);
      await end(service.process);
      expect(await check({ HOST: host })).toBe(1);
    },
  );

  test("looks for the service on its default port when none is set", () => {
    const port = settings.find(({ name }) => name === "PORT")?.default;
    expect(config.Healthcheck.Test.join(" ")).toContain(`process.env.PORT || ${port}`);
  });

  test("holds the compiled service and its packages, and nothing else of the checkout", async () => {
    expect((await readdir(join(root, "app"))).sort()).toEqual(["dist", "node_modules", "package.json"]);
    expect(await readdir(join(root, "app/dist"))).toEqual(["src"]);
    expect(await readdir(join(root, "app/node_modules"))).not.toContain("typescript");
    expect(await readdir(join(root, "data"))).toEqual([]);
  });

  test("adds less than 60 MB to its base", async () => {
    const [size] = (await output("du", ["--summarize", "--block-size=1", join(root, "app")])).split("\t");
    expect(Number(size)).toBeLessThan(60_000_000);
  });

  describe("on the volume of the Go original, whose files only their own user can read", () => {
    async function makeGoVolume(): Promise<string> {
      const volume = await makeVolume(0);
      await chmod(volume, 0o777);
      await writeFile(join(volume, uuid), "41\n", { mode: 0o600 });
      return volume;
    }

    test("refuses the counter by name, and never restarts it", async () => {
      const volume = await makeGoVolume();
      const answer = await next(await startImage(volume));
      expect(answer.status).toBe(500);
      expect(answer.body).toContain(uuid);
      expect(await readFile(join(volume, uuid), "utf8")).toBe("41\n");
    });

    test("goes on at the next number after `docker compose run --rm take-over`", async () => {
      const volume = await makeGoVolume();
      const { services: composed } = parse(await readFile("docker-compose.yml", "utf8"));
      const { user, command } = composed["take-over"] as { user: string; command: string[] };
      expect(await exitCode(start(volume, { user, command }))).toBe(0);
      expect(await next(await startImage(volume))).toMatchObject({
        status: 200,
        body: expect.stringContaining("42"),
      });
    });
  });
});

/** Ends a process as Docker does, unless it has ended; resolves to its exit code. */
async function end(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null) return child.exitCode;
  child.kill("SIGTERM");
  return exitCode(child);
}

async function exitCode(child: ChildProcess): Promise<number | null> {
  const [code] = await once(child, "exit");
  return code;
}

/**
 * The root of a base image: this machine's Node.js, npm and the few programs that the build and the tests run, with
 * their libraries; users as in the official image; npm's registry and certificates as they are set here.
 */
async function makeBase(base: string): Promise<void> {
  const add = async (from: string, to: string) => {
    await mkdir(dirname(join(base, to)), { recursive: true });
    await cp(await realpath(from), join(base, to), { recursive: true });
  };
  const programs = ["sh", "env", "chmod", "chown", "mkdir", "sleep"];
  for (const program of [...programs, "node"]) {
    const path = program === "node" ? process.execPath : (await output("which", [program])).trim();
    const place =
      program === "node" ? "/usr/local/bin/node" : program === "sh" ? "/bin/sh" : `/usr/bin/${program}`;
    await add(path, place);
    for (const [library] of (await output("ldd", [path])).matchAll(/\/\S+/g)) await add(library, library);
  }
  const npm = dirname(dirname(await realpath((await output("which", ["npm"])).trim())));
  await add(npm, "/usr/local/lib/node_modules/npm");
  for (const name of ["npm", "npx"]) {
    const launcher = `#!/bin/sh\nexec node /usr/local/lib/node_modules/npm/bin/${name}-cli.js "$@"\n`;
    await writeFile(join(base, "usr/local/bin", name), launcher, { mode: 0o755 });
  }

  const settings = { registry: "", cafile: "" };
  for (const name of Object.keys(settings) as (keyof typeof settings)[]) {
    settings[name] = (await output("npm", ["config", "get", name])).trim();
  }
  const lines = [`registry=${settings.registry}`, "prefer-offline=true"];
  if (!["", "null", "undefined"].includes(settings.cafile)) {
    await add(settings.cafile, "/etc/npm-ca.crt");
    lines.push("cafile=/etc/npm-ca.crt");
  }
  await mkdir(join(base, "root"), { recursive: true });
  await writeFile(join(base, "root/.npmrc"), `${lines.join("\n")}\n`);
  await writeFile(
    join(base, "etc/passwd"),
    "root:x:0:0:root:/root:/bin/sh\nnode:x:1000:1000::/home/node:/bin/sh\n",
  );
  await writeFile(join(base, "etc/group"), "root:x:0:\nnode:x:1000:\n");
  if (await stat("/etc/resolv.conf").catch(() => undefined))
    await add("/etc/resolv.conf", "/etc/resolv.conf");
  await mkdir(join(base, "tmp"));
  await chmod(join(base, "tmp"), 0o1777);
}

/** The checkout as a build context, as somebody with a strict umask and data of his own would have it. */
async function makeContext(context: string): Promise<void> {
  const left = ["node_modules", ".git", "dist", "coverage"];
  const top = resolve(".");
  await cp(top, context, {
    recursive: true,
    filter: (path) => !(left.includes(basename(path)) && dirname(path) === top),
  });
  await mkdir(join(context, "node_modules"));
  await writeFile(join(context, "node_modules/stray.js"), "");
  await writeFile(join(context, ".env"), "SECRET=1\n");
  await writeFile(join(context, "data", uuid), "41\n");
  await output("chmod", ["-R", "go-rwx", context]);
}
