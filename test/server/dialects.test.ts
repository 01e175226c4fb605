import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, expect, test } from "@jest/globals";
import { startService, stopServices } from "./start-service.ts";

afterEach(stopServices);

test("takes the place of a micro-incrementer by its settings, and ends with the last backup made", async () => {
  const backups: string[] = [];
  const persistence = http.createServer((req, res) => {
    backups.push(`${req.method} ${req.url}`);
    setTimeout(() => res.end("saved"), 100);
  });
  persistence.listen(0, "127.0.0.1");
  await once(persistence, "listening");
  const { port } = persistence.address() as AddressInfo;

  const service = await startService({
    ROOT_DIALECT: "micro-incrementer",
    AUTOBACKUP: "True",
    AUTOBACKUP_URL: `http://127.0.0.1:${port}/data`,
  });
  const url = await service.url();
  const answers = [];
  for (const path of ["/", "/myapp", "/"]) answers.push(await (await fetch(url + path)).text());
  expect(answers).toEqual(["1", "1", "2"]);
  service.child.kill("SIGTERM");
  expect(await service.exit()).toBe(0);
  // The first was under way when the others came; they share the one after it.
  expect(backups).toEqual(["GET /data", "GET /data"]);
  persistence.closeAllConnections();
  persistence.close();
});

test("speaks no older interface when none is wanted", async () => {
  const service = await startService({ DIALECTS: "none" });
  const url = await service.url();
  expect((await fetch(`${url}/vend/job`)).status).toBe(404);
  expect((await fetch(`${url}/incrementer`)).status).toBe(404);
});
