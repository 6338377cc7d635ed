"""The page on which a browser signs in with an API key, and the cookie that it gets for it.

The link that ``harken serve`` prints has the key behind ``#``, which browsers send to nobody: the page's script puts it
into the form and sends that. Without a script, or without such a link, the key is pasted.
"""

from __future__ import annotations

from html import escape
from typing import Final

from harken_adapters.hosts.http.access import COOKIE
from harken_adapters.hosts.http.messages import SECURITY_HEADERS, Headers

#: How many seconds a browser stays signed in.
LASTS: Final = 12 * 60 * 60
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
#: With ``no-referrer`` browsers would send ``Origin: null`` with a form, and the form would look like a foreign one.
SECURITY: Final[Headers] = tuple(
    {**dict(SECURITY_HEADERS), "content-security-policy": _POLICY, "referrer-policy": "same-origin"}.items()
)

_PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in · Harken</title>
<link rel="stylesheet" href="{root}/sign-in/style.css">
<script src="{root}/sign-in/start.js" defer></script>
</head>
<body>
<header>
<svg viewBox="0 0 24 24" aria-hidden="true"><circle cx="5.5" cy="12" r="2.6"/>\
<path d="M10.5 6.6a7.2 7.2 0 0 1 0 10.8M14.6 3.6a12 12 0 0 1 0 16.8M18.7 1.4a16.6 16.6 0 0 1 0 21.2"/></svg>
<span>Harken</span>
</header>
<main>
<h1>Sign in</h1>
<p>With an API key of the application that you want to use.</p>
<form method="post" action="{root}/sign-in" data-next="{root}/docs">
{error}
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus \
aria-describedby="hint"{invalid}>
<p id="hint">Create one with <code>harken keys create --scope read</code></p>
<button>Sign in</button>
</form>
<p>This browser keeps the key for 12 hours, in a cookie that scripts cannot read.</p>
</main>
</body>
</html>
"""
_ERROR: Final = '<p role="alert"><b>Not signed in.</b> {message}</p>'

SCRIPT: Final = b"""\
"use strict";

const form = document.querySelector("form");
const key = decodeURIComponent(location.hash.slice(1));

if (key.startsWith("hk_")) {
  // Neither the history nor a bookmark keeps it.
  history.replaceState(null, "", location.pathname);
  form.elements.key.value = key;
  form.submit();
} else if (!document.querySelector("[role=alert]")) {
  // A browser leaves the cookie out where a link of another site led here, so it may be signed in already.
  fetch(form.dataset.next, { method: "HEAD", redirect: "error" }).then((answer) => {
    if (answer.ok) location.replace(form.dataset.next);
  }, () => {});
}
"""

STYLE: Final = b"""\
:root {
  color-scheme: light dark;
  --ground: #f7f7f3; --surface: #fff; --line: #e3e3dd; --text: #1d1b26; --quiet: #5d5b66; --accent: #4a3ecc;
  --on-accent: #fff; --error: #a31621; --error-ground: #fde3e3; --edge: #8d8b96;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #16151c; --surface: #1e1d26; --line: #33313d; --text: #f0eff5; --quiet: #aeacb8; --accent: #a79fff;
    --on-accent: #16151c; --error: #ffb3b3; --error-ground: #4a1f24; --edge: #7c7a87;
  }
}
* { box-sizing: border-box; }
body { margin: 0; min-height: 100vh; display: flex; flex-direction: column; background: var(--ground);
  color: var(--text); font: 15px/1.45 Inter, system-ui, sans-serif; }
header { display: flex; gap: 8px; align-items: center; padding: 16px 40px; background: var(--surface);
  border-bottom: 1px solid var(--line); font-weight: 600; }
header svg { width: 22px; fill: none; stroke: var(--accent); stroke-width: 2.1; stroke-linecap: round; }
header circle { fill: var(--accent); stroke: none; }
main { width: 100%; max-width: 460px; margin: auto; padding: 24px 20px; }
h1 { margin: 0 0 4px; font-size: 29px; }
p { margin: 0; color: var(--quiet); }
form { display: grid; gap: 8px; margin: 24px 0; }
label { font-size: 13px; font-weight: 600; }
input { height: 42px; padding: 0 12px; border: 1px solid var(--edge); border-radius: 7px; background: var(--surface);
  color: var(--text); font: 15px ui-monospace, monospace; }
input[aria-invalid] { border: 2px solid var(--error); }
input:focus-visible, button:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
button { height: 42px; margin-top: 8px; border: 0; border-radius: 7px; background: var(--accent);
  color: var(--on-accent); font: 500 15px Inter, system-ui, sans-serif; cursor: pointer; }
code { font: 13px ui-monospace, monospace; }
[role=alert] { margin-bottom: 8px; padding: 12px; border-radius: 7px; background: var(--error-ground);
  color: var(--text); font-size: 14px; }
"""


def page(root: str, error: str | None = None) -> bytes:
    """The page, in HTML; ``root`` is what the API's paths stand behind, ``error`` why somebody is not signed in."""
    told = _ERROR.format(message=escape(error)) if error else ""
    return _PAGE.format(root=escape(root), error=told, invalid=' aria-invalid="true"' if error else "").encode()


def cookie(key: str, root: str, *, secure: bool) -> tuple[str, str]:
    """The header that gives a browser a key; an empty one takes it away.

    Only this service gets it: for its paths, from its own pages, and over TLS if that is how the page was reached.
    """
    lasts = LASTS if key else 0
    value = f"{COOKIE}={key}; Path={root or '/'}; Max-Age={lasts}; HttpOnly; SameSite=Strict"
    return "set-cookie", f"{value}; Secure" if secure else value
