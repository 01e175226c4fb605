import { describe, test } from "@jest/globals";

/** A suite that needs an engine. Without it the suite is skipped and says why; with CI_REQUIRE_ENGINES=true it fails. */
export function describeWithEngine(name: string, missing: string | undefined, suite: () => void): void {
  if (missing === undefined) {
    describe(name, suite);
  } else if (process.env["CI_REQUIRE_ENGINES"] === "true") {
    test(name, () => {
      throw new Error(`expected every engine (CI_REQUIRE_ENGINES=true), but ${missing}`);
    });
  } else {
    console.warn(`skipped: ${name}, because ${missing}`);
    describe.skip(name, suite);
  }
}
