"""The link to the export on the list of feedback: it gives exactly what the headline counts."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from bs4 import BeautifulSoup

import harken
from harken import Harken
from hosts.serving import Server
from hosts.web.site import Visitor, served_at
from support import ManualClock

pytestmark = pytest.mark.slow


@pytest.fixture
def hk(clock: ManualClock) -> Iterator[Harken]:
    """A Harken with feedback of forty days, the last of it held."""
    clock.turn(days=-40)
    with harken.connect("memory://", clock=clock, spam="hold", spam_phrases=["casino"]) as connected:
        for place in range(80):
            connected.submit(
                f"s{place}",
                ("up", "down")[place % 2],
                "On hold,\nagain" if place % 4 == 1 else "",
                agent_id=("Ann", "Ben & Co")[place % 3 == 0],
                tags=["slow"] if place % 2 else [],
            )
            clock.turn(hours=12)
        connected.submit("s", "up", "The casino", agent_id="Ann")
        clock.turn(minutes=1)
        yield connected


@pytest.fixture
def server(hk: Harken, clock: ManualClock) -> Iterator[Server]:
    """A server that requires keys."""
    with served_at(hk, clock, access="keys") as serving:
        yield serving


@pytest.mark.parametrize(
    "query",
    [
        "",
        "period=week&zone=Asia/Tokyo&compare=none",
        "period=year&agent_id=Ben+%26+Co&rating=down&rating=up&tag=slow",
        "period=year&text=hold+again&has_comment=true",
        "since=DAY&until=NEXT&zone=Pacific/Kiritimati",
        "status=pending",
    ],
)
@pytest.mark.parametrize("limits", [{}, {"agents": ["Ben & Co"]}], ids=["all agents", "one agent"])
def test_it_gives_what_is_counted(
    hk: Harken, server: Server, clock: ManualClock, query: str, limits: dict[str, Any]
) -> None:
    """With a period, a zone, filters or a search, and for a key that may only read, or is limited to agents."""
    day = clock.now.date() - timedelta(days=9)
    query = query.replace("DAY", day.isoformat()).replace("NEXT", (day + timedelta(days=2)).isoformat())
    visitor = Visitor.signed_in(server, hk.keys.create("default", ["read"], **limits).text)
    page = BeautifulSoup(visitor.get(f"/dashboard/feedback?{query}").text, "html.parser")
    title = page.select_one("h1")
    assert title
    link = page.select_one('a[href*="/api/export"]')
    if link is None:
        # Nothing of this agent waits.
        assert title.get_text() == "0 responses"
        assert (query, limits) == ("status=pending", {"agents": ["Ben & Co"]})
        return
    answer = visitor.get(str(link["href"]))
    assert answer.status_code == 200, answer.text
    rows = list(csv.DictReader(StringIO(answer.content.decode())))
    assert len(rows) == int(title.get_text().split()[0]) > 0
    assert link.get_text() == f"Export these {len(rows)}"
