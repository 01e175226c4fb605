import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { describeWithTools } from "../describe-unless-missing.ts";
import { startService, stopServices } from "../server/start-service.ts";
import { readCommands, run } from "../tools.ts";
import { startWrongServer, wrongAnswers } from "./wrong-server.ts";

const { PATH = "" } = process.env;
const UUID = "e9461f1c-ef78-4162-bcb7-e83da7287614";

describeWithTools("integrations/README.md", ["curl"], () => {
  let wrong: Awaited<ReturnType<typeof startWrongServer>>;
  beforeAll(async () => {
    wrong = await startWrongServer();
  });
  afterAll(() => Promise.all([stopServices(), wrong.stop()]));

  describe.each([
    ["Shell", 2],
    ["Jenkins", 1],
  ])("%s", (heading, count) => {
    test("each command prints the next number, and fails where there is none", async () => {
      const SERVER = await (await startService()).url();
      const commands = await readCommands("integrations/README.md", heading);
      expect(commands).toHaveLength(count);
      for (const [at, command] of commands.entries()) {
        const env = {
          PATH,
          SERVER,
          UUID,
          CI_JOB_URL: `https://ci/${at}`,
          BUILD_URL: `https://jenkins/${at}`,
        };
        const asked = await run("sh", ["-e", "-c", command], { env });
        expect(asked).toMatchObject({ code: 0, stdout: `${at + 1}\n` });
        const failed = await run("sh", ["-e", "-c", command], { env: { ...env, UUID: "not-a-uuid" } });
        expect(failed).toMatchObject({ stdout: "" });
        expect(failed.code).not.toBe(0);
        for (const kind of Object.keys(wrongAnswers)) {
          const misled = await run("sh", ["-e", "-c", command], {
            env: { ...env, SERVER: `${wrong.url}/${kind}` },
          });
          expect(misled).toMatchObject({ code: 1, stdout: "" });
        }
        const cut = await run("sh", ["-e", "-c", command], { env: { ...env, SERVER: `${wrong.url}/cut` } });
        expect(["", "12\n"]).toContain(cut.stdout);
      }
    });
  });
});
