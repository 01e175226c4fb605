import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

/** What a fault proxy does to what it carries; everything may change at any time. */
export interface Faults {
  /** Bytes that the engine answers are thrown away: the request is done, its answer lost. */
  dropsReplies: boolean;
  /** Everything is held back, either way, until the proxy is mended; connections stay open and are still taken. */
  isStalled: boolean;
  /** How long each piece is held back on its way to the engine, in milliseconds. */
  delayMs: number;
}

/** A TCP proxy on 127.0.0.1 between a client and an engine, which spoils what it carries on demand. */
export class FaultProxy {
  readonly faults: Faults = { dropsReplies: false, isStalled: false, delayMs: 0 };
  /** What clients sent, piece by piece, as text: to see what came how often. */
  readonly requests: string[] = [];
  /** Called with each piece from a client before it is carried on: a fault can begin with a certain request. */
  onRequest: (text: string) => void = () => undefined;
  readonly #server;
  readonly #sockets = new Set<Socket>();
  readonly #held: (() => void)[] = [];

  private constructor(enginePort: number) {
    this.#server = createServer((client) => {
      const engine = connect(enginePort, "127.0.0.1");
      for (const [from, to, isRequest] of [
        [client, engine, true],
        [engine, client, false],
      ] as const) {
        this.#sockets.add(from);
        from.on("data", (data) => {
          if (isRequest) {
            this.requests.push(data.toString("latin1"));
            this.onRequest(data.toString("latin1"));
          }
          if (!isRequest && this.faults.dropsReplies) return;
          if (this.faults.isStalled) this.#held.push(() => to.write(data));
          else if (isRequest && this.faults.delayMs > 0)
            setTimeout(() => to.write(data), this.faults.delayMs);
          else to.write(data);
        });
        from.on("error", () => undefined);
        from.on("close", () => {
          this.#sockets.delete(from);
          to.destroy();
        });
      }
    });
  }

  /** @param port where it listens (default: a free port) */
  static async open(enginePort: number, port = 0): Promise<FaultProxy> {
    const proxy = new FaultProxy(enginePort);
    proxy.#server.listen(port, "127.0.0.1");
    await once(proxy.#server, "listening");
    return proxy;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  /** Cuts all connections; new ones are taken. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Carries everything faithfully again, what was held back first. */
  mend(): void {
    Object.assign(this.faults, { dropsReplies: false, isStalled: false, delayMs: 0 });
    for (const carry of this.#held.splice(0)) carry();
  }

  /** Refuses connections from now on; may be called twice. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    this.cut();
    await once(this.#server, "close");
  }
}
