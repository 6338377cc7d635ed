"""The titles of pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from bs4 import BeautifulSoup

import harken
from harken import Harken
from hosts.web.site import Visitor, served_at
from support import ManualClock

pytestmark = pytest.mark.slow


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """An empty Harken."""
    with harken.connect("memory://", clock=clock) as connected:
        yield connected


@pytest.fixture
def visitor(hk: Harken, clock: ManualClock) -> Iterator[Visitor]:
    """Anybody."""
    with served_at(hk, clock) as server:
        yield Visitor(server)


def headings(visitor: Visitor, path: str) -> tuple[str, str]:
    """The title of the document and of the page."""
    page = BeautifulSoup(visitor.get(f"/dashboard{path}").text, "html.parser")
    title, heading = page.select_one("title"), page.select_one("h1")
    assert title
    assert heading
    return title.get_text(), heading.get_text()


def test_each_tab_of_a_browser_says_what_its_page_says(hk: Harken, visitor: Visitor) -> None:
    """The title of the document is the heading, which says something about the data."""
    assert headings(visitor, "") == ("No feedback yet · Harken", "No feedback yet")
    given = hk.submit("s", "down", "slow", tags=["slow"]).feedback
    lists = ("", "/feedback", "/issues", "/filter?name=tag", "/moderation", "/alerts")
    for path in (*lists, f"/feedback/{given.id}", "/feedback/unknown", "/settings", "/preferences"):
        title, heading = headings(visitor, path)
        assert title == f"{heading} · Harken"
        assert heading not in ("Overview", "Issues")
