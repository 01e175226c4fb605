import type { StoreContext } from "../../src/counter/store.ts";

export interface LogLine {
  readonly level: "info" | "warn" | "error";
  readonly message: string;
}

/** What a store is opened with in tests: its log is kept in `lines`, and nothing is printed. */
export function silentContext(): StoreContext & { readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const keep = (level: LogLine["level"]) => (_details: object, message: string) => {
    lines.push({ level, message });
  };
  return {
    lines,
    log: { info: keep("info"), warn: keep("warn"), error: keep("error") },
    onFatal: (error) => {
      throw error;
    },
  };
}
