"""The states of the widget, and what leads from one to another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import pytest
from attrs import frozen
from playwright.sync_api import Browser, expect

from harken import Harken
from hosts.browser.site import Site
from hosts.browser.visits import Held, Visit, Widget, status
from hosts.serving import Server

pytestmark = pytest.mark.slow

ACTIONS: Final[dict[str, Callable[[Widget], None]]] = {
    "nothing": lambda widget: None,
    "up": lambda widget: widget.up.click(),
    "down": lambda widget: widget.down.click(),
    "wrong": lambda widget: widget.reason("wrong").click(),
    "slow": lambda widget: widget.reason("slow").click(),
    "words": lambda widget: widget.input.fill("  Not my flight  "),
    "send": lambda widget: widget.send.click(),
    "ctrl+enter": lambda widget: widget.input.press("Control+Enter"),
    "cmd+enter": lambda widget: widget.input.press("Meta+Enter"),
    "not now": lambda widget: widget.close.click(),
    "escape": lambda widget: widget.input.press("Escape"),
    "undo": lambda widget: widget.link("Undo").click(),
    "saved": lambda widget: widget.says("Thanks"),
    "sent": lambda widget: widget.says("Sent. Thank you"),
    "removed": lambda widget: widget.says("Taken back"),
}


@frozen
class Path:
    """Actions, and the state that they lead to."""

    actions: str
    shows: str | None
    says: str = ""
    opens: bool = False
    stores: str | None = None
    comment: str = ""
    tags: tuple[str, ...] = ()


WORDS: Final = "Not my flight"
NEEDED: Final = "Pick a reason or write a few words, so that we can fix it"
PATHS: Final = (
    Path("nothing", None),
    Path("up", "up", "Thanks", stores="up"),
    Path("up saved up", None, "Taken back"),
    Path("up saved up removed undo", "up", "Thanks", stores="up"),
    Path("up saved up removed up", "up", "Thanks", stores="up"),
    Path("down", "down", opens=True),
    Path("down escape", None),
    Path("down not-now", None),
    Path("down down", None),
    Path("down wrong words escape", None),
    Path("down wrong send", "down", "Sent. Thank you", stores="down", tags=("wrong",)),
    Path("down wrong slow wrong send", "down", "Sent. Thank you", stores="down", tags=("slow",)),
    Path("down words send", "down", "Sent. Thank you", stores="down", comment=WORDS),
    Path("down wrong words ctrl+enter", "down", "Sent. Thank you", stores="down", comment=WORDS, tags=("wrong",)),
    Path("down words cmd+enter", "down", "Sent. Thank you", stores="down", comment=WORDS),
    Path("down send", "down", NEEDED, opens=True),
    Path("down send wrong send", "down", "Sent. Thank you", stores="down", tags=("wrong",)),
    Path("down send escape", None),
    Path("down up", "up", "Thanks", stores="up"),
    Path("down words up", "up", "Thanks", stores="up"),
    Path("down words up saved down", "down", opens=True, stores="up"),
    Path("up saved down", "down", opens=True, stores="up"),
    Path("up saved down escape", "up", stores="up"),
    Path("up saved down down", "up", stores="up"),
    Path("up saved down words send", "down", "Sent. Thank you", stores="down", comment=WORDS),
    Path("down wrong send sent up", "up", "Thanks", stores="up"),
    Path("down wrong send sent down", None, "Taken back"),
    Path(
        "down wrong words send sent down removed undo",
        "down",
        "Thanks",
        stores="down",
        comment=WORDS,
        tags=("wrong",),
    ),
)


@pytest.fixture(scope="module")
def conversation(browser: Browser, server: Server, site: Site, hk: Harken) -> Iterator[Visit]:
    """One page, with a widget for each path."""
    visit = Visit(browser.new_page(), server, site, hk)
    visit.page.set_default_timeout(10_000)
    visit.open(*(visit.widget(path.actions) for path in PATHS))
    yield visit
    assert visit.problems == []


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.actions)
def test_a_state_is_reached(conversation: Visit, path: Path) -> None:
    """After each sequence of actions, the thumbs, the panel, the message and the storage agree."""
    widget = conversation.on(path.actions)
    for action in path.actions.split():
        ACTIONS[action.replace("-", " ")](widget)
    widget.shows(path.shows)
    widget.is_open(path.opens)
    if path.says == NEEDED:
        expect(widget.error).to_have_text(NEEDED)
    else:
        widget.says(path.says)
    conversation.stores(path.stores, path.comment, path.tags, message=path.actions)
