// What changes a page after it was loaded: events, another state in place of this one, and messages. One module, as each
// more is one more request.

// --- Events: new feedback is counted and announced; the page changes only when the reader asks for it -------------------

const EVERY = 30_000;
const AGAIN = 5_000;
const SOON = 1_000;
// A stream that is soon there again is not worth a word.
const QUIET = 3_000;
const LISTENER = "harken_listener";

const listener = takeListenerId();
addEventListener("pagehide", leaveListenerId);
// A page that comes back from the browser's cache.
addEventListener("pageshow", (event) => event.persisted && takeListenerId());

let source = null;
let address = "";
let last = "";
let reopening;
let lost = null;
// The ids of what is new, how much more there is of which the events were lost, and whether there is an unknown number.
const fresh = new Set();
let missed = 0;
let isUncounted = false;
let saidAt = -EVERY;

export function listen() {
  if (!slot()) return;
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : open()));
  document.addEventListener("click", (event) => event.target.closest(".pill") && refresh());
  document.addEventListener("turned", restart);
  addEventListener("pagehide", pause);
  addEventListener("pageshow", (event) => event.persisted && open());
  if (document.hidden) pause();
  else open();
}

// The element with the address of the event stream, the place in it of the page, and the time of the page.
function slot() {
  return document.querySelector("[data-events]");
}

function open() {
  if (source) return;
  address = slot().dataset.events;
  const url = new URL(address, location.href);
  url.searchParams.set("after", last || slot().dataset.after);
  // The sign-in may be that of another application meanwhile, whose events do not belong here.
  url.searchParams.set("application", document.body.dataset.application);
  url.searchParams.set("listener", listener);
  source = new EventSource(url);
  source.onopen = () => {
    found();
    show("Live", true);
  };
  // A browser does not try again after a response such as 503.
  source.onerror = lose;
  for (const type of ["created", "updated", "moderated"]) source.addEventListener(`feedback.${type}`, hear);
  source.addEventListener("missed", hear);
}

function close() {
  clearTimeout(reopening);
  reopening = null;
  source?.close();
  source = null;
}

// A script cannot see why a stream failed. Without a sign-in for what the page shows, trying again is useless.
async function lose() {
  close();
  const own = (reopening = setTimeout(open, lost ? AGAIN : SOON));
  lost ??= setTimeout(() => show("Not live: trying again in 5 s", false), QUIET);
  const current = await currentSession();
  if (own !== reopening || !current) return;
  const { application } = document.body.dataset;
  if (!current.signed_in) stop("Your sign-in has ended. ", signInLink());
  else if (current.applications.length && !current.applications.includes(application)) stop(`Signed in to ${current.application} now. `, link(location.pathname, "Show it"));
}

// There is a stream again, or none is wanted.
function found() {
  clearTimeout(lost);
  lost = null;
}

function stop(text, link) {
  close();
  found();
  show("", false);
  slot().lastChild.append(text, link);
  document.querySelector("#said").textContent = text;
}

// The next page of the same tab takes the place of this one, where each listener occupies a thread of the server. The id
// is stored only between pages, as a copy of the tab would copy it.
function takeListenerId() {
  try {
    const id = sessionStorage.getItem(LISTENER);
    sessionStorage.removeItem(LISTENER);
    if (id) return id;
  } catch {
    // Without storage, each page is a listener of its own.
  }
  return Math.random().toString(36).slice(2);
}

function leaveListenerId() {
  try {
    sessionStorage.setItem(LISTENER, listener);
  } catch {
    // The next page is a listener of its own.
  }
}

// Who is signed in; nothing if that is not known.
export async function currentSession() {
  try {
    const answer = await fetch(`${document.body.dataset.root}/sign-in/current`);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

function link(address, text) {
  const element = document.createElement("a");
  element.className = "link";
  element.href = address;
  element.textContent = text;
  return element;
}

// In another tab, so that what is typed on the page stays.
export function signInLink() {
  const back = encodeURIComponent(location.pathname + location.search);
  const element = link(`${document.body.dataset.root}/sign-in?next=${back}`, "Sign in");
  element.target = "_blank";
  return element;
}

function pause() {
  close();
  found();
  show("Paused", false);
}

// The page shows something else now. Where the stream would go on is in the page.
function restart() {
  last = "";
  fresh.clear();
  missed = 0;
  isUncounted = false;
  showCount();
  if (!source || slot().dataset.events === address) return;
  close();
  open();
}

function show(text, isLive) {
  slot().hidden = false;
  slot().classList.toggle("off", !isLive);
  slot().lastChild.textContent = text;
}

function hear(event) {
  last = event.lastEventId || last;
  const news = JSON.parse(event.data);
  if (event.type === "missed") {
    missed += news.count ?? 0;
    isUncounted ||= news.count === null;
  } else {
    if (event.type === "feedback.moderated") markDecided(news.data);
    if (!isNew(event.type, news)) return;
    fresh.add(news.data.id);
  }
  if (!showCount()) return;
  if (document.querySelector("[data-becomes]")) refresh();
  else announce();
}

// Whether it is not on the page yet, and would be. The stream is filtered like the page, but repeats what was shortly
// before its place; and a list of one state counts only what is new in it.
function isNew(type, { timestamp, data }) {
  const wanted = document.querySelector("[data-counts]")?.dataset.counts;
  const isApproval = type === "feedback.moderated" && !wanted;
  return (isApproval ? timestamp : data.created_at) >= slot().dataset.now && (!wanted || data.status === wanted);
}

function words() {
  const count = fresh.size + missed;
  if (count) return `${count.toLocaleString("en")}${isUncounted ? " or more" : ""} new`;
  return isUncounted ? "New feedback" : "";
}

// Only pages with a place for the count count. Returns whether there is something to say.
function showCount() {
  const isCounting = document.querySelector("#bar .pill, [data-becomes]");
  const text = isCounting ? words() : "";
  for (const pill of document.querySelectorAll(".pill")) {
    pill.hidden = !text;
    pill.textContent = `${text} · show`;
  }
  return text !== "";
}

function announce() {
  if (performance.now() - saidAt < EVERY) return;
  saidAt = performance.now();
  say(words());
}

// What others have decided goes grey where it is, and leaves the page when that is loaded again.
function markDecided(feedback) {
  const done = feedback.status === "pending" ? "held again" : feedback.status;
  for (const part of document.querySelectorAll(`[data-feedback="${CSS.escape(feedback.id)}"]`)) {
    if (Number(part.dataset.version) >= feedback.version) continue;
    part.classList.add("gone");
    for (const note of part.querySelectorAll("[data-gone]")) note.hidden = false;
    for (const why of part.querySelectorAll("[data-why]")) {
      // Isolated, as a name may have another direction.
      const name = document.createElement("bdi");
      name.textContent = feedback.moderation?.moderator ?? "A moderator";
      why.replaceChildren(name, ` ${done} it just now`);
    }
    for (const box of part.querySelectorAll("input[type=checkbox]")) {
      box.checked = false;
      box.disabled = true;
      box.dispatchEvent(new Event("change", { bubbles: true }));
    }
  }
}

// Load the page again in place, and put the focus on the heading of its list.
async function refresh() {
  if (await turn(location.href)) location.reload();
}

// --- Another state of the page -------------------------------------------------------------------------------------------

function isSignIn(address) {
  return new URL(address).pathname === `${document.body.dataset.root}/sign-in`;
}

let turns = 0;

// Show another state of the page in place of this one: the answer to a link or a form. The focus goes to what it says
// is next, or to the heading of the list. Returns what failed, as text or an element; nothing if the other state, or
// another page, is shown.
export async function turn(target, { form, isNext = false } = {}) {
  turns += 1;
  const own = turns;
  let answer, text;
  try {
    answer = await fetch(target, form && { method: "POST", body: form });
    text = await answer.text();
  } catch {
    return "Not saved: the server does not answer. Try again.";
  }
  const page = new DOMParser().parseFromString(text, "text/html");
  if (form && !answer.ok) {
    // The page is left unchanged. Its address is not that of the form, to which no link can lead.
    return [...page.querySelectorAll("h1, .lead")].map((one) => one.textContent.trim()).join(". ");
  }
  if (form && isSignIn(answer.url)) {
    for (const notice of document.querySelectorAll(".ending")) notice.hidden = true;
    const problem = document.createElement("span");
    problem.append("Not saved: your sign-in has ended. ", signInLink(), " in another tab, then try again here.");
    return problem;
  }
  // The reader has gone elsewhere meanwhile.
  if (own !== turns) return "";
  // The page for the first feedback becomes the overview, which starts at its top.
  const isFirst = document.querySelector("[data-becomes]") && !page.querySelector("[data-becomes]");
  if (!page.querySelector(".nav") || page.body.dataset.application !== document.body.dataset.application) {
    // Another kind of page, such as that to sign in, or of another application.
    location.assign(answer.url);
    return "";
  }
  for (const part of ["#bar", "main", ".nav", ".small", "#shapes"]) document.querySelector(part)?.replaceWith(page.querySelector(part));
  Object.assign(slot()?.dataset ?? {}, page.querySelector("[data-events]")?.dataset);
  // Forms outside of these parts lead back to what is shown now.
  const back = page.querySelector(".theme [name=back]");
  for (const field of document.querySelectorAll(".theme [name=back], .ending [name=next]")) field.value = back?.value ?? "";
  document.title = page.title;
  if (isNext) history.pushState(null, "", answer.url);
  else history.replaceState(null, "", answer.url);
  const next = document.querySelector(isFirst ? "h1" : "[data-focus], [data-latest]") ?? document.querySelector("h1");
  next.tabIndex = -1;
  next.focus();
  if (isFirst) scrollTo(0, 0);
  document.dispatchEvent(new Event("turned"));
  return "";
}

// --- Messages ------------------------------------------------------------------------------------------------------------

// A message goes after some seconds, but not while it is hovered or has the focus.
export function fade(toast) {
  let left = Number(toast.dataset.fades);
  const timer = setInterval(() => {
    if (toast.matches(":hover, :focus-within")) return;
    left -= 1;
    if (left > 0 && toast.isConnected) return;
    clearInterval(timer);
    toast.remove();
  }, 1000);
}

// Tell people what happened, also those who do not see the page; a failure is shown too, until it is followed if it is
// an element with a link.
export function say(what, isFailure = false) {
  document.querySelector("#said").textContent = what.textContent ?? what;
  if (!isFailure) return;
  document.querySelector("#failure")?.remove();
  const toast = document.createElement("div");
  toast.id = "failure";
  toast.className = "toastwrap";
  toast.dataset.fades = "10";
  const words = document.createElement("div");
  words.className = "toast";
  words.append(what);
  toast.append(words);
  document.querySelector("main").prepend(toast);
  if (!what.querySelector) fade(toast);
}
