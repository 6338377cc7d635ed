/** The custom element `<harken-feedback>`. */

import { FOLDER } from "./requests.js";
import { STYLES } from "./styles.js";
import { addTexts, loadTexts, textsOf } from "./texts.js";
import { Superseded, firstToken, sessionOf } from "./votes.js";

const REASONS = ["wrong", "incomplete", "slow", "unclear", "other"];
const MAX_COMMENT = 1000;
/** The number of remaining characters from which it is shown. */
const FEW = 100;
const THUMB = "M6 8.6 9 2.6c1.3 0 2.1 1 1.9 2.3L10.4 8h4c1.1 0 1.8 1 1.6 2l-1.3 5c-.2.8-.9 1.4-1.8 1.4H6zM2.5 8.6H6v7.8H2.5z";
const CROSS = "m4.5 4.5 9 9m0-9-9 9";

// Frameworks also load this module on servers, where there are no elements. It does nothing there.
const { HTMLElement = Object, CSSStyleSheet, customElements } = globalThis;
const sheet = CSSStyleSheet && new CSSStyleSheet();
sheet?.replaceSync(STYLES);

/** An element of the shadow tree. Its class is also its part. Attributes that are functions are listeners. */
const make = (tag, className, attributes, ...children) => {
  const node = document.createElement(tag);
  node.className = node.part = className;
  for (const name in attributes) {
    const value = attributes[name];
    if (typeof value === "function") node.addEventListener(name, value);
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
};

const button = (className, click, attributes, ...children) =>
  make("button", className, { type: "button", click, ...attributes }, ...children);

const icon = (path) => {
  const [svg, drawn] = ["svg", "path"].map((name) => document.createElementNS("http://www.w3.org/2000/svg", name));
  svg.setAttribute("viewBox", "0 0 18 18");
  svg.setAttribute("aria-hidden", "true");
  drawn.setAttribute("d", path);
  svg.append(drawn);
  return svg;
};

/** The widgets in the page. */
const connected = new Set();

/** The language of an element, also from outside of the shadow trees that it is in. */
const languageOf = (node) => {
  for (; node; node = node.getRootNode().host) {
    const found = node.closest("[lang]");
    if (found) return found.lang;
  }
  return "";
};

export class HarkenFeedback extends HTMLElement {
  static observedAttributes =
    "session message token endpoint variant reasons comment ask lang disabled readonly".split(" ");

  /** Adds or replaces texts of a language, such as `HarkenFeedback.texts("pt-BR", { send: "Mandar" })`. */
  static texts(language, texts) {
    addTexts(language, texts);
    for (const widget of connected) if (widget.#parts) widget.#build();
  }

  #states = this.attachInternals().states;
  #root = this.attachShadow({ mode: "open" });
  #parts;
  #own = {};
  #texts;
  #token;
  #vote;
  /** The rating whose panel is open. */
  #open;
  /** The thumb that was pressed, before it is sent. */
  #pressed;
  #run = 0;
  #sending = false;
  #closed = false;
  #failed = false;
  #showsReply = false;
  /** The rating of the earlier vote that is described. */
  #greeted;
  #timer;

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [sheet];
  }

  connectedCallback() {
    connected.add(this);
    for (const name of ["token", "texts"]) {
      // Set before the module was loaded.
      if (!Object.hasOwn(this, name)) continue;
      const value = this[name];
      delete this[name];
      this[name] = value;
    }
    this.#start();
  }

  async #start() {
    const loading = loadTexts(languageOf(this));
    if (loading) await loading;
    if (!this.isConnected) return;
    this.#build();
    this.#join();
  }

  disconnectedCallback() {
    connected.delete(this);
    clearTimeout(this.#timer);
    // What is being sent goes on without the element.
    this.#vote?.widgets.delete(this);
    this.#vote = undefined;
  }

  attributeChangedCallback(name, before, after) {
    if (!this.#parts || before === after) return;
    // A new token does not interrupt a person who is writing.
    if (name === "token") this.#join();
    else this.#start();
  }

  /** The vote that is stored, or `null`. */
  get vote() {
    return this.#vote?.stored ?? null;
  }

  /** The session token. It is never written into the page. */
  get token() {
    return this.#token ?? this.getAttribute("token");
  }

  set token(token) {
    this.#token = token;
    if (this.#parts) this.#join();
  }

  /** Texts of this element, over those of its language. */
  get texts() {
    return this.#texts;
  }

  set texts(texts) {
    this.#own = texts;
    if (this.#parts) this.#build();
  }

  /** Opens the panel for a rating. */
  open(rating = "down") {
    if (this.#isOff() || !this.#emit("harken-open", { rating }, true)) return;
    const { draft, stored } = this.#vote;
    if (stored?.rating === rating && !draft.comment && !draft.tags.length) {
      this.#vote.keep({ comment: stored.comment, tags: stored.tags });
    }
    this.#say();
    // A vote that is being sent goes on, but does not keep this panel from sending.
    this.#sending = this.#failed = false;
    this.#open = this.#pressed = rating;
    this.#complain();
    this.update();
    this.#root.querySelector(".reason:not([hidden] *), textarea")?.focus();
  }

  /** Closes the panel. Its words are kept. */
  close() {
    const rating = this.#open;
    if (!rating) return;
    const hadFocus = this.#parts.panel.contains(this.#root.activeElement);
    this.#say();
    this.#open = this.#pressed = undefined;
    this.#emit("harken-close", { rating });
    this.update();
    if (hadFocus) this.#parts[rating].focus();
  }

  /** Closes the panel and forgets its words. */
  reset() {
    this.close();
    this.#vote?.keep({ comment: "", tags: [] });
    this.#say();
    this.update();
  }

  /** Sends a vote. Resolves to whether it was stored. */
  submit({ rating, comment = "", tags = [] }) {
    return this.#cast({ rating, comment, tags });
  }

  /** Asks the page for a token. Resolves to the one that it provides, or `undefined`. */
  async askForToken(expired) {
    let answer;
    this.#emit("harken-token", { expired, provide: (token) => (answer = token) });
    return answer;
  }

  /** Shows the present state. */
  update() {
    const { up, down, panel, title, reasons, input, left, send, reply } = this.#parts;
    const { shown, draft, stored } = this.#vote ?? { draft: { comment: "", tags: [] } };
    const texts = this.#texts;
    const pressed = this.#pressed ?? shown;
    // Another widget of the page may have changed the vote.
    if (this.#greeted && this.#greeted !== shown) this.#say();
    const isBusy = this.#sending === "long";
    for (const [rating, thumb] of Object.entries({ up, down })) {
      thumb.setAttribute("aria-pressed", rating === pressed);
      thumb.setAttribute("aria-disabled", this.#isOff());
    }
    panel.hidden = !this.#open;
    title.textContent = this.#open === "up" ? texts.thanks : texts.why;
    reasons.hidden = this.#open === "up" || !reasons.childElementCount;
    for (const one of reasons.children) one.setAttribute("aria-pressed", draft.tags.includes(one.value));
    if (input.value !== draft.comment) input.value = draft.comment;
    const room = MAX_COMMENT - draft.comment.length;
    left.textContent = room > FEW ? "" : room;
    send.setAttribute("aria-disabled", !!this.#sending);
    send.textContent = isBusy ? texts.sending : this.#failed ? texts.again : texts.send;
    if (isBusy) send.prepend(make("i", "spin"));
    reply.textContent = (this.#showsReply && stored?.reply) || "";
    const present = [pressed, this.#open && "open", this.#sending && "saving", this.#failed && "failed"].filter(Boolean);
    this.dataset.state = present.join(" ");
    this.#states.clear();
    for (const state of present) this.#states.add(state);
  }

  #isOff() {
    return !this.#vote || this.#closed || this.hasAttribute("disabled") || this.hasAttribute("readonly");
  }

  #emit(type, detail, cancelable = false) {
    return this.dispatchEvent(new CustomEvent(type, { detail, bubbles: true, composed: true, cancelable }));
  }

  // --- Building ----------------------------------------------------------------------------------------------------

  #build() {
    const texts = (this.#texts = { ...textsOf(languageOf(this)), ...this.#own });
    const variant = this.getAttribute("variant");
    const thumb = (rating) =>
      button(
        `thumb ${rating}`,
        () => this.#press(rating),
        {},
        make("slot", "", { name: `icon-${rating}` }, icon(THUMB)),
        make("span", "name", {}, texts[rating]),
      );
    const key = (event) => {
      // Shortcuts of the page must not react to what is typed here.
      event.stopPropagation();
      if (event.type !== "keydown" || event.isComposing) return;
      if (event.key === "Escape") {
        this.close();
        // The key is released at the thumb.
        parts.up.parentNode.addEventListener("keyup", (event) => event.stopPropagation(), { once: true });
      } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#submit();
      else return;
      event.preventDefault();
    };
    const submit = (event) => {
      event.preventDefault();
      this.#submit();
    };
    const status = () => make("span", "status", { role: "status" });
    const input = { id: "input", rows: 2, maxlength: MAX_COMMENT, dir: "auto", input: () => this.#write() };
    const parts = (this.#parts = {
      up: thumb("up"),
      down: thumb("down"),
      status: status(),
      links: make("span", "links"),
      title: make("span", "title", { id: "title" }),
      reasons: make("div", "reasons", { role: "group", "aria-labelledby": "title" }, ...this.#reasons()),
      input: make("textarea", "input", input),
      left: make("span", "left", { "aria-hidden": true }),
      error: make("p", "error", { id: "error", role: "alert" }),
      send: make("button", "send"),
      note: status(),
      reply: make("div", "reply", { role: "status", dir: "auto" }),
      panel: make("form", "panel", { keydown: key, keypress: key, keyup: key, submit }),
    });
    const words = [make("label", "label", { for: "input" }, texts.words, parts.left), parts.input];
    parts.panel.append(
      make(
        "div",
        "head",
        {},
        parts.title,
        button("close", () => this.close(), { "aria-label": texts.close }, icon(CROSS)),
      ),
      parts.reasons,
      ...(this.getAttribute("comment") === "off" ? [] : words),
      parts.error,
      make("div", "actions", {}, parts.send, parts.note),
      make("slot", "", { name: "footer" }),
    );
    // A key that is held down since it has sent the panel does not press the thumb, which has got the focus.
    const keydown = (event) => {
      if (event.key === "Escape") this.close();
      if (event.repeat && event.key === "Enter") event.preventDefault();
    };
    const group = { role: "group", "aria-label": texts.question, keydown };
    this.#root.replaceChildren(
      make(
        "div",
        `root ${{ card: "card wide", labelled: "wide" }[variant] ?? ""}`,
        {},
        make("slot", "prompt", { name: "prompt" }, variant === "card" ? texts.question : ""),
        make("div", "group", group, parts.up, parts.down, parts.status, parts.links),
        parts.panel,
        parts.reply,
      ),
    );
    this.#complain();
    this.update();
  }

  #reasons() {
    const given = this.getAttribute("reasons");
    const codes = given === null ? REASONS : given.split(",").filter((one) => one.trim());
    return codes.map((one) => {
      const [code, label] = one.split(":").map((text) => text.trim());
      return button("reason", () => this.#choose(code), { value: code }, label || this.#texts[code] || code);
    });
  }

  // --- Joining the session -----------------------------------------------------------------------------------------

  #join() {
    const endpoint = this.getAttribute("endpoint") ?? FOLDER;
    if (!this.isConnected || this.hasAttribute("disabled")) return;
    const name = this.getAttribute("session");
    if (!this.token) {
      firstToken(endpoint, name, this).then((token) => token && !this.token && (this.token = token), () => {});
      return;
    }
    const session = sessionOf(endpoint, name, this.token);
    // A framework may set it later.
    if (!session) return;
    const vote = session.vote(this.getAttribute("message"));
    if (this.#vote !== vote) {
      this.#vote?.widgets.delete(this);
      this.#vote = vote;
      this.#open = this.#pressed = undefined;
      this.#run++;
      this.#sending = this.#failed = this.#showsReply = false;
      this.#say();
    }
    vote.widgets.add(this);
    if (this.#closed) this.#say();
    this.#closed = false;
    this.update();
    session
      .load()
      .then(
        () => this.#greet(vote),
        (error) => this.#vote === vote && isClosing(error) && this.#shut(),
      )
      .then(() => this.#resume(vote));
  }

  /** Sends what was not sent before the page was loaded again, unless the vote was changed elsewhere. */
  #resume(vote) {
    const { draft, stored } = vote;
    const { sending } = draft;
    if (this.#vote !== vote || vote.busy || !sending || this.#isOff()) return;
    const { base, content, key } = sending;
    const { running } = draft;
    // The version is another than the author saw also if that was raised by the request before.
    if (stored?.version > base && !(running && running.key !== key)) {
      // It has arrived, or another page has voted since. Then the words are kept.
      vote.forget(stored.comment === content?.comment && { comment: "", tags: [] });
    } else if (content) this.#send(content);
    else if (content === null) this.#withdraw();
  }

  /** Shows an earlier vote. */
  #greet(vote) {
    if (this.#vote !== vote || !vote.stored || vote.busy || this.#open || this.#showsReply) return;
    const { rating, reply } = vote.stored;
    const links = {};
    if (this.#asks(rating) && !this.#isOff()) links.change = () => this.open(rating);
    if (reply) links.reply = () => this.#show();
    // Not announced: a page may have hundreds.
    if (!rating) return;
    this.#say(this.#texts.said, { links, count: this.#texts[rating].toLowerCase(), live: "off" });
    this.#greeted = rating;
  }

  #show() {
    this.#showsReply = true;
    this.#say();
    this.update();
  }

  #shut() {
    this.#closed = true;
    this.#open = this.#pressed = undefined;
    this.#say(this.#texts.closed);
    this.update();
  }

  // --- Voting ------------------------------------------------------------------------------------------------------

  #asks(rating) {
    const ask = this.getAttribute("ask") ?? "down";
    return ask === "both" || ask === rating;
  }

  #press(rating) {
    if (this.#isOff()) return;
    if (this.#open === rating) this.close();
    else if (this.#vote.shown === rating) this.#withdraw();
    else if (rating === "down" && this.#asks(rating)) this.open(rating);
    else {
      this.close();
      this.submit({ rating });
      if (this.#asks(rating)) this.open(rating);
    }
  }

  #submit() {
    if (this.#sending) return;
    const { comment, tags } = this.#vote.draft;
    if (this.getAttribute("comment") === "required" && !comment.trim()) this.#complain(this.#texts.required);
    else this.#cast({ rating: this.#open, comment: comment.trim(), tags }, this.#open);
  }

  #write() {
    this.#vote?.keep({ comment: this.#parts.input.value });
    this.#complain();
    this.update();
  }

  #choose(code) {
    const { tags } = this.#vote.draft;
    this.#vote.keep({ tags: tags.includes(code) ? tags.filter((one) => one !== code) : [...tags, code] });
    this.#complain();
    this.update();
  }

  /** Sends a vote, unless the page prevents it. `panel`: the rating whose panel has the words. */
  async #cast(content, panel) {
    const vote = this.#vote;
    const { rating } = content;
    if (!vote || !this.#emit("harken-vote", { rating, previous: vote.stored?.rating ?? null }, true)) return false;
    return this.#send(content, panel);
  }

  #send(content, panel) {
    const vote = this.#vote;
    const more = { agent_id: this.getAttribute("agent") ?? undefined, context: this.#context() };
    return this.#perform(
      panel,
      (onwait) => vote.send(content, more, onwait),
      ({ rating, version, reply, id }) => {
        this.#showsReply = true;
        if (panel && panel === this.#open) this.close();
        if (!this.#open) this.#say(this.#texts[panel ? "sent" : "thanks"], { ttl: 4 });
        this.#emit("harken-saved", { rating, version, reply, id });
        if (rating === "down" && !reply) this.#awaitReply(vote);
      },
      () => this.#send(content, panel),
    );
  }

  #withdraw() {
    const vote = this.#vote;
    const previous = vote.stored;
    if (!this.#emit("harken-vote", { rating: null, previous: previous?.rating ?? null }, true)) return;
    this.#perform(
      undefined,
      (onwait) => vote.withdraw(onwait),
      () => {
        const { rating, comment, tags } = previous ?? {};
        this.#say(this.#texts.removed, { ttl: 10, links: rating ? { undo: () => this.submit({ rating, comment, tags }) } : {} });
        this.#emit("harken-removed", { previous: rating ?? null });
      },
      () => this.#withdraw(),
    );
  }

  /** Runs a request and shows how it goes, in its panel if it has one. Resolves to whether it succeeded. */
  async #perform(panel, request, done, again) {
    const vote = this.#vote;
    const run = ++this.#run;
    const isCurrent = () => run === this.#run && this.#vote === vote;
    // The panel of another vote is left alone.
    const isShown = () => !this.#open || this.#open === panel;
    const sent = request((wait) => isCurrent() && this.#waiting(wait, isShown()));
    this.#say();
    this.#busy();
    try {
      const result = await sent;
      if (isCurrent()) {
        this.#rest(isShown());
        done(result);
        this.update();
      }
      return true;
    } catch (error) {
      if (isCurrent()) {
        const isSuperseded = error instanceof Superseded;
        this.#rest(isShown(), !isSuperseded && !error.violations?.length);
        if (isSuperseded) this.#say();
        else this.#fail(error, isShown(), again);
        this.update();
      }
      return false;
    }
  }

  #busy() {
    this.#failed = false;
    this.#sending = "short";
    const run = this.#run;
    setTimeout(() => {
      if (run !== this.#run || !this.#sending) return;
      this.#sending = "long";
      this.update();
    }, 400);
    this.update();
  }

  #rest(isShown, failed = false) {
    this.#sending = false;
    if (!isShown) return;
    this.#failed = failed;
    this.#pressed = undefined;
  }

  /** A failed request is tried again. */
  #waiting({ error, seconds, offline }, isShown) {
    const isSlowed = error.status === 429;
    this.#sending = false;
    if (!offline && !isSlowed) {
      this.#rest(isShown, true);
      this.#vote.show(this.#vote.stored?.rating);
    }
    this.update();
    if (!this.#report(error, true)) return;
    const texts = this.#texts;
    if (offline) this.#say(texts.offline);
    else if (isSlowed) this.#say(texts.wait, { count: seconds });
    else this.#say(`${this.#unsaved(isShown)} ${texts.retry}`, { failed: true, count: seconds });
  }

  /** A request failed for good. */
  #fail(error, isShown, again) {
    if (!(error instanceof Error) || error.status === undefined) throw error;
    if (isClosing(error)) this.#shut();
    if (!this.#report(error, false) || isClosing(error)) return;
    const { violations } = error;
    if (violations.length) {
      const text = violations.map(({ code, message }) => this.#texts[code] ?? message).join(" ");
      const isAboutWords = violations.every(({ field }) => field === "comment" || field === "tags");
      this.#pressed = this.#open;
      if (this.#open && isShown && isAboutWords) this.#complain(text);
      else this.#say(text, { failed: true });
    } else {
      this.#say(this.#unsaved(isShown), { failed: true, links: this.#open && isShown ? {} : { again } });
    }
  }

  #unsaved(isShown) {
    return this.#open && isShown ? this.#texts.unsent : this.#texts.unsaved;
  }

  #report({ status, problem, attempt }, willRetry) {
    return this.#emit("harken-failed", { status, problem, attempt, willRetry }, true);
  }

  /** A reply may be written after the vote was stored. */
  #awaitReply(vote) {
    for (const seconds of [3, 10]) {
      setTimeout(() => {
        if (this.#vote === vote && vote.stored && !vote.stored.reply) vote.session.load(true).catch(() => {});
      }, seconds * 1000);
    }
  }

  #context() {
    const text = this.getAttribute("context");
    try {
      return text ? JSON.parse(text) : undefined;
    } catch {
      console.error(`The context of <harken-feedback> is not valid JSON: ${text}`);
      return undefined;
    }
  }

  // --- Messages ----------------------------------------------------------------------------------------------------

  /** Shows what is wrong with the words, or nothing. */
  #complain(text = "") {
    const { input, error } = this.#parts;
    error.textContent = text;
    error.hidden = !text;
    input.setAttribute("aria-invalid", !!text);
    input.setAttribute("aria-describedby", text ? "error" : "");
    if (text) input.focus();
  }

  /** Shows a message, and buttons beside it. It disappears after `ttl` seconds; `count` seconds are counted down. */
  #say(text = "", { failed = false, links = {}, ttl, count, live = "polite" } = {}) {
    clearTimeout(this.#timer);
    this.#greeted = undefined;
    const { status, note, links: place } = this.#parts;
    const [shown, other] = this.#open ? [note, status] : [status, note];
    other.textContent = "";
    shown.ariaLive = live;
    shown.textContent = text.replace("{n}", count);
    shown.classList.toggle("failed", failed);
    if (place.contains(this.#root.activeElement)) this.#parts[this.#vote?.shown ?? "up"].focus();
    place.replaceChildren(
      ...Object.entries(links).map(([name, click]) => button("link", click, {}, this.#texts[name])),
    );
    if (count > 0) {
      this.#timer = setTimeout(() => {
        // Announced once, not every second.
        if (count > 1) this.#say(text, { failed, links, count: count - 1, live: "off" });
        else {
          this.#say();
          this.#busy();
        }
      }, 1000);
    } else if (ttl) {
      this.#timer = setTimeout(() => {
        const isUsed = place.contains(this.#root.activeElement);
        this.#say(...(isUsed ? [text, { failed, links, ttl }] : []));
      }, ttl * 1000);
    }
  }
}

const isClosing = ({ status }) => status === 401 || status === 403;

if (customElements && !customElements.get("harken-feedback")) {
  customElements.define("harken-feedback", HarkenFeedback);
}
