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
    source.addEventListener("feedback.created", () => add(1));
    source.addEventListener("missed", (event) => add(JSON.parse(event.data).missed ?? 1));
  };
  const pause = () => {
    source?.close();
    source = null;
    show(state, "Paused", false);
  };
  document.addEventListener("visibilitychange", () => (document.hidden ? pause() : source ?? open()));
  for (const pill of document.querySelectorAll(".pill")) pill.addEventListener("click", refresh);
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

// Load the page again in place, and put the focus on the heading of its list.
async function refresh() {
  let answer;
  try {
    answer = await fetch(location.href);
  } catch {
    answer = null;
  }
  if (!answer?.ok) {
    location.reload();
    return;
  }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of ["main", ".nav"]) document.querySelector(part)?.replaceWith(fresh.querySelector(part));
  for (const pill of document.querySelectorAll(".pill")) pill.hidden = true;
  count = 0;
  document.dispatchEvent(new Event("refreshed"));
  const heading = document.querySelector("[data-latest]") ?? document.querySelector("h1");
  heading.tabIndex = -1;
  heading.focus();
}
