import type { Request } from "express";

const offers = ["application/json", "text/plain", "application/problem+json"];

/**
 * Whether the caller would rather have plain text than JSON, by the quality values of its Accept header; in the order of
 * that header where these are equal. Without a preference it is JSON; who accepts neither gets JSON as well.
 */
export function wantsText(req: Request): boolean {
  const accept = req.headers.accept;
  // What curl, fetch and most clients send: no need to weigh anything.
  if (accept === undefined || accept === "*/*" || accept === "application/json") return false;
  return req.accepts(offers) === "text/plain";
}
