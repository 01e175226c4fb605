import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { describeWithTools } from "../describe-unless-missing.ts";
import { startService, stopServices } from "../server/start-service.ts";
import { output } from "../tools.ts";

const uuid = "e9461f1c-ef78-4162-bcb7-e83da7287614";
let url: string;
let dir: string;
beforeAll(async () => {
  url = await (await startService()).url();
  dir = await mkdtemp(join(tmpdir(), "load-"));
});
afterAll(async () => {
  await stopServices();
  await rm(dir, { recursive: true, force: true });
});

const last = async () => ((await (await fetch(`${url}/${uuid}`)).json()) as { bn?: number }).bn ?? 0;

describeWithTools("vegeta with the target file", ["vegeta"], () => {
  test("has every request answered with a number", async () => {
    const targets = (await readFile("integrations/load/targets.txt", "utf8")).replace(
      "http://127.0.0.1:8080",
      url,
    );
    await writeFile(join(dir, "targets.txt"), targets);
    const before = await last();
    await output("vegeta", [
      "attack",
      "-rate=200",
      "-duration=1s",
      `-targets=${join(dir, "targets.txt")}`,
      `-output=${join(dir, "results.bin")}`,
    ]);
    const report = JSON.parse(await output("vegeta", ["report", "-type=json", join(dir, "results.bin")]));
    expect(report).toMatchObject({ requests: 200, success: 1, status_codes: { 200: 200 } });
    expect(await last()).toBe(before + 200);
  });
});

describeWithTools("wrk with the script", ["wrk"], () => {
  test("has every request answered with a number", async () => {
    const before = await last();
    const report = await output("wrk", [
      "-t1",
      "-c4",
      "-d1s",
      "-s",
      "integrations/load/post.lua",
      `${url}/${uuid}`,
    ]);
    expect(report).not.toContain("Non-2xx");
    expect(await last()).toBeGreaterThan(before);
  });
});
