"""The demo: a short conversation with the widget, for one session of the person who is signed in."""

from __future__ import annotations

from html import escape
from typing import Final

from harken_adapters.hosts import frame
from harken_adapters.hosts.http.wire.messages import security_headers

SESSION: Final = "demo"
AUTHOR: Final = "demo"
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
<title>Widget · Harken</title>
<link rel="stylesheet" href="{root}/demo/style.css">
<script type="module" src="{root}/widget.js"></script>
</head>
<body>
{header}<main>
<section aria-label="Conversation">
<h1>Skylark Help</h1>
{conversation}
</section>
<section>
<h2>How it works</h2>
<p>A thumbs-up is saved at once. A thumbs-down asks why. Press a thumb again to take the vote back.</p>
<p>{about}</p>
<h2>In your page</h2>
<pre><code>{snippet}</code></pre>
<p>Your backend creates the token with <code>SessionTokens</code> or <code>harken mint-token</code>.</p>
</section>
</main>
</body>
</html>
"""
_MESSAGES: Final = (
    ("Can I change my Lisbon flight to Friday?", None),
    ("Yes. Flight SK 214 on Friday at 09:40 has seats. The change costs 25 €, and your bag moves along.", "answer-1"),
    ("And what if it is called off because of the storm?", None),
    ("Then the change is free until Sunday, and you can ask for your money back instead.", "answer-2"),
    ("Where do I ask?", None),
    ("Open the booking, choose Refund, and confirm. It takes about five working days.", "answer-3"),
)
_SNIPPET: Final = """\
<script type="module" src="{root}/widget.js"></script>
<harken-feedback session="…" message="…"
                 token="…"></harken-feedback>"""
_STORED: Final = (
    "The feedback is stored in the session <code>demo</code> of the application <code>{application}</code>, and counts "
    "in its statistics. To remove it, erase that session."
)
#: Why the thumbs are switched off, as HTML.
NO_SECRETS: Final = (
    "The thumbs are switched off, as session tokens are not configured: set <code>token_secrets</code> in the table "
    "<code>[server]</code> of <code>harken.toml</code>."
)
NOT_ALLOWED: Final = (
    "The thumbs are switched off, as these credentials may not submit feedback: sign in with an API key that has the "
    "scope <code>submit</code> and is not limited to agents."
)

STYLE: Final = (
    frame.STYLE
    + b"""\
.top .in { max-width: 1000px; padding: 0 40px; }
main { display: grid; grid-template-columns: minmax(0, 420px) minmax(0, 1fr); gap: 48px; max-width: 1000px;
  margin: 0 auto; padding: 32px 40px; }
section:first-child { display: flex; flex-direction: column; gap: 12px; padding: 18px; background: var(--surface);
  border: 1px solid var(--line); border-radius: 16px; align-self: start; }
h1 { margin: 0 -18px 6px; padding: 0 18px 14px; border-bottom: 1px solid var(--line); font-size: 15px; }
h2 { margin: 0 0 8px; font-size: 17px; line-height: 24px; }
p + h2 { margin-top: 32px; }
.asked { align-self: end; max-width: 85%; margin: 0; padding: 9px 13px; border-radius: 14px;
  background: var(--accentsoft); }
.answer { max-width: 92%; }
.answer p { width: fit-content; margin: 0; padding: 9px 13px; border-radius: 14px; background: var(--sunken); }
pre { overflow-x: auto; padding: 12px; border: 1px solid var(--line); border-radius: 7px; background: var(--surface); }
harken-feedback { display: block; min-height: 38px; }
@media (max-width: 800px) {
  .top .in { padding: 0 20px; }
  main { grid-template-columns: minmax(0, 1fr); padding: 20px; gap: 32px; }
}
"""
)


def stored_in(application: str) -> str:
    """Where the feedback is stored, as HTML."""
    return _STORED.format(application=escape(application))


def page(root: str, about: str, *, token: str | None = None) -> bytes:
    """The page, as HTML.

    Args:
        root: the prefix of the API's paths.
        about: where the feedback is stored, or why the thumbs are switched off, as HTML.
        token: a token of the session :data:`SESSION` and the author :data:`AUTHOR`; ``None`` to switch the thumbs off.
    """
    return _PAGE.format(
        root=escape(root),
        header=frame.HEADER.format(more=""),
        conversation="\n".join(_message(text, message, token) for text, message in _MESSAGES),
        about=about,
        snippet=escape(_SNIPPET.format(root=root)),
    ).encode()


def _message(text: str, message: str | None, token: str | None) -> str:
    if message is None:
        return f'<p class="asked">{escape(text)}</p>'
    access = "disabled" if token is None else f'token="{escape(token)}"'
    widget = f'<harken-feedback session="{SESSION}" message="{message}" agent="skylark" {access}></harken-feedback>'
    return f'<div class="answer"><p>{escape(text)}</p>\n{widget}</div>'
