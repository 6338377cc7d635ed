"""The pages of signing in, as HTML: their texts and layout."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any, Final
from urllib.parse import urlencode

from attrs import frozen
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from harken_adapters.hosts import frame
from harken_adapters.hosts.http.wire.messages import security_headers

SIGNED_OUT: Final = "You are signed out."
SIGNED_OUT_EVERYWHERE: Final = "You are signed out, in all browsers."
#: After "Sign out everywhere" in a session that had ended: nothing shows whose other sessions to end.
ENDED_BEFORE: Final = (
    "This browser was signed out before, so other browsers were not signed out. To sign out in all of them, sign in "
    "again and choose “Sign out everywhere”."
)
ENDED: Final = "Your sign-in has ended. Sign in again to continue."
UNSAVED: Final = "Nothing was saved, as your sign-in has ended. Sign in to return to the page, and try again."
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
#: With the referrer policy ``no-referrer``, browsers would send ``Origin: null`` with the form.
SECURITY: Final = security_headers(_POLICY, referrer_policy="same-origin")


@frozen(kw_only=True)
class View:
    """What the sign-in page shows.

    Attributes:
        root: the prefix of the API's paths.
        next: the path of the page to show afterwards.
        theme: ``light`` or ``dark``, if the visitor has chosen one.
        provider: the name of the OpenID Connect provider; empty for none.
        notice: a message that is not an error.
        title: the title of the error, as a sentence.
        error: the reason for the error.
        key: the text in the field.
        is_invalid: whether the error concerns that text.
    """

    root: str
    next: str
    theme: str | None = None
    provider: str = ""
    notice: str = ""
    title: str = "Not signed in."
    error: str = ""
    key: str = ""
    is_invalid: bool = False

    @property
    def query(self) -> str:
        """The query string that passes the page to show afterwards on."""
        return f"?{urlencode({'next': self.next})}"

    def html(self) -> bytes:
        """The page."""
        return _render("page.html", view=self, root=self.root, theme=self.theme)


def continue_page(root: str, following: str, theme: str | None) -> bytes:
    """The page that leads to another one, as HTML.

    After a redirect from another site, the browser does not send the cookie. From this page, it does.
    """
    return _render("continue.html", next=following, root=root, theme=theme)


@cache
def style() -> bytes:
    """The style sheet."""
    return frame.STYLE + frame.CONTROLS


@cache
def script() -> bytes:
    """The script. It signs in with the key in the fragment of a link, and continues if the browser is signed in."""
    return files(__package__).joinpath("start.js").read_bytes()


def _render(name: str, **values: Any) -> bytes:
    return _template(name).render(header=Markup(frame.HEADER.format(more="")), **values).encode()  # noqa: S704 - constant


@cache
def _template(name: str) -> Template:
    source = files(__package__).joinpath(name).read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(source)
