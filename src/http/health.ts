import type { Application } from "express";
import type { Counters } from "../counter/counters.ts";
import { allowOnly } from "./allow-only.ts";
import { servicePaths } from "./fixed-paths.ts";
import { jsonType, send } from "./send.ts";

export const livenessPath = servicePaths.liveness;
export const alive = '{"status":"alive"}\n';

/**
 * Adds the two probes. `GET /healthz`: the process lives, always 200. `GET /readyz`: 200 when the next increment can be
 * committed, else 503 (the store is being opened, has failed or is full, or the service is stopping).
 */
export function addHealth(app: Application, counters: Counters): void {
  // Probes that come together share one check: asking how the store is must never become its load.
  let checking: Promise<void> | undefined;
  const check = () => {
    checking ??= counters.check().finally(() => {
      checking = undefined;
    });
    return checking;
  };

  app
    .route(livenessPath)
    .get((_req, res) => send(res, 200, jsonType, alive))
    .all(allowOnly("GET", "HEAD"));
  app
    .route(servicePaths.readiness)
    .get(async (_req, res) => {
      await check();
      send(res, 200, jsonType, '{"status":"ready"}\n');
    })
    .all(allowOnly("GET", "HEAD"));
}
