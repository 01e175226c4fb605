import { readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { ConfigError, readConfig, settings } from "../src/config.ts";

test("has a default for every setting that needs one", () => {
  expect(readConfig({})).toEqual({
    store: "file",
    port: 8080,
    host: undefined,
    file: { storageDir: "data", lockStaleMs: 10_000, lockWaitMs: 250, keyRetentionMs: 90 * 86_400_000 },
    redis: {
      url: "redis://127.0.0.1:6379",
      prefix: "",
      requireDurable: false,
      waitReplicas: 0,
      keyRetentionMs: 90 * 86_400_000,
      deadlineMs: 5_000,
    },
    dynamodb: {
      table: "AtomicCounters",
      keyAttribute: "id",
      valueAttribute: "lastValue",
      keyRetentionMs: 90 * 86_400_000,
      createTable: false,
      deadlineMs: 5_000,
    },
    createCounters: true,
    dialects: ["micro-incrementer", "lambda-atomic-counter", "tot"],
    rootDialect: "buildnumber",
    autobackup: false,
    autobackupUrl: "http://persistence/data",
    logLevel: "info",
    logRequests: false,
    drainTimeoutMs: 10_000,
  });
});

test("gives a DynamoDB engine on this machine some credentials, unless there are others", () => {
  const here = { DYNAMODB_ENDPOINT: "http://127.0.0.1:8000" };
  expect(readConfig(here).dynamodb).toHaveProperty("credentials");
  expect(readConfig({ ...here, AWS_PROFILE: "mine" }).dynamodb).not.toHaveProperty("credentials");
  expect(readConfig({ ...here, AWS_ACCESS_KEY_ID: "mine" }).dynamodb).not.toHaveProperty("credentials");
  expect(readConfig({ DYNAMODB_ENDPOINT: "http://db:8000" }).dynamodb).not.toHaveProperty("credentials");
});

test("cannot be changed afterwards", () => {
  expect(Object.isFrozen(readConfig({}))).toBe(true);
});

test("takes an empty or blank value for unset", () => {
  expect(readConfig({ PORT: "", HOST: " ", STORAGE_DIR: "", LOG_REQUESTS: "" })).toEqual(readConfig({}));
});

test.each(["true", "TRUE", "True", "1"])("takes %s for true", (text) => {
  expect(readConfig({ LOG_REQUESTS: text }).logRequests).toBe(true);
});

test.each(["false", "FALSE", "0"])("takes %s for false", (text) => {
  expect(readConfig({ CREATE_COUNTERS: text }).createCounters).toBe(false);
});

test.each([
  ["PORT", "65536"],
  ["PORT", "-1"],
  ["PORT", "80.5"],
  ["PORT", "0x50"],
  ["PORT", "http"],
  ["LOCK_STALE_MS", "1999"],
  ["LOCK_WAIT_MS", "1e3"],
  ["DRAIN_TIMEOUT_MS", "99999999999"],
  ["LOG_LEVEL", "loud"],
  ["LOG_REQUESTS", "yes"],
  ["STORE", "floppy"],
  ["DIALECTS", "tot,go"],
  ["ROOT_DIALECT", "tot"],
  ["AUTOBACKUP", "perhaps"],
  ["AUTOBACKUP_URL", "persistence/data"],
  ["AUTOBACKUP_URL", "file:///data"],
])("refuses %s=%s by name, without showing the value", (name, value) => {
  const refusal = expect(() => readConfig({ [name]: value }));
  refusal.toThrow(ConfigError);
  refusal.toThrow(new RegExp(`^${name}: expected [^\\n]+$`));
  refusal.not.toThrow(value);
});

test.each([
  ["none", []],
  ["tot", ["tot"]],
  ["tot, micro-incrementer", ["micro-incrementer", "tot"]],
])("takes DIALECTS=%s for a list", (text, dialects) => {
  expect(readConfig({ DIALECTS: text }).dialects).toEqual(dialects);
});

test("refuses a root that is switched off", () => {
  expect(() => readConfig({ ROOT_DIALECT: "micro-incrementer", DIALECTS: "tot" })).toThrow(
    "ROOT_DIALECT: expected one of the interfaces that DIALECTS names",
  );
  expect(readConfig({ ROOT_DIALECT: "buildnumber", DIALECTS: "none" }).rootDialect).toBe("buildnumber");
});

test("reports all mistakes together", () => {
  expect(() => readConfig({ PORT: "x", LOCK_STALE_MS: "1", LOG_LEVEL: "loud" })).toThrow(
    "PORT: expected an integer from 0 to 65535\n" +
      "LOG_LEVEL: expected trace, debug, info, warn, error, fatal, silent\n" +
      "LOCK_STALE_MS: expected an integer from 2000 to 2147483647",
  );
});

test("env.sample has every setting with its description and default, and else only those of Compose", () => {
  const entries = settings.map(
    (setting) =>
      `# ${setting.description}${setting.unit ? ` In ${setting.unit}.` : ""}\n#${setting.name}=${setting.default ?? ""}\n`,
  );
  const [ofServer = ""] = readFileSync("env.sample", "utf8").split("\n# For docker-compose-traefik.yml only");
  const [, ...sample] = ofServer.split("\n\n");
  expect(`${sample.join("\n\n")}`).toBe(entries.join("\n"));
});

test("the README's table has every setting with its default and description, and nothing else", () => {
  const rows = settings.map(
    ({ name, default: standard, unit, description }) =>
      `| \`${name}\` | ${(standard ?? "") === "" ? "" : `\`${standard}\`${unit ? ` ${unit}` : ""}`} | ${description} |\n`,
  );
  const [, table] =
    /<!-- settings -->\n(.*)<!-- \/settings -->/s.exec(readFileSync("README.md", "utf8")) ?? [];
  expect(table).toBe(`| Name | Default | Meaning |\n| --- | --- | --- |\n${rows.join("")}`);
});

test("describes every setting in one sentence", () => {
  for (const { description } of settings) expect(description).toMatch(/^[A-Z][^.]*\.$/);
});
