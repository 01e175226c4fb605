import type { ServerResponse } from "node:http";

export const jsonType = "application/json; charset=utf-8";
export const textType = "text/plain; charset=utf-8";

/**
 * Writes a whole answer: one head, one write. Every answer of the service goes out here (but for those to requests that
 * could not be parsed), so none lacks `Cache-Control: no-store`. A HEAD request gets the head alone, as Node sees to.
 *
 * @param headers more headers, names and values in turn
 */
export function send(
  res: ServerResponse,
  status: number,
  type: string,
  body: string,
  headers: readonly string[] = [],
): void {
  const length = Buffer.byteLength(body);
  res.writeHead(status, [
    "Content-Type",
    type,
    "Cache-Control",
    "no-store",
    "Content-Length",
    String(length),
    ...headers,
  ]);
  res.end(body);
}
