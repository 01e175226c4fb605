import type { IncomingMessage } from "node:http";

/** The query of a request, decoded; undefined when it has none. */
export function queryOf({ url = "" }: Pick<IncomingMessage, "url">): URLSearchParams | undefined {
  const at = url.indexOf("?");
  return at === -1 ? undefined : new URLSearchParams(url.slice(at + 1));
}
