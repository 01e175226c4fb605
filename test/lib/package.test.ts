import { execFile } from "node:child_process";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { type DynamodbEngine, startDynalite } from "../engines/dynamodb.ts";

const run = promisify(execFile);
let project: string;
let engine: DynamodbEngine;
let packed: string[];

/**
 * An empty project with what `npm pack` makes in it. The package's dependencies, and no others, are links to those that are
 * installed here: so the test needs no registry.
 */
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), "package-"));
  engine = await startDynalite();
  const { stdout } = await run("npm", ["pack", "--ignore-scripts", "--json", "--pack-destination", project]);
  const [{ filename, files }] = JSON.parse(stdout) as [{ filename: string; files: { path: string }[] }];
  packed = files.map(({ path }) => path);
  const installed = join(project, "node_modules/buildnumber");
  await mkdir(installed, { recursive: true });
  await run("tar", ["-xzf", join(project, filename), "-C", installed, "--strip-components=1"]);
  const { dependencies } = JSON.parse(await readFile("package.json", "utf8"));
  for (const name of [...Object.keys(dependencies), "@types/node"]) {
    await mkdir(dirname(join(project, "node_modules", name)), { recursive: true });
    await symlink(resolve("node_modules", name), join(project, "node_modules", name));
  }
});
afterAll(async () => {
  await engine?.stop();
  await rm(project, { recursive: true, force: true });
});

/** Runs a file of the project, and resolves to what it printed, lines apart. */
async function node(file: string, source: string): Promise<{ out: string[]; errors: string }> {
  await writeFile(join(project, file), source);
  const { stdout, stderr } = await run(process.execPath, [file], {
    cwd: project,
    env: {
      PATH: process.env["PATH"],
      ENDPOINT: engine.endpoint,
      AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: "true",
    },
  });
  return { out: stdout.trim().split("\n"), errors: stderr };
}

const aws = `region: "us-east-1", endpoint: process.env.ENDPOINT`;
const keys = `accessKeyId: "any", secretAccessKey: "any"`;

test("has the built source, licence and README, and neither tests nor benches", () => {
  expect(packed).toEqual(expect.arrayContaining(["LICENSE", "README.md", "dist/src/lib/open-counters.d.ts"]));
  expect(packed.filter((path) => /^(src|test|bench|data|dist\/(?!src))/.test(path))).toEqual([]);
});

test("serves an ESM program by each of its entries", async () => {
  const { out } = await node(
    "program.mjs",
    `import { openCounters, CounterError } from "buildnumber";
     import { increment, config } from "buildnumber/dynamodb-atomic-counter";
     import { DistributedCounter } from "buildnumber/distributed-counter";
     import { handler } from "buildnumber/lambda";
     const counters = await openCounters({ store: "file", dir: "esm" });
     console.log(await counters.increment("x"), typeof CounterError, typeof handler);
     await counters.close();
     const table = await openCounters({ store: "dynamodb", createTable: true, ${aws} });
     await table.close();
     config.update({ ${aws}, ${keys} });
     console.log(await increment("esm"));
     const counter = new DistributedCounter("esm", { region: "us-east-1", endpointUrl: process.env.ENDPOINT, credentials: { ${keys} } });
     await counter.createTable();
     console.log(await counter.increment("x", 5, 10));
     counter.close();`,
  );
  expect(out).toEqual(["1 function function", "1", "15"]);
});

test("serves a CommonJS program by require, without a warning", async () => {
  const { out, errors } = await node(
    "program.cjs",
    `const { openCounters } = require("buildnumber");
     const atomicCounter = require("buildnumber/dynamodb-atomic-counter");
     const { DistributedCounter } = require("buildnumber/distributed-counter");
     (async () => {
       const counters = await openCounters({ store: "file", dir: "cjs" });
       console.log(await counters.increment("x"), typeof DistributedCounter);
       await counters.close();
       const table = await openCounters({ store: "dynamodb", createTable: true, ${aws} });
       await table.close();
       atomicCounter.config.update({ ${aws}, ${keys} });
       atomicCounter.increment("cjs").done(function (value) {
         console.log(value);
       });
     })();`,
  );
  expect(out).toEqual(["1 function", "1"]);
  expect(errors).toBe("");
});

test("has types for programs in TypeScript, ESM and CommonJS", async () => {
  await writeFile(
    join(project, "tsconfig.json"),
    JSON.stringify({
      compilerOptions: { module: "nodenext", target: "es2022", strict: true, noEmit: true, types: ["node"] },
      files: ["good.mts", "good.cts", "bad.mts"],
    }),
  );
  await writeFile(
    join(project, "good.mts"),
    `import { type CounterError, openCounters } from "buildnumber";
     import { increment, getLastValue } from "buildnumber/dynamodb-atomic-counter";
     import { DistributedCounter } from "buildnumber/distributed-counter";
     import { handler } from "buildnumber/lambda";
     const counters = await openCounters({ store: "redis", url: "redis://127.0.0.1" });
     const n: number = await counters.increment("x", { by: 2 });
     const c = increment("Users", { context: { a: 1 } }).done(function (value) { const t: number = this.a + value; }).always(() => {});
     const v: number = await c.then((value) => value + n);
     const last: number | undefined = await new DistributedCounter("t").get("x");
     export { handler, v, last, getLastValue, type CounterError };`,
  );
  await writeFile(
    join(project, "good.cts"),
    `import atomicCounter = require("buildnumber/dynamodb-atomic-counter");
     atomicCounter.config.update({ region: "us-east-1" });
     atomicCounter.increment("Users").done((value: number) => value.toFixed());`,
  );
  await writeFile(
    join(project, "bad.mts"),
    `import { openCounters } from "buildnumber";
     await openCounters({ store: "file", dirr: "x" });`,
  );
  const tsc = run(resolve("node_modules/.bin/tsc"), ["-p", project]);
  const { stdout } = (await tsc.catch((error: unknown) => error)) as { stdout: string };
  const complaints = stdout.split("\n").filter((line) => line.includes("error"));
  expect(complaints).toEqual([expect.stringMatching(/bad\.mts\(2,42\): error TS2561: .*dirr/)]);
});
