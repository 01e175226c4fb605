import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { realpath } from "node:fs/promises";
import { dirname } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { describeWithTools } from "../describe-unless-missing.ts";
import { startService, stopServices } from "../server/start-service.ts";
import { output } from "../tools.ts";
import { describeClient } from "./client-contract.ts";
import { startTlsProxy, type TlsProxy } from "./tls-proxy.ts";
import { startWrongServer } from "./wrong-server.ts";

const { PATH = "", HOME = "" } = process.env;

/** Debian's groovy looks for Java in one fixed place only. */
const javaHome = await realpath((await output("sh", ["-c", "command -v java || true"])).trim()).then(
  (java) => dirname(dirname(java)),
  () => "",
);

const uuid = "e9461f1c-ef78-4162-bcb7-e83da7287614";

interface Answer {
  readonly number?: number;
  readonly type?: string;
  readonly error?: string;
  readonly log: string;
}

/** A Groovy process that runs the shared library, one call after the other; one for each authority to trust. */
class Pipeline {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;

  constructor(caFile: string) {
    this.#process = spawn(
      "groovy",
      ["test/integrations/pipeline-stand-in.groovy", "integrations/jenkins/vars/buildnumber.groovy"],
      { env: { PATH, HOME, JAVA_HOME: javaHome, CURL_CA_BUNDLE: caFile } },
    );
    this.#process.stderr.pipe(process.stderr);
    this.#lines = createInterface(this.#process.stdout)[Symbol.asyncIterator]();
  }

  async call(args: object): Promise<Answer> {
    this.#process.stdin.write(`${JSON.stringify({ agent: "agent-1", ...args })}\n`);
    const { value, done } = await this.#lines.next();
    if (done) throw new Error("expected an answer, but Groovy has ended");
    return JSON.parse(value) as Answer;
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null) return;
    const gone = once(this.#process, "exit");
    this.#process.stdin.end();
    await gone;
  }
}

const pipelines = new Map<string, Pipeline>();

function pipelineFor(caFile: string): Pipeline {
  const pipeline = pipelines.get(caFile) ?? new Pipeline(caFile);
  pipelines.set(caFile, pipeline);
  return pipeline;
}

afterAll(async () => {
  await Promise.all([...pipelines.values()].map((pipeline) => pipeline.stop()));
});

describeClient("the Jenkins library", ["groovy", "java"], async ({ server, uuid, caFile, build }) => {
  const { number, error } = await pipelineFor(caFile).call({ server, uuid, ...(build && { key: build }) });
  return { ok: error === undefined, number: String(number ?? ""), message: error ?? "" };
});

describeClient(
  "the Jenkins library, called like the older one",
  ["groovy", "java"],
  async ({ server, uuid, caFile }) => {
    const { number, error } = await pipelineFor(caFile).call({ get: [server, uuid] });
    return { ok: error === undefined, number: String(number ?? ""), message: error ?? "" };
  },
  { sendsKeys: false },
);

describeWithTools("the Jenkins library, by itself", ["groovy", "java", "curl", "caddy"], () => {
  let url: string;
  let proxy: TlsProxy;
  let pipeline: Pipeline;
  beforeAll(async () => {
    url = await (await startService()).url();
    proxy = await startTlsProxy(url);
    pipeline = pipelineFor(proxy.caFile);
  });
  afterAll(async () => {
    await Promise.all([stopServices(), proxy?.stop()]);
  });

  test("answers a number that compares with numbers", async () => {
    expect(await pipeline.call({ server: url, uuid })).toMatchObject({ type: "Long" });
  });

  test("takes a machine of its own under `agent none`", async () => {
    expect((await pipeline.call({ get: [url, uuid], agent: null })).number).toBeGreaterThan(0);
  });

  test("sends user and password to a proxy that asks for them, and shows the password to nobody", async () => {
    const { number, log } = await pipeline.call({ server: proxy.guardedUrl, uuid, credentialsId: "proxy" });
    expect(number).toBeGreaterThan(0);
    expect(log).not.toContain("b\\c");
    expect((await pipeline.call({ server: proxy.guardedUrl, uuid })).error).toContain("401");
  });

  test("never joins an answer that was cut off with the one to the second request", async () => {
    const wrong = await startWrongServer();
    const { error } = await pipeline.call({ server: `${wrong.url}/cut`, uuid, key: "build" });
    await wrong.stop();
    expect(error).toContain("expected a number");
  });

  test("takes a key with quotes and backslashes", async () => {
    const { number } = await pipeline.call({
      server: url,
      uuid,
      key: String.raw`job "a" \ $(exit 1) #1`,
    });
    expect(number).toBeGreaterThan(0);
  });

  test.each([
    ["no uuid", { server: "http://127.0.0.1" }],
    ["no server", { uuid }],
    ["a setting it does not know", { server: "http://127.0.0.1", uuid, url: "" }],
    ["an empty key, as from an unset variable", { server: "http://127.0.0.1", uuid, key: "" }],
    ["a null key", { server: "http://127.0.0.1", uuid, key: null }],
    ["a key of two lines", { server: "http://127.0.0.1", uuid, key: "a\nb" }],
    ["a key of 256 characters", { server: "http://127.0.0.1", uuid, key: "k".repeat(256) }],
  ])("refuses %s", async (_name, args) => {
    expect((await pipeline.call(args)).error).toContain("buildnumber: expected");
  });
});
