"""Values for people: as text, as HTML in notebooks, and as JSON values with the names of the HTTP API."""

import json
from datetime import UTC, timedelta
from typing import Any

import pytest
from bs4 import BeautifulSoup

from harken import Comparison, Estimate, Feedback, Harken, Page, Rating, Summary
from harken.domain.query import Cursor
from hosts.serving import served
from support import NOON, a_feedback

SUMMARY = Summary(positive=1_234, negative=411, neutral=5)
NASTY = "<script>alert('x')</script> &amp; \x1b[31mred\u202e\n=1+1"


def table(html: str) -> list[list[str]]:
    """The texts of the cells, by row."""
    soup = BeautifulSoup(html, "html.parser")
    return [[cell.get_text() for cell in row.find_all(["th", "td"])] for row in soup.find_all("tr")]


def filled(hk: Harken) -> Harken:
    """A Harken with three entries on two days, of which one is neutral."""
    hk.collection.restore(
        [
            a_feedback("a", comment=NASTY, tags=("slow",), agent_id="helper", created_at=NOON - timedelta(days=1)),
            a_feedback("b", Rating.DOWN, "No", author="ann"),
            a_feedback("c", Rating.NEUTRAL, session_id="t"),
        ]
    )
    return hk


def test_a_summary() -> None:
    """One line has the counts, and the satisfaction with its interval if there is one.

    The interval is named for what it assumes, as that of an estimate may be wider.
    """
    assert str(SUMMARY) == (
        "1,650 entries: 1,234 up, 411 down, 5 neutral; "
        "satisfaction 75.0% (95% CI 72.9 to 77.0, assuming independent ratings)"
    )
    assert str(Summary(neutral=1)) == "1 entry: 0 up, 0 down, 1 neutral; no thumbs"
    assert str(Summary()) == "no feedback"
    assert table(SUMMARY._repr_html_()) == [
        ["entries", "up", "down", "neutral", "satisfaction", "95% CI, assuming independent ratings"],
        ["1,650", "1,234", "411", "5", "75.0%", "72.9 to 77.0"],
    ]


def test_averages_of_nothing_are_null() -> None:
    """In JSON, no ratings are not a satisfaction of 0, which is the worst."""
    averages = ("satisfaction_score", "quality_score", "average_comment_length")
    nothing, neutral = Summary().to_dict(), Summary(neutral=1).to_dict()
    assert [nothing[name] for name in averages] == [None, None, None]
    assert [neutral[name] for name in averages] == [None, 50.0, 0.0]
    assert Estimate(Summary(), 1.0).to_dict()["satisfaction_score"] is None


def test_an_estimate_has_its_own_interval() -> None:
    """Repeated authors make it wider than that of the summary."""
    estimate = Estimate(SUMMARY, 4.0)
    assert str(estimate).endswith(f"(95% CI {estimate.interval})")
    assert table(estimate._repr_html_())[1][-1] == str(estimate.interval) != str(SUMMARY.interval)
    assert estimate.to_dict() == SUMMARY.to_dict() | {"interval": estimate.interval.to_dict(), "design_effect": 4.0}


def test_a_comparison() -> None:
    """Both selections, and the verdict in words."""
    comparison = Comparison(Summary(positive=10, negative=90), Summary(positive=90, negative=10))
    first, second, verdict = str(comparison).splitlines()
    assert first == "before: 100 entries: 10 up, 90 down, 0 neutral; satisfaction 10.0% (95% CI 5.5 to 17.4)"
    assert second.startswith("after: 100 entries: 90 up")
    assert verdict == comparison.sentence
    html = comparison._repr_html_()
    assert [row[0] for row in table(html)] == ["", "before", "after"]
    assert comparison.sentence in html


def test_a_trend(hk: Harken) -> None:
    """A line for each period, in columns; times of day only where periods are shorter than days."""
    trend = filled(hk).trend("day", "Europe/Berlin")
    assert str(trend).splitlines() == [
        "day (Europe/Berlin)  entries  up  down  neutral  satisfaction         95% CI",
        "         2026-03-03        1   1     0        0        100.0%  20.7 to 100.0",
        "         2026-03-04        2   0     1        1          0.0%    0.0 to 79.3",
    ]
    assert [" ".join(row).split() for row in table(trend._repr_html_())] == [
        line.split() for line in str(trend).splitlines()
    ]
    assert str(hk.trend("hour")).splitlines()[1].startswith("2026-03-03 12:00")
    assert list(trend) == trend[:]
    assert str(hk.trend(session_id="none")).splitlines()[1:] == ["no feedback"]


def test_a_long_trend_is_shortened(hk: Harken) -> None:
    """The latest 100 points are shown, and how many are not; the values have all."""
    hk.collection.restore([a_feedback("a", created_at=NOON - timedelta(hours=120)), a_feedback("b")])
    trend = hk.trend("hour")
    lines = str(trend).splitlines()
    assert (len(lines), lines[-1]) == (102, "21 earlier points are not shown")
    assert lines[-1] in trend._repr_html_()
    assert len(trend.to_dict()["points"]) == len(trend) == 121


def test_a_page(hk: Harken) -> None:
    """A line for each entry, whose texts can do no harm; what is not counted says so."""
    page = filled(hk).feedback()
    assert str(page).splitlines()[-1] == (
        "2026-03-03 12:00  up  <script>alert('x')</script> &amp; [31mred =1+1  slow  helper  s"
    )
    assert "\x1b" not in str(page)
    html = page._repr_html_()
    assert "<script" not in html
    assert [row[:3] for row in table(html)[1:]] == [
        ["2026-03-04 12:00", "neutral", ""],
        ["2026-03-04 12:00", "down", "No"],
        ["2026-03-03 12:00", "up", "<script>alert('x')</script> &amp; [31mred =1+1"],
    ]
    first = page.items[0]
    held = Page((first.withdraw(at=first.created_at),), Cursor.of(first))
    assert str(held) == "2026-03-04 12:00  neutral (withdrawn)  t\nThere is more: pass after=page.next"
    assert (str(Page(())), table(Page(())._repr_html_())[1:]) == ("no feedback", [])


def test_a_long_comment_is_shortened_for_people() -> None:
    """The page as values has all of it."""
    page = Page((a_feedback(comment="x" * 500),))
    assert "x" * 199 + "…" in str(page)
    assert page.to_dict()["feedbacks"][0]["comment"] == "x" * 500


@pytest.mark.slow
def test_the_values_are_those_of_the_http_api(hk: Harken) -> None:
    """Each dictionary is equal to the response, so that programs can use either."""
    filled(hk)
    day = NOON.astimezone(UTC).replace(hour=0)
    before: Any = {"until": day}
    after: Any = {"since": day}
    with served(hk) as server:

        def answer(path: str) -> Any:
            return server.ask("GET", path).json()

        stamp = day.isoformat().replace("+00:00", "Z")
        expected = answer("/api/analytics/summary")
        assert hk.estimate().to_dict() == expected
        assert hk.summary().to_dict().keys() == expected.keys() - {"design_effect"}
        assert hk.trend("day", "Asia/Tokyo").to_dict() == answer("/api/analytics/trend?by=day&zone=Asia/Tokyo")
        found = answer(f"/api/analytics/compare?before.until={stamp}&after.since={stamp}")
        assert hk.compare(before, after).to_dict() == {name: found[name] for name in found if name != "mix"}
        page = hk.feedback(limit=2)
        assert page.to_dict() == answer("/api/feedback?limit=2")


def test_the_values_are_json() -> None:
    """They can be written as JSON as they are."""
    one: Feedback = a_feedback(comment="é", context={"n": 1.5, "none": None})
    comparison = Comparison(SUMMARY, Summary())
    for value in (SUMMARY, Estimate(SUMMARY, 1.5), comparison, one, Page((one,))):
        assert json.loads(json.dumps(value.to_dict())) == value.to_dict()
