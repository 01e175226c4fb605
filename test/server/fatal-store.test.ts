import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, expect, test } from "@jest/globals";
import { startService, stopServices } from "./start-service.ts";

const id = "e9461f1c-ef78-4162-bcb7-e83da7287614";
const hasStrace = spawnSync("strace", ["-V"]).status === 0;
if (!hasStrace) console.warn("skipped: a failed sync of the fence needs strace to bring it about");

afterEach(stopServices);

/** Makes every fsync of this path fail with EIO, as a dying disk does; resolves when that holds. */
async function failSyncs(pid: number, path: string): Promise<void> {
  const inject = ["-P", path, "-e", "trace=fsync,fdatasync", "-e", "inject=fsync,fdatasync:error=EIO"];
  const strace = spawn("strace", ["-f", "-p", String(pid), ...inject], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  await once(createInterface({ input: strace.stderr }), "line");
}

(hasStrace ? test : test.skip)(
  "a failed sync of the fence is answered with consumed, ends the service with 1, and its number never comes again",
  async () => {
    const service = await startService();
    const post = async (url: string) => fetch(`${url}/${id}`, { method: "POST" });
    expect(await (await post(await service.url())).json()).toEqual({ bn: 1 });
    await failSyncs(service.child.pid as number, join(service.storageDir, ".fence", id));

    const answer = await post(await service.url());
    expect(answer.status).toBe(503);
    expect(await answer.json()).toMatchObject({ code: "store-unavailable", consumed: true });
    expect(await service.exit()).toBe(1);
    expect(await service.line(/failed for good/)).toMatchObject({ level: 60 });

    const next = await startService({ STORAGE_DIR: service.storageDir });
    expect(await (await post(await next.url())).json()).toEqual({ bn: 3 });
  },
);
