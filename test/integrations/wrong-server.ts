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
  jsonZero: '{"bn":0}\n',
  jsonBeyond: '{"bn":12345678901234567890}\n',
} as const;

/**
 * A server that is not the service, at `{url}/{one of wrongAnswers}/…`. At `{url}/cut/…` every other answer, the first
 * one too, is cut off within the number 12. Whatever else is asked gets 404.
 */
export async function startWrongServer(): Promise<{ url: string; stop(): Promise<void> }> {
  let cuts = 0;
  const server = createServer((request, response) => {
    const kind = request.url?.split("/")[1] as keyof typeof wrongAnswers | "cut";
    if (kind === "cut") {
      const [begin, end] = request.headers.accept === "text/plain" ? ["1", "2\n"] : ['{"bn":1', "2}\n"];
      response.setHeader("Content-Length", begin.length + end.length);
      cuts += 1;
      if (cuts % 2 === 0) response.end(begin + end);
      else response.write(begin, () => request.socket.end());
      return;
    }
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
