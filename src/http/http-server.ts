import { once } from "node:events";
import http, { type IncomingMessage, type ServerOptions, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import type { Express, Request, Response } from "express";
import { CounterError } from "../counter/errors.ts";
import { alive, livenessPath } from "./health.ts";
import { HttpError, sendProblem, toJson, toProblem } from "./problem.ts";
import { jsonType, send } from "./send.ts";

export interface HttpLimits {
  /** The time in which the request line and headers must have come. */
  readonly headersTimeoutMs: number;
  /** The time in which the whole request must have come. */
  readonly requestTimeoutMs: number;
  /** The size of request line and headers together. */
  readonly maxHeaderBytes: number;
  /** How long an idle connection stays open: longer than the minute after which proxies give theirs up. */
  readonly keepAliveTimeoutMs: number;
}

export const httpLimits: HttpLimits = {
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 15_000,
  maxHeaderBytes: 8_192,
  keepAliveTimeoutMs: 65_000,
};

/** How often Node looks for requests that are overdue. */
const timeoutCheckMs = 1_000;
/** How often a stopping server looks for connections that have become idle. */
const idleCheckMs = 50;

export interface HttpServer {
  /**
   * Starts to listen.
   *
   * @param port 0 … 65535; 0 takes any free one
   * @param host all interfaces when undefined
   * @returns the URL under which the server listens
   * @throws Error with one clear sentence when the port is taken or may not be used
   */
  listen(port: number, host?: string): Promise<string>;
  /**
   * Takes no more connections, answers the requests that have come already, refuses with `stopping` those that still
   * come on open connections, and closes each connection when it is idle.
   *
   * @param timeoutMs after which the connections that are left are cut
   * @returns whether all requests were answered
   */
  close(timeoutMs: number): Promise<boolean>;
}

/** The HTTP server around an app: limits, timeouts, answers to what is no valid request, and a graceful end. */
export function createHttpServer(app: Express, limits: HttpLimits = httpLimits): HttpServer {
  /** Every open connection, with the response to its latest request. */
  const latest = new Map<Socket, ServerResponse | undefined>();

  const server = http.createServer(
    {
      ...messageClasses(app),
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: Math.min(timeoutCheckMs, limits.headersTimeoutMs),
      maxHeaderSize: limits.maxHeaderBytes,
      keepAliveTimeout: limits.keepAliveTimeoutMs,
      // Node's own answer to a request without Host is bare; ours is a problem document.
      requireHostHeader: false,
    },
    handle,
  );
  // Any other expectation than 100-continue would get a bare 417; RFC 9110 lets a server ignore it.
  server.on("checkExpectation", handle);
  server.on("connection", (socket: Socket) => {
    latest.set(socket, undefined);
    socket.on("close", () => latest.delete(socket));
  });
  server.on("clientError", (error: NodeJS.ErrnoException, socket: Socket) => {
    refuseUnparsable(error, socket, latest.get(socket));
  });

  function handle(req: IncomingMessage, res: ServerResponse): void {
    latest.set(req.socket, res);
    if (req.headers.host === undefined && req.httpVersion === "1.1") {
      sendProblem(req as Request, res as Response, new HttpError("bad-request", "expected a Host header"));
      return;
    }
    app(req as Request, res as Response, (error?: unknown) => {
      // The router sees no path at all in a target like "tel:1".
      const noPath = new HttpError("not-found", "expected a request target with a path");
      sendProblem(req as Request, res as Response, error ?? noPath);
    });
  }

  return {
    async listen(port, host) {
      server.listen({ port, ...(host !== undefined && { host }) });
      try {
        await once(server, "listening");
      } catch (error) {
        throw new Error(describeListenError(error as NodeJS.ErrnoException, port, host), { cause: error });
      }
      const { address, family, port: actualPort } = server.address() as AddressInfo;
      return `http://${family === "IPv6" ? `[${address}]` : address}:${actualPort}`;
    },

    async close(timeoutMs) {
      const closed = once(server, "close");
      server.close();
      server.removeAllListeners("request").on("request", refuseNewcomer);
      server.removeAllListeners("checkExpectation").on("checkExpectation", refuseNewcomer);
      for (const [socket, response] of latest) {
        if (response) response.shouldKeepAlive = false;
        // Opened ahead of need, as browsers do: Node does not count it as idle, and it could hold up the end.
        else if (socket.bytesRead === 0) socket.destroy();
      }

      let isWhole = true;
      const timer = setTimeout(() => {
        isWhole = false;
        server.closeAllConnections();
      }, timeoutMs);
      // Node closes the connections that are idle at this moment, but not those that become so a moment later.
      const sweeper = setInterval(() => server.closeIdleConnections(), idleCheckMs);
      await closed;
      clearTimeout(timer);
      clearInterval(sweeper);
      return isWhole;
    },
  };
}

/**
 * Message classes whose prototypes are those that Express gives each request and response. Its `Object.setPrototypeOf`
 * then changes nothing; otherwise it costs more than all the rest of Express, for it makes a slow object of every one.
 *
 * They are classes, and the app takes its prototypes from them, not the other way round: V8 gives an instance of a
 * derived class room for all the fields of its base, while one of a plain function that borrows a prototype outgrows its
 * room again and again (measured: a third of the whole request).
 */
function messageClasses(app: Express): ServerOptions {
  class AppRequest extends http.IncomingMessage {}
  class AppResponse extends http.ServerResponse {}
  app.request = Object.setPrototypeOf(AppRequest.prototype, app.request);
  app.response = Object.setPrototypeOf(AppResponse.prototype, app.response);
  return { IncomingMessage: AppRequest, ServerResponse: AppResponse as typeof ServerResponse };
}

/** What a request gets that comes in, on a connection still open, after the service began to stop. */
function refuseNewcomer(req: IncomingMessage, res: ServerResponse): void {
  res.shouldKeepAlive = false;
  if (req.url === livenessPath) send(res, 200, jsonType, alive);
  else {
    const stopping = new CounterError("stopping", "expected a running service, but it is stopping");
    sendProblem(req as Request, res as Response, stopping);
  }
}

/**
 * Answers what the parser could not read, and closes the connection.
 *
 * The answer must never be taken for that to another request on the same connection, one that took a number.
 *
 * @param response to the latest request on this connection, if there was one
 */
function refuseUnparsable(
  error: NodeJS.ErrnoException,
  socket: Socket,
  response: ServerResponse | undefined,
): void {
  const refusal = toHttpError(error);
  if (refusal === undefined || !socket.writable) socket.destroy();
  else if (response === undefined || response.writableFinished) end(socket, refusal);
  // A whole request waits for its answer; what could not be read came behind it.
  else if (response.req.complete) response.once("finish", () => end(socket, refusal));
  else if (!response.headersSent) {
    response.shouldKeepAlive = false;
    sendProblem(response.req as Request, response as Response, refusal);
  }
}

/** undefined when the connection itself failed, and there is nobody to answer. */
function toHttpError({ code = "" }: NodeJS.ErrnoException): HttpError | undefined {
  if (code === "ERR_HTTP_REQUEST_TIMEOUT") {
    return new HttpError("request-timeout", "expected the whole request in time, got a part of it");
  }
  if (code === "HPE_HEADER_OVERFLOW") {
    return new HttpError("headers-too-large", "expected a smaller request line and headers");
  }
  if (code.startsWith("HPE_")) return new HttpError("bad-request", "expected a valid HTTP request");
  return undefined;
}

function end(socket: Socket, error: HttpError): void {
  if (socket.writableEnded) return;
  const problem = toProblem(error);
  const body = toJson(problem);
  socket.write(
    [
      `HTTP/1.1 ${problem.status} ${problem.title}`,
      `Date: ${new Date().toUTCString()}`,
      "Content-Type: application/problem+json",
      "Cache-Control: no-store",
      `Content-Length: ${Buffer.byteLength(body)}`,
      "Connection: close",
      "",
      body,
    ].join("\r\n"),
  );
  socket.destroySoon();
}

function describeListenError(error: NodeJS.ErrnoException, port: number, host = "all interfaces"): string {
  switch (error.code) {
    case "EADDRINUSE":
      return `expected port ${port} on ${host} to be free, but something listens there already (PORT, HOST)`;
    case "EACCES":
      return `expected permission to listen on port ${port}, but the system refused it (PORT)`;
    case "EADDRNOTAVAIL":
    case "ENOTFOUND":
      return `expected an address of this machine to listen on, got ${host} (HOST)`;
    default:
      return `expected to listen on port ${port} of ${host}, but the system refused it: ${error.code} (PORT, HOST)`;
  }
}
