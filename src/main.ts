import { ConfigError, readConfig } from "./config.ts";
import { CounterError } from "./counter/errors.ts";
import { createLog } from "./log.ts";
import { startServer } from "./server.ts";

try {
  await main();
} catch (error) {
  // A refusal to start is a sentence for the operator; whatever else ends up here is a bug, and needs its stack.
  const isRefusal =
    error instanceof ConfigError ||
    error instanceof CounterError ||
    (error instanceof Error && error.name === "Error");
  if (!isRefusal) throw error;
  refuse(error.message);
}

async function main(): Promise<void> {
  if (process.platform === "win32") {
    refuse("expected Linux or macOS: on Windows a file cannot be replaced while somebody reads it");
  }
  const config = readConfig();
  const log = await createLog(config.logLevel);
  // One line of the log in place of several on standard error, which are Node's own way.
  process.removeAllListeners("warning").on("warning", ({ name, message }) => {
    log.warn({}, `${name}: ${message.replace(/\s+/g, " ")}`);
  });
  process.on("uncaughtException", (error) => {
    log.fatal({ err: error }, "unexpected error; the service ends");
    process.exit(1);
  });

  let isStopping = false;
  const server = await startServer(config, { log, onFatal: () => void stop(1) });
  async function stop(exitCode: number): Promise<void> {
    isStopping = true;
    // A store that fails while a signal's drain goes on must still show in the exit code.
    process.exitCode = exitCode;
    await server.close();
    process.exit();
  }
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    process.on(signal, () => {
      if (isStopping) process.exit(1);
      log.info({}, `stopping on ${signal}; a second signal ends the service at once`);
      void stop(0);
    });
  }
  const storing = await server.opened;
  log.info({ url: server.url }, `listening on ${server.url}, storing in ${storing}`);
}

function refuse(sentence: string): never {
  process.stderr.write(`buildnumber: ${sentence}\n`);
  process.exit(1);
}
