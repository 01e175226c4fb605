import { execFileSync } from "node:child_process";
import { readFileSync, realpathSync, statSync } from "node:fs";
import os from "node:os";
import { fileURLToPath } from "node:url";
import { loader } from "./load.ts";

/** What the figures depend on: pairs of a word and what is known about it. */
export function describeMachine(directory: string): [string, string][] {
  const [cpu] = os.cpus();
  const gib = (os.totalmem() / 2 ** 30).toFixed(0);
  return [
    ["date", `${new Date().toISOString().slice(0, 16).replace("T", " ")} UTC`],
    ["commit", describeCommit()],
    ["Node", `${process.version}, libuv ${process.versions.uv}`],
    [
      "machine",
      `${os.cpus().length} × ${cpu?.model.trim()}, ${gib} GiB, ${os.type()} ${os.release()} ${os.arch()}`,
    ],
    ["load before the run", `${os.loadavg()[0]?.toFixed(2)} (average of a minute)`],
    ["load program", loader],
    ...describeDisk(directory),
  ];
}

function describeCommit(): string {
  const git = (...args: string[]) =>
    execFileSync("git", args, {
      cwd: fileURLToPath(new URL(".", import.meta.url)),
      encoding: "utf8",
      stdio: ["ignore", "pipe", "ignore"],
    }).trim();
  try {
    const isChanged = git("status", "--porcelain", "--untracked-files=no") !== "";
    return git("rev-parse", "--short", "HEAD") + (isChanged ? ", with changes" : "");
  } catch {
    return "unknown";
  }
}

/** From /proc and /sys; elsewhere than on Linux nothing is known. */
function describeDisk(directory: string): [string, string][] {
  try {
    const mount = findMount(realpathSync(directory));
    const device = mount.device.replace(/^\/dev\//, "");
    return [
      ["file system", `${mount.type} (${mount.options})`],
      ["disk", `${device}, write cache: ${readQueue(directory, "write_cache") ?? "unknown"}`],
      ...(mount.type === "tmpfs"
        ? [["warning", "in memory: a sync costs nothing here"] as [string, string]]
        : []),
    ];
  } catch {
    return [["disk", "unknown"]];
  }
}

/** The last mount that covers a path. A line of mountinfo: `id parent dev root MOUNT_POINT OPTIONS … - TYPE DEVICE SUPER`. */
function findMount(path: string): { device: string; type: string; options: string } {
  const covering = readFileSync("/proc/self/mountinfo", "utf8")
    .trim()
    .split("\n")
    .map((line) => {
      const [left = "", right = ""] = line.split(" - ");
      const [type = "", device = "", superOptions = ""] = right.split(" ");
      const [, , , , point = "", options = ""] = left.split(" ");
      return {
        point,
        type,
        device,
        options: [...new Set(`${options},${superOptions}`.split(","))].join(","),
      };
    })
    .filter(({ point }) => point === "/" || path === point || path.startsWith(`${point}/`))
    .sort((a, b) => b.point.length - a.point.length);
  const [mount] = covering;
  if (!mount) throw new Error(`expected a mount that covers ${path}`);
  return mount;
}

/** A setting of the block device under a path; that of the whole disk when the device is a partition. */
function readQueue(path: string, setting: string): string | undefined {
  const device = statSync(path).dev;
  const [major, minor] = [(device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00)];
  for (const queue of ["queue", "../queue"]) {
    try {
      return readFileSync(`/sys/dev/block/${major}:${minor}/${queue}/${setting}`, "utf8").trim();
    } catch {
      // Not there: a partition, or no block device at all.
    }
  }
  return undefined;
}
