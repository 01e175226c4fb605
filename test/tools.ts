import { type SpawnOptions, spawn } from "node:child_process";
import { accessSync, constants } from "node:fs";
import { readFile } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { text } from "node:stream/consumers";
import { describe, test } from "@jest/globals";

const { PATH = "", CI_REQUIRE_ENGINES = "" } = process.env;

/**
 * A suite that needs programs which are not everywhere. Without one of them the suite is skipped and says why; with
 * CI_REQUIRE_ENGINES=true that is a failure.
 */
export function describeWithTools(name: string, programs: readonly string[], suite: () => void): void {
  const missing = programs.filter((program) => !isInstalled(program));
  if (missing.length === 0) {
    describe(name, suite);
  } else if (CI_REQUIRE_ENGINES === "true") {
    test(name, () => {
      throw new Error(`expected every tool (CI_REQUIRE_ENGINES=true), but ${missing.join(", ")} is missing`);
    });
  } else {
    console.warn(`skipped: ${name}, because ${missing.join(", ")} is not installed`);
    describe.skip(name, suite);
  }
}

function isInstalled(program: string): boolean {
  return PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end, with nothing on its standard input. */
export async function run(
  program: string,
  args: readonly string[] = [],
  options: SpawnOptions = {},
): Promise<Finished> {
  const child = spawn(program, [...args], { ...options, stdio: ["ignore", "pipe", "pipe"] });
  const ended = new Promise<number | null>((resolve, reject) => {
    child.once("error", reject);
    child.once("close", resolve);
  });
  const [stdout, stderr, code] = await Promise.all([
    text(child.stdout as NodeJS.ReadableStream),
    text(child.stderr as NodeJS.ReadableStream),
    ended,
  ]);
  return { code, stdout, stderr };
}

/** Runs a program that has to succeed, and resolves to its standard output. */
export async function output(
  program: string,
  args: readonly string[] = [],
  options: SpawnOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await run(program, args, options);
  if (code !== 0) throw new Error(`${program} ${args.join(" ")}: exit code ${code}\n${stdout}${stderr}`);
  return stdout;
}

/** The `sh` blocks of a Markdown file that stand under a heading, in order: docs that are run as they are printed. */
export async function readCommands(file: string, heading: string): Promise<string[]> {
  const markdown = await readFile(file, "utf8");
  const section = markdown.split(/^#+ /m).find((part) => part.startsWith(`${heading}\n`));
  if (section === undefined) throw new Error(`expected a heading "${heading}" in ${file}`);
  return [...section.matchAll(/^```sh\n(.*?)^```$/gms)].map(([, code]) => code as string);
}
