"""What surrounds a page: the main menu, the applications to choose from, and the visitor."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from attrs import frozen

from harken_adapters.hosts.http.guards.access import Principal
from harken_adapters.hosts.http.guards.cookies import find_cookie
from harken_adapters.hosts.http.wire.messages import Request

#: The cookie of the preference whether single letters are keys.
LETTER_KEYS: Final = "harken_letter_keys"


@frozen(kw_only=True)
class Entry:
    """An entry of the main menu.

    Attributes:
        name: the name of the page.
        path: its path.
        link: a link to it, with the same selection.
        is_current: whether it is the page that is shown.
        count: the number of things that wait there, as text; empty for none, and for other pages.
        counted: what is counted, for screen readers: ``waiting``.
        is_bad: whether the count is of failures.
    """

    name: str
    path: str
    link: str
    is_current: bool
    count: str = ""
    counted: str = ""
    is_bad: bool = False


@frozen
class Choice:
    """An application that the visitor can choose."""

    name: str
    link: str
    is_current: bool


@frozen(kw_only=True)
class Frame:
    """What surrounds a page.

    Attributes:
        root: the prefix of all paths.
        home: the path of the overview.
        overview: a link to the overview of the same application.
        theme: ``light`` or ``dark``, if the visitor has chosen one.
        letter_keys: whether single letters are keys.
        application: the application that the page is about; empty if that is not known.
        applications: the applications that the visitor can choose from, with links; empty if there is no choice.
        entries: the main menu.
        preferences: a link to the preferences.
        back: the address of the page, to which forms return.
        who: who is signed in, for people.
        signed_in: whether the visitor can sign out.
        ends_at: when the visitor is signed out, in UTC, if that can be later.
        zone: the time zone of the page; empty if it cannot be loaded again in another one.
        events: the address of the event stream; empty if the page does not listen.
        events_after: the place in that stream at which the page was made.
        made_at: when the page was made, in ISO 8601 and UTC.
    """

    root: str
    home: str
    overview: str
    theme: str | None
    letter_keys: bool
    application: str = ""
    applications: Sequence[Choice] = ()
    entries: Sequence[Entry] = ()
    preferences: str = ""
    back: str = ""
    who: str = ""
    signed_in: bool = False
    ends_at: datetime | None = None
    zone: str = ""
    events: str = ""
    events_after: str = ""
    made_at: str = ""


def who_text(principal: Principal) -> str:
    """Who is signed in, for people."""
    key, browser = principal.key, principal.browser
    if key is None:
        return "Not signed in: access is open"
    if browser is not None and browser.person is not None:
        return f"Signed in as {key.name or key.id}"
    return f"Signed in with key {key.name or key.id}"


def uses_letter_keys(request: Request) -> bool:
    """Whether single letters are keys."""
    return find_cookie(request, LETTER_KEYS) != "off"
