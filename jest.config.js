/** TypeScript runs through swc; real processes that tests start run from dist/, which `npm test` builds first. */
export default {
  testEnvironment: "node",
  roots: ["<rootDir>/test"],
  testMatch: ["**/*.test.ts"],
  extensionsToTreatAsEsm: [".ts"],
  transform: { "^.+\\.ts$": ["@swc/jest", { jsc: { target: "es2022" }, module: { type: "es6" } }] },
  testTimeout: 120_000,
  // Istanbul counts both ways of every `if` and every default, and files that no test loads; V8 counts neither.
  coverageProvider: "babel",
  collectCoverageFrom: ["src/counter/**/*.ts", "src/store/file/**/*.ts"],
  coverageReporters: ["text"],
  coverageThreshold: {
    "./src/counter/": { branches: 100 },
    "./src/store/file/": { branches: 100 },
  },
};
