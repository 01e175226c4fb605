import type { IncomingMessage } from "node:http";
import { quote } from "../counter/counter-name.ts";
import type { Metadata } from "../counter/store.ts";
import { HttpError } from "./problem.ts";
import { hasBody, readBody } from "./read-body.ts";

/** The largest body that is recorded. */
const maxMetadataBytes = 4_096;

/**
 * Reads what a request wants to be recorded: a JSON object, declared as JSON. Nothing for an empty body, even if it is
 * declared as JSON (the Go original's users send such), and for bodies of other types, which that ignored.
 *
 * Also for who wants no metadata: a request that broke off in its body must not take a number.
 *
 * @throws HttpError `invalid-metadata`, `body-too-large`, `bad-request`
 */
export async function readMetadata(req: IncomingMessage): Promise<Metadata | undefined> {
  if (!hasBody(req)) return undefined;
  const isJson = /^application\/(?:[^;\s]+\+)?json\s*(?:;|$)/i.test(req.headers["content-type"] ?? "");
  if (!isJson) {
    await readBody(req);
    return undefined;
  }
  const body = await readBody(req, maxMetadataBytes);
  if (body.trim() === "") return undefined;
  const metadata = parseJson(body);
  if (typeof metadata === "object" && metadata !== null && !Array.isArray(metadata))
    return metadata as Metadata;
  throw new HttpError("invalid-metadata", `expected a JSON object or an empty body, got ${quote(body)}`);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
