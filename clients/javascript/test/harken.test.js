/** HarkenClient against real servers. The types of the package check these calls as well. */

import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { HarkenClient, HarkenError } from "harken-feedback";
import { CUT, SILENCE, STORED, serve } from "./server.js";

/** @param {object} claims */
const tokenOf = (claims) => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`;

/**
 * Lets the client wait in no time, and records how long it wanted to.
 *
 * @param {import("node:test").TestContext} t
 */
const skipWaiting = (t) => {
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  /** @type {number[]} */
  const waits = [];
  /** @param {import("harken-feedback").Wait} wait */
  const onwait = ({ seconds }) => {
    waits.push(seconds);
    queueMicrotask(() => mock.timers.tick(seconds * 1000));
  };
  return { waits, onwait };
};

test("a vote is one PUT with the token, a key and the fields of the HTTP API", async (t) => {
  const { endpoint, requests } = await serve(t, STORED);
  const client = new HarkenClient({ endpoint, token: "t-1", session: "s-1" });
  const context = { model: "large", attempt: 2 };
  const vote = { message: "m-1", comment: "Too slow", tags: ["slow"], agent: "helper", context };
  const receipt = await client.vote("down", { ...vote, key: "click-7" });
  assert.deepEqual(receipt, STORED.body);
  const [{ method, url, headers, body }] = requests;
  assert.equal(`${method} ${url}`, "PUT /api/sessions/s-1/messages/m-1/feedback");
  assert.equal(headers.authorization, "Bearer t-1");
  assert.equal(headers["idempotency-key"], "click-7");
  assert.equal(headers["content-type"], "application/json");
  const sent = { rating: "down", comment: "Too slow", tags: ["slow"], agent_id: "helper", context };
  assert.deepEqual(JSON.parse(body), sent);
});

test("without a message, the vote is about the session", async (t) => {
  const { endpoint, requests } = await serve(t, STORED, { status: 204 });
  const client = new HarkenClient({ endpoint, session: "s-1" });
  await client.vote(null);
  assert.equal(await client.withdraw(), undefined);
  const seen = requests.map(({ method, url }) => `${method} ${url}`);
  assert.deepEqual(seen, ["PUT /api/sessions/s-1/feedback", "DELETE /api/sessions/s-1/feedback"]);
  assert.deepEqual(JSON.parse(requests[0].body), { rating: null });
});

test("a comment is a neutral entry about the message", async (t) => {
  const { endpoint, requests } = await serve(t, STORED);
  await new HarkenClient({ endpoint, session: "s-1" }).comment("More sources, please", { message: "m-1" });
  const [{ method, url, body }] = requests;
  assert.equal(`${method} ${url}`, "POST /api/sessions/s-1/feedback");
  assert.deepEqual(JSON.parse(body), { rating: null, comment: "More sources, please", message_id: "m-1" });
});

test("votes resolves to the list", async (t) => {
  const votes = [{ feedback_id: "f-1", message_id: "m-1", rating: "up" }];
  const { endpoint, requests } = await serve(t, { body: { votes } });
  assert.deepEqual(await new HarkenClient({ endpoint }).votes({ session: "s-1" }), votes);
  assert.equal(`${requests[0].method} ${requests[0].url}`, "GET /api/sessions/s-1/votes");
});

test("the session is that of the call, else of the client, else of the token", async (t) => {
  const { endpoint, requests } = await serve(t, STORED, STORED, STORED);
  const token = tokenOf({ session: "sitzung-ü-日本" });
  await new HarkenClient({ endpoint, token }).vote("up");
  await new HarkenClient({ endpoint, token, session: "of client" }).vote("up");
  await new HarkenClient({ endpoint, token, session: "of client" }).vote("up", { session: "of call" });
  const sessions = requests.map(({ url }) => decodeURIComponent(String(url).split("/")[3]));
  assert.deepEqual(sessions, ["sitzung-ü-日本", "of client", "of call"]);
});

test("an id is one part of the path, with any characters", async (t) => {
  const ids = ["?x=1#y", "..%2f", "ü 日本 🙂", "a;b&c", "...", "\\", "%2e%2e"];
  const { endpoint, requests } = await serve(t, ...ids.map(() => STORED));
  for (const id of ids) await new HarkenClient({ endpoint, session: "s" }).vote("up", { message: id });
  const found = requests.map(({ url }) => String(url).match(/^\/api\/sessions\/s\/messages\/([^/?#]+)\/feedback$/)?.[1]);
  assert.deepEqual(found.map((one) => decodeURIComponent(String(one))), ids);
});

for (const id of ["", ".", "..", "a/b", "/"]) {
  test(`the id ${JSON.stringify(id)} is refused, as browsers or servers would change the path`, async (t) => {
    const { endpoint, requests } = await serve(t);
    const client = new HarkenClient({ endpoint, session: "s" });
    await assert.rejects(async () => client.vote("up", { message: id }), TypeError);
    await assert.rejects(async () => client.comment("x", { session: id }), TypeError);
    await assert.rejects(async () => client.votes({ session: id }), TypeError);
    assert.deepEqual(requests, []);
  });
}

test("a call without a session rejects", async (t) => {
  const { endpoint, requests } = await serve(t);
  for (const token of [undefined, "not a token", tokenOf({})]) {
    await assert.rejects(async () => new HarkenClient({ endpoint, token }).vote("up"), TypeError);
  }
  assert.deepEqual(requests, []);
});

test("an endpoint may have a path, and end with a slash", async (t) => {
  const { endpoint, requests } = await serve(t, STORED, STORED);
  await new HarkenClient({ endpoint: `${endpoint}/feedback/`, session: "s" }).vote("up");
  await new HarkenClient({ endpoint: new URL(`${endpoint}/feedback`), session: "s" }).vote("up");
  for (const { url } of requests) assert.equal(url, "/feedback/api/sessions/s/feedback");
});

test("cookies are neither sent nor stored", async (t) => {
  const sent = t.mock.method(globalThis, "fetch");
  const { endpoint } = await serve(t, STORED);
  await new HarkenClient({ endpoint, session: "s" }).vote("up");
  assert.equal(sent.mock.calls[0].arguments[1]?.credentials, "omit");
});

test("a request without a response is sent again after 1, 4 and 15 seconds, with the same key and body", async (t) => {
  const { endpoint, requests } = await serve(t, CUT, { status: 408 }, { status: 502, body: "<h1>Bad gateway" }, STORED);
  const { waits, onwait } = skipWaiting(t);
  const receipt = await new HarkenClient({ endpoint, session: "s" }).vote("up", { comment: "Clear", onwait });
  assert.equal(receipt.feedback_id, "f-1");
  assert.deepEqual(waits, [1, 4, 15]);
  assert.equal(requests.length, 4);
  assert.equal(new Set(requests.map(({ headers, body }) => headers["idempotency-key"] + body)).size, 1);
});

test("two calls have different keys", async (t) => {
  const { endpoint, requests } = await serve(t, STORED, STORED);
  const client = new HarkenClient({ endpoint, session: "s" });
  await client.comment("Same");
  await client.comment("Same");
  assert.notEqual(requests[0].headers["idempotency-key"], requests[1].headers["idempotency-key"]);
});

test("nothing is sent before the time is over", async (t) => {
  const { endpoint, requests } = await serve(t, { status: 503 }, {}, STORED);
  mock.timers.enable({ apis: ["setTimeout"] });
  t.after(() => mock.timers.reset());
  const client = new HarkenClient({ endpoint, session: "s" });
  /** @type {Promise<unknown>} */
  let vote = Promise.resolve();
  await new Promise((resolve) => (vote = client.vote("up", { onwait: resolve })));
  mock.timers.tick(999);
  // A request that was sent now would be answered before this one.
  await fetch(`${endpoint}/probe`).then((response) => response.text());
  assert.deepEqual(requests.map(({ url }) => url), ["/api/sessions/s/feedback", "/probe"]);
  mock.timers.tick(1);
  await vote;
  assert.equal(requests.length, 3);
});

test("after the last attempt, the error is reported", async (t) => {
  const problem = { type: "urn:harken:problem:unavailable", title: "Unavailable", detail: "The storage is not available" };
  const { endpoint, requests } = await serve(t, CUT, CUT, CUT, { status: 503, body: problem }, STORED);
  const { waits, onwait } = skipWaiting(t);
  const error = await new HarkenClient({ endpoint, session: "s" }).vote("up", { onwait }).catch((reason) => reason);
  assert.ok(error instanceof HarkenError);
  assert.equal(error.status, 503);
  assert.equal(error.message, "The storage is not available");
  assert.deepEqual(error.problem, problem);
  assert.deepEqual([waits.length, requests.length], [3, 4]);
});

test("Retry-After sets the time", async (t) => {
  const slowed = { status: 429, headers: { "Retry-After": "9" } };
  const conflict = { status: 409, headers: { "Retry-After": "0" } };
  const { endpoint, requests } = await serve(t, slowed, conflict, STORED);
  const { waits, onwait } = skipWaiting(t);
  await new HarkenClient({ endpoint, session: "s" }).vote("up", { onwait });
  assert.deepEqual(waits, [9, 0]);
  assert.equal(requests.length, 3);
});

test("a server that asks for more than a minute is not waited for", async (t) => {
  const { endpoint } = await serve(t, { status: 429, headers: { "Retry-After": "3600" } });
  const vote = new HarkenClient({ endpoint, session: "s" }).vote("up");
  await assert.rejects(vote, { status: 429, retryAfter: 3600 });
});

test("a Retry-After that is a date or nonsense does not count", async (t) => {
  const headers = [{ "Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT" }, { "Retry-After": "-5" }];
  const { endpoint } = await serve(t, ...headers.map((one) => ({ status: 503, headers: one })), STORED);
  const { waits, onwait } = skipWaiting(t);
  await new HarkenClient({ endpoint, session: "s" }).vote("up", { onwait });
  assert.deepEqual(waits, [1, 4]);
});

for (const status of [400, 403, 404, 409, 413, 422]) {
  test(`${status} is reported at once`, async (t) => {
    const violations = [{ field: "comment", code: "required", message: "Please provide a comment" }];
    const { endpoint, requests } = await serve(t, { status, body: { detail: "Refused", violations } }, STORED);
    const vote = new HarkenClient({ endpoint, session: "s" }).vote("down");
    await assert.rejects(vote, { name: "HarkenError", status, message: "Refused", violations });
    assert.equal(requests.length, 1);
  });
}

test("200 with a page of a proxy is not a success", async (t) => {
  const portal = { headers: { "Content-Type": "text/html" }, body: "<!doctype html><title>Sign in to the Wi-Fi</title>" };
  const { endpoint, requests } = await serve(t, portal, STORED);
  const { waits, onwait } = skipWaiting(t);
  assert.equal((await new HarkenClient({ endpoint, session: "s" }).vote("up", { onwait })).feedback_id, "f-1");
  assert.deepEqual([waits, requests.length], [[1], 2]);
});

test("a new token is asked for once, and kept", async (t) => {
  const { endpoint, requests } = await serve(t, { status: 401 }, STORED, STORED, { status: 401 }, { status: 401 });
  const renew = t.mock.fn(async () => `t-${renew.mock.callCount() + 2}`);
  const client = new HarkenClient({ endpoint, token: "t-1", session: "s", renew });
  await client.vote("up");
  await client.vote("down", { comment: "Wrong" });
  assert.equal(client.token, "t-2");
  await assert.rejects(client.vote("up"), { status: 401 });
  const tokens = requests.map(({ headers }) => headers.authorization);
  assert.deepEqual(tokens, ["t-1", "t-2", "t-2", "t-2", "t-3"].map((token) => `Bearer ${token}`));
  assert.equal(requests[0].headers["idempotency-key"], requests[1].headers["idempotency-key"]);
});

test("a request that is refused late takes the token that another one has renewed", async (t) => {
  /** @type {() => void} */
  let release = () => {};
  /** @type {Promise<void>} */
  const isRenewed = new Promise((resolve) => (release = resolve));
  const { endpoint } = await serve(t, async ({ url, headers }) => {
    if (headers.authorization === "Bearer t-2") return release(), STORED;
    if (url?.includes("late")) await isRenewed;
    return { status: 401 };
  });
  const renew = t.mock.fn(() => "t-2");
  const client = new HarkenClient({ endpoint, token: "t-1", session: "s", renew });
  await Promise.all([client.vote("up"), client.vote("up", { message: "late" })]);
  assert.equal(renew.mock.callCount(), 1);
});

test("without a new token, 401 is reported", async (t) => {
  const { endpoint, requests } = await serve(t, { status: 401 }, { status: 401 });
  const client = new HarkenClient({ endpoint, token: "t-1", session: "s" });
  await assert.rejects(client.vote("up"), { status: 401 });
  client.renew = () => undefined;
  await assert.rejects(client.vote("up"), { status: 401 });
  assert.equal(requests.length, 2);
});

test("a response that does not come counts as none", async (t) => {
  const { endpoint, requests } = await serve(t, SILENCE, STORED);
  const { waits, onwait } = skipWaiting(t);
  const client = new HarkenClient({ endpoint, session: "s", timeout: 0.05 });
  await client.vote("up", { onwait });
  assert.deepEqual([waits, requests.length], [[1], 2]);
});

test("a server that cannot be reached has the status 0", async (t) => {
  const { onwait } = skipWaiting(t);
  // The port of the discard protocol: nothing listens there, and `fetch` blocks it in any case.
  const vote = new HarkenClient({ endpoint: "http://127.0.0.1:9", session: "s" }).vote("up", { onwait });
  await assert.rejects(vote, { name: "HarkenError", status: 0, violations: [], retryAfter: undefined });
});

test("the signal ends waiting, with the error that caused it", async (t) => {
  const { endpoint, requests } = await serve(t, { status: 503, body: { detail: "Busy" } }, STORED);
  const stop = new AbortController();
  const client = new HarkenClient({ endpoint, session: "s" });
  const vote = client.vote("up", { signal: stop.signal, onwait: () => queueMicrotask(() => stop.abort()) });
  await assert.rejects(vote, { status: 503, message: "Busy" });
  assert.equal(requests.length, 1);
});

test("the signal does not cancel a request that was sent", async (t) => {
  const { endpoint, requests } = await serve(t, STORED);
  const client = new HarkenClient({ endpoint, session: "s" });
  const { feedback_id: id } = await client.vote("up", { signal: AbortSignal.abort() });
  assert.deepEqual([id, requests.length], ["f-1", 1]);
});

test("while the browser is offline, the request waits for it, and the attempts do not count", async (t) => {
  const busy = { status: 503 };
  const { endpoint, requests } = await serve(t, CUT, CUT, CUT, CUT, CUT, busy, busy, busy, STORED);
  const timers = skipWaiting(t);
  const page = new EventTarget();
  const state = { onLine: false };
  for (const [name, value] of Object.entries({
    navigator: state,
    addEventListener: page.addEventListener.bind(page),
  })) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true });
    t.after(() => (before ? Object.defineProperty(globalThis, name, before) : Reflect.deleteProperty(globalThis, name)));
  }
  /** @type {unknown[]} */
  const waits = [];
  await new HarkenClient({ endpoint, session: "s" }).vote("up", {
    onwait: (wait) => {
      if (!wait.offline) return timers.onwait(wait);
      waits.push(wait.seconds);
      state.onLine = waits.length === 5;
      queueMicrotask(() => page.dispatchEvent(new Event("online")));
    },
  });
  assert.deepEqual(waits, Array(5).fill(Infinity));
  assert.deepEqual(timers.waits, [1, 4, 15]);
  assert.equal(requests.length, 9);
});

test("by default, the endpoint is the folder of the module", () => {
  const folder = new URL("../src/", import.meta.url).href;
  assert.equal(new HarkenClient().endpoint, folder);
});
