/** What the widgets of a page share: votes, and words that are not sent yet. */

import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { STORED, serve } from "./server.js";

/** A storage in memory, as Node has none for sessions. */
class MemoryStorage {
  #values = new Map();
  getItem = (name) => this.#values.get(name) ?? null;
  setItem = (name, value) => void this.#values.set(name, String(value));
  removeItem = (name) => void this.#values.delete(name);
  get size() {
    return this.#values.size;
  }
}

let storage;
const useStorage = (get) => Object.defineProperty(globalThis, "sessionStorage", { get, configurable: true });
beforeEach(() => {
  storage = new MemoryStorage();
  useStorage(() => storage);
});

let loads = 0;
/** The module as after a reload of the page. */
const reload = () => import(`../src/votes.js?load=${++loads}`);

const tokenOf = (claims) => `e30.${Buffer.from(JSON.stringify(claims)).toString("base64url")}.c2ln`;
const keys = (requests) => requests.map(({ headers }) => headers["idempotency-key"]);
const DOWN = { rating: "down", comment: "Too slow", tags: ["slow"] };
const vote = (more) => ({ feedback_id: "f-1", rating: "up", comment: "", tags: [], reply: null, version: 1, ...more });
const widget = (more) => ({ update: mock.fn(), askForToken: async () => undefined, ...more });

test("the votes of a session are loaded by one request for all widgets", async (t) => {
  const { sessionOf } = await reload();
  const { endpoint, requests } = await serve(t, { body: { votes: [vote({ message_id: "m-1" }), vote({ message_id: null })] } });
  const sessions = Array.from({ length: 200 }, () => sessionOf(endpoint, "s", "token"));
  await Promise.all(sessions.map((one) => one.load()));
  assert.deepEqual(requests.map(({ url }) => url), ["/api/sessions/s/votes"]);
  const shown = ["m-1", null, "m-2"].map((message) => sessions[7].vote(message).shown);
  assert.deepEqual(shown, ["up", "up", undefined]);
});

test("votes that could not be loaded are loaded by the next widget", async (t) => {
  const { sessionOf } = await reload();
  const { endpoint, requests } = await serve(t, { status: 403 }, { body: { votes: [] } });
  const session = sessionOf(endpoint, "s");
  await assert.rejects(session.load(), { status: 403 });
  await session.load();
  assert.equal(requests.length, 2);
});

test("two widgets for one message show the same vote", async (t) => {
  const { sessionOf } = await reload();
  const { endpoint } = await serve(t, STORED);
  const shared = sessionOf(endpoint, "s").vote("m");
  const [one, other] = [widget(), widget()];
  shared.widgets.add(one).add(other);
  await sessionOf(endpoint, "s").vote("m").send(DOWN);
  assert.equal(shared.shown, "down");
  assert.ok(other.update.mock.callCount() > 0);
});

test("authors, applications, sessions and servers do not share anything", async () => {
  const { sessionOf } = await reload();
  const claims = { session: "s", sub: "author", application: "app" };
  const places = [
    sessionOf("http://a", "s", tokenOf(claims)),
    sessionOf("http://a", "s", tokenOf({ ...claims, sub: "other" })),
    sessionOf("http://a", "s", tokenOf({ ...claims, application: "other" })),
    sessionOf("http://a", "other", tokenOf(claims)),
    sessionOf("http://b", "s", tokenOf(claims)),
  ];
  places.forEach((session, i) => session.vote("m").keep({ comment: `words ${i}` }));
  assert.equal(new Set(places).size, places.length);
  assert.equal(storage.size, places.length);
  assert.deepEqual(places.map((one) => one.vote("m").draft.comment), places.map((_, i) => `words ${i}`));
  assert.equal(sessionOf("http://a", null, tokenOf(claims)), places[0]);
  assert.equal(sessionOf("http://a", null, "no token"), undefined);
});

test("words are kept over a reload until they are sent", async (t) => {
  const { endpoint } = await serve(t, STORED, STORED);
  const before = (await reload()).sessionOf(endpoint, "s").vote("m");
  before.keep({ comment: "half a sent", tags: ["slow"] });
  const after = (await reload()).sessionOf(endpoint, "s").vote("m");
  assert.deepEqual([after.draft.comment, after.draft.tags], ["half a sent", ["slow"]]);
  await after.send(DOWN);
  assert.equal(after.draft.comment, "half a sent");
  await after.send({ ...DOWN, comment: "half a sent", tags: ["slow"] });
  assert.deepEqual([after.draft.comment, storage.size], ["", 0]);
});

test("the same content has the same key until it is stored, also after a reload", async (t) => {
  const { endpoint, requests } = await serve(t, { status: 404 }, { status: 404 }, { status: 404 }, STORED, STORED);
  const before = (await reload()).sessionOf(endpoint, "s").vote("m");
  await assert.rejects(before.send(DOWN), { status: 404 });
  await assert.rejects(before.send(DOWN), { status: 404 });
  const after = (await reload()).sessionOf(endpoint, "s").vote("m");
  assert.deepEqual(after.draft.sending.content, DOWN);
  await assert.rejects(after.send({ ...DOWN, comment: "Else" }), { status: 404 });
  await after.send({ ...DOWN, comment: "Else" });
  await after.send({ ...DOWN, comment: "Else" });
  const [one, same, other, stored, next] = keys(requests);
  assert.equal(one, same);
  assert.equal(other, stored);
  assert.equal(new Set([one, other, next]).size, 3);
});

test("content that was refused gets a new key", async (t) => {
  const refused = { status: 400, body: { violations: [{ field: "comment", code: "required", message: "Why?" }] } };
  const { endpoint, requests } = await serve(t, refused, STORED);
  const one = (await reload()).sessionOf(endpoint, "s").vote("m");
  await assert.rejects(one.send(DOWN), { status: 400 });
  await one.send(DOWN);
  assert.equal(new Set(keys(requests)).size, 2);
});

test("a vote that failed shows what is stored", async (t) => {
  const { endpoint } = await serve(t, STORED, { status: 403 });
  const one = (await reload()).sessionOf(endpoint, "s").vote("m");
  await one.send({ rating: "up", comment: "", tags: [] });
  const failing = one.send(DOWN);
  assert.equal(one.shown, "down");
  await assert.rejects(failing, { status: 403 });
  assert.deepEqual([one.shown, one.stored.rating], ["up", "up"]);
});

test("requests for one message are sent one after the other, and the last one counts", async (t) => {
  const { Superseded, sessionOf } = await reload();
  const { endpoint, requests } = await serve(t, STORED, { body: { ...STORED.body, version: 2 } });
  const one = sessionOf(endpoint, "s").vote("m");
  const up = assert.rejects(one.send({ rating: "up", comment: "", tags: [] }), Superseded);
  await new Promise(setImmediate);
  const skipped = assert.rejects(one.send({ rating: "up", comment: "skipped", tags: [] }), Superseded);
  await Promise.all([up, skipped, one.send(DOWN)]);
  assert.deepEqual(requests.map(({ body }) => JSON.parse(body).rating), ["up", "down"]);
  assert.deepEqual([one.shown, one.stored.version, one.busy], ["down", 2, 0]);
});

test("a new vote ends the attempts for the one before it", async (t) => {
  const { Superseded, sessionOf } = await reload();
  const { endpoint, requests } = await serve(t, { status: 503 }, STORED);
  const one = sessionOf(endpoint, "s").vote("m");
  let down;
  const up = one.send({ rating: "up", comment: "", tags: [] }, {}, () => queueMicrotask(() => (down = one.send(DOWN))));
  await assert.rejects(up, Superseded);
  await down;
  assert.deepEqual(requests.map(({ body }) => JSON.parse(body).rating), ["up", "down"]);
});

test("a withdrawn vote is gone, also from the storage of the page", async (t) => {
  const { endpoint, requests } = await serve(t, { status: 403 }, { status: 204 });
  const one = (await reload()).sessionOf(endpoint, "s").vote("m");
  await assert.rejects(one.send({ ...DOWN, comment: "" }), { status: 403 });
  await one.withdraw();
  assert.equal(requests[1].method, "DELETE");
  assert.deepEqual([one.shown, one.stored, one.draft.sending], [undefined, null, undefined]);
});

test("an older version does not replace a newer one, and a later reply is taken over", async () => {
  const one = (await reload()).sessionOf("http://a", "s").vote("m");
  one.receive(vote({ rating: "down", version: 2 }));
  one.receive(vote({ rating: "up", version: 1 }));
  assert.equal(one.shown, "down");
  one.receive(vote({ rating: "down", version: 2, reply: "We are on it" }));
  assert.equal(one.stored.reply, "We are on it");
});

test("the page is asked for a token once, and all requests get it", async (t) => {
  const { sessionOf } = await reload();
  const isNew = ({ headers }) => headers.authorization === "Bearer new";
  const { endpoint, requests } = await serve(t, (request) => (isNew(request) ? STORED : { status: 401 }));
  const session = sessionOf(endpoint, "s", "old");
  const { renew } = session.client;
  const renewing = (session.client.renew = mock.fn(() => renew()));
  const askForToken = mock.fn(async () => {
    while (renewing.mock.callCount() < 2) await new Promise(setImmediate);
    return "new";
  });
  const [one, other] = [session.vote("m-1"), session.vote("m-2")];
  one.widgets.add(widget({ askForToken }));
  await Promise.all([one.send(DOWN), other.send(DOWN)]);
  assert.equal(askForToken.mock.callCount(), 1);
  assert.deepEqual(askForToken.mock.calls[0].arguments, [true]);
  assert.deepEqual([requests.length, requests.filter(isNew).length], [4, 2]);
});

test("a widget that is added later, with the token of before, does not undo the renewal", async (t) => {
  const { sessionOf } = await reload();
  const isNew = ({ headers }) => headers.authorization === "Bearer new";
  const { endpoint, requests } = await serve(t, (request) => (isNew(request) ? STORED : { status: 401 }));
  for (const given of ["old", undefined]) {
    const session = sessionOf(endpoint, `session with ${given}`, given);
    const one = session.vote("m-1");
    one.widgets.add(widget({ askForToken: async () => "new" }));
    await one.send(DOWN);
    sessionOf(endpoint, `session with ${given}`, given);
    await session.vote("m-2").send(DOWN);
  }
  assert.deepEqual(requests.map(isNew), [false, true, true, false, true, true]);
});

test("a token that the page sets replaces the one before", async () => {
  const { sessionOf } = await reload();
  for (const token of ["one", "two", "one"]) assert.equal(sessionOf("http://a", "s", token).client.token, token);
});

for (const [name, get] of [
  ["is missing", () => undefined],
  ["is forbidden", () => assert.fail("SecurityError")],
  ["is full", () => ({ getItem: () => null, setItem: () => assert.fail("QuotaExceededError") })],
  ["has the words of another program", () => ({ getItem: () => "{", setItem() {}, removeItem() {} })],
]) {
  test(`if the storage ${name}, words are kept in memory`, async () => {
    useStorage(get);
    const { sessionOf } = await reload();
    sessionOf("http://a", "s").vote("m").keep({ comment: "words" });
    assert.equal(sessionOf("http://a", "s").vote("m").draft.comment, "words");
  });
}

test("a request of the page before is sent again before a withdrawal, so that it cannot arrive last", async (t) => {
  const { endpoint, requests } = await serve(t, STORED, { status: 204 });
  const before = (await reload()).sessionOf(endpoint, "s").vote("m");
  const running = { content: { rating: "up", comment: "", tags: [] }, key: "click" };
  before.keep({ running, sending: { content: null } });
  const after = (await reload()).sessionOf(endpoint, "s").vote("m");
  await after.withdraw();
  assert.deepEqual(requests.map(({ method }) => method), ["PUT", "DELETE"]);
  assert.deepEqual([requests[0].headers["idempotency-key"], requests[1].headers["if-match"]], ["click", '"1"']);
  assert.deepEqual([after.shown, after.stored, storage.size], [undefined, null, 0]);
});
