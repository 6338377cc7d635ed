/** A real server on loopback that gives prepared answers. */

import { createServer } from "node:http";
import { text } from "node:stream/consumers";

/** @typedef {{ status?: number, headers?: Record<string, string>, body?: unknown }} Answer */
/** @typedef {(request: import("node:http").IncomingMessage) => Answer | Promise<Answer>} Answering */

/** The answer of a connection that ends without a response. */
export const CUT = Symbol("cut");
/** The answer of a server that never responds. */
export const SILENCE = Symbol("silence");
export const STORED = { body: { status: "success", message: "Stored", feedback_id: "f-1", version: 1 } };

/**
 * Starts a server that gives the answers in order, one for each request, until the test ends. A function answers all
 * requests.
 *
 * @param {import("node:test").TestContext} t
 * @param {...(Answer | Answering | typeof CUT | typeof SILENCE)} answers
 */
export const serve = async (t, ...answers) => {
  /** @type {{ method?: string, url?: string, headers: import("node:http").IncomingHttpHeaders, body: string }[]} */
  const requests = [];
  const server = createServer(async (request, response) => {
    const { method, url, headers } = request;
    const body = await text(request);
    requests.push({ method, url, headers, body });
    const [first] = answers;
    const answer = typeof first === "function" ? await first(request) : answers.shift() ?? { status: 500, body: { detail: "More requests than answers" } };
    if (answer === SILENCE) return;
    if (answer === CUT) return void request.socket.destroy();
    const { status = 200, headers: more = {}, body: content = "" } = /** @type {Answer} */ (answer);
    response.writeHead(status, { Connection: "close", ...more });
    response.end(typeof content === "string" ? content : JSON.stringify(content));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", () => resolve(undefined)));
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  return { endpoint: `http://127.0.0.1:${port}`, requests };
};
