/** The older interfaces that are spoken beside the main one. */
export const dialectNames = ["micro-incrementer", "lambda-atomic-counter", "tot"] as const;
export type DialectName = (typeof dialectNames)[number];

/** What may stand at `/`. */
export const rootDialectNames = ["buildnumber", "micro-incrementer"] as const;
export type RootDialectName = (typeof rootDialectNames)[number];

/** Where each interface stands when it is not at `/`. */
export const dialectPaths: Readonly<Record<DialectName | "buildnumber", string>> = {
  buildnumber: "/buildnumber",
  "micro-incrementer": "/incrementer",
  "lambda-atomic-counter": "/counter",
  tot: "/vend",
};

/** The paths of the service itself. */
export const servicePaths = { liveness: "/healthz", readiness: "/readyz", metrics: "/metrics" } as const;

/** What browsers and crawlers ask for without being told to: where GET takes a number, it must not be one. */
const unaskedPaths = ["/favicon.ico", "/robots.txt"];

/**
 * The one table of fixed paths: neither they nor what is below them is ever an id or a namespace, whether anything
 * stands there or not. When another dialect has the root, the rest moves under `/buildnumber`, so that as few names as
 * possible are lost to it.
 */
export function fixedPaths(root: RootDialectName): readonly string[] {
  const own = Object.values(servicePaths);
  return root === "buildnumber"
    ? [...own, ...Object.values(dialectPaths)]
    : [...own, ...unaskedPaths, dialectPaths.buildnumber];
}

/** What matches all fixed paths and what is below them: one test for each request, where a list would cost one for each path. */
export function fixedPathsPattern(root: RootDialectName): RegExp {
  const paths = fixedPaths(root).map((path) => path.replaceAll(".", "\\."));
  return new RegExp(`^(?:${paths.join("|")})(?=/|$)`);
}
