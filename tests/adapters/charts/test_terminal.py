"""Charts as text."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from harken import Summary
from harken.domain.insight.change_points import ChangePoint
from harken.domain.trend import TrendPoint
from harken_adapters.charts import Group, ThemeRow, heat_cells
from harken_adapters.charts.terminal import (
    comparison_text,
    heat_map_text,
    rating_split_text,
    sparkline,
    themes_text,
    trend_text,
)

UTC = ZoneInfo("UTC")
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)


def days(*summaries: Summary) -> list[TrendPoint]:
    """Points from Monday on."""
    return [
        TrendPoint(MONDAY + place * DAY, MONDAY + (place + 1) * DAY, summary) for place, summary in enumerate(summaries)
    ]


def test_a_trend_is_columns() -> None:
    """A full column, a quarter, no feedback, few thumbs, and an unfinished column."""
    points = days(
        Summary(positive=10_000),
        Summary(positive=2_500, negative=7_500),
        Summary(),
        Summary(positive=9),
        Summary(positive=10_000),
    )
    text = trend_text(points, changes=[ChangePoint(1, 1.0, 0.5, 9.0)], now=points[-1].start)
    rows = text.split("\n")[3:11]
    assert rows[0] == " 100% ███   ░░░○○○▒▒▒"
    assert rows[7] == "    0 ██████░░░   ▒▒▒"
    assert [row[9] for row in rows] == [" "] * 6 + ["█"] * 2
    assert "▲ Fell on Tue 3 Mar: 100.0% before, 50.0% since" in text
    assert "░ no feedback. ▒ so far." in " ".join(text.split())


def test_more_points_than_columns_are_added_up() -> None:
    """The sums stay the same."""
    text = trend_text(days(*[Summary(positive=10)] * 100))
    assert "of 1,000 thumbs" in text
    assert "responses, up to 20" in text


def test_ascii_stands_for_blocks() -> None:
    """Other characters that the encoding lacks become question marks; control characters are removed."""
    rows = [ThemeRow("caf\xe9\x1b[31m r\u202eed", 3, 0.4, "▲ 2 points")]
    assert "café [31m red" in themes_text(rows, thumbs_down=8)
    text = themes_text(rows, thumbs_down=8, encoding="ascii")
    assert "caf? [31m red" in text
    assert "####" in text
    assert "^ 2 points" in text


def test_wide_signs_take_two_columns() -> None:
    """Bars are aligned, and labels are truncated by width instead of length."""
    rows = [ThemeRow("late", 5, 0.5), ThemeRow("ＡＢ漢字", 5, 0.5), ThemeRow("cafe\u0301", 5, 0.5)]
    late, wide, accented = themes_text(rows, thumbs_down=10).split("\n")[-3:]
    assert late.index("█") == wide.index("█") + 4 == accented.index("█") - 1 == 27
    (long,) = themes_text([ThemeRow("漢" * 40, 5, 0.5)], thumbs_down=10).split("\n")[-1:]
    assert long.startswith(f"{'漢' * 12}…  █")


def test_ratings_are_bars() -> None:
    """Their order is that of all charts."""
    text = rating_split_text(Summary(positive=1, neutral=1, negative=2))
    assert [line.split()[0] for line in text.split("\n")[-3:]] == ["Down", "Neutral", "Up"]
    assert text.split("\n")[-3].count("█") == 24
    assert rating_split_text(Summary()) == "No feedback in this period."


def test_groups_are_dots_with_whiskers() -> None:
    """The average is marked, and groups with few thumbs are hollow."""
    groups = [
        Group(name="many", summary=Summary(positive=500, negative=500)),
        Group(name="few", summary=Summary(positive=1, negative=4)),
    ]
    text = comparison_text(groups, by="agent")
    many, few = (next(line for line in text.split("\n") if line.startswith(name)) for name in ("many", "few"))
    assert "●" in many
    assert "○" in few
    assert "┊" in few
    assert "50.0%" in many
    assert comparison_text([], by="agent") == "No agent has thumbs in this period."


def test_hours_are_signs() -> None:
    """Signs replace colours."""
    slots = {MONDAY + timedelta(hours=hour): Summary(positive=70, negative=30) for hour in range(47)}
    slots[MONDAY] = Summary(positive=5, negative=95)
    slots[MONDAY + timedelta(hours=1)] = Summary(positive=3)
    text = heat_map_text(heat_cells(slots, UTC))
    monday, tuesday = (next(line for line in text.split("\n") if line.startswith(day)) for day in ("Mon 2", "Tue 3"))
    assert monday.startswith("Mon 2   ▼  ·  =  =")
    assert tuesday.count("=") == 23
    assert heat_map_text([]) == "No feedback in this period."
    assert themes_text([], thumbs_down=0) == "No themes in this period."
    assert trend_text([]) == "No feedback in this period."


def test_a_sparkline_shows_one_and_the_most() -> None:
    """Zero is empty, and one is visible."""
    assert sparkline([0, 1, 50, 100]) == " ▁▄█"
    assert sparkline([0, 0]) == "  "
