// What every page of the dashboard does with JavaScript. Without it, all of it works as links and forms.
import { currentSession, fade, listen, say, signInLink, turn } from "./live.js";

function start() {
  if (usesOtherZone()) {
    location.reload();
    return;
  }
  addEventListener("popstate", onBack);
  document.addEventListener("click", onClick);
  document.addEventListener("keydown", onEscape);
  document.addEventListener("keydown", onLetter);
  document.addEventListener("submit", onSubmit);
  document.addEventListener("change", countPicked);
  document.addEventListener("reset", () => setTimeout(countPicked));
  document.addEventListener("turned", prepare);
  for (const form of document.querySelectorAll("[data-ends]")) warnBeforeEnd(form);
  prepare();
  listen();
}

// What each state of the page needs.
function prepare() {
  for (const button of document.querySelectorAll("[data-copy], [data-pick-all]")) button.hidden = false;
  for (const notice of document.querySelectorAll("[data-retry]")) retry(notice);
  for (const toast of document.querySelectorAll("[data-fades]")) fade(toast);
  for (const part of document.querySelectorAll("[data-refresh]")) refreshSoon(part);
  for (const words of document.querySelectorAll(".feed a.words")) offerMore(words);
  for (const strip of document.querySelectorAll(".keys")) showKeysIn(strip);
  fetchLater();
  shown = withoutFragment(location.href);
  const message = document.querySelector("[data-say]");
  if (message) say(message.dataset.say);
  countPicked();
}

// The time zone of the browser is that of pages whose address has none. Signing in has stored it; without that, the
// first page is loaded again.
function usesOtherZone() {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  const { root, zone: used } = document.body.dataset;
  const kept = `harken_zone=${zone}`;
  const isKept = () => document.cookie.split("; ").includes(kept);
  if (!used || !zone || isKept()) return false;
  document.cookie = `${kept}; path=${root || "/"}; max-age=31536000; samesite=lax`;
  return isKept() && used !== zone && !new URLSearchParams(location.search).has("zone");
}

function onClick(event) {
  closeMenus(event.target);
  if (event.target.matches("[data-picks] .cb")) pick(event.target, event.shiftKey);
  const chosen = event.target.closest("a[data-popover], a[data-turn], button[data-copy]");
  if (!chosen || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  if (chosen.dataset.copy) copy(chosen);
  else if ("turn" in chosen.dataset) follow(chosen);
  else openPopover(chosen);
}

function onEscape(event) {
  if (event.key !== "Escape") return;
  wishes += 1;
  const open = document.querySelector("details.menu-of[open]");
  if (open) {
    open.open = false;
    open.querySelector("summary").focus();
  }
  closePopover();
}

function closeMenus(target) {
  wishes += 1;
  for (const menu of document.querySelectorAll("details.menu-of[open]")) {
    if (!menu.contains(target)) menu.open = false;
  }
  const popover = document.querySelector(".popover");
  if (popover && !popover.contains(target)) closePopover({ focus: false });
}

async function copy(button) {
  const text = button.dataset.copy === "location" ? linkToThis() : document.querySelector(button.dataset.copy).textContent.trim();
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Browsers have no clipboard for pages that came without encryption, or do not allow it.
    if (!copyAsSelected(text, button)) return say("Not copied: the browser does not allow it.", true);
  }
  say("Copied");
}

// Everyone who follows the link sees the same, in any time zone.
function linkToThis() {
  const address = new URL(location.href);
  if (document.body.dataset.zone && !address.searchParams.has("zone")) address.searchParams.set("zone", document.body.dataset.zone);
  return address.href;
}

function copyAsSelected(text, button) {
  const field = document.createElement("textarea");
  field.className = "vh";
  field.value = text;
  button.after(field);
  field.select();
  const isCopied = document.execCommand("copy");
  field.remove();
  button.focus();
  return isCopied;
}

// --- Popovers: the form of another page, beside the link to it ---------------------------------------------------------

let opener = null;
// The number of times that the reader wanted a popover, or none.
let wishes = 0;

async function openPopover(link) {
  // A link in a popover leads on to another one of the same opener.
  const from = link.closest(".popover") ? opener : link;
  wishes += 1;
  const own = wishes;
  const part = await fetchPart(link.href);
  if (own !== wishes) return;
  if (!part) {
    location.assign(link.href);
    return;
  }
  closePopover({ focus: false });
  opener = from;
  const chip = from.closest(".f");
  const box = document.createElement("div");
  box.className = "pop popover";
  box.setAttribute("role", "dialog");
  box.setAttribute("aria-label", from.textContent.trim());
  box.append(part);
  chip.after(box);
  place(box, chip);
  from.setAttribute("aria-expanded", "true");
  const narrow = box.querySelector("[data-narrow]");
  if (narrow) narrow.hidden = false;
  narrow?.addEventListener("input", (event) => narrowOptions(box, event.target.value));
  box.querySelector("[data-narrow] input, .options input, .options a, a, button")?.focus();
}

// Below its opener, and not beyond the edge of the page. On narrow screens, the style sheet places it.
function place(box, chip) {
  const most = document.documentElement.clientWidth - box.offsetWidth - 16;
  box.style.left = `${Math.max(16, Math.min(chip.offsetLeft, most))}px`;
  box.style.top = `${chip.offsetTop + chip.offsetHeight + 6}px`;
}

// A part of a page as elements; nothing if that fails.
async function fetchPart(href) {
  const address = new URL(href, location.href);
  address.searchParams.set("fragment", "true");
  const answer = await fetch(address).catch(() => null);
  // After the session has ended, the answer is the page for signing in.
  return answer?.ok && !answer.redirected ? document.createRange().createContextualFragment(await answer.text()) : null;
}

// What takes long comes after the page. If it fails, the box says so, in words that it has.
async function fetchLater() {
  for (const box of document.querySelectorAll("[data-later]")) {
    const part = await fetchPart(box.dataset.later);
    box.replaceChildren(part ?? box.querySelector("template").content);
    box.removeAttribute("aria-busy");
  }
}

// A comment is shown up to a number of lines.
function offerMore(words) {
  if (words.scrollHeight <= words.clientHeight + 1 || words.nextElementSibling?.matches(".more-of")) return;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "link bare more-of";
  button.textContent = "more";
  button.addEventListener("click", () => {
    words.classList.add("whole");
    button.remove();
    words.focus();
  });
  words.after(button);
}

function narrowOptions(box, text) {
  const wanted = text.trim().toLowerCase();
  for (const option of box.querySelectorAll(".o")) option.hidden = !option.textContent.toLowerCase().includes(wanted);
}

function closePopover({ focus = true } = {}) {
  const box = document.querySelector(".popover");
  if (!box) return;
  box.remove();
  opener?.removeAttribute("aria-expanded");
  if (focus) opener?.focus();
  opener = null;
}

// --- Parts that change soon: read again, until they do not ask for it any more -------------------------------------------

const MOST_REFRESHES = 20;

function refreshSoon(part, left = MOST_REFRESHES) {
  if (left > 0) setTimeout(() => refreshPart(part, left), Number(part.dataset.refresh) * 1000);
}

async function refreshPart(part, left) {
  const answer = await fetch(location.href).catch(() => null);
  const fresh = answer?.ok && new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(part.id);
  // What the reader has the focus in stays.
  if (!fresh || part.contains(document.activeElement)) {
    refreshSoon(part, left - 1);
    return;
  }
  const [before, after] = [part, fresh].map((one) => one.querySelector("[data-news]")?.textContent);
  part.replaceWith(fresh);
  if (after && after !== before) say(after);
  if (fresh.dataset.refresh) refreshSoon(fresh, left - 1);
}

// --- After an error: try again a few times ------------------------------------------------------------------------------

function retry(notice) {
  let left = Number(notice.dataset.retries);
  let seconds = Number(notice.dataset.retry);
  const timer = setInterval(async () => {
    if (!notice.isConnected) {
      clearInterval(timer);
      return;
    }
    seconds -= 1;
    if (seconds > 0) {
      notice.textContent = `This page tries again in ${seconds} s.`;
      return;
    }
    left -= 1;
    seconds = Number(notice.dataset.retry);
    if (left < 0) {
      clearInterval(timer);
      notice.textContent = `Gave up after ${notice.dataset.retries} attempts. Reload the page to try again.`;
      return;
    }
    const answer = await fetch(location.href, { method: "HEAD" }).catch(() => null);
    if (answer?.ok) location.reload();
  }, 1000);
}

// Two minutes before the visitor is signed out, offer to stay. Clocks may differ, so the server decides.
function warnBeforeEnd(form) {
  const left = new Date(form.dataset.ends) - Date.now() - 120_000;
  setTimeout(() => (form.hidden = false), Math.max(0, left));
}

// Stay signed in, without loading a page. Whether it worked is in the new time, as a script cannot read the redirect.
async function stay(form) {
  const body = new URLSearchParams(new FormData(form));
  await fetch(form.action, { method: "POST", body, redirect: "manual" }).catch(() => null);
  const current = await currentSession();
  if (current && !current.signed_in) {
    form.querySelector("[role=status] span").replaceChildren("Your sign-in has ended. ", signInLink());
    form.querySelector("button").remove();
    return;
  }
  if (!current || new Date(current.expires_at) <= new Date(form.dataset.ends)) {
    say("Your sign-in was not extended. Try again.", true);
    return;
  }
  form.hidden = true;
  form.dataset.ends = current.expires_at;
  if (current.can_stay) warnBeforeEnd(form);
  say("You stay signed in");
}

// --- Forms and links whose answer is shown in place ----------------------------------------------------------------------

let isTurning = false;

async function onSubmit(event) {
  const form = event.target;
  if ("ends" in form.dataset) {
    event.preventDefault();
    stay(form);
  }
  if (!("turn" in form.dataset)) return;
  event.preventDefault();
  // A key that is pressed twice is one decision.
  if (isTurning) return;
  const body = new URLSearchParams(new FormData(form, event.submitter));
  const problem = await turnKeeping(form.action, { form: body });
  if (problem) say(problem, true);
}

async function follow(link) {
  if (!isTurning && (await turnKeeping(link.href, { isNext: true }))) location.assign(link.href);
}

// The address of what is shown, which Back and Forward change.
let shown;

function withoutFragment(address) {
  return address.split("#", 1)[0];
}

async function onBack() {
  if (withoutFragment(location.href) !== shown && (await turnKeeping(location.href))) location.reload();
}

// What was selected stays so.
async function turnKeeping(address, options) {
  const picked = new Set([...document.querySelectorAll("[data-picks] .q :checked")].map((box) => box.value));
  isTurning = true;
  try {
    const problem = await turn(address, options);
    if (problem) return problem;
  } finally {
    isTurning = false;
  }
  for (const box of document.querySelectorAll("[data-picks] .q .cb")) box.checked ||= picked.has(box.value);
  countPicked();
  return "";
}

// --- Selecting several ---------------------------------------------------------------------------------------------------

let lastPicked = null;

function pick(box, isRange) {
  const boxes = [...document.querySelectorAll("[data-picks] .q .cb:not(:disabled)")];
  if (box.closest("[data-pick-all]")) {
    for (const one of boxes) one.checked = box.checked;
    box.checked = false;
  } else if (isRange && boxes.includes(lastPicked)) {
    const [first, last] = [boxes.indexOf(lastPicked), boxes.indexOf(box)].sort((a, b) => a - b);
    for (const one of boxes.slice(first, last + 1)) one.checked = box.checked;
  }
  lastPicked = box;
  countPicked();
}

function countPicked() {
  for (const label of document.querySelectorAll("[data-picked]")) {
    label.textContent = `${document.querySelectorAll("[data-picks] .q :checked").length} selected`;
  }
}

// --- Keys. Elements name theirs in data-key, so that a key exists exactly where its hint is shown -------------------------

const PAGES = { O: "Overview", F: "Feedback", M: "Moderation", A: "Alerts" };
let isGoing = false;

// A key is for the page only if nothing else can want it: a field, a menu, a dialog, or the browser.
function isFree(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented || event.isComposing) return false;
  if (event.target.closest("input:not([type=checkbox]), textarea, select, [contenteditable], [role=dialog], dialog, details[open]")) return false;
  return !document.querySelector("dialog[open]") && document.documentElement.dataset.keys !== "off";
}

function onLetter(event) {
  if (!isFree(event) || event.key.length > 1) return;
  const key = event.key.toUpperCase();
  if (isGoing) {
    isGoing = false;
    followPage(PAGES[key], event);
  } else if (key === "G") {
    isGoing = true;
    setTimeout(() => (isGoing = false), 1500);
  } else if (key === "?") {
    event.preventDefault();
    showKeys();
  } else {
    press(key, event);
  }
}

function linkTo(name) {
  return [...document.querySelectorAll(".nav a")].find((one) => one.firstChild.textContent.trim() === name);
}

function followPage(name, event) {
  const link = linkTo(name);
  if (!link) return;
  event.preventDefault();
  link.click();
}

function press(key, event) {
  const targets = [...document.querySelectorAll(`[data-key="${CSS.escape(key)}"]`)];
  const target = targets.find((one) => one.checkVisibility() || one.closest("details.menu-of")) ?? rowFor(key);
  if (!target || target.getAttribute("aria-disabled") === "true") return;
  event.preventDefault();
  if (target.matches("input:not([type=checkbox]), [data-rows] *")) target.focus();
  else target.click();
}

// The row of a list to which a key leads from the one that has the focus.
function rowFor(key) {
  const rows = [...document.querySelectorAll("[data-rows] a.words")];
  const place = rows.indexOf(document.activeElement);
  if (place < 0) return "JK".includes(key) ? rows[0] : null;
  return { J: rows[place + 1], K: rows[place - 1] }[key];
}

// The keys that do something here, with what they do; without menus, only those outside of them.
function keysHere(inMenus) {
  const keys = new Map();
  for (const one of document.querySelectorAll("[data-key]")) {
    if (inMenus || !one.closest("details")) keys.set(one.dataset.key, nameOf(one));
  }
  if (!document.querySelector("[data-rows]")) return keys;
  return keys.set("J", "Next").set("K", "Previous").set("Enter", "Open");
}

function showKeysIn(strip) {
  const hints = [...keysHere(false), ["?", "All keys"]].map(([key, name]) => {
    const hint = document.createElement("span");
    hint.append(keycap(key), ` ${name}`);
    return hint;
  });
  strip.replaceChildren(...hints);
}

function keycap(key) {
  const cap = document.createElement("kbd");
  cap.textContent = key;
  return cap;
}

function showKeys() {
  const box = document.createElement("dialog");
  box.className = "pop keysbox";
  box.setAttribute("aria-label", "Keys");
  const list = document.createElement("dl");
  list.className = "kv";
  const pages = Object.entries(PAGES).filter(([, name]) => linkTo(name));
  const rows = [...pages.map(([key, name]) => [`G ${key}`, name]), ...keysHere(true), ["?", "This list"], ["Esc", "Close"]];
  for (const [key, name] of rows) {
    const term = document.createElement("dt");
    term.append(keycap(key));
    const value = document.createElement("dd");
    value.textContent = name;
    list.append(term, value);
  }
  box.append(list);
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (event) => event.target === box && box.close());
  document.body.append(box);
  box.showModal();
}

function nameOf(target) {
  const copy = target.cloneNode(true);
  for (const hint of copy.querySelectorAll("kbd")) hint.remove();
  return target.dataset.keyName || target.getAttribute("aria-label") || copy.textContent.trim();
}

start();
