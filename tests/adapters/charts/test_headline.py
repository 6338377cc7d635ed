"""The headline of a period in words."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from harken import Comparison, Finding, Growth, Headline, Mix, Proportion, ProportionChange, SatisfactionChange, Summary
from harken.domain.insight.headline import Silence, find
from harken_adapters.charts import headline_details, headline_title

MADRID = ZoneInfo("Europe/Madrid")
#: A Monday.
START = datetime(2026, 2, 16, tzinfo=MADRID)
WEEK = timedelta(weeks=1)


def _headline(earlier: Summary, later: Summary, **parts: Any) -> Headline:
    comparison = Comparison(earlier, later)
    known: dict[str, Any] = {
        "finding": find(comparison),
        "before": (START - WEEK, START),
        "after": (START, START + WEEK),
        "is_running": False,
        "comparison": comparison,
    }
    return Headline(**known | parts)


def _rated(positive: int, negative: int) -> Summary:
    return Summary(positive=positive, negative=negative)


STEADY = _headline(_rated(5000, 1000), _rated(5010, 990))


@pytest.mark.parametrize(
    ("headline", "title", "details"),
    [
        (
            _headline(_rated(800, 200), _rated(600, 400)),
            "Satisfaction fell 20.0 points, to 60.0%",
            "By 13.8 to 26.2 points, 95% confidence; 1,000 thumbs now, 1,000 before.",
        ),
        (
            _headline(_rated(600, 400), _rated(800, 200)),
            "Satisfaction rose 20.0 points, to 80.0%",
            "By 13.8 to 26.2 points, 95% confidence; 1,000 thumbs now, 1,000 before.",
        ),
        (STEADY, "Satisfaction is about the same: 83.5%", "0.2 points more, within \N{MINUS SIGN}2.0 to +2.3."),
        (
            _headline(_rated(80, 20), _rated(5, 2)),
            "Too little to tell: 7 thumbs so far",
            "The true value lies anywhere from 36 to 92%. About 4,700 more thumbs would decide the comparison.",
        ),
        (
            _headline(_rated(3, 2), _rated(800, 200)),
            "Too little to tell: 5 thumbs before",
            "Satisfaction is 80.0% of 1,000 thumbs. About 17,000 more thumbs would decide the comparison.",
        ),
        (_headline(Summary(), Summary(neutral=3)), "Too little to tell: 0 thumbs so far", "There are no thumbs yet."),
        (
            _headline(Summary(), _rated(15, 5)),
            "There is nothing before 16 Feb to compare with",
            "Satisfaction is 75% of 20 thumbs.",
        ),
        (_headline(_rated(15, 5), Summary()), "No feedback in this period", None),
        (
            _headline(_rated(0, 400), _rated(0, 1), finding=Finding.COUNT),
            "1 entry, 399 fewer than before",
            None,
        ),
        (_headline(_rated(0, 4), _rated(0, 4), finding=Finding.COUNT), "4 entries, as many as before", None),
        (
            _headline(
                _rated(15, 5),
                _rated(15, 5),
                finding=Finding.SILENT,
                silence=Silence(START.replace(hour=13, minute=2), timedelta(hours=6, minutes=5), 40.4),
            ),
            "Nothing came in for 6 hours",
            "The last feedback came at 13:02 Europe/Madrid; usually 40 an hour.",
        ),
        (
            _headline(
                _rated(15, 5),
                Summary(),
                finding=Finding.SILENT,
                silence=Silence(START.replace(hour=13), timedelta(days=3, hours=2), 1200),
            ),
            "Nothing came in for 3 days",
            "The last feedback came on 16 Feb at 13:00 Europe/Madrid; usually 1,200 an hour.",
        ),
    ],
)
def test_what_can_be_said(headline: Headline, title: str, details: str | None) -> None:
    """Each finding has a title, and a sentence on how sure it is."""
    assert headline_title(headline) == title
    assert headline_details(headline) == (() if details is None else (details,))


def _details(**parts: Any) -> str:
    (_, last) = headline_details(_headline(_rated(5000, 1000), _rated(5010, 990), **parts))
    return last


def test_since_when() -> None:
    """An hour of the last week has its weekday while the period is running, and its date later; an earlier day too."""
    hour = SatisfactionChange((START + timedelta(days=5)).replace(hour=18), _rated(231, 769), _rated(133, 867))
    assert (
        _details(began=hour, began_to_the_hour=True, is_running=True)
        == "The fall began on Saturday at 18:00 Europe/Madrid: 23.1% before, 13.3% since."
    )
    assert (
        _details(began=hour, began_to_the_hour=True)
        == "The fall began on 21 Feb at 18:00 Europe/Madrid: 23.1% before, 13.3% since."
    )
    day = SatisfactionChange(START - WEEK, _rated(1, 3), _rated(3, 1))
    assert _details(began=day) == "The rise began on 9 Feb: 25% before, 75% since."
    later = SatisfactionChange(START - WEEK + timedelta(days=5), _rated(3, 1), _rated(1, 1))
    assert _details(began=day, next_change=later) == (
        "The rise began on 9 Feb: 25% before, 75% until 14 Feb, then 50%."
    )


def test_dates_of_another_year_have_it() -> None:
    """So that 2 Dec is not taken for the one to come."""
    start = datetime(2025, 12, 2, tzinfo=MADRID)
    year = (start, start + 52 * WEEK)
    title = headline_title(_headline(Summary(), _rated(15, 5), after=year))
    assert title == "There is nothing before 2 Dec 2025 to compare with"
    changes = [SatisfactionChange(start + weeks * WEEK, _rated(1, 3), _rated(3, 1)) for weeks in (2, 10)]
    assert _details(after=year, began=changes[0], next_change=changes[1]) == (
        "The rise began on 16 Dec 2025: 25% before, 75% until 10 Feb, then 75%."
    )


def test_a_period_that_ends_with_a_year_is_of_that_year() -> None:
    """It ends at the first midnight of the next one."""
    end = datetime(2026, 1, 1, tzinfo=MADRID)
    assert headline_title(_headline(Summary(), _rated(15, 5), after=(end - 4 * WEEK, end))) == (
        "There is nothing before 4 Dec to compare with"
    )


def test_what_grew() -> None:
    """A reason is a share of the thumbs-down ratings, a theme one of their comments."""
    change = ProportionChange(Proportion(75, 1000), Proportion(107, 1000))
    assert _details(growth=Growth("Cancelled Flight", True, change)) == (
        "“Cancelled Flight” grew from 8% to 11% of thumbs-down ratings."
    )
    assert _details(growth=Growth("on hold", False, change)) == "“on hold” grew from 8% to 11% of thumbs-down comments."


@pytest.mark.parametrize(
    ("new", "gone", "sentence"),
    [
        (("a",), (), "a is new in this period: without it, satisfaction fell 20.0 points."),
        (("a", "b"), (), "a and b are new in this period: without them, satisfaction fell 20.0 points."),
        (
            ("a", "b", "c"),
            (None,),
            (
                "a and 2 other agents are new in this period, and (no agent) has hardly any feedback in this period: "
                "without them, satisfaction fell 20.0 points."
            ),
        ),
    ],
)
def test_what_would_mislead(new: tuple[Any, ...], gone: tuple[Any, ...], sentence: str) -> None:
    """New and vanished agents are named, at most two."""
    assert _details(mix=Mix(new, gone, Comparison(_rated(800, 200), _rated(600, 400)))) == sentence


def test_a_change_that_only_new_agents_made() -> None:
    """Without them, nothing is sure."""
    without = Comparison(_rated(80, 20), _rated(79, 21))
    assert _details(mix=Mix(("a",), (), without)) == (
        "a is new in this period: without it, satisfaction shows no clear change (\N{MINUS SIGN}1.0 points)."
    )
