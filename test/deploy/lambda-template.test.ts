import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "@jest/globals";
import { parse, type ScalarTag } from "yaml";
import { settings } from "../../src/config.ts";

/** CloudFormation's short forms, read as { Ref: … } and the like. */
const customTags = ["Ref", "Equals", "If", "Sub", "GetAtt"].flatMap((name) => [
  { tag: `!${name}`, resolve: (text: string) => ({ [name]: text }) } as ScalarTag,
  {
    tag: `!${name}`,
    collection: "seq" as const,
    resolve: (seq: { toJSON(): unknown }) => ({ [name]: seq.toJSON() }),
  },
]);
const folder = "deploy/lambda";
// biome-ignore lint/suspicious/noExplicitAny: a document of another's shape
const template = parse(readFileSync(join(folder, "template.yaml"), "utf8"), { customTags } as object) as any;
const { Counters, Function: code } = template.Resources;

test("takes the bundle that build:lambda makes", () => {
  const { scripts } = JSON.parse(readFileSync("package.json", "utf8"));
  const [, outfile] = /--outfile=(\S+)/.exec(scripts["build:lambda"]) ?? [];
  const [file, name] = code.Properties.Handler.split(".");
  expect(join(folder, code.Properties.CodeUri, `${file}.cjs`)).toBe(outfile);
  expect(readFileSync("src/lib/lambda.ts", "utf8")).toContain(`export async function ${name}(`);
});

test("sets only settings that there are", () => {
  const known = settings.map(({ name }) => name);
  expect(known).toEqual(expect.arrayContaining(Object.keys(code.Properties.Environment.Variables)));
});

test("lays the table out as the older libraries did, and keeps it when the stack goes", () => {
  expect(Counters.Properties.KeySchema).toEqual([{ AttributeName: "id", KeyType: "HASH" }]);
  expect(Counters.Properties.AttributeDefinitions).toEqual([{ AttributeName: "id", AttributeType: "S" }]);
  expect(Counters).toMatchObject({ DeletionPolicy: "Retain", UpdateReplacePolicy: "Retain" });
});

test("gives the role no more than reading and updating items of this table", () => {
  const statements = code.Properties.Policies.flatMap(
    (policy: { Statement: { Action: string[]; Resource: unknown }[] }) => policy.Statement,
  );
  expect(statements.map(({ Action }: { Action: string[] }) => Action)).toEqual([
    ["dynamodb:GetItem", "dynamodb:UpdateItem"],
  ]);
  expect(JSON.stringify(statements[0].Resource)).toMatch(/:table\/\$\{Table\}/);
});
