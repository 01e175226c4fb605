import type { AddressInfo } from "node:net";
import type { Server } from "node:http";

/** Listens on 127.0.0.1 at $PORT, and ends at SIGTERM without waiting for anybody. */
export function listen(server: Server): void {
  server.listen(Number(process.env["PORT"] ?? 0), "127.0.0.1", () => {
    console.log(`listening on port ${(server.address() as AddressInfo).port}`);
  });
  process.once("SIGTERM", () => process.exit(0));
}
