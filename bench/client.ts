import { connect } from "node:net";

/** One answer to what `ask` asked. */
export interface Answer {
  /** The number, or undefined for any answer but 200 with a number. */
  readonly bn: number | undefined;
  /** Which of the URLs answered. */
  readonly process: number;
}

export interface AskOptions {
  readonly method?: "GET" | "POST";
  /** In all, dealt out over the URLs in turn; each has one request under way. */
  readonly connections: number;
  /** The path of the next request; undefined ends the connection that asks. */
  readonly nextPath: () => string | undefined;
  readonly onAnswer: (answer: Answer) => void;
}

/**
 * A small load client that shows every answer, which wrk does not at this speed. It reads only what our servers write: one
 * answer at a time, with a Content-Length.
 *
 * @returns when all connections have ended
 * @throws the system's error when a connection breaks
 */
export async function ask(
  urls: readonly string[],
  { method = "POST", connections, nextPath, onAnswer }: AskOptions,
) {
  await Promise.all(
    Array.from({ length: connections }, (_, n) => {
      const process = n % urls.length;
      const nextRequest = () => {
        const path = nextPath();
        return path && `${method} ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`;
      };
      return askOnOneConnection(new URL(urls[process] as string), nextRequest, (bn) =>
        onAnswer({ bn, process }),
      );
    }),
  );
}

function askOnOneConnection(
  { hostname, port }: URL,
  nextRequest: () => string | undefined,
  onAnswer: (bn: number | undefined) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname).setNoDelay().setEncoding("latin1");
    let received = "";
    const send = () => {
      const request = nextRequest();
      if (request === undefined) socket.end();
      else socket.write(request);
    };
    socket.on("connect", send);
    socket.on("data", (chunk: string) => {
      received += chunk;
      const head = received.indexOf("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(received)?.[1]);
      if (head === -1 || received.length < head + 4 + length) return;
      onAnswer(parseNumber(received, head + 4));
      received = "";
      send();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve());
  });
}

function parseNumber(received: string, bodyAt: number): number | undefined {
  if (!received.startsWith("HTTP/1.1 200")) return undefined;
  const bn = /^\{"bn":(\d+)\}/.exec(received.slice(bodyAt))?.[1];
  return bn === undefined ? undefined : Number(bn);
}

/** The n-th of the counters that the bench uses. */
export function counterName(n: number): string {
  return `${n.toString(16).padStart(8, "0")}-0000-4000-8000-000000000000`;
}
