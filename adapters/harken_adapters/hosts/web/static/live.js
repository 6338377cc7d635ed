// New feedback is counted and announced; the page changes only when the reader asks for it.

const EVERY = 30_000;
let count = 0;
let saidAt = -EVERY;

export function listen() {
  const slot = document.querySelector("[data-events]");
  if (!slot) return;
  const state = document.querySelector(".live");
  let source = null;
  const open = () => {
    source = new EventSource(slot.dataset.events);
    source.onopen = () => show(state, "Live", true);
    source.onerror = () => {
      const closed = source.readyState === EventSource.CLOSED;
      show(state, closed ? "Not live" : "Not live: trying again", false);
    };
    source.addEventListener("feedback.created", (event) => isCounted(event) && add(1));
    source.addEventListener("feedback.moderated", (event) => markDecided(JSON.parse(event.data).data));
    source.addEventListener("missed", (event) => add(JSON.parse(event.data).count ?? 1));
  };
  const pause = () => {
    source?.close();
    source = null;
    show(state, "Paused", false);
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : source ?? open()));
  document.addEventListener("click", (event) => event.target.closest(".pill") && refresh());
  addEventListener("pagehide", () => source?.close());
  open();
}

function show(state, text, isLive) {
  if (!state) return;
  state.hidden = false;
  state.classList.toggle("off", !isLive);
  state.lastChild.textContent = text;
}

function add(number) {
  count += number;
  if (document.querySelector("[data-becomes]")) {
    refresh();
    return;
  }
  for (const pill of document.querySelectorAll(".pill")) {
    pill.hidden = false;
    pill.textContent = `${count.toLocaleString("en")} new · show`;
  }
  if (performance.now() - saidAt < EVERY) return;
  saidAt = performance.now();
  document.querySelector("#said").textContent = `${count} new`;
}

// A list of one state counts only what is in it.
function isCounted(event) {
  const wanted = document.querySelector(".pill")?.dataset.counts;
  return !wanted || JSON.parse(event.data).data.status === wanted;
}

// What others have decided goes grey where it is, and leaves the page when that is loaded again.
function markDecided(feedback) {
  const done = feedback.status === "pending" ? "put back" : feedback.status;
  const words = `${feedback.moderation?.moderator ?? "A moderator"} ${done} it just now`;
  for (const part of document.querySelectorAll(`[data-feedback="${CSS.escape(feedback.id)}"]`)) {
    if (Number(part.dataset.version) >= feedback.version) continue;
    part.classList.add("gone");
    for (const note of part.querySelectorAll("[data-gone]")) note.hidden = false;
    for (const why of part.querySelectorAll("[data-why]")) why.textContent = words;
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

// Show another state of the page in place of this one: the answer to a link or a form. The focus goes to what it says
// is next, or to the heading of the list. Returns what failed; nothing if the other state, or another page, is shown.
export async function turn(address, form) {
  let answer, text;
  try {
    answer = await fetch(address, form && { method: "POST", body: form });
    text = await answer.text();
  } catch {
    return "Not saved: the server does not answer. Try again.";
  }
  const fresh = new DOMParser().parseFromString(text, "text/html");
  if (form && !answer.ok) {
    // The page is left unchanged. Its address is not that of the form, to which no link can lead.
    return [...fresh.querySelectorAll("h1, .lead")].map((one) => one.textContent.trim()).join(". ");
  }
  if (!fresh.querySelector(".nav")) {
    // Another kind of page, such as that to sign in.
    location.assign(answer.url);
    return "";
  }
  for (const part of ["#bar", "main", ".nav", ".small", "#shapes"]) document.querySelector(part)?.replaceWith(fresh.querySelector(part));
  document.title = fresh.title;
  history.replaceState(null, "", answer.url);
  count = 0;
  const next = document.querySelector("[data-focus]") ?? document.querySelector("[data-latest]") ?? document.querySelector("h1");
  next.tabIndex = -1;
  next.focus();
  document.dispatchEvent(new Event("turned"));
  return "";
}
