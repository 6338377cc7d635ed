"""Preferences of the browser, in cookies: the theme, and whether single letters are keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from harken_adapters.hosts.http.guards.access import check_own_page
from harken_adapters.hosts.http.guards.cookies import THEME
from harken_adapters.hosts.http.serving.pages import Page, Pages
from harken_adapters.hosts.http.serving.sign_in.paths import own_path
from harken_adapters.hosts.http.wire.messages import Request, Response, redirect
from harken_adapters.hosts.http.wire.parameters import invalid
from harken_adapters.hosts.web.forms import form_of
from harken_adapters.hosts.web.frame import LETTER_KEYS
from harken_adapters.hosts.web.navigation import frame_of
from harken_adapters.hosts.web.visit import DASHBOARD, Visit

PATH: Final = "/preferences"
_A_YEAR: Final = 365 * 24 * 60 * 60


def show(visit: Visit) -> Response:
    """The response with the page."""
    selection = visit.unlimited_selection()
    frame = frame_of(visit, "", selection, listens=False)
    return visit.show("preferences.html", title="Preferences", frame=frame)


def preference(cookie: str, path: str, values: Sequence[str]) -> Page:
    """The form that sets a preference, and returns to the page that it is on. It needs no credentials.

    Args:
        cookie: the name of the cookie.
        path: the path of the form below the dashboard.
        values: the values, of which the first is the default, for which no cookie is kept.
    """

    def respond(_: Pages, root: str, request: Request) -> Response:
        check_own_page(request)
        form = form_of(request)
        value = form.get("value", "")
        if value not in values:
            raise invalid("value", "unknown", f"value must be one of {', '.join(values)}; got {value[:100]!a}")
        home = f"{root}{DASHBOARD}"
        back = own_path(root, form.get("back")) or home
        is_page = f"{back}/".startswith((f"{home}/", f"{home}?"))
        age = 0 if value == values[0] else _A_YEAR
        kept = f"{cookie}={value}; Path={root or '/'}; Max-Age={age}; SameSite=Lax"
        return redirect(back if is_page else home, ("set-cookie", kept))

    return Page(f"dashboard_{cookie}", f"{DASHBOARD}{path}", respond, ("POST",), needs="nothing", blocks=False)


FORMS: Final = (
    preference(THEME, "/theme", ("system", "light", "dark")),
    preference(LETTER_KEYS, "/letter-keys", ("on", "off")),
)
