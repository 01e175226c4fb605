import { createServer, IncomingMessage, ServerResponse } from "node:http";
import { createNoopApp } from "./create-noop-app.ts";
import { listen } from "./listen.ts";

/**
 * The same Express app behind server classes that carry its prototypes. Express sets the prototype of every request and
 * response to `app.request` and `app.response`, which costs more than all the rest; here they have them from birth, so
 * that the call changes nothing.
 */
const app = createNoopApp();

class AppRequest extends IncomingMessage {}
class AppResponse extends ServerResponse {}
Object.setPrototypeOf(AppRequest.prototype, app.request);
Object.setPrototypeOf(AppResponse.prototype, app.response);
app.request = AppRequest.prototype as typeof app.request;
app.response = AppResponse.prototype as typeof app.response;

listen(createServer({ IncomingMessage: AppRequest, ServerResponse: AppResponse }, app));
