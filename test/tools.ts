import { type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { accessSync, constants } from "node:fs";
import { readFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer } from "node:net";
import { delimiter, join } from "node:path";
import { text } from "node:stream/consumers";

const { PATH = "" } = process.env;

/** Which of the programs are not installed, in words; undefined when all are. */
export function findMissing(...programs: string[]): string | undefined {
  const missing = programs.filter((program) => !isInstalled(program));
  if (missing.length === 0) return undefined;
  return `${missing.join(", ")} ${missing.length === 1 ? "is" : "are"} not installed`;
}

/** Whether a program stands in a folder of PATH. */
export function isInstalled(program: string): boolean {
  return PATH.split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** A port of 127.0.0.1 that nothing listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** Whether something takes connections on a port of this machine. */
export function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
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
