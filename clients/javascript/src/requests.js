/** Requests to Harken that are tried again until their outcome is known. */

/** The seconds before each further attempt of a request that failed. */
const DELAYS = [1, 4, 15];
/** A server that asks to wait longer than this many seconds has its error reported instead. */
const LONGEST_WAIT = 60;

/** The folder of this module. Bundlers would look for a file if it were `new URL(".", import.meta.url)`. */
export const FOLDER = import.meta.url.replace(/[^/]*([?#].*)?$/, "");

/** A request that failed: refused by the server, or not answered at all. */
export class HarkenError extends Error {
  /**
   * @param {number} status the HTTP status; 0 if there was no response
   * @param {object} problem the problem details of the response (RFC 9457), or `{}`
   * @param {number} [retryAfter] the seconds after which the server allows another attempt
   */
  constructor(status, problem, retryAfter) {
    super(problem.detail ?? "Harken could not be reached");
    this.name = "HarkenError";
    this.status = status;
    this.problem = problem;
    this.violations = problem.violations ?? [];
    this.retryAfter = retryAfter;
  }
}

/** The claims of a session token, without verifying it; `{}` if it is not one. */
export const claimsOf = (token) => {
  try {
    const text = atob(token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/"));
    return JSON.parse(new TextDecoder().decode(Uint8Array.from(text, (one) => one.charCodeAt(0))));
  } catch {
    return {};
  }
};

/** A new idempotency key. `crypto.randomUUID` is missing in pages without TLS. */
export const newKey = () => crypto.getRandomValues(new Uint32Array(4)).join("-");

/** The path of the feedback on a session, or on a message in it. */
export const pathOf = (session, message) => {
  const ids = message == null ? [session] : [session, message];
  // Browsers resolve dots in a path, so that it would mean something else. Servers decode a slash.
  if (ids.some((id) => /^\.{0,2}$|\//.test(id ?? ""))) {
    throw new TypeError(`Invalid ids: ${ids}`);
  }
  return `/api/sessions/${ids.map(encodeURIComponent).join("/messages/")}/feedback`;
};

/**
 * Sends a request, and tries again if it is refused for a time or gets no response.
 *
 * @param {object} client its `endpoint`, `token`, `timeout` in seconds, and `renew`, which returns a new token
 * @param {object} options `key`: the idempotency key; `version`: the version that must be stored; `signal`: ends waiting, but not a request that is under way, as
 *   its outcome would be unknown; `onwait`: called before each further attempt
 */
export const send = async (client, method, path, { key = newKey(), signal, onwait, version } = {}, body) => {
  let renewed = false;
  for (let attempt = 0; ; attempt++) {
    const refused = client.token;
    try {
      return await request(client, method, path, key, version, body);
    } catch (error) {
      if (!(error instanceof HarkenError)) throw error;
      error.attempt = attempt + 1;
      if (error.status === 401 && !renewed && client.renew) {
        renewed = true;
        // Another request may have got a new token meanwhile.
        const token = client.token === refused ? await client.renew() : client.token;
        if (token) {
          client.token = token;
          continue;
        }
      }
      const { status, retryAfter } = error;
      const offline = !status && globalThis.navigator?.onLine === false;
      const seconds = offline ? Infinity : (retryAfter ?? DELAYS[attempt]);
      const isTemporary = !status || status === 408 || status === 429 || status >= 500 || retryAfter >= 0;
      // The error that is reported is final: nothing is sent after it.
      if (!offline && !(isTemporary && attempt < DELAYS.length && seconds <= LONGEST_WAIT)) throw error;
      onwait?.({ error, seconds, offline });
      // What the network interrupts is not an attempt.
      if ((await pause(seconds, signal, error)) || offline) attempt--;
    }
  }
};

const request = async ({ endpoint, token, timeout = 15 }, method, path, key, version, body) => {
  const headers = { "Idempotency-Key": key };
  if (version) headers["If-Match"] = `"${version}"`;
  if (token) headers.Authorization = `Bearer ${token}`;
  if (body) headers["Content-Type"] = "application/json";
  const text = JSON.stringify(body);
  let response, content;
  try {
    response = await fetch(String(endpoint).replace(/\/+$/, "") + path, {
      method,
      headers,
      body: text,
      credentials: "omit",
      // What was clicked right before leaving the page is still sent; browsers allow that for small bodies only.
      keepalive: !(text?.length > 15_000),
      signal: AbortSignal.timeout(timeout * 1000),
    });
    content = await response.text();
  } catch {
    throw new HarkenError(0, {});
  }
  const { ok, status } = response;
  let document = {};
  try {
    document = JSON.parse(content) ?? document;
  } catch {
    // It is empty, or not from Harken.
  }
  if (response.headers.get("Idempotency-Replayed")) document.replayed = true;
  // Otherwise a proxy or a captive portal has answered. Even with status 200, nothing was stored.
  if (method === "DELETE" ? status === 204 : ok && (document.feedback_id || document.votes)) return document;
  const after = parseFloat(response.headers.get("Retry-After"));
  throw new HarkenError(ok ? 0 : status, document, after >= 0 ? after : undefined);
};

/** Waits until the seconds are over, or resolves to `true` when the browser is online again. Rejects with `error` if `signal` is aborted. */
const pause = (seconds, signal, error) =>
  new Promise((resolve, reject) => {
    const over = new AbortController();
    const end = (settle, result) => () => {
      over.abort();
      clearTimeout(timer);
      settle(result);
    };
    const timer = seconds < Infinity ? setTimeout(end(resolve), seconds * 1000) : undefined;
    // A server that asked to wait is not asked earlier.
    if (!error.status) globalThis.addEventListener?.("online", end(resolve, true), { signal: over.signal });
    signal?.addEventListener("abort", end(reject, error), { signal: over.signal });
    if (signal?.aborted) end(reject, error)();
  });
