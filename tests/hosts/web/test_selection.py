"""The query string of pages: each leads to a page or a clear error."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

import pytest
from bs4 import BeautifulSoup
from hypothesis import example, given
from hypothesis import strategies as st

import harken
from harken import Harken
from harken_adapters.hosts.http.wire.problems import Problem
from harken_adapters.hosts.web.selection import Selection
from hosts.web.site import Visitor, served_at, texts_of
from support import ManualClock

pytestmark = pytest.mark.slow

DASH = "\N{EN DASH}"
#: A Wednesday.
NOW = datetime(2026, 4, 15, 12, 7, 30, tzinfo=UTC)
PAGES = ("", "/feedback", "/issues", "/filter")
NAMES = (
    *("since", "until", "period", "zone", "compare", "application"),
    *("agent_id", "rating", "tag", "session_id", "message_id", "author", "has_comment", "status", "withdrawn"),
    *("context.version", "context.", "context.\0", "trend", "issues", "hours", "latest", "by", "from"),
    *("name", "page", "fragment", "after", "before", "unknown", "<script>", ""),
)
VALUES = (
    *(
        "0001-01-01",
        "0001-01-01T00:00+14:00",
        "9999-12-31",
        "9999-12-31T23:59:59.999999-12:00",
        "2026-02-30",
        "2026-W01",
    ),
    *("2026-04-01", "2026-04-15", "2026-03-29T02:30", "1970-01-01", "-1", "2026-04-15T11:00Z"),
    *("today", "week", "month", "year", "none", "previous", "default", "all", "table", "words", "responses", "chart"),
    *("UTC", "Europe/Berlin", "Pacific/Kiritimati", "Pacific/Apia", "../../etc/passwd", "Etc/GMT+12", "posixrules"),
    *(
        "up",
        "down",
        "neutral",
        "true",
        "false",
        "any",
        "agent",
        "session",
        "context.version",
        "context.",
        "tag",
        "feedback",
    ),
    *("Ann", "'\"><script>alert(1)</script>", "\0", "\udcff", "%", "ä" * 300, "x" * 3_000, "🙂", "\u202e", ""),
)


@pytest.fixture(scope="module")
def hk() -> Iterator[Harken]:
    """A Harken with a little feedback of today and of last week."""
    clock = ManualClock(NOW - timedelta(days=7))
    with harken.connect("memory://", clock=clock) as connected:
        for day in range(8):
            for place in range(12):
                connected.submit(
                    f"session-{day}-{place}",
                    ("up", "down", None)[place % 3],
                    "Slow again",
                    agent_id="Ann",
                    tags=["slow"],
                    context={"version": str(place % 2)},
                )
            clock.turn(days=1)
        yield connected


@pytest.fixture(scope="module")
def visitor(hk: Harken) -> Iterator[Visitor]:
    """A visitor of its dashboard."""
    with served_at(hk, lambda: NOW) as server:
        yield Visitor(server)


def check(visitor: Visitor, path: str) -> int:
    """Visit a page: it is right, or says what is wrong with the request. Returns its status."""
    answer = visitor.get(path)
    assert answer.status_code in (200, 400, 403, 422), (path, answer.text)
    page = BeautifulSoup(answer.text, "html.parser")
    assert not page.select("script:not([src])")
    if answer.status_code != 200:
        # The title and a sentence with the cause.
        assert page.select_one("h1")
        sentence = page.select_one(".lead")
        assert sentence
        assert len(sentence.get_text(strip=True)) > 10
    return answer.status_code


#: Names and values that may make sense together or not.
PAIRS = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES) | st.text(max_size=20)), max_size=8)


@given(page=st.sampled_from(PAGES), pairs=PAIRS)
@example(page="", pairs=[("since", "0001-01-01"), ("until", "9999-12-31")])
@example(page="", pairs=[("since", "0001-01-01"), ("until", "0001-01-02"), ("zone", "Pacific/Kiritimati")])
@example(page="", pairs=[("since", "0001-01-09T13:00"), ("until", "0001-01-10"), ("zone", "Etc/GMT-14")])
@example(page="", pairs=[("until", "9999-12-31"), ("zone", "Etc/GMT+12")])
@example(page="", pairs=[("since", "2026-04-15"), ("until", "9999-12-31T23:59:59.999999-12:00")])
@example(page="", pairs=[("by", "context.version"), ("trend", "table"), ("hours", "table"), ("issues", "words")])
@example(page="/filter", pairs=[("name", "context.version"), ("page", "feedback")])
@example(page="/filter", pairs=[("name", "context."), ("page", "overview")])
def test_hostile_query_strings(visitor: Visitor, page: str, pairs: list[tuple[str, str]]) -> None:
    """Extreme times, unknown zones, repeated and unknown parameters: never a failure of the server."""
    check(visitor, f"/dashboard{page}?{urlencode(pairs, errors='surrogatepass')}")


@given(page=st.sampled_from(PAGES), query=st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=60))
@example(page="", query="since=%ff")
@example(page="/filter", query="name=%00&page=%00")
@example(page="", query="&&&===;;;%")
def test_broken_query_strings(visitor: Visitor, page: str, query: str) -> None:
    """Text that is not a query string."""
    check(visitor, f"/dashboard{page}?{query.replace('#', '')}")


@given(zone=st.sampled_from(["UTC", "Europe/Berlin", "America/St_Johns", "Pacific/Kiritimati"]), data=st.data())
def test_every_link_leads_on(visitor: Visitor, zone: str, data: st.DataObject) -> None:
    """All links of a page with a valid selection, also the earlier and later ones, are valid selections."""
    period = data.draw(st.sampled_from(["today", "week", "month", "year"]))
    path = f"/dashboard?zone={zone}&period={period}&agent_id=Ann&tag=slow&by=context.version"
    for _ in range(4):
        assert check(visitor, path) == 200, path
        path = data.draw(st.sampled_from(links_to_pages(visitor, path)))


def links_to_pages(visitor: Visitor, path: str) -> list[str]:
    """The links of a page to pages that this test knows."""
    page = BeautifulSoup(visitor.get(path).text, "html.parser")
    known = {f"/dashboard{one}" for one in PAGES}
    return sorted({str(one["href"]) for one in page.select("a[href]") if str(one["href"]).partition("?")[0] in known})


def test_a_hundred_values_of_a_filter(visitor: Visitor) -> None:
    """As many as a query takes; more are refused with the number."""
    many = urlencode([("agent_id", f"agent-{place}") for place in range(100)])
    assert check(visitor, f"/dashboard?{many}") == 200
    assert "at most 100 values" in texts_of(visitor.page(f"/dashboard?{many}&agent_id=one-more", status=422))
    assert "500 parameters" in texts_of(visitor.page(f"/dashboard?{'&tag=a' * 501}", status=422))


@pytest.mark.parametrize(
    ("query", "period", "before", "label"),
    [
        # Four weeks with today so far, and the same part of the four weeks before, to the quarter hour.
        ("", ("2026-03-19", "2026-04-16"), ("2026-02-19", "2026-03-18T12:15"), "19 Feb to 18 Mar"),
        ("period=week", ("2026-04-09", "2026-04-16"), ("2026-04-02", "2026-04-08T12:15"), "2 to 8 Apr"),
        # A day is compared with the same weekday.
        ("period=today", ("2026-04-15", "2026-04-16"), ("2026-04-08", "2026-04-08T12:15"), "8 Apr"),
        ("since=2026-04-13&until=2026-04-14", ("2026-04-13", "2026-04-14"), ("2026-04-06", "2026-04-07"), "6 Apr"),
        # Three days with the three before.
        (
            "since=2026-04-11&until=2026-04-14",
            ("2026-04-11", "2026-04-14"),
            ("2026-04-08", "2026-04-11"),
            "8 to 10 Apr",
        ),
        ("since=2026-04-13", ("2026-04-13", "2026-04-16"), ("2026-04-10", "2026-04-12T12:15"), "10 to 12 Apr"),
        (
            "period=week&until=2026-04-01",
            ("2026-03-25", "2026-04-01"),
            ("2026-03-18", "2026-03-25"),
            "18 to 24 Mar",
        ),
        (
            "since=2025-12-29&until=2026-01-05",
            ("2025-12-29", "2026-01-05"),
            ("2025-12-22", "2025-12-29"),
            "22 to 28 Dec 2025",
        ),
    ],
)
def test_periods(query: str, period: tuple[str, str], before: tuple[str, str], label: str) -> None:
    """Which period a query string selects, what it is compared with, and what that is called."""
    found = Selection.parse(query, "default", NOW)
    assert (found.query.since, found.query.until) == tuple(map(utc, period))
    assert (found.periods.before.since, found.periods.before.until) == tuple(map(utc, before))
    assert found.label_before.replace(DASH, "to") == label


def test_a_change_of_the_clocks() -> None:
    """Local days are compared with local days, and the links to other periods stay on midnight."""
    found = Selection.parse("since=2026-03-28&until=2026-03-31&zone=Europe/Berlin", "default", NOW)
    assert (found.query.since, found.query.until) == (utc("2026-03-27T23:00"), utc("2026-03-30T22:00"))
    assert "since=2026-03-25&until=2026-03-28" in found.moved("/dashboard", -1)
    assert "since=2026-03-31&until=2026-04-03" in found.moved("/dashboard", 1)


def test_a_time_without_an_offset_is_local() -> None:
    """As on the command line; one that the clocks skip is an error."""
    found = Selection.parse("since=2026-03-28T12:00&until=2026-03-28T13:00Z&zone=Europe/Berlin", "default", NOW)
    assert (found.query.since, found.query.until) == (utc("2026-03-28T11:00"), utc("2026-03-28T13:00"))
    with pytest.raises(Problem, match="does not exist in the time zone Europe/Berlin"):
        Selection.parse("since=2026-03-29T02:30&zone=Europe/Berlin", "default", NOW)


def utc(text: str) -> datetime:
    """A time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_links() -> None:
    """Filters with several values are added to; all other parameters, and filters on one value, are replaced."""
    found = Selection.parse("agent_id=Ann&author=me&zone=UTC&trend=table", "default", NOW, known=["trend"])
    assert found.link("/x") == "/x?agent_id=Ann&author=me&zone=UTC"
    assert found.link("/x", ("agent_id", "Bob"), ("author", "you")) == (
        "/x?agent_id=Ann&zone=UTC&agent_id=Bob&author=you"
    )
    assert found.link("/x", ("agent_id", "Ann")) == "/x?agent_id=Ann&author=me&zone=UTC"
    assert found.link("/x", without=["agent_id", ("author", "me")]) == "/x?zone=UTC"
    assert found.keeping(["trend"]).link("/x", without=["zone"]) == "/x?agent_id=Ann&author=me&trend=table"
    assert found.filters == [("agent_id", "Ann"), ("author", "me")]


def test_agents_that_the_visitor_may_see() -> None:
    """They stay even if the filter on agents is left out."""
    found = Selection.parse("agent_id=Ann&rating=up", "default", NOW).limited(frozenset({"Ann", "Bob"}))
    assert found.query.agent_id == {"Ann"}
    assert found.without("agent_id").agent_id == {"Ann", "Bob"}
    assert found.without("rating").agent_id == {"Ann"}
    assert Selection.parse("", "default", NOW).limited(frozenset({"Ann"})).query.agent_id == {"Ann"}


def test_nothing_of_the_query_string_is_markup(visitor: Visitor) -> None:
    """Values are shown as text."""
    hostile = "<img src=x onerror=alert(1)>"
    for page in PAGES:
        text = visitor.get(f"/dashboard{page}?{urlencode([('tag', hostile), ('agent_id', hostile)])}").text
        assert "<img" not in text
    assert hostile in texts_of(visitor.page(f"/dashboard?{urlencode([('tag', hostile)])}"))
