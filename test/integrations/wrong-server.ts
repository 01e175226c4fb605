import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

/** Answers of status 200 that are no build number, by the path that gives them. */
export const wrongAnswers = {
  empty: "",
  zero: "0\n",
  negative: "-1\n",
  page: "<html>Please log in</html>\n",
  fraction: "1.5\n",
  beyond: "12345678901234567890\n",
} as const;

/** A server that is not the service, at `{url}/{one of wrongAnswers}/…`; whatever else is asked gets 404. */
export async function startWrongServer(): Promise<{ url: string; stop(): Promise<void> }> {
  const server = createServer((request, response) => {
    const kind = request.url?.split("/")[1] as keyof typeof wrongAnswers;
    response.statusCode = kind in wrongAnswers ? 200 : 404;
    response.end(wrongAnswers[kind] ?? "not found\n");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async stop() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}
