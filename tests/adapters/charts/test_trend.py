"""The chart of a trend."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from xml.etree.ElementTree import Element, fromstring
from zoneinfo import ZoneInfo

import pytest
from attrs import frozen

from harken import Summary
from harken.domain.insight.change_points import SatisfactionChange
from harken.domain.trend import Period, TrendPoint, trend
from harken_adapters.charts import Previous, merge_points, trend_chart
from harken_adapters.charts.axis import satisfaction_axis
from harken_adapters.charts.labels import DASH
from harken_adapters.charts.time_axis import time_ticks

SVG = "{http://www.w3.org/2000/svg}"
ZONE = ZoneInfo("Europe/Berlin")
START = datetime(2026, 3, 2, tzinfo=ZONE)
DAY = timedelta(days=1)
GOOD = Summary(positive=80, negative=20, neutral=10)
SILENT = Summary()


def days(*summaries: Summary, length: timedelta = DAY) -> list[TrendPoint]:
    """Points from Monday on."""
    return [
        TrendPoint(START + place * length, START + (place + 1) * length, summary)
        for place, summary in enumerate(summaries)
    ]


def of_class(svg: str, kind: str) -> list[Element]:
    """The elements of exactly these classes, in order."""
    return [part for part in fromstring(svg).iter() if part.get("class") == kind]


def texts(svg: str) -> list[str]:
    """All visible texts."""
    return ["".join(part.itertext()) for part in fromstring(svg).iter(f"{SVG}text")]


def test_values_stand_where_the_axis_says() -> None:
    """70% of an axis from 60 to 80 is in its middle; points are in the middle of their time."""
    chart = trend_chart(days(*[Summary(positive=70_000, negative=30_000)] * 4))
    (line,) = of_class(chart.svg, "ln")
    assert line.get("d") == "M125 92L375 92L625 92L875 92"
    assert "axis starts at 60%" in chart.caption


@pytest.mark.parametrize(
    ("ups", "says"),
    [
        ((5, 8), "between 50% and 80%; 65% of 20 thumbs in all."),
        ((5, 5), ": 50% of 20 thumbs in all."),
        ((5,), ": 50% of 10 thumbs in all."),
        ((5, None), "50% where there are at least 10 thumbs; 58% of 12 thumbs in all."),
        ((5, 8, None), "between 50% and 80% where there are at least 10 thumbs; 68% of 22 thumbs in all."),
        ((None,), ": 100% of 2 thumbs in all."),
    ],
)
def test_the_sentence_says_which_points_it_is_about(ups: tuple[int | None, ...], says: str) -> None:
    """Points with few thumbs are not among the lowest and highest, but in the total."""
    summaries = [Summary(positive=2) if up is None else Summary(positive=up, negative=10 - up) for up in ups]
    chart = trend_chart(days(*summaries))
    assert chart.description.endswith(says)


def test_silence_ends_a_line_and_is_labelled() -> None:
    """There are two lines, and the gap between them has a label and an entry in the legend."""
    chart = trend_chart(days(GOOD, GOOD, SILENT, SILENT, GOOD, GOOD))
    assert len(of_class(chart.svg, "ln")) == len(of_class(chart.svg, "band")) == 2
    assert "no feedback" in texts(chart.svg)
    assert "No feedback" in chart.legend
    assert "no feedback" not in texts(trend_chart(days(GOOD, GOOD)).svg)


def test_few_thumbs_are_hollow_and_alone() -> None:
    """A point with nine thumbs is grey with a whisker, one with ten is on the line."""
    chart = trend_chart(days(GOOD, Summary(positive=9), Summary(positive=10), GOOD))
    assert len(of_class(chart.svg, "pt few")) == len(of_class(chart.svg, "whisk")) == 1
    (line,) = of_class(chart.svg, "ln")
    assert line.get("d", "").count("L") == 1


def test_a_whisker_ends_where_the_axis_does() -> None:
    """The interval of few thumbs is clipped instead of extending the axis."""
    chart = trend_chart(days(*[Summary(positive=90_000, negative=10_000)] * 3, Summary(positive=6, negative=1)))
    assert "axis starts at 80%" in chart.caption
    (whisker,) = of_class(chart.svg, "whisk")
    assert whisker.get("y2") == "184"


@pytest.mark.parametrize("only", [Summary(positive=1), Summary(positive=1, negative=3)])
def test_the_axis_has_the_intervals_of_few_thumbs_if_there_are_no_others(only: Summary) -> None:
    """The first chart that a newcomer sees does not contradict its own interval."""
    points = days(SILENT, only)
    chart = trend_chart(points)
    (whisker,) = of_class(chart.svg, "whisk")
    interval = points[1].estimate.interval
    axis = satisfaction_axis([interval.low, interval.high])
    ends = [184 * (1 - (end - axis.low) / (axis.high - axis.low)) for end in (interval.high, interval.low)]
    assert [float(whisker.get(name, "")) for name in ("y1", "y2")] == pytest.approx(ends, abs=0.001)
    assert "axis starts" not in chart.caption


def test_a_point_between_gaps_is_seen() -> None:
    """It is drawn as a point with a whisker."""
    chart = trend_chart(days(SILENT, GOOD, SILENT))
    assert len(of_class(chart.svg, "pt")) == len(of_class(chart.svg, "whisk a")) == 1
    assert not of_class(chart.svg, "ln")


def test_what_is_not_over_is_dashed() -> None:
    """The last segment is dashed, its point hollow and its bar pale; not so once the day has ended."""
    points = days(GOOD, GOOD, GOOD)
    running = trend_chart(points, now=points[-1].start + timedelta(hours=5))
    (stretch,) = of_class(running.svg, "ln part")
    assert stretch.get("d", "").startswith("M500 ")
    assert len(of_class(running.svg, "pt open")) == 1
    assert len(of_class(running.svg, "fd partbar")) == 1
    assert "today so far" in running.caption
    over = trend_chart(points, now=points[-1].end)
    assert not of_class(over.svg, "ln part")
    assert "so far" not in over.caption + over.table


def test_the_last_hollow_point_may_stand_alone() -> None:
    """It is not connected to a point without feedback."""
    points = days(GOOD, SILENT, GOOD)
    chart = trend_chart(points, now=points[-1].start)
    assert len(of_class(chart.svg, "pt open")) == 1
    assert not of_class(chart.svg, "ln part")


def test_the_period_before_lies_under_the_same_days() -> None:
    """Days that it lacks are gaps; the others are aligned by the shift."""
    points = days(*[GOOD] * 4)
    earlier = [TrendPoint(point.start - 7 * DAY, point.end - 7 * DAY, GOOD) for point in points]
    chart = trend_chart(points, previous=Previous([earlier[0], *earlier[2:]], 7 * DAY, "23 to 28 Feb & 1 Mar"))
    alone, together = of_class(chart.svg, "ln prev")
    assert (alone.get("d") or "").startswith("M125 ")
    assert (alone.get("d") or "").endswith("h0")
    assert (together.get("d") or "").startswith("M625 ")
    assert "23 to 28 Feb &amp; 1 Mar" in chart.legend
    assert "Before" in chart.table


def test_the_two_largest_changes_are_marked() -> None:
    """They are in order and have directions. The smallest change is not marked, but ends the wash before it."""
    levels = [Summary(positive=up, negative=1000 - up) for up in (900, 600, 620, 800)]
    changes = [
        SatisfactionChange(START + day * DAY, before, after)
        for day, (before, after) in zip((2, 5, 7), pairwise(levels), strict=True)
    ]
    chart = trend_chart(days(*[GOOD] * 10), changes=changes)
    (fall,), (rise,) = of_class(chart.svg, "wash"), of_class(chart.svg, "wash rise fu")
    assert (fall.get("x"), fall.get("width")) == ("20%", "30%")
    assert (rise.get("x"), rise.get("width")) == ("70%", "30%")
    assert chart.notes == (
        "Fell on Wed 4 Mar: 90.0% before, 60.0% until 7 Mar",
        "Rose on Mon 9 Mar: 62.0% before, 80.0% since",
    )
    assert "Fell on Wed 4 Mar" in texts(chart.svg)
    assert "it fell on Wed 4 Mar, 90.0% before, 60.0% until 7 Mar" in chart.description


NARROWEST = 600
#: The most pixels of a letter of 12 pixels.
LETTER = 6.5


@frozen
class Box:
    """A label in the narrowest picture, in pixels."""

    left: float
    right: float
    top: float
    bottom: float


def labels_of(svg: str) -> list[Box]:
    """The labels of changes."""
    boxes = []
    for group in of_class(svg, "only-l halo"):
        lines = list(group)
        width = max(len("".join(line.itertext())) for line in lines) * LETTER
        start = float(lines[0].get("x", "").removesuffix("%")) / 100 * NARROWEST + float(lines[0].get("dx", ""))
        left = start - width if lines[0].get("text-anchor") == "end" else start
        baselines = [float(line.get("y", "")) for line in lines]
        boxes.append(Box(left, left + width, baselines[0] - 10, baselines[-1] + 3))
    return boxes


@pytest.mark.parametrize("count", [12, 28, 56])
def test_labels_of_close_changes_do_not_cover_anything(count: int) -> None:
    """Neither each other nor a marker nor the line of satisfaction, wherever the changes are."""
    bad = Summary(positive=60, negative=40)
    for first in range(1, count - 5):
        second = first + 5
        points = days(*(bad if first <= place < second else GOOD for place in range(count)))
        changes = [
            SatisfactionChange(points[first].start, GOOD, bad),
            SatisfactionChange(points[second].start, bad, GOOD),
        ]
        svg = trend_chart(points, changes=changes).svg
        one, other = labels_of(svg)
        apart = one.right <= other.left or other.right <= one.left or one.bottom <= other.top or other.bottom <= one.top
        assert apart, (first, one, other)
        markers = [*of_class(svg, "mark"), *of_class(svg, "mark rise")]
        crossed = [
            marker
            for marker in markers
            for box in (one, other)
            if box.left < float(marker.get("x1", "").removesuffix("%")) / 100 * NARROWEST < box.right
            and float(marker.get("y1", "")) < box.bottom
        ]
        assert not crossed, (first, one, other)
        # Up to the padding of the card.
        assert all(box.left >= -16 and box.right <= NARROWEST + 16 for box in (one, other)), (first, one, other)
        (path,) = of_class(svg, "ln")
        places = [tuple(map(float, pair.split())) for pair in path.get("d", "")[1:].split("L")]
        hidden = [
            (x, y)
            for x, y in places
            for box in (one, other)
            if box.left < x * NARROWEST / 1000 < box.right and box.top < y < box.bottom
        ]
        assert not hidden, (first, one, other)


def test_changes_at_other_times_are_not_marked() -> None:
    """Only changes after the first point and before the end of the trend are; a week has the changes of its days."""
    change = [SatisfactionChange(START + day * DAY, GOOD, Summary(positive=100)) for day in (-1, 0, 14)]
    assert trend_chart(days(*[GOOD] * 14), changes=change).notes == ()
    inside = SatisfactionChange(START + 9 * DAY, GOOD, Summary(positive=100))
    weeks = trend_chart(days(GOOD, GOOD, length=7 * DAY), changes=[*change, inside])
    assert weeks.notes == ("Rose in the week of 9 Mar: 80.0% before, 100.0% since",)


def test_a_change_that_did_not_last_says_until_when() -> None:
    """By the hour of the next change, in points of hours."""
    points = days(*[GOOD] * 8, length=timedelta(hours=3))
    changes = [
        SatisfactionChange(points[4].start, GOOD, Summary(negative=100)),
        SatisfactionChange(points[6].start, Summary(negative=100), GOOD),
    ]
    assert trend_chart(points, changes=changes).notes == (
        "Fell at Mon 12:00: 80.0% before, 0.0% until Mon 18:00",
        "Rose at Mon 18:00: 0.0% before, 80.0% since",
    )


def test_weeks_of_another_year_have_it() -> None:
    """Else, a week of December would be taken for the one to come."""
    starts = [datetime(2025, 12, 1, tzinfo=UTC) + 7 * DAY * number for number in range(20)]
    points = [TrendPoint(start, start + 7 * DAY, GOOD) for start in starts]
    bad = Summary(negative=100)
    changes = [SatisfactionChange(starts[1], GOOD, bad), SatisfactionChange(starts[9], bad, GOOD)]
    chart = trend_chart(points, changes=changes)
    assert chart.notes == (
        "Fell in the week of 8 Dec 2025: 80.0% before, 0.0% until 2 Feb",
        "Rose in the week of 2 Feb: 0.0% before, 80.0% since",
    )
    assert f"29 Dec 2025 {DASH} 4 Jan 2026" in chart.table


def test_a_change_within_a_point_has_its_own_hour() -> None:
    """As in the headline, although the picture marks the point."""
    points = days(*[GOOD] * 8, length=timedelta(hours=3))
    change = SatisfactionChange(points[4].start + timedelta(hours=1), GOOD, Summary(negative=100))
    chart = trend_chart(points, changes=[change])
    assert chart.notes[0].startswith(f"Fell at {change.at:%a %H:%M}: ")


def test_ratings_are_stacked() -> None:
    """Down is at the bottom, then neutral, then up, and the largest bar has the full height."""
    chart = trend_chart(days(Summary(positive=1, neutral=2, negative=4), GOOD))
    down, neutral, up = (of_class(chart.svg, kind)[0] for kind in ("fd", "fn", "fu"))
    tops = [float(part.get("y", "")) for part in (down, neutral, up)]
    assert tops == sorted(tops, reverse=True)
    assert min(float(part.get("y", "")) for part in of_class(chart.svg, "fu")) == 204
    assert "110" in [text[:3] for text in texts(chart.svg)]


def test_figures_are_in_the_table_and_under_the_pointer() -> None:
    """Both have the interval and counts; the table has machine-readable times."""
    chart = trend_chart(days(GOOD, SILENT))
    hints = [part.findtext(f"{SVG}title") for part in fromstring(chart.svg).iter(f"{SVG}rect")]
    figures = f"80.0% of 100 thumbs (71.1 {DASH} 86.7); 110 responses: 80 up, 10 neutral, 20 down"
    assert f"Mon 2 Mar Europe/Berlin: {figures}" in hints
    assert "Tue 3 Mar Europe/Berlin: no feedback" in hints
    cells = [part.text for part in fromstring(chart.table).findall("tbody/tr[1]/td")]
    assert cells[1:] == ["80.0%", f"71.1 {DASH} 86.7", "110", "80", "10", "20"]
    assert 'datetime="2026-03-02T00:00:00+01:00"' in chart.table


def test_feedback_without_thumbs_is_not_silence() -> None:
    """Neutral feedback has bars, but no point; the axis is 0 to 100."""
    chart = trend_chart(days(Summary(neutral=1)))
    assert of_class(chart.svg, "fn")
    assert not of_class(chart.svg, "pt few")
    assert {"100%", "75", "50", "25"} <= set(texts(chart.svg))
    assert "hatch" not in chart.svg


@pytest.mark.parametrize("points", [[], days(SILENT, SILENT)])
def test_nothing_is_a_sentence(points: list[TrendPoint]) -> None:
    """There are no empty axes."""
    chart = trend_chart(points)
    assert texts(chart.svg) == ["No feedback in this period."]
    assert "No feedback in this period." in chart.table
    assert "<table" not in chart.table


@pytest.mark.parametrize(
    ("least", "most", "low", "high", "step"),
    [
        (0, 100, 0, 100, 25),
        (3, 4, 0, 20, 5),
        (6, 35.9, 0, 40, 10),
        (40, 59, 0, 60, 20),
        (40.1, 59, 40, 60, 5),
        (45, 100, 40, 100, 20),
        (45, 78, 40, 80, 10),
        (61, 62, 60, 80, 5),
        (99, 100, 80, 100, 5),
        (100, 100, 80, 100, 5),
    ],
)
def test_the_axis_starts_at_zero_unless_all_lies_above_40(
    least: float, most: float, low: int, high: int, step: int
) -> None:
    """Otherwise it starts at a multiple of 20. It is at least 20 points high and has at most four lines."""
    axis = satisfaction_axis([least, most])
    assert (axis.low, axis.high, axis.step) == (low, high, step)
    assert len(axis.ticks) <= 5


def test_days_and_hours_are_labelled() -> None:
    """Hours are labelled where days leave room, and hidden in narrow pictures."""
    ticks = time_ticks(days(*[GOOD] * 24, length=timedelta(hours=3)))
    assert [tick.label for tick in ticks if tick.starts_day] == ["Mon 2 Mar", "Tue 3 Mar", "Wed 4 Mar"]
    assert [tick.label for tick in ticks if not tick.starts_day] == ["12:00", "18:00"] * 3
    assert all(tick.is_optional for tick in ticks if not tick.starts_day)


def test_a_year_is_named_where_it_changes() -> None:
    """The first label and the first of the next year have the year."""
    weeks = [
        TrendPoint(start, start + 7 * DAY, GOOD)
        for start in (datetime(2025, 12, 1, tzinfo=UTC) + 7 * DAY * number for number in range(8))
    ]
    assert [tick.label for tick in time_ticks(weeks)][::5] == ["1 Dec 2025", "5 Jan 2026"]
    assert [tick.is_optional for tick in time_ticks(weeks)] == [False, True] * 4


@pytest.mark.parametrize(
    ("quarters", "thumbs", "length"),
    [
        (4 * 24, 20, timedelta(hours=1)),
        (4 * 24, 2, timedelta(hours=3)),
        (4 * 24, 1, timedelta(hours=6)),
        (4 * 24 * 14, 20, timedelta(hours=6)),
        (4 * 24 * 59, 1, timedelta(days=1)),
        (4 * 24 * 80, 20, timedelta(days=7)),
    ],
)
def test_points_are_as_short_as_they_can_be(quarters: int, thumbs: int, length: timedelta) -> None:
    """The shortest length with at most 60 points and a median of at least 20 thumbs is chosen."""
    slots = {START + timedelta(minutes=15 * number): Summary(positive=thumbs) for number in range(quarters)}
    points = merge_points(trend(slots, Period.HOUR, ZONE))
    assert points[1].end - points[1].start == length
