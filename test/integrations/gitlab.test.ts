import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "yaml";
import { run } from "../tools.ts";
import { describeClient } from "./client-contract.ts";

const { PATH = "" } = process.env;

interface Job {
  script: string[];
  artifacts: { reports: { dotenv: string } };
}

const template = parse(await readFile("integrations/gitlab/build-number.yml", "utf8"));
const job = template["build-number"] as Job;

let pipelines = 0;

/** Runs the job's script as GitLab's runner does (a POSIX shell that stops at an error), and reads its dotenv report. */
describeClient("the GitLab job", [], async ({ server, uuid, caFile, build }) => {
  const dir = await mkdtemp(join(tmpdir(), "gitlab-"));
  pipelines += 1;
  const { code, stdout, stderr } = await run("sh", ["-e", "-c", job.script.join("\n")], {
    cwd: dir,
    env: {
      PATH,
      CURL_CA_BUNDLE: caFile,
      CI_SERVER_HOST: "gitlab.com",
      CI_PIPELINE_ID: build ?? String(pipelines),
      BUILDNUMBER_SERVER: server,
      BUILDNUMBER_UUID: uuid,
    },
  });
  const report = await readFile(join(dir, job.artifacts.reports.dotenv), "utf8").catch(() => "");
  await rm(dir, { recursive: true });
  return {
    ok: code === 0,
    number: /^BUILD_NUMBER=(.*)\n$/.exec(report)?.[1] ?? report,
    message: stdout + stderr,
  };
});
