/** What the widgets of a page share: the votes of each session, and the words that are not sent yet. */

import { claimsOf, newKey, pathOf, send } from "./requests.js";

/** The votes of one author in one session. */
class Session {
  votes = new Map();
  loading = undefined;
  /** Whether the earlier votes are known. */
  isLoaded = false;
  /** How many changes of its votes have ended. */
  changes = 0;
  #given;
  #renewing;
  #answer;

  constructor(endpoint, session, place) {
    this.place = place;
    this.session = session;
    this.client = { endpoint, renew: () => (this.#renewing ??= this.#renew()) };
  }

  /** Takes a token that the page has set. The one before may have been renewed since. */
  accept(token) {
    if (token === this.#given) return;
    this.client.token = this.#given = token;
    this.#answer?.(token);
  }

  /** Asks the page for a new token, through one of the widgets. */
  async #renew() {
    const { client } = this;
    const before = client.token;
    const [widget] = [...this.votes.values()].flatMap((vote) => [...vote.widgets]);
    const token = await new Promise((resolve) => {
      // The page may also set the property of a widget.
      this.#answer = resolve;
      if (widget) widget.askForToken(true).then(resolve, () => resolve());
      else resolve();
    });
    this.#renewing = undefined;
    // The token of another author is not for these votes.
    const isOurs = token && token !== before && placeOf(client.endpoint, this.session, token) === this.place;
    return isOurs ? token : undefined;
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
        this.isLoaded = true;
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
    this.message = message;
    this.place = JSON.stringify([session.place, message]);
    const { comment, tags, sending, running } = recall(this.place) ?? {};
    const isText = (one) => typeof one === "string";
    /**
     * `comment` and `tags`: what is in the panel; `sending`: the latest vote, if it is not known to be stored; `running`:
     * the vote whose request is under way.
     */
    this.draft = {
      comment: isText(comment) ? comment : "",
      tags: [tags].flat().filter(isText),
      sending,
      running,
    };
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
   * Sends a vote, after what is being sent for this message; that is not tried again. The same content is sent with the
   * same idempotency key until it is stored, also after a reload.
   */
  send(content, more, onwait) {
    const before = this.draft.sending;
    const isSame = before && JSON.stringify(before.content) === JSON.stringify(content);
    const sending = this.#begin(isSame ? before : { content, more, key: newKey(), base: this.#base() });
    return this.#inTurn(sending, onwait, async (options) => {
      const receipt = await this.#put(sending, options).catch((error) => {
        if (error.violations?.length) this.#end(sending);
        throw error;
      });
      const { feedback_id: id, version, reply = null } = receipt;
      const mine = { ...content, id, version, reply };
      this.stored = receipt.replayed ? null : mine;
      // It was stored before, and may have been replaced or withdrawn since.
      if (receipt.replayed) await this.session.load(true).catch(() => (this.stored = mine));
      const { draft } = this;
      // Words that were not sent with it are kept.
      const isSent = draft.comment.trim() === content.comment && `${draft.tags}` === `${content.tags}`;
      this.#end(sending, isSent && { comment: "", tags: [] });
      if (!options.signal.aborted) this.show(this.stored?.rating);
      return this.stored ?? { ...mine, rating: null };
    });
  }

  withdraw(onwait) {
    const sending = this.#begin({ content: null, base: this.#base() });
    return this.#inTurn(sending, onwait, async (options) => {
      options.version = this.stored?.version;
      await send(this.session.client, "DELETE", this.path, options).catch(async (error) => {
        // Another page has changed the vote meanwhile.
        if (error.status === 412) await this.session.load(true);
        throw error;
      });
      this.stored = null;
      this.#end(sending);
      if (!options.signal.aborted) this.show();
    });
  }

  /** The version that the author saw; `undefined` if that is not known yet. */
  #base() {
    return this.session.isLoaded ? (this.stored?.version ?? 0) : undefined;
  }

  #begin(sending) {
    this.keep({ sending });
    this.show(sending.content?.rating);
    return sending;
  }

  #end(sending, changes) {
    if (this.draft.sending === sending) this.forget(changes);
  }

  /** Nothing is left to be sent. */
  forget(changes) {
    this.keep({ ...changes, sending: undefined, running: undefined });
  }

  #put({ content, more, key }, options) {
    return send(this.session.client, "PUT", this.path, { ...options, key }, { ...content, ...more });
  }

  #inTurn(sending, onwait, work) {
    this.busy++;
    this.#stop.abort();
    const { signal } = (this.#stop = new AbortController());
    // A request that is under way is never abandoned: the server might handle it after the next one.
    const result = this.#running.then(async () => {
      if (signal.aborted) throw new Superseded();
      const options = { signal, onwait };
      const { running } = this.draft;
      // The page before was left while this was sent. Sent again under its key, it cannot arrive last.
      if (running?.content && running.key !== sending.key) {
        await this.#put(running, options).then(
          ({ version }) => (this.stored = { ...running.content, version }),
          () => {},
        );
      }
      this.keep({ running: sending });
      return work(options);
    });
    this.#running = result.catch(() => {});
    return result
      .finally(() => {
        this.busy--;
        this.keep({ running: undefined });
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

/** What distinguishes the votes of one author in one session from all others. */
const placeOf = (endpoint, session, token) => {
  const claims = claimsOf(token);
  return JSON.stringify([`${endpoint}`, session ?? claims.session, claims.sub, claims.application]);
};

/** The session that a widget belongs to; `undefined` if it is not known. */
export const sessionOf = (endpoint, session, token) => {
  session ??= claimsOf(token).session;
  if (!session) return undefined;
  const place = placeOf(endpoint, session, token);
  let found = sessions.get(place);
  if (!found) sessions.set(place, (found = new Session(endpoint, session, place)));
  found.accept(token);
  return found;
};

const asked = new Map();

/** Asks the page for a token: once for all widgets of a session that have none. */
export const firstToken = (endpoint, session, widget) => {
  const place = placeOf(endpoint, session);
  if (!asked.has(place)) asked.set(place, widget.askForToken(false).finally(() => asked.delete(place)));
  return asked.get(place);
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
    if (draft.comment || draft.tags.length || draft.sending || draft.running) {
      sessionStorage.setItem(PREFIX + place, JSON.stringify(draft));
    } else {
      sessionStorage.removeItem(PREFIX + place);
    }
  } catch {
    // See above.
  }
};
