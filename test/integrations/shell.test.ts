import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "@jest/globals";
import { describeWithTools } from "../describe-unless-missing.ts";
import { run } from "../tools.ts";
import { describeClient } from "./client-contract.ts";

const { PATH = "" } = process.env;

const script = "integrations/shell/next-build-number.sh";
const uuid = "e9461f1c-ef78-4162-bcb7-e83da7287614";

describeClient("the shell script", [], async ({ server, uuid, caFile, build }) => {
  const { code, stdout, stderr } = await run(script, [server, uuid, ...(build ? [build] : [])], {
    env: { PATH, CURL_CA_BUNDLE: caFile },
  });
  return { ok: code === 0, number: stdout.replace(/\n$/, ""), message: stderr };
});

describeWithTools("the shell script, by itself", ["curl"], () => {
  /** A server that refuses the first `refusals` requests with `status`; tells the keys it was sent. */
  async function startRefusing({ refusals, status }: { refusals: number; status: number }) {
    const keys: (string | undefined)[] = [];
    const server = createServer((request, response) => {
      keys.push(request.headers["idempotency-key"] as string | undefined);
      response.statusCode = keys.length <= refusals ? status : 200;
      response.end(keys.length <= refusals ? "refused\n" : "7\n");
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return { url, keys, stop: () => server.close() };
  }

  test("asks again with a key, and sends the same key quoted", async () => {
    const { url, keys, stop } = await startRefusing({ refusals: 1, status: 503 });
    const { stdout } = await run(script, [url, uuid, String.raw`job "a" \ 1`]);
    stop();
    expect(stdout).toBe("7\n");
    const sent = String.raw`"job \"a\" \\ 1"`;
    expect(keys).toEqual([sent, sent]);
  });

  test("asks once without a key, since the first request may have taken a number", async () => {
    const { url, keys, stop } = await startRefusing({ refusals: 1, status: 503 });
    const { code, stdout, stderr } = await run(script, [url, uuid]);
    stop();
    expect({ code, stdout, keys }).toEqual({ code: 1, stdout: "", keys: [undefined] });
    expect(stderr).toContain("after 1 attempt(s): refused");
  });

  test("asks once when the request is at fault, key or not", async () => {
    const { url, keys, stop } = await startRefusing({ refusals: 1, status: 400 });
    const { code, stderr } = await run(script, [url, uuid, "key"]);
    stop();
    expect({ code, asked: keys.length }).toEqual({ code: 1, asked: 1 });
    expect(stderr).toContain("got 400: refused");
  });

  test("asks again with a key when the answer was cut off", async () => {
    let requests = 0;
    const server = createServer((request, response) => {
      requests += 1;
      if (requests === 1) request.socket.destroy();
      else response.end("8\n");
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const { stdout } = await run(script, [url, uuid, "key"]);
    server.close();
    expect({ stdout, requests }).toEqual({ stdout: "8\n", requests: 2 });
  });

  test.each([
    ["no arguments", []],
    ["four arguments", ["http://127.0.0.1", uuid, "key", "more"]],
    ["an empty server", ["", uuid]],
    ["an empty UUID", ["http://127.0.0.1", ""]],
    ["an empty key, as from an unset variable", ["http://127.0.0.1", uuid, ""]],
    ["a key of two lines", ["http://127.0.0.1", uuid, "a\nb"]],
    ["a key that is not ASCII", ["http://127.0.0.1", uuid, "Zürich"]],
    ["a key of 256 characters", ["http://127.0.0.1", uuid, "k".repeat(256)]],
  ])("refuses %s", async (_name, args) => {
    const { code, stdout, stderr } = await run(script, args);
    expect({ code, stdout }).toEqual({ code: 64, stdout: "" });
    expect(stderr).toContain("next-build-number: expected");
  });
});

describeWithTools("the shell script's text", ["shellcheck"], () => {
  test("has nothing that shellcheck objects to", async () => {
    expect(await run("shellcheck", ["--shell=sh", script])).toMatchObject({ code: 0, stdout: "" });
  });
});
