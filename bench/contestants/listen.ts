import type { Server } from "node:http";
import type { AddressInfo } from "node:net";

/** Listens on 127.0.0.1 at $PORT, and ends at SIGTERM without waiting for anybody. */
export function listen(server: Server): void {
  const { PORT = "0" } = process.env;
  server.listen(Number(PORT), "127.0.0.1", () => {
    console.log(`listening on port ${(server.address() as AddressInfo).port}`);
  });
  process.once("SIGTERM", () => process.exit(0));
}
