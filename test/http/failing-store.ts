import type { Store } from "../../src/counter/store.ts";

/** A store of which every call fails alike, as no disk can be made to on command. */
export function failingStore(error: Error): Store {
  const fail = () => Promise.reject(error);
  return {
    description: "fails",
    commit: fail,
    peek: fail,
    set: fail,
    record: fail,
    records: fail,
    check: fail,
    close: async () => {},
  };
}
