"""The pages of filters, and the filter bar, without JavaScript."""

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
    """A Harken with feedback for two agents."""
    with harken.connect("memory://", clock=clock) as connected:
        for place in range(10):
            connected.submit(
                f"s{place}",
                ("up", "down", "down", None)[place % 4],
                "Slow" if place < 6 or place % 4 in (1, 2) else "",
                agent_id="Ann" if place < 7 else "Bob & Co <b>",
                tags=["slow"] if place % 2 else ["wrong", "slow"],
                context={"version": str(place % 3), "request": f"r{place}"},
            )
        yield connected


@pytest.fixture
def visitor(hk: Harken, clock: ManualClock) -> Iterator[Visitor]:
    """Anybody."""
    with served_at(hk, clock) as server:
        yield Visitor(server)


def read(visitor: Visitor, path: str) -> BeautifulSoup:
    """A page."""
    answer = visitor.get(path)
    assert answer.status_code == 200, answer.text
    return BeautifulSoup(answer.text, "html.parser")


def options(page: BeautifulSoup) -> dict[str, tuple[str, bool]]:
    """The numbers of entries of the options by name, and whether each is chosen."""
    return {
        " ".join(one.select(".grow")[0].get_text().split()): (
            one.select(".muted")[0].get_text(),
            bool(one.select("[checked]")),
        )
        for one in page.select(".o:has(.grow)")
        if one.name == "label"
    }


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("agent_id", {"Ann": ("7", False), "Bob & Co <b>": ("3", False)}),
        ("tag", {"slow": ("10", False), "wrong": ("5", False)}),
        ("rating", {"Up": ("3", False), "Neutral": ("2", False), "Down": ("5", False)}),
        ("context.version", {"0": ("4", False), "1": ("3", False), "2": ("3", False)}),
        ("has_comment", {"Given": ("8", False), "Missing": ("2", False)}),
    ],
)
def test_values_with_their_numbers(visitor: Visitor, name: str, expected: dict[str, tuple[str, bool]]) -> None:
    """Every value that feedback has, as a page and as a part of one."""
    page = read(visitor, f"/dashboard/filter?name={name}&page=overview")
    assert options(page) == expected
    assert page.select("html nav")
    part = read(visitor, f"/dashboard/filter?name={name}&page=overview&fragment=true")
    assert options(part) == expected
    assert not part.select("html, nav, script")


def test_values_in_use(visitor: Visitor) -> None:
    """They are chosen, also those that no feedback has any more; the other values can still be chosen."""
    page = read(visitor, "/dashboard/filter?name=agent_id&page=feedback&agent_id=Ann&agent_id=Gone")
    assert options(page) == {"Ann": ("7", True), "Bob & Co <b>": ("3", False), "Gone": ("0", True)}


def test_other_filters_count(visitor: Visitor) -> None:
    """Numbers are those with all other filters."""
    page = read(visitor, "/dashboard/filter?name=rating&page=feedback&agent_id=Ann&rating=up&tag=wrong")
    assert options(page) == {"Up": ("2", True), "Neutral": ("0", False), "Down": ("2", False)}


def test_the_form(visitor: Visitor) -> None:
    """It leads back to the page with all other parameters; the filter is replaced by what is chosen."""
    query = "zone=UTC&period=week&agent_id=Ann&tag=slow&trend=table"
    page = read(visitor, f"/dashboard/filter?{query}&name=agent_id&page=overview")
    (form,) = (one for one in page.select("main form"))
    assert form["action"] == "/dashboard"
    assert form.get("method", "get") == "get"
    kept = [(one["name"], one["value"]) for one in form.select("[type=hidden]")]
    assert kept == [("zone", "UTC"), ("period", "week"), ("tag", "slow"), ("trend", "table")]
    assert {one["value"] for one in form.select("[type=checkbox][name=agent_id]")} == {"Ann", "Bob & Co <b>"}
    assert form.select("a")[0]["href"] == "/dashboard?zone=UTC&period=week&tag=slow&trend=table"
    assert not [one for one in form.select("input") if one.get("name") is None and "hidden" not in one.parent.attrs]


def test_context_keys_come_first(visitor: Visitor) -> None:
    """Keys whose values group feedback; each leads to its values."""
    page = read(visitor, "/dashboard/filter?zone=UTC&name=context&page=feedback")
    links = {one.select(".grow")[0].get_text(): one["href"] for one in page.select("main a.o")}
    assert links["version"] == "/dashboard/filter?zone=UTC&name=context.version&page=feedback"
    assert options(read(visitor, str(links["version"])))


def test_only_one_value_of_has_comment(visitor: Visitor) -> None:
    """It is chosen by radio buttons; the chip says what is chosen."""
    page = read(visitor, "/dashboard/filter?name=has_comment&page=feedback&has_comment=false")
    assert len(page.select("[type=radio][name=has_comment]")) == 2
    listed = read(visitor, "/dashboard/feedback?has_comment=false")
    assert "Comment is missing" in " ".join(listed.select(".filters")[0].get_text(" ").split())
    assert listed.select("h1")[0].get_text() == "2 responses without a comment"


def test_unknown_filters_and_pages(visitor: Visitor) -> None:
    """The error says which there are."""
    for query, known in (
        ("name=sentiment&page=overview", "agent_id, rating"),
        ("page=elsewhere", "overview, feedback"),
    ):
        answer = visitor.get(f"/dashboard/filter?{query}")
        assert answer.status_code == 422
        assert known in answer.text


def test_the_filter_bar_without_javascript(visitor: Visitor) -> None:
    """Every chip leads to the page of its filter, and comes back with what was chosen."""
    bar = read(visitor, "/dashboard/feedback?agent_id=Ann&rating=up&rating=down&session_id=s1&context.version=1")
    edits = [str(one["href"]) for one in bar.select(".filters [data-popover]")]
    assert len(edits) == 6
    for edit in edits:
        assert read(visitor, edit).select("main form, main a.o")
    chips = [" ".join(one.get_text(" ").split()) for one in bar.select(".f.on")]
    assert chips == ["Agent is Ann", "Rating is Up, Down", "Session is s1", "version is 1"]


@pytest.mark.parametrize(
    "query",
    ["", "?period=today&zone=Asia/Tokyo&compare=none", "?agent_id=Bob+%26+Co+%3Cb%3E&rating=down&rating=up&tag=slow"],
)
def test_the_export_has_what_the_list_shows(hk: Harken, clock: ManualClock, visitor: Visitor, query: str) -> None:
    """The link to the export keeps the filters, with the times of the period, and leads to as many rows."""
    clock.turn(days=2)
    hk.submit("later", "down", "=1+1", agent_id="Bob & Co <b>", tags=["slow"])
    clock.turn(days=20)
    hk.submit("today", "up", "", agent_id="Ann")
    page = read(visitor, f"/dashboard/feedback{query}")
    (link,) = (one for one in page.select("a.link") if one.get_text().startswith("Export these"))
    answer = visitor.get(str(link["href"]))
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/csv; charset=utf-8")
    rows = answer.text.splitlines()[1:]
    assert len(rows) == len(page.select("ol.feed > li")) > 0
    assert link.get_text() == f"Export these {len(rows)}"
