import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "@jest/globals";
import { parse } from "yaml";
import { run } from "../tools.ts";
import { describeClient } from "./client-contract.ts";

const { PATH = "" } = process.env;

interface Action {
  inputs: Record<string, { required?: boolean; default?: string }>;
  outputs: Record<string, { value: string }>;
  runs: { using: string; steps: { id: string; shell: string; env: Record<string, string>; run: string }[] };
}

const folder = "integrations/github";
const action = parse(await readFile(`${folder}/action.yml`, "utf8")) as Action;
const [step] = action.runs.steps;
if (!step) throw new Error("expected a step");

/** The values that GitHub knows in a run. */
const context: Record<string, string> = {
  "github.server_url": "https://github.com",
  "github.repository": "acme/app",
  "github.run_id": "7200",
};

/** What GitHub does with `${{ … }}` where it holds nothing but a name. */
function fill(template: string, values: Record<string, string>): string {
  return template.replace(/\$\{\{ ([\w.]+) \}\}/g, (_, name) => {
    const value = values[name];
    if (value === undefined) throw new Error(`expected a value of ${name}`);
    return value;
  });
}

/** Runs the action's step as GitHub's runner does: its script in a file, given to bash with the runner's flags. */
async function runAction(inputs: Record<string, string>, caFile = "/dev/null") {
  const dir = await mkdtemp(join(tmpdir(), "github-"));
  const values = { ...context };
  for (const [name, { default: standard }] of Object.entries(action.inputs)) {
    values[`inputs.${name}`] = inputs[name] ?? fill(standard ?? "", context);
  }
  const env = Object.fromEntries(
    Object.entries(step?.env ?? {}).map(([name, value]) => [name, fill(value, values)]),
  );
  await writeFile(join(dir, "step.sh"), step?.run ?? "");
  await writeFile(join(dir, "output"), "");
  const { code, stdout, stderr } = await run(
    "bash",
    ["--noprofile", "--norc", "-eo", "pipefail", join(dir, "step.sh")],
    {
      cwd: dir,
      env: {
        PATH,
        CURL_CA_BUNDLE: caFile,
        GITHUB_ACTION_PATH: resolve(folder),
        GITHUB_OUTPUT: join(dir, "output"),
        ...env,
      },
    },
  );
  const written = await readFile(join(dir, "output"), "utf8");
  await rm(dir, { recursive: true });
  return {
    ok: code === 0,
    number: /^build-number=(.*)\n$/.exec(written)?.[1] ?? written,
    message: stdout + stderr,
    env,
  };
}

// Unless the test says which, each call is a run of its own, with the key that the action gives it by default.
let runs = 0;
describeClient("the GitHub action", ["bash"], ({ server, uuid, caFile, build }) => {
  runs += 1;
  context["github.run_id"] = build ?? String(runs);
  return runAction({ server, uuid }, caFile);
});

test("the GitHub action's key is the run by default", async () => {
  context["github.run_id"] = "7200";
  const { env } = await runAction({ server: "http://127.0.0.1:1", uuid: "" });
  expect(env).toMatchObject({ KEY: "https://github.com/acme/app/7200" });
});

test("the GitHub action's output is that of its step", () => {
  expect(action.runs.using).toBe("composite");
  expect(step.shell).toBe("bash");
  expect(action.outputs["build-number"]?.value).toBe(`\${{ steps.${step.id}.outputs.build-number }}`);
});
