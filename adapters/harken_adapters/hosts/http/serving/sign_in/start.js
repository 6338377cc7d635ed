"use strict";

const form = document.querySelector("form");

function signIn() {
  if (!location.hash.startsWith("#hk_")) return false;
  form.elements.key.value = location.hash.slice(1);
  // Keep the key out of the history and bookmarks.
  history.replaceState(null, "", location.pathname + location.search);
  for (const notice of document.querySelectorAll("[role=alert], [role=status]")) notice.remove();
  form.elements.key.removeAttribute("aria-invalid");
  form.submit();
  return true;
}

// Pages show times in this zone, unless their address has another one.
const root = form.dataset.current.slice(0, -"/sign-in/current".length);
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) document.cookie = `harken_zone=${zone}; path=${root || "/"}; max-age=31536000; samesite=lax`;

// If a tab already shows this page, following a link with a key changes only the fragment.
addEventListener("hashchange", signIn);

if (!signIn() && !document.querySelector("[role=alert]")) {
  // A browser does not send the cookie after following a link on another site, so it may already be signed in.
  fetch(form.dataset.current)
    .then((answer) => (answer.ok ? answer.json() : {}))
    .then((current) => {
      if (current.signed_in) location.replace(form.dataset.next);
    }, () => {});
}
