import { readdir, readFile } from "node:fs/promises";
import { afterEach, expect, test } from "@jest/globals";
import type { Express } from "express";
import request from "supertest";
import { dialectNames, fixedPaths, rootDialectNames } from "../../src/http/fixed-paths.ts";
import { openService, type TestService } from "./open-service.ts";

let service: TestService | undefined;
afterEach(async () => {
  await service?.close();
  service = undefined;
});

/** Every path that something was added at, as it was written; but for what takes all that comes. */
function writtenPaths(app: Express): string[] {
  const layers = app.router.stack as unknown as { rawPath: unknown; route?: { path: string } }[];
  const paths = layers.flatMap(({ rawPath, route }) => route?.path ?? rawPath);
  return paths.filter(
    (path) => typeof path === "string" && path !== "/" && !path.startsWith("/:"),
  ) as string[];
}

test.each(rootDialectNames)(
  "with %s at the root, the table has every path that routes have",
  async (root) => {
    service = await openService({ rootDialect: root });
    const written = writtenPaths(service.app).filter(
      (path) => path !== undefined && path !== "/" && !path.startsWith("/:"),
    );
    expect(written).toContain("/healthz");
    const table = fixedPaths(root);
    const strangers = written.filter((path) => !table.includes(`/${path.split("/")[1]}`));
    expect(strangers).toEqual([]);
  },
);

const cases = rootDialectNames.flatMap((root) =>
  ([dialectNames, []] as const).map((dialects) => [root, dialects] as const),
);
test.each(cases)(
  "with %s at the root and %j spoken, no fixed path is ever a counter",
  async (root, dialects) => {
    service = await openService({ rootDialect: root, dialects });
    const segments = fixedPaths(root).map((path) => path.slice(1));
    expect(segments).toEqual(expect.arrayContaining(["healthz", "readyz", "metrics", "buildnumber"]));
    for (const segment of segments) {
      const encoded = `%${segment.charCodeAt(0).toString(16)}${segment.slice(1)}`;
      const own = segment === "incrementer" || segment === "vend";
      for (const path of own && dialects.length > 0
        ? []
        : [`/${segment}`, `/${segment}/5`, `/${encoded}/5`]) {
        for (const method of ["get", "head", "post", "put"] as const) {
          await request(service.app)[method](path).send('{"bn":5}');
        }
      }
    }
    // With the micro-incrementer at the root, "/{name}/5" counts "name", and nothing else may have counted.
    expect((await readdir(service.storageDir)).filter((file) => !file.startsWith("."))).toEqual([]);
  },
);

test.each(["/metrics", "/incrementer", "/vend/job", "/counter/increment", "/buildnumber"])(
  "answers 404 at %s when nothing stands there",
  async (path) => {
    service = await openService({ dialects: [] });
    for (const method of ["get", "post", "put"] as const) {
      const answer = await request(service.app)[method](path);
      expect(answer.status).toBe(404);
      expect(answer.body.code).toBe("not-found");
      expect(answer.body.detail).toMatch(new RegExp(`got "${path}"$`));
    }
  },
);

test("docs/dialects.md names every interface and every fixed path", async () => {
  const docs = await readFile("docs/dialects.md", "utf8");
  for (const word of [...dialectNames, ...rootDialectNames.flatMap(fixedPaths)]) expect(docs).toContain(word);
});
