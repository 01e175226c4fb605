import { createServer } from "node:http";
import { createNoopApp } from "./create-noop-app.ts";
import { listen } from "./listen.ts";

/** Express as everybody starts it. */
listen(createServer(createNoopApp()));
