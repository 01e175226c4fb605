import { type Logger, pino } from "pino";

/** The log of the process, on standard output: JSON, or readable lines when that is a terminal. */
export async function createLog(level: string): Promise<Logger> {
  if (!process.stdout.isTTY) return pino({ level });
  const { default: pretty } = await import("pino-pretty");
  return pino({ level }, pretty({ sync: true, ignore: "pid,hostname" }));
}
