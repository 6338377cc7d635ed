"use strict";

const form = document.querySelector("form");

async function currentSession() {
  try {
    const answer = await fetch(form.dataset.current);
    return answer.ok ? await answer.json() : {};
  } catch {
    return {};
  }
}

function linkTo(address, text) {
  const link = document.createElement("a");
  link.className = "link";
  link.href = address;
  link.textContent = text;
  return link;
}

async function signInWithLink() {
  const key = location.hash.slice(1);
  form.elements.key.value = key;
  // Keep the key out of the history and bookmarks.
  history.replaceState(null, "", location.pathname + location.search);
  for (const notice of document.querySelectorAll("[role=alert], [role=status]")) notice.remove();
  form.elements.key.removeAttribute("aria-invalid");
  const current = await currentSession();
  if (!current.signed_in) form.submit();
  else if (key.startsWith(`hk_${current.id}_`)) location.replace(form.dataset.next);
  else askBefore(current.name);
}

// A link on another site must not replace the person who is signed in without a word.
function askBefore(name) {
  const notice = document.createElement("p");
  notice.className = "note mt2";
  notice.setAttribute("role", "status");
  notice.append(
    `This browser is signed in as ${name}. To use the key of the link instead, sign in. Otherwise, `,
    linkTo(form.dataset.next, `continue as ${name}`),
    ".",
  );
  form.before(notice);
}

const hasKey = () => location.hash.startsWith("#hk_");

// Pages show times in this zone, unless their address has another one.
const root = form.dataset.current.slice(0, -"/sign-in/current".length);
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) document.cookie = `harken_zone=${zone}; path=${root || "/"}; max-age=31536000; samesite=lax`;

// If a tab already shows this page, following a link with a key changes only the fragment.
addEventListener("hashchange", () => hasKey() && signInWithLink());

if (hasKey()) signInWithLink();
else if (!document.querySelector("[role=alert], [role=status]")) {
  // A browser does not send the cookie after following a link on another site, so it may already be signed in. After a
  // notice, it is not: another process of the service may only notice some seconds later that the sign-in has ended.
  currentSession().then((current) => {
    if (current.signed_in) location.replace(form.dataset.next);
  });
}
