import { createServer } from "node:http";
import { listen } from "./listen.ts";

/** Bare `node:http` that answers every request alike: as fast as a Node server can be without doing anything. */
listen(createServer((_request, response) => response.end('{"bn":5}\n')));
