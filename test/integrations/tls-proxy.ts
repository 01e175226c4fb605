import { spawn } from "node:child_process";
import { once } from "node:events";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { accepts, freePort } from "../tools.ts";

const { PATH = "" } = process.env;

/** A reverse proxy in front of a service: TLS, a path prefix that it strips, and plain HTTP that it redirects. */
export interface TlsProxy {
  /** `https://localhost:…/buildnumber` */
  readonly url: string;
  /** The same with a user and password asked for: `https://localhost:…/guarded`, user `jenkins`, password `a"b\c`. */
  readonly guardedUrl: string;
  /** `http://localhost:…/buildnumber`, which answers 302 to `url`. */
  readonly plainUrl: string;
  /** The certificate of the authority that signed the proxy's. */
  readonly caFile: string;
  stop(): Promise<void>;
}

/** Of `a"b\c`, by `caddy hash-password`. */
const passwordHash = "$2a$14$IqVJ5TjWhpmj93pj9ZWBYufqJ9B9faseYiRFm/957noXpP1M0axsO";

/** Debian's caddy before the service at a URL. */
export async function startTlsProxy(serviceUrl: string): Promise<TlsProxy> {
  const dir = await mkdtemp(join(tmpdir(), "caddy-"));
  const [tlsPort, plainPort] = [await freePort(), await freePort()];
  const url = `https://localhost:${tlsPort}/buildnumber`;
  await writeFile(
    join(dir, "Caddyfile"),
    `{
      admin off
      skip_install_trust
      auto_https disable_redirects
      storage file_system ${dir}
    }
    https://localhost:${tlsPort} {
      tls internal
      handle_path /buildnumber/* {
        reverse_proxy ${serviceUrl}
      }
      handle_path /guarded/* {
        basicauth {
          jenkins ${passwordHash}
        }
        reverse_proxy ${serviceUrl}
      }
    }
    http://localhost:${plainPort} {
      redir https://localhost:${tlsPort}{uri} 302
    }`,
  );
  const child = spawn("caddy", ["run", "--config", join(dir, "Caddyfile"), "--adapter", "caddyfile"], {
    env: { PATH, HOME: dir },
    stdio: "ignore",
  });
  const caFile = join(dir, "pki/authorities/local/root.crt");
  for (let attempt = 0; !((await exists(caFile)) && (await accepts(tlsPort))); attempt += 1) {
    if (attempt === 400) throw new Error("expected caddy to serve within 20 s");
    await sleep(50);
  }
  return {
    url,
    guardedUrl: `https://localhost:${tlsPort}/guarded`,
    plainUrl: `http://localhost:${plainPort}/buildnumber`,
    caFile,
    async stop() {
      if (child.exitCode === null) {
        const gone = once(child, "exit");
        child.kill("SIGTERM");
        await gone;
      }
      await rm(dir, { recursive: true, force: true });
    },
  };
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}
