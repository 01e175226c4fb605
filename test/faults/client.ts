import { connect, type Socket } from "node:net";
import type { History } from "./history.ts";

/** What a caller got. Times are milliseconds of `performance.now()`. */
export interface Answer {
  /** The HTTP status; undefined when the connection broke. */
  readonly status: number | undefined;
  /** The number, for 200. */
  readonly number: number | undefined;
  readonly code: string | undefined;
  /** What an error says; undefined when the connection broke. */
  readonly detail: string | undefined;
  /** Whether an error says that it used up its number. */
  readonly isConsumed: boolean;
  /** Whether the number was that of the request's key before. */
  readonly isReplay: boolean;
  /** Whether it ever had a connection: without one it took nothing for sure. */
  readonly isSent: boolean;
  readonly start: number;
  readonly end: number;
}

interface Pending {
  readonly start: number;
  readonly resolve: (answer: Answer) => void;
}

/**
 * One connection to a service, with any number of requests in flight (HTTP pipelining: answers come in order). It
 * connects again when the connection broke.
 */
export class Client {
  readonly #port: () => number | undefined;
  #socket: Socket | undefined;
  #pending: Pending[] = [];
  #received = "";

  /** @param port asked for whenever it connects; undefined while nobody listens */
  constructor(port: () => number | undefined) {
    this.#port = port;
  }

  /** Takes a number, with a key or without, and notes in the history what came of it. */
  async take(counter: string, history: History, key?: string): Promise<Answer> {
    const answer = await this.request("POST", counter, "", key);
    const { start, end, status, number, isReplay, detail } = answer;
    if (number === undefined) {
      if (answer.isSent) history.addFailure(counter, start, end, { reason: detail, key });
    } else if (key === undefined) history.addAnswer(counter, start, end, number);
    else history.addKeyedAnswer(counter, { key, number, isReplay }, answer);
    if (status !== undefined && status !== 200 && status !== 503)
      history.addOddAnswer(counter, `${status} ${detail}`);
    return answer;
  }

  /** The last number issued; undefined when the counter was never used, or there was an error. */
  async peek(counter: string): Promise<number | undefined> {
    return (await this.request("GET", counter)).number;
  }

  set(counter: string, value: number, { force = false } = {}): Promise<Answer> {
    return this.request("PUT", force ? `${counter}?force=true` : counter, `{"bn":${value}}`);
  }

  async request(method: string, target: string, body = "", key?: string): Promise<Answer> {
    const start = performance.now();
    const socket = this.#connected();
    if (socket === undefined) return unanswered(start, false);
    const keyLine = key === undefined ? "" : `Idempotency-Key: "${key}"\r\n`;
    return new Promise((resolve) => {
      this.#pending.push({ start, resolve });
      socket.write(
        `${method} /${target} HTTP/1.1\r\nHost: test\r\n${keyLine}Content-Length: ${body.length}\r\n\r\n${body}`,
      );
    });
  }

  close(): void {
    this.#socket?.destroy();
  }

  #connected(): Socket | undefined {
    if (this.#socket && !this.#socket.destroyed) return this.#socket;
    const port = this.#port();
    if (port === undefined) return undefined;
    const socket = connect({ port, host: "127.0.0.1", noDelay: true });
    const pending: Pending[] = [];
    let isSent = false;
    socket.on("connect", () => {
      isSent = true;
    });
    this.#pending = pending;
    this.#received = "";
    this.#socket = socket;
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => this.#receive(pending, text));
    // A broken connection is an answer like any other here.
    socket.on("error", () => {});
    socket.on("close", () => {
      for (const { start, resolve } of pending.splice(0)) resolve(unanswered(start, isSent));
    });
    return socket;
  }

  #receive(pending: Pending[], text: string): void {
    const end = performance.now();
    this.#received += text;
    let at = 0;
    for (;;) {
      const headEnd = this.#received.indexOf("\r\n\r\n", at);
      if (headEnd < 0) break;
      const head = this.#received.slice(at, headEnd);
      const length = Number(/^content-length: (\d+)$/im.exec(head)?.[1]);
      if (this.#received.length < headEnd + 4 + length) break;
      const body = this.#received.slice(headEnd + 4, headEnd + 4 + length);
      at = headEnd + 4 + length;
      const { start, resolve } = pending.shift() as Pending;
      const { bn, code, detail, consumed } = JSON.parse(body);
      const status = Number(head.slice(9, 12));
      const isReplay = /^idempotency-replayed:/im.test(head);
      const isConsumed = consumed === true;
      resolve({ status, number: bn, code, detail, isConsumed, isReplay, isSent: true, start, end });
    }
    this.#received = this.#received.slice(at);
  }
}

function unanswered(start: number, isSent: boolean): Answer {
  return {
    status: undefined,
    number: undefined,
    code: undefined,
    detail: undefined,
    isConsumed: false,
    isReplay: false,
    isSent,
    start,
    end: performance.now(),
  };
}
