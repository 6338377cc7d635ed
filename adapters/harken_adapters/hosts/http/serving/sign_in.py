"""The sign-in page, on which a browser exchanges an API key for a cookie.

The link that ``harken serve`` prints has the key in its fragment, which browsers do not send to the server; the script
of the page submits it with the form. Otherwise the user enters the key.
"""

from __future__ import annotations

from html import escape
from typing import Final

from harken_adapters.hosts.http import frame
from harken_adapters.hosts.http.guards.access import COOKIE
from harken_adapters.hosts.http.wire.messages import security_headers

#: The lifetime of the cookie, in seconds.
MAX_AGE: Final = 12 * 60 * 60
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
SECURITY: Final = security_headers(_POLICY, referrer_policy="same-origin")

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
{header}<main>
<h1>Sign in</h1>
<p>Use an API key of the application that you want to access.</p>
<form method="post" action="{root}/sign-in" data-next="{root}/docs">
{notice}
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="current-password" required autofocus \
aria-describedby="hint"{invalid}>
<p id="hint">The key that <code>harken serve</code> created is in the <code>.key</code> file next to the storage. \
The operator can create another one with <code>harken --storage URL keys create --scope read</code>.</p>
<button>Sign in</button>
</form>
<p>This browser stores the key for 12 hours, in a cookie that scripts cannot read.</p>
</main>
</body>
</html>
"""
_ERROR: Final = '<p role="alert"><b>{title}</b> {message}</p>'
_NOTICE: Final = '<p role="status">{message}</p>'

SCRIPT: Final = b"""\
"use strict";

const form = document.querySelector("form");

function signIn() {
  if (!location.hash.startsWith("#hk_")) return false;
  form.elements.key.value = location.hash.slice(1);
  // Keep the key out of the history and bookmarks.
  history.replaceState(null, "", location.pathname);
  for (const notice of document.querySelectorAll("[role=alert], [role=status]")) notice.remove();
  form.elements.key.removeAttribute("aria-invalid");
  form.submit();
  return true;
}

// If a tab already shows this page, following a link with a key changes only the fragment.
addEventListener("hashchange", signIn);

if (!signIn() && !document.querySelector("[role=alert]")) {
  // A browser does not send the cookie after following a link on another site, so it may already be signed in.
  fetch(form.dataset.next, { method: "HEAD", redirect: "error" }).then((answer) => {
    if (answer.ok) location.replace(form.dataset.next);
  }, () => {});
}
"""

STYLE: Final = (
    frame.STYLE
    + b"""\
* { box-sizing: border-box; }
body { min-height: 100vh; display: flex; flex-direction: column; }
main { width: 100%; max-width: 460px; margin: auto; padding: 24px 20px; }
h1 { margin: 0 0 4px; font-size: 29px; }
p { margin: 0; color: var(--quiet); }
form { display: grid; gap: 8px; margin: 24px 0; }
label { font-size: 13px; font-weight: 600; }
input { height: 42px; padding: 0 12px; border: 1px solid var(--edge); border-radius: 7px; background: var(--surface);
  color: var(--text); font: 15px ui-monospace, monospace; }
input[aria-invalid] { border: 2px solid var(--error); }
button { height: 42px; margin-top: 8px; border: 0; border-radius: 7px; background: var(--accent);
  color: var(--on-accent); font: 500 15px Inter, system-ui, sans-serif; cursor: pointer; }
[role=alert], [role=status] { margin-bottom: 8px; padding: 12px; border-radius: 7px; color: var(--text);
  font-size: 14px; }
[role=alert] { background: var(--error-ground); }
[role=status] { background: var(--surface); border: 1px solid var(--line); }
"""
)


def page(root: str, *, error: str | None = None, title: str = "Not signed in.", notice: str | None = None) -> bytes:
    """The sign-in page, as HTML.

    Args:
        root: the prefix of the API's paths.
        error: the reason for an error.
        title: the title of the error, as a sentence.
        notice: a message that is not an error.
    """
    shown = _NOTICE.format(message=escape(notice)) if notice else ""
    if error:
        shown = _ERROR.format(title=escape(title), message=escape(error))
    invalid = ' aria-invalid="true"' if error else ""
    return _PAGE.format(root=escape(root), header=frame.HEADER.format(more=""), notice=shown, invalid=invalid).encode()


def cookie(key: str, root: str, *, secure: bool) -> tuple[str, str]:
    """The Set-Cookie header that stores a key in the browser; with an empty key, it removes the cookie.

    The browser sends the cookie only to paths below ``root``, from pages of the same site, and with ``secure`` only
    over TLS. Cookies do not distinguish ports, so every server on the same host receives it.
    """
    max_age = MAX_AGE if key else 0
    value = f"{COOKIE}={key}; Path={root or '/'}; Max-Age={max_age}; HttpOnly; SameSite=Strict"
    return "set-cookie", f"{value}; Secure" if secure else value
