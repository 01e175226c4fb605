import { createServer } from "node:http";
import { createClient } from "redis";
import { listen } from "./listen.ts";

/**
 * The least that a Node service on Redis can do: INCR of the path. node-redis pipelines by itself the commands that one
 * turn of the event loop brings, and Redis syncs once for all that one turn of its own brings.
 */
const { REDIS_PORT } = process.env;
const redis = createClient({ url: `redis://127.0.0.1:${REDIS_PORT}` });
redis.on("error", (error) => {
  console.error(error);
  process.exit(1);
});
await redis.connect();

listen(
  createServer((request, response) => {
    redis.incr((request.url as string).slice(1)).then(
      (value) => response.end(`{"bn":${value}}\n`),
      (error: Error) => response.writeHead(503).end(error.message),
    );
  }),
);
