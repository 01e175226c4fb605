/**
 * Loaded before a real server (`node --import …/preload.js dist/src/main.js`): makes the file operations of its storage
 * directory fail, stop or end the process, as its parent says by messages; and steps its clock.
 */
import fs from "node:fs";
import { type FsCall, installFsShim, systemError, type Verdict } from "./fs-shim.ts";

export interface Plan {
  /** Which operation is hit, 1 being the first after the plan came; none when absent, and then they are only counted. */
  readonly at?: number;
  /** Only these count: of this method, on a path that ends so (`.lock`) or contains it (`/.fence/`). */
  readonly method?: string;
  readonly path?: string;
  /**
   * What happens there: SIGSTOP or SIGKILL just before the operation; `late`: an fsync begins a second later; `short`: half
   * is written; or it fails with this error (`EIO`).
   */
  readonly act?: string;
  /** It is hit again after as many operations, and so on. */
  readonly isRepeated?: boolean;
  /** The fence is no compare-and-swap any more: a rename in it that fails reports success. For controls. */
  readonly isFenceBlind?: boolean;
  /** No directory is ever synced. For controls. */
  readonly isDirectorySyncSkipped?: boolean;
  /** How far the clock is off. */
  readonly clockOffMs?: number;
}

const storageDir = process.env["STORAGE_DIR"] as string;
let plan: Plan = JSON.parse(process.env["FAULT_PLAN"] ?? "{}");
let counted = 0;

installFsShim((call): Verdict => {
  const path = pathOf(call);
  if (!path.startsWith(storageDir)) return undefined;
  const isHit = countAndCompare(call, path);
  if (isHit && plan.act !== undefined) {
    if (plan.act === "late" || plan.act === "short") return plan.act;
    if (!plan.act.startsWith("SIG")) return systemError(plan.act, call);
    process.kill(process.pid, plan.act);
  }
  if (plan.isFenceBlind && call.method === "renameSync" && path.includes("/.fence/")) return "blind";
  if (plan.isDirectorySyncSkipped && call.method === "fsync" && isDirectory(call.args[0] as number))
    return "skip";
  return undefined;
});

function countAndCompare({ method }: FsCall, path: string): boolean {
  if (plan.method !== undefined && plan.method !== method) return false;
  if (plan.path !== undefined && !path.includes(plan.path)) return false;
  counted += 1;
  if (plan.at === undefined) return false;
  return plan.isRepeated ? counted % plan.at === 0 : counted === plan.at;
}

process.on("message", (next: Plan) => {
  process.send?.(counted);
  plan = next;
  counted = 0;
});
process.on("disconnect", () => process.exit(1));

const RealDate = Date;
const now = () => RealDate.now() + (plan.clockOffMs ?? 0);
globalThis.Date = new Proxy(RealDate, {
  construct: (target, given) => Reflect.construct(target, given.length === 0 ? [now()] : given),
  get: (target, key) => (key === "now" ? now : Reflect.get(target, key)),
});

function pathOf({ args: [first] }: FsCall): string {
  if (typeof first !== "number") return String(first);
  try {
    return fs.readlinkSync(`/proc/self/fd/${first}`);
  } catch {
    return "";
  }
}

function isDirectory(fd: number): boolean {
  return fs.fstatSync(fd).isDirectory();
}
