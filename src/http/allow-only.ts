import type { RequestHandler } from "express";
import { HttpError } from "./problem.ts";

/** The end of a route: answers OPTIONS with the methods that the route takes, and refuses all others. */
export function allowOnly(...methods: string[]): RequestHandler {
  const allow = [...methods, "OPTIONS"].join(", ");
  return (req, res) => {
    if (req.method !== "OPTIONS") {
      throw new HttpError("method-not-allowed", `expected one of ${allow}, got ${req.method}`, [
        "Allow",
        allow,
      ]);
    }
    res.writeHead(204, ["Allow", allow, "Cache-Control", "no-store"]);
    res.end();
  };
}
