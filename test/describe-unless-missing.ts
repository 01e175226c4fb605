import { describe, test } from "@jest/globals";
import { findMissing } from "./tools.ts";

const { CI_REQUIRE_ENGINES = "" } = process.env;

/**
 * A suite that needs what is not everywhere. Where something is missing the suite is skipped and says why; with
 * CI_REQUIRE_ENGINES=true that is a failure.
 *
 * @param missing what is missing, as `findMissing` says it; undefined when nothing is
 */
export function describeUnlessMissing(name: string, missing: string | undefined, suite: () => void): void {
  if (missing === undefined) {
    describe(name, suite);
  } else if (CI_REQUIRE_ENGINES === "true") {
    test(name, () => {
      throw new Error(`expected every engine and tool (CI_REQUIRE_ENGINES=true), but ${missing}`);
    });
  } else {
    console.warn(`skipped: ${name}, because ${missing}`);
    describe.skip(name, suite);
  }
}

/** A suite that needs programs which are not everywhere. */
export function describeWithTools(name: string, programs: readonly string[], suite: () => void): void {
  describeUnlessMissing(name, findMissing(...programs), suite);
}
