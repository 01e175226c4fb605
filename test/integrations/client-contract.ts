import { afterAll, beforeAll, expect, test } from "@jest/globals";
import { describeWithTools } from "../describe-unless-missing.ts";
import { startService, stopServices } from "../server/start-service.ts";
import { freePort } from "../tools.ts";
import { startTlsProxy, type TlsProxy } from "./tls-proxy.ts";
import { startWrongServer, wrongAnswers } from "./wrong-server.ts";

/** What one call of a client came to. */
export interface Asked {
  /** Whether the client reported success to the build that called it. */
  readonly ok: boolean;
  /** What the build got as its number: the text as it stands; empty when it got none. */
  readonly number: string;
  /** What the client said to people. */
  readonly message: string;
}

export interface Call {
  readonly server: string;
  readonly uuid: string;
  /** The authority to trust for TLS, beside none. */
  readonly caFile: string;
  /** Which build asks, where the test says so: clients that send a key make it of this. */
  readonly build?: string;
}

const uuid = "e9461f1c-ef78-4162-bcb7-e83da7287614";

/**
 * What every client has to keep: it hands out the service's numbers, over plain HTTP and through a TLS proxy with a
 * path prefix, and fails loudly in whatever else happens: never 0, never an empty number.
 *
 * @param sendsKeys whether it names the build that asks (default true)
 */
export function describeClient(
  name: string,
  programs: readonly string[],
  ask: (call: Call) => Promise<Asked>,
  { sendsKeys = true } = {},
) {
  describeWithTools(name, [...programs, "curl", "caddy"], () => {
    let url: string;
    let proxy: TlsProxy;
    let wrong: Awaited<ReturnType<typeof startWrongServer>>;

    beforeAll(async () => {
      url = await (await startService()).url();
      [proxy, wrong] = await Promise.all([startTlsProxy(url), startWrongServer()]);
    });
    afterAll(async () => {
      await Promise.all([stopServices(), proxy?.stop(), wrong?.stop()]);
    });

    const call = (server: string, id = uuid) => ask({ server, uuid: id, caFile: proxy.caFile });
    const last = async () => ((await (await fetch(`${url}/${uuid}`)).json()) as { bn?: number }).bn ?? 0;
    const expectFailure = ({ ok, number, message }: Asked) => {
      expect({ ok, number }).toEqual({ ok: false, number: "" });
      expect(message).not.toBe("");
    };

    test("gets the next number, with and without a slash at the end of the server's address", async () => {
      const before = await last();
      expect(await call(url)).toMatchObject({ ok: true, number: String(before + 1) });
      expect(await call(`${url}/`)).toMatchObject({ ok: true, number: String(before + 2) });
    });

    if (sendsKeys) {
      test("gets one number for one build, however often it asks, and another for the next", async () => {
        const before = await last();
        const numbers = [];
        for (const build of ["7200", "7200", "7201", "7200"]) {
          numbers.push((await ask({ server: url, uuid, caFile: proxy.caFile, build })).number);
        }
        expect(numbers).toEqual([1, 1, 2, 1].map((more) => String(before + more)));
      });
    }

    test("gets it through a TLS proxy that strips a prefix", async () => {
      const before = await last();
      expect(await call(proxy.url)).toMatchObject({ ok: true, number: String(before + 1) });
      expect(await call(`${proxy.url}/`)).toMatchObject({ ok: true, number: String(before + 2) });
    });

    test("takes a UUID in braces as it is", async () => {
      const before = await last();
      expect(await call(url, `{${uuid}}`)).toMatchObject({ ok: true, number: String(before + 1) });
    });

    test("fails when TLS cannot be trusted", async () => {
      const before = await last();
      expectFailure(await ask({ server: proxy.url, uuid, caFile: "/dev/null" }));
      expect(await last()).toBe(before);
    });

    test("fails on a redirect, which might turn its POST into a GET", async () => {
      const before = await last();
      expectFailure(await call(proxy.plainUrl));
      expect(await last()).toBe(before);
    });

    test("fails when the id is no UUID", async () => {
      expectFailure(await call(url, "not-a-uuid"));
    });

    test("fails when nobody listens", async () => {
      expectFailure(await call(`http://127.0.0.1:${await freePort()}`));
    });

    test("never takes a part of an answer for a number, nor two parts together", async () => {
      const { ok, number, message } = await call(`${wrong.url}/cut`);
      // With a key it may ask again; then the whole answer counts.
      if (ok) expect(number).toBe("12");
      else expectFailure({ ok, number, message });
    });

    test.each(Object.keys(wrongAnswers))("fails when the answer is no number: %s", async (kind) => {
      expectFailure(await call(`${wrong.url}/${kind}`));
    });
  });
}
