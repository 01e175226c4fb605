import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import type { Service } from "./service.ts";
import { runOrSkip, type Trial, until } from "./trial.ts";

/** @throws CannotRun where there is no strace, or it may not be used */
export function requireStrace(): void {
  runOrSkip("strace", ["-f", "-qq", "-e", "trace=none", "true"]);
}

export interface Tracer {
  /** What it told until now. */
  readonly told: () => string;
  /** Ends it. The server goes on. */
  readonly detach: () => Promise<unknown>;
}

/** Attaches strace, with more arguments, to a server that runs already. Resolves as soon as that is so. */
export async function trace(
  trial: Trial,
  { child: { pid } }: Service,
  args: readonly string[],
): Promise<Tracer> {
  const output = path.join(trial.newDirectory(), "strace");
  fs.writeFileSync(output, "");
  const child = spawn("strace", ["-f", "-qq", "-p", String(pid), "-o", output, ...args], { stdio: "ignore" });
  const ended = once(child, "exit");
  const detach = () => {
    child.kill("SIGKILL");
    return ended;
  };
  trial.onEnd(detach);
  await until(() => isTraced(String(pid)), "strace to be attached");
  return { told: () => fs.readFileSync(output, "utf8"), detach };
}

function isTraced(pid: string): boolean {
  const tasks = fs.readdirSync(`/proc/${pid}/task`);
  return tasks.every((task) => {
    const status = fs.readFileSync(path.join("/proc", pid, "task", task, "status"), "utf8");
    return !/^TracerPid:\t0$/m.test(status);
  });
}
