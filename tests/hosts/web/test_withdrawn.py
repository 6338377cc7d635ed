"""Withdrawn feedback on pages: it is listed where it is asked for, without the words that its author took back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from bs4 import BeautifulSoup

import harken
from harken import Feedback, Harken
from hosts.serving import Server
from hosts.web.site import Visitor, served_at
from support import ManualClock

pytestmark = pytest.mark.slow

WORDS = ("secret words", "earlier words", "secret tag", "secret reply", "secret context")
TAKEN_BACK = "Its author took this back"


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken with one other entry."""
    with harken.connect("memory://", clock=clock) as connected:
        connected.submit("s", "up", "shown")
        yield connected


@pytest.fixture
def gone(hk: Harken, clock: ManualClock) -> Feedback:
    """Feedback that was changed, answered, approved by hand and withdrawn."""
    hk.vote("s", "up", "earlier words", author="kim", message_id="m")
    clock.turn(minutes=1)
    more: Any = {"tags": ["secret tag"], "context": {"key": "secret context"}}
    given = hk.vote("s", "down", "secret words", author="kim", message_id="m", **more)
    hk.collection.reply("default", given.feedback.id, "secret reply")
    return hk.withdraw(given.feedback.id)


@pytest.fixture
def visitor(hk: Harken, clock: ManualClock) -> Iterator[Visitor]:
    """Anybody."""
    server: Server
    with served_at(hk, clock) as server:
        yield Visitor(server)


def soup(visitor: Visitor, path: str) -> BeautifulSoup:
    """A page."""
    answer = visitor.get(path)
    assert answer.status_code == 200, answer.text
    return BeautifulSoup(answer.text, "html.parser")


@pytest.mark.parametrize("query", ["withdrawn=only", "withdrawn=only&text=secret", "withdrawn=only&tag=secret+tag"])
def test_the_list_has_no_words(visitor: Visitor, gone: Feedback, query: str) -> None:
    """It is listed, also by filters on what it said, but nothing that it said is."""
    page = soup(visitor, f"/dashboard/feedback?{query}")
    (row,) = page.select(".feed li")
    assert TAKEN_BACK in row.get_text()
    assert gone.id in str(row)
    assert not [word for word in WORDS if word in row.get_text()]


def test_the_overview_has_no_words(visitor: Visitor, gone: Feedback) -> None:
    """Neither the latest feedback nor the example of an issue quotes it."""
    assert gone.withdrawn
    for path in ("", "/issues"):
        page = soup(visitor, f"/dashboard{path}?withdrawn=only")
        assert "secret words" not in page.get_text()
        assert not page.select(".feed .tag")
    assert TAKEN_BACK in soup(visitor, "/dashboard?withdrawn=only").get_text()


def test_its_page_has_no_words(visitor: Visitor, gone: Feedback) -> None:
    """Neither the title nor the history nor the facts say what it said; its list still leads to it and back."""
    page = soup(visitor, f"/dashboard/feedback/{gone.id}?withdrawn=only&tag=secret+tag")
    for crumb in page.select("nav.crumb"):
        assert "1 of 1" in " ".join(crumb.get_text(" ").split())
    text = page.select_one("main").get_text(" ")  # type: ignore[union-attr]
    assert TAKEN_BACK in text
    assert not [word for word in WORDS if word in text]
    assert [one.get_text() for one in page.select(".tl b")] == ["Given", "Approved at once", "Withdrawn by its author"]


def test_the_moderation_page_has_no_words(visitor: Visitor, gone: Feedback) -> None:
    """A link to it says that there is nothing left to decide on."""
    page = soup(visitor, f"/dashboard/moderation?current={gone.id}").get_text(" ")
    assert TAKEN_BACK in page
    assert not [word for word in WORDS if word in page]
