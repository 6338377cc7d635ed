"""Charts as text."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from attrs import evolve

from harken import FoundTheme, Proportion, ProportionChange, Summary, Themes
from harken.domain.insight.change_points import SatisfactionChange
from harken.domain.insight.comparison import Comparison, Estimate, decide_together
from harken.domain.insight.heat_map import heat_map, is_short
from harken.domain.insight.themes import Theme
from harken.domain.trend import TrendPoint
from harken.testing.builders import a_feedback
from harken_adapters.charts.labels import DASH
from harken_adapters.charts.terminal import (
    change_text,
    comparison_text,
    encode_text,
    groups_text,
    heat_map_text,
    rating_split_text,
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


def themes(*rows: tuple[str, int], comments: int, change: ProportionChange | None = None, example: str = "") -> Themes:
    """Themes by name and count."""
    examples = (a_feedback(comment=example),) if example else ()
    return Themes(
        tuple(
            FoundTheme(
                name, Theme(name, None, (name,), count, count / comments, 1.0, (), frozenset()), change, examples
            )
            for name, count in rows
        ),
        comments,
        True,
        (("late", 3),),
    )


def compared(**thumbs: tuple[int, int]) -> dict[str | None, Comparison]:
    """Groups, by their thumbs up and down, each compared with the others."""
    groups = {name: Summary(positive=up, negative=down) for name, (up, down) in thumbs.items()}
    total = sum(groups.values(), Summary())
    return decide_together({name: Comparison(total - one, one) for name, one in groups.items()})


def line_of(text: str, name: str) -> str:
    """The line that starts with a name."""
    return next(line for line in text.split("\n") if line.startswith(name))


def test_a_trend_is_columns() -> None:
    """A full column, a quarter, no feedback, few thumbs, and an unfinished column."""
    points = days(
        Summary(positive=10_000),
        Summary(positive=2_500, negative=7_500),
        Summary(),
        Summary(positive=9),
        Summary(positive=10_000),
    )
    change = SatisfactionChange(points[1].start, points[0].summary, Summary(positive=5_000, negative=5_000))
    text = trend_text(points, changes=[change], now=points[-1].start)
    rows = text.split("\n")[3:11]
    assert rows[0] == " 100% █████       ░░░░░   ○   ▒▒▒▒▒"
    assert rows[7] == "    0 █████ █████ ░░░░░       ▒▒▒▒▒"
    assert [row[12] for row in rows] == [" "] * 6 + ["█"] * 2
    assert "▲ Fell on Tue 3 Mar: 100.0% before, 50.0% since" in text
    assert "░ no feedback. ▒ so far." in " ".join(text.split())


def test_days_are_below_their_columns() -> None:
    """The responses are blocks between the columns and the days; none is empty, and one is visible."""
    text = trend_text(days(*[Summary(positive=count) for count in (1, 0, 50, 100)]))
    responses, labels = text.split("\n")[-4:-2]
    assert responses == "      ▁▁▁▁▁       ▄▄▄▄▄ █████"
    assert labels == "      2 Mar 3 Mar 4 Mar 5 Mar"


def test_more_points_than_columns_are_added_up() -> None:
    """The sums stay the same."""
    points = days(*[Summary(positive=10)] * 100)
    text = trend_text(points)
    assert "of 1,000 thumbs" in text
    assert "responses, up to 20" in text
    assert "responses, up to 30" in " ".join(trend_text(points, width=40).split())


def test_ascii_stands_for_blocks() -> None:
    """Other characters that the encoding lacks become question marks; control characters are removed."""
    grew = ProportionChange(Proportion(1_000, 4_000), Proportion(1_165, 3_759))
    found = themes(("caf\xe9\x1b[31m r\u202eed", 3), comments=8, change=grew)
    assert "café [31m red" in themes_text(found)
    text = encode_text(themes_text(found), "ascii")
    assert "caf? [31m red" in text
    assert "####" in text
    assert "^ 6.0 points" in text
    assert encode_text("█ é", "latin-1") == "# é"
    assert encode_text("█ é", "utf-8") == "█ é"


def test_wide_signs_take_two_columns() -> None:
    """Bars are aligned, and labels are truncated by width instead of length."""
    found = themes(("late", 5), ("Tokyo 漢字", 5), ("cafe\u0301", 5), comments=10)
    late, wide, accented = themes_text(found).split("\n")[-3:]
    assert late.index("█") == wide.index("█") + 2 == accented.index("█") - 1 == 11
    (long,) = themes_text(themes(("漢" * 40, 5), comments=10)).split("\n")[-1:]
    assert long == f"{'漢' * 36}… 5  50%"


def test_bars_are_left_out_first() -> None:
    """In narrow text, labels and numbers take the place of bars, and only then are labels truncated."""
    found = themes(("luggage on the wrong flight", 5), comments=10)
    assert line_of(themes_text(found, width=50), "lugg") == f"luggage on the wrong flight {'█' * 12}··· 5  50%"
    assert line_of(themes_text(found, width=36), "lugg") == "luggage on the wrong flight 5  50%"
    assert themes_text(found, width=32).split("\n")[-1] == "luggage on the wrong fli… 5  50%"


def test_themes_have_their_other_words() -> None:
    """Those that are not in the label, truncated to the width: a comment with any of them counts."""
    bag = Theme("bags", "lost bags", ("bags", "lost", "luggage", "claim"), 5, 0.5, 1.0, (), frozenset())
    found = Themes((FoundTheme("lost bags", bag, None, ()),), 10, True, ())
    assert themes_text(found).split("\n")[-1] == "  also: luggage, claim"
    assert themes_text(found, width=32).split("\n")[-1] == "  also: luggage, claim"
    long = evolve(found, themes=(evolve(found.themes[0], theme=evolve(bag, words=("suitcases",) * 20)),))
    assert themes_text(long, width=32).split("\n")[-1] == "  also: suitcases, suitcases, s…"


def test_themes_have_examples() -> None:
    """Each is on the line below, truncated to the width; a narrow text has short changes."""
    same = ProportionChange(Proportion(500, 1_000), Proportion(500, 1_000))
    found = themes(("late", 5), comments=10, change=same, example="It was\n late " * 9)
    for width, change in ((80, "no clear change"), (32, "≈")):
        row, example = themes_text(found, width=width).split("\n")[-2:]
        assert row.endswith(f"5  50% {change}")
        assert example.startswith("  “It was late It was late")
        assert (example[-2:], len(example)) == ("…”", width)
    assert themes_text(found, reasons=True).split("\n")[-1].split()[0] == "late"


def test_ratings_are_bars() -> None:
    """Their order is that of all charts."""
    text = rating_split_text(Estimate(Summary(positive=1, neutral=1, negative=2), 1.0))
    assert [line.split()[0] for line in text.split("\n")[-3:]] == ["Down", "Neutral", "Up"]
    assert text.split("\n")[-3].count("█") == 32
    assert {len(line) for line in text.split("\n")[-3:]} == {80}
    assert rating_split_text(Estimate(Summary(), 1.0)) == "No feedback in this period."


def test_ranges_are_not_broken() -> None:
    """Both ends of an interval are on the same line, and so are a sign and its meaning."""
    cells = heat_map({MONDAY: Summary(positive=30, negative=70)}, UTC)
    assert heat_map_text(cells).endswith("clearly over,\n· under 10 thumbs")
    text = rating_split_text(Estimate(Summary(positive=162, neutral=36, negative=103), 1.0), width=76)
    assert text.split("\n")[:2] == [
        "Of 301 responses, 34% down, 12% neutral, 54% up; satisfaction is 61.1%",
        f"(55.1 {DASH} 66.8, 95% confidence).",
    ]


def test_groups_are_dots_with_whiskers() -> None:
    """The average is marked, groups with few thumbs are hollow, and lines are exactly as wide as they may be."""
    for width in (80, 60):
        text = comparison_text(compared(many=(500, 500), few=(1, 4)), by="agent", width=width)
        many, few = line_of(text, "many"), line_of(text, "few")
        assert "●" in many
        assert "○" in few
        assert "┊" in few
        assert "50.0%" in many
        assert len(line_of(text, "Agent")) == width
    assert comparison_text({}, by="agent") == "No agent has thumbs in this period."


def test_numbers_of_groups_are_aligned() -> None:
    """They end where their heading ends; a narrow text leaves out whiskers, then up and down, then the interval."""
    rows = [("a", Estimate(Summary(positive=1_234, negative=9), 1.0)), ("b", Estimate(Summary(), 1.0))]
    wide, narrow = (groups_text(rows, by="agent", total=rows[0][1].summary, width=width) for width in (80, 40))
    heading, a, b = wide.split("\n")[:3]
    assert heading.split()[:5] == ["Agent", "Total", "Up", "Down", "0"]
    for name, number in (("Total", "1,243"), ("Up", "1,234"), ("Down", "9"), ("Satisf.", "99.3%")):
        assert heading.index(name) + len(name) == a.index(number) + len(number)
    assert b.split() == ["b", "0", "0", "0", "no", "feedback"]
    assert narrow.split("\n")[0].split() == ["Agent", "Total", "Satisf.", "95%", "interval"]
    assert "┤" not in narrow
    assert narrow.split("\n")[-1] == "All: 99.3%."
    narrowest = groups_text(rows, by="agent", total=rows[0][1].summary, width=32)
    assert narrowest.split("\n")[0].split() == ["Agent", "Total", "Satisf.", "95%", "interval"]


def test_names_of_groups_are_truncated_last() -> None:
    """Whiskers, up, down and interval are left out first; names take up to half of a line."""
    summary = Summary(positive=50, negative=50)
    rows = [("a-very-long-name-of-an-agent", Estimate(summary, 1.0))]

    def line(width: int) -> str:
        return " ".join(line_of(groups_text(rows, by="agent", total=summary, width=width), "a-very").split())

    for width, shown in (
        (66, f"a-very-long-name-of-an-agent 100 50 50 50.0% 40.4 {DASH} 59.6"),
        (60, f"a-very-long-name-of-an-agent 100 50.0% 40.4 {DASH} 59.6"),
        (45, "a-very-long-name-of-a… 100 50.0%"),
        (32, "a-very-long-nam… 100 50.0%"),
    ):
        assert line(width) == shown
    assert line(10_000).count("─") > 5
    assert len(line(10_000)) < 130


def test_two_selections_are_lines() -> None:
    """The first is above the second, and the second has the change."""
    better = Comparison(Summary(positive=100, negative=900), Summary(positive=500, negative=500))
    text = change_text(better)
    assert text.startswith("After is better than before by ")
    assert line_of(text, "after").endswith("▲ 40.0")
    assert text.index("\nbefore") < text.index("\nafter")


def test_hours_are_signs() -> None:
    """Signs replace colours."""
    slots = {MONDAY + timedelta(hours=hour): Summary(positive=70, negative=30) for hour in range(47)}
    slots[MONDAY] = Summary(positive=5, negative=95)
    slots[MONDAY + timedelta(hours=1)] = Summary(positive=3)
    cells = heat_map(slots, UTC, by_date=is_short(slots, UTC))
    text = heat_map_text(cells)
    assert line_of(text, "Mon 2").startswith("Mon 2  ▼  ·  =  =")
    assert line_of(text, "Tue 3").count("=") == 23
    assert line_of(heat_map_text(cells, width=40), "Mon 2").startswith("Mon 2  ▼·==")
    assert heat_map_text([]) == "No feedback in this period."


def test_nothing_is_a_sentence() -> None:
    """There are no empty axes."""
    assert themes_text(Themes((), 0, False, ())) == "There are no thumbs-down comments."
    assert trend_text([]) == "No feedback in this period."
    assert groups_text([], by="agent", total=Summary()) == "No feedback in this period."
