/** What the widgets of a page share: the votes of each session, and the words that are not sent yet. */

import { claimsOf, newKey, pathOf, send } from "./requests.js";

/** The votes of one author in one session. */
class Session {
  votes = new Map();
  loading = undefined;
  /** How many changes of its votes have ended. */
  changes = 0;
  #renewing;

  constructor(endpoint, session, place) {
    this.place = place;
    this.session = session;
    this.client = { endpoint, renew: () => (this.#renewing ??= this.#renew()) };
  }

  /** Asks the page for a new token, through one of the widgets. */
  async #renew() {
    const { client } = this;
    const before = client.token;
    const [widget] = [...this.votes.values()].flatMap((vote) => [...vote.widgets]);
    const token = await widget?.askForToken(!!before).catch(() => {});
    this.#renewing = undefined;
    if (token) client.token = token;
    // The page may also have set the property of a widget.
    return client.token === before ? undefined : client.token;
  }

  /** The vote on a message; `null` is the session as a whole. */
  vote(message) {
    const known = this.votes.get(message);
    if (known) return known;
    const vote = new Vote(this, message);
    this.votes.set(message, vote);
    return vote;
  }

  /** Asks for the author's votes: once for all widgets, and again only if `again`. */
  load(again) {
    if (again || !this.loading) {
      const path = pathOf(this.session).replace(/feedback$/, "votes");
      const { changes } = this;
      this.loading = send(this.client, "GET", path).then(({ votes }) => {
        for (const one of votes) this.vote(one.message_id).receive(one, changes);
      });
      this.loading.catch(() => (this.loading = undefined));
    }
    return this.loading;
  }
}

/** The vote on one message, which several widgets may show. */
class Vote {
  /** What the server stores: `rating`, `comment`, `tags`, `reply`, `version`, `id`; `null` if there is no vote. */
  stored = null;
  /** The rating that is shown, which may not be stored yet; `undefined` for no thumb. */
  shown = undefined;
  widgets = new Set();
  /** How many requests are under way or waiting. */
  busy = 0;
  #running = Promise.resolve();
  /** The number of its last change in the session. */
  #changed = 0;
  #stop = new AbortController();

  constructor(session, message) {
    this.session = session;
    this.place = JSON.stringify([session.place, message]);
    this.draft = { comment: "", tags: [], ...recall(this.place) };
  }

  get path() {
    return pathOf(this.session.session, this.message);
  }

  /** Takes over a vote from the server, unless it has changed since it was asked for, or is being changed. */
  receive({ feedback_id: id, rating, comment, tags, reply, version }, changes) {
    const { stored } = this;
    if (this.#changed > changes) return;
    if (stored?.version > version || (stored?.version === version && stored.reply === reply)) return;
    this.stored = { id, rating, comment, tags, reply, version };
    if (!this.busy) this.show(rating);
  }

  show(rating) {
    this.shown = rating;
    for (const widget of this.widgets) widget.update();
  }

  /** Keeps words and reasons until they are sent, also over a reload. */
  keep(changes) {
    Object.assign(this.draft, changes);
    remember(this.place, this.draft);
  }

  /**
   * Sends a vote, after what is being sent for this message; that is not tried again. The same content has the same
   * idempotency key until it is stored, also after a reload.
   */
  send(content, more, onwait) {
    const same = this.draft.sending;
    const isSame = same && JSON.stringify(same.content) === JSON.stringify(content);
    this.keep({ sending: { content, key: isSame ? same.key : newKey() } });
    const { key } = this.draft.sending;
    this.show(content.rating);
    const forget = (changes) => this.draft.sending?.key === key && this.keep({ ...changes, sending: undefined });
    return this.#inTurn(async (signal) => {
      const options = { key, signal, onwait };
      const receipt = await send(this.session.client, "PUT", this.path, options, { ...content, ...more }).catch((error) => {
        if (error.violations?.length) forget();
        throw error;
      });
      const { feedback_id: id, version, reply = null } = receipt;
      this.stored = { ...content, id, version, reply };
      const { draft } = this;
      // Words that were not sent with it are kept.
      const isSent = draft.comment.trim() === content.comment && `${draft.tags}` === `${content.tags}`;
      forget(isSent && { comment: "", tags: [] });
      if (!signal.aborted) this.show(content.rating);
      return this.stored;
    });
  }

  withdraw(onwait) {
    this.keep({ sending: undefined });
    this.show(undefined);
    return this.#inTurn(async (signal) => {
      await send(this.session.client, "DELETE", this.path, { signal, onwait });
      this.stored = null;
    });
  }

  #inTurn(work) {
    this.busy++;
    this.#stop.abort();
    const { signal } = (this.#stop = new AbortController());
    // A request that is under way is never abandoned: the server might handle it after the next one.
    const result = this.#running.then(() => {
      if (signal.aborted) throw new Superseded();
      return work(signal);
    });
    this.#running = result.catch(() => {});
    return result
      .finally(() => {
        this.busy--;
        this.#changed = ++this.session.changes;
        if (signal.aborted) throw new Superseded();
      })
      .catch((error) => {
        if (!signal.aborted) this.show(this.stored?.rating);
        throw error;
      });
  }
}

/** The author has voted again meanwhile. */
export class Superseded extends Error {}

const sessions = new Map();

/** The session that a widget belongs to. */
export const sessionOf = (endpoint, session, token) => {
  const claims = claimsOf(token);
  session ??= claims.session;
  if (!session) return undefined;
  const place = JSON.stringify([String(endpoint), session, claims.sub, claims.application]);
  let found = sessions.get(place);
  if (!found) sessions.set(place, (found = new Session(endpoint, session, place)));
  // The token that a page has given before may have been renewed since.
  if (token && token !== found.given) found.client.token = found.given = token;
  return found;
};

const PREFIX = "harken ";

// In some frames there is no storage. Then words are kept in memory only.
const recall = (place) => {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + place));
  } catch {
    return null;
  }
};

const remember = (place, draft) => {
  try {
    if (draft.comment || draft.tags.length || draft.sending) {
      sessionStorage.setItem(PREFIX + place, JSON.stringify(draft));
    } else {
      sessionStorage.removeItem(PREFIX + place);
    }
  } catch {
    // See above.
  }
};
