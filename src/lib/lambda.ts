/**
 * `buildnumber/lambda`: the whole HTTP app as an AWS Lambda function on DynamoDB, for API Gateway (REST and HTTP APIs) and
 * function URLs. It also keeps the contract of function61/lambda-atomic-counter for events and paths that it does not know.
 */
import type { RequestListener } from "node:http";
import type { RequestHandler } from "express";
import serverless from "serverless-http";
import { readConfig } from "../config.ts";
import { Counters } from "../counter/counters.ts";
import { createApp } from "../http/app.ts";
import { sendUnknownPath } from "../http/dialects/lambda-atomic-counter.ts";
import { createLog } from "../log.ts";
import { openStore } from "../store/open-store.ts";
import { OpeningStore } from "../store/opening-store.ts";

/** An event of a REST API (v1, with `httpMethod`), or of an HTTP API or function URL (v2); the rest is the adapter's. */
interface HttpEvent {
  readonly httpMethod?: string;
  readonly path?: string;
  readonly rawPath?: string;
  readonly headers?: Readonly<Record<string, string>> | null;
  readonly body?: string | null;
  readonly requestContext?: {
    readonly stage?: string;
    readonly identity?: { readonly sourceIp?: string };
    readonly http?: { readonly method: string };
  } | null;
}

export interface LambdaAnswer {
  readonly statusCode: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: string;
}

type Handler = (event: object, context: object) => Promise<LambdaAnswer>;

let made: Promise<Handler> | undefined;

/**
 * Answers one HTTP event. Settings are those of the server, from the environment, but that the store is DynamoDB. It is
 * opened by the first event, and kept for those that follow.
 */
export async function handler(event: unknown, context?: unknown): Promise<LambdaAnswer> {
  const request = toRequest((event ?? {}) as HttpEvent);
  if (request === undefined) {
    return {
      statusCode: 400,
      headers: { "content-type": "application/json", "cache-control": "no-store" },
      body: '{"error_code":"unsupported_event"}',
    };
  }
  made ??= createHandler();
  const handle = await made;
  return handle(request, (context ?? {}) as object);
}

async function createHandler(): Promise<Handler> {
  const config = readConfig(undefined, { STORE: "dynamodb" });
  const log = await createLog(config.logLevel);
  const store = new OpeningStore();
  const counters = new Counters(store, { createCounters: config.createCounters });
  const { logRequests, dialects, rootDialect } = config;
  const unknownPath: RequestHandler = (_req, res) => sendUnknownPath(res);
  const app = createApp(counters, { log, logRequests, dialects, rootDialect, unknownPath });
  const handle = serverless(withPlainHeaders(app)) as Handler;

  let opening: Promise<void> | undefined;
  return async (event, context) => {
    // Until the store is open, each event tries anew; the app answers that it is not.
    opening ??= store.adopt(openStore(config, { log, onFatal: () => {} })).catch((error) => {
      opening = undefined;
      log.error({ err: error }, "the store could not be opened");
    });
    await opening;
    return handle(event, context);
  };
}

/** The adapter reads headers that were set one by one, while the app writes them all at once. */
function withPlainHeaders(app: RequestListener): RequestListener {
  return (req, res) => {
    const writeHead = res.writeHead.bind(res);
    res.writeHead = (status: number, headers?: unknown) => {
      const list = headers as readonly string[];
      for (let at = 0; at < list.length; at += 2) res.setHeader(list[at] as string, list[at + 1] as string);
      return writeHead(status);
    };
    app(req, res);
  };
}

/**
 * What the adapter takes: it does without nothing that API Gateway may leave out.
 *
 * @returns undefined for what is no HTTP event
 */
function toRequest(event: HttpEvent): object | undefined {
  const { requestContext, headers } = event;
  const common = { ...event, headers: headers ?? {}, body: event.body ?? "" };
  if (requestContext?.http) {
    // The path of an HTTP API begins with its stage, unless that is the default one.
    const stage = `/${requestContext.stage}`;
    const path = event.rawPath ?? "/";
    const rawPath = path === stage || path.startsWith(`${stage}/`) ? path.slice(stage.length) || "/" : path;
    return { ...common, version: "2.0", rawPath };
  }
  if (event.httpMethod === undefined) return undefined;
  return { ...common, requestContext: { identity: {}, ...requestContext } };
}
