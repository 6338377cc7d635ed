"""A page with the widget in every state."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Final

from playwright.sync_api import Route, expect

from hosts.browser.visits import AUTHOR, Visit, hold, status

_MESSAGE: Final = re.compile(r"/messages/([^/]+)/feedback$")
_WORDS: Final = "I waited a minute"
#: The attributes of the widgets that need some, by state.
_STATES: Final[dict[str, dict[str, object]]] = {
    "idle": {},
    "up": {},
    "up failed": {},
    "earlier": {},
    "removed": {},
    "closed": {},
    "slowed": {},
    "reply": {},
    "down": {},
    "reason": {},
    "neither": {},
    "saving": {},
    "failed": {},
    "full": {},
    "labelled": {"variant": "labelled"},
    "card": {"variant": "card"},
    "both": {"ask": "both"},
    "disabled": {"disabled": True},
    "readonly": {"readonly": True},
}


def open_every_state(visit: Visit, **parts: str) -> None:
    """Open a page with one widget for each state, and bring it into its state."""
    visit.page.route(_MESSAGE, _respond)
    for message, tags in (("earlier", ["slow"]), ("removed", ["wrong"]), ("readonly", ["wrong"])):
        visit.hk.vote(visit.session, "down", author=AUTHOR, message_id=message, tags=tags)
    closed = {"token": visit.token(age=timedelta(days=1)), "session": f"{visit.session}-closed"}
    visit.open(
        *(
            f'<section><h2 lang="en" dir="ltr">{state}</h2>'
            f"{visit.widget(state, **(closed if state == 'closed' else {}), **attributes)}</section>"
            for state, attributes in _STATES.items()
        ),
        **parts,
    )
    _drive(visit)


def _respond(route: Route) -> None:
    found = _MESSAGE.search(route.request.url)
    message = found and found[1].replace("%20", " ")
    if message == "up failed":
        status(404)(route)
    elif message == "slowed":
        status(429, Retry_After="9")(route)
    elif message == "failed":
        status(500, Retry_After="50")(route)
    elif message == "saving":
        hold(route)
    else:
        route.continue_()


def _drive(visit: Visit) -> None:
    on = visit.on
    for state in ("up", "up failed", "slowed", "both"):
        on(state).up.click()
    on("removed").down.click()
    for state in ("reply", "down", "reason", "neither", "saving", "failed", "full"):
        on(state).down.click()
    for state in ("reply", "reason", "saving", "failed"):
        on(state).reason("slow").click()
    for state in ("saving", "failed"):
        on(state).input.fill(_WORDS)
    on("full").input.fill("x" * 950)
    for state in ("reply", "neither", "saving", "failed"):
        on(state).send.click()
    expect(on("reply").reply).not_to_be_empty()
    expect(on("neither").error).not_to_be_empty()
    visit.later(0.4)
    expect(on("saving").spin).to_be_visible()
    expect(on("failed").note).not_to_be_empty()
    for state in ("up", "up failed", "slowed", "removed", "closed", "earlier"):
        expect(on(state).message).not_to_be_empty()
