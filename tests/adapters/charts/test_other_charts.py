"""The charts of ratings, groups, hours and themes, and pictures for notebooks."""

from datetime import datetime, timedelta
from xml.etree.ElementTree import Element, fromstring
from zoneinfo import ZoneInfo

import harken
from harken import FoundTheme, Proportion, ProportionChange, Summary, Themes, TrendPoint
from harken.domain.insight.comparison import Comparison, Estimate, decide_together
from harken.domain.insight.heat_map import Cell, heat_map, is_short
from harken.domain.insight.ranking import rank
from harken.domain.insight.themes import Theme
from harken.testing.builders import a_feedback
from harken_adapters.charts import (
    Previous,
    change_chart,
    comparison_chart,
    heat_map_chart,
    merge_points,
    ranking_chart,
    rating_split,
    themes_chart,
    trend_chart,
)
from harken_adapters.charts.labels import DASH

SVG = "{http://www.w3.org/2000/svg}"
UTC = ZoneInfo("UTC")
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def of_class(svg: str, kind: str) -> list[Element]:
    """The elements of exactly these classes, in order."""
    return [part for part in fromstring(svg).iter() if part.get("class") == kind]


def texts(svg: str) -> list[str]:
    """All visible texts."""
    return ["".join(part.itertext()) for part in fromstring(svg).iter(f"{SVG}text")]


def estimate(**counts: int) -> Estimate:
    """An estimate of independent ratings."""
    return Estimate(Summary(**counts), 1.0)


def compared(**thumbs: tuple[int, int]) -> dict[str | None, Comparison]:
    """Groups, by their thumbs up and down, each compared with the others."""
    groups = {name: Summary(positive=up, negative=down) for name, (up, down) in thumbs.items()}
    total = sum(groups.values(), Summary())
    return decide_together({name: Comparison(total - one, one) for name, one in groups.items()})


def cells(slots: dict[datetime, Summary]) -> list[Cell]:
    """Cells by date where there are few."""
    return heat_map(slots, UTC, by_date=is_short(slots, UTC))


def hours(number: int, summary: Summary) -> dict[datetime, Summary]:
    """The same in each of these hours from Monday on."""
    return {MONDAY + timedelta(hours=hour): summary for hour in range(number)}


def test_the_split_is_as_long_as_all_feedback() -> None:
    """Down, neutral and up, from left to right."""
    chart = rating_split(estimate(positive=14, neutral=19, negative=67))
    assert [
        (part.get("x"), part.get("width")) for kind in ("fd", "fn", "fu") for part in of_class(chart.svg, kind)[:1]
    ] == [("0%", "67%"), ("67%", "19%"), ("86%", "14%")]
    assert chart.description.startswith("Of 100 responses, 67% down, 19% neutral, 14% up; satisfaction is 17%")
    assert texts(rating_split(estimate()).svg) == ["No feedback in this period."]
    assert f"(11 {DASH} 27, 95% confidence)" in chart.description
    repeated = rating_split(Estimate(Summary(positive=14, neutral=19, negative=67), 4.0))
    assert f"(7 {DASH} 38, 95% confidence)" in repeated.description


def test_a_tiny_share_is_not_none() -> None:
    """Shares that would round to 0% or 100% are shown as below 1% or above 99%."""
    chart = rating_split(estimate(positive=1, negative=9_999))
    assert "<1% up" in chart.description
    assert ">99% down" in chart.description
    assert "<1% up" in (fromstring(chart.svg).findtext(f"{SVG}desc") or "")


def test_groups_are_compared_in_a_sentence() -> None:
    """The two best are named, and the number of comparisons counts all groups with 20 thumbs."""
    chart = comparison_chart(compared(United=(100, 900), Delta=(700, 300)), by="agent")
    assert chart.description.startswith("Delta is better than United by ")
    assert chart.description.endswith(" points.")
    three = comparison_chart(compared(A=(100, 100), B=(100, 100), C=(100, 100)))
    assert three.description.startswith("A and B are too close to tell")
    assert "corrected for 3 comparisons" in three.foot


def test_the_surest_pair_is_named_where_the_best_are_too_close() -> None:
    """The pair with a difference comes first."""
    chart = comparison_chart(compared(A=(500, 500), B=(499, 501), C=(50, 950)))
    assert chart.description.startswith("A is better than C by ")
    assert "A and B are too close to tell" in chart.description


def test_the_sentence_is_about_the_largest_of_many_groups() -> None:
    """Only 20 groups are compared with each other, and the sentence says so."""
    many = compared(**{f"g{number:02}": (600 - number, 400 + number) for number in range(20)}, tiny=(40, 0))
    chart = comparison_chart(many, by="agent")
    assert chart.description.startswith("Of the 20 agents with the most thumbs: g00 and g01 are too close to tell")
    assert "corrected for 190 comparisons" in chart.foot


def test_groups_with_few_thumbs_are_not_compared() -> None:
    """They are last and grey, and do not extend the axis."""
    chart = comparison_chart(compared(tiny=(19, 0), large=(20, 180)), by="agent")
    assert chart.description == "Only large has 20 thumbs, so there is nothing to compare it with."
    assert [text.partition("  ")[0] for text in texts(chart.svg) if "thumbs" in text] == ["large", "tiny"]
    assert len(of_class(chart.svg, "whisk a")) == len(of_class(chart.svg, "whisk")) == 1
    assert "20%" in texts(chart.svg)
    assert comparison_chart(compared(tiny=(1, 1)), by="agent").description == "No agent has 20 thumbs yet."
    assert texts(comparison_chart({}, by="agent").svg) == ["No agent has thumbs in this period."]


def marks(chart_table: str) -> dict[str, str]:
    """The last column of the table of groups, by name."""
    rows = fromstring(chart_table).findall("tbody/tr")
    return {_name(row): "".join(row[3].itertext()) for row in rows}


def _name(row: Element) -> str:
    return row.findtext("td/div") or ""


def test_only_sure_changes_have_an_arrow() -> None:
    """Others are shown as new, unclear or unknown."""
    groups = compared(**dict.fromkeys(("fell", "rose", "same", "new", "unknown"), (500, 500)))
    now = groups["fell"].after
    changes: dict[str | None, Comparison] = {
        "fell": Comparison(Summary(positive=900, negative=100), now),
        "rose": Comparison(Summary(positive=100, negative=900), now),
        "same": Comparison(now, now),
        "new": Comparison(Summary(positive=1, negative=1), now),
    }
    chart = comparison_chart(groups, changes=changes)
    assert marks(chart.table) == {
        "fell": "▼ 40.0",
        "rose": "▲ 40.0",
        "same": "≈no clear change",
        "new": "new",
        "unknown": DASH,
    }
    assert "▼ 40.050.0%" in texts(chart.svg)


def test_groups_are_marked_against_the_others() -> None:
    """Without changes, the last column compares with all others together; a group without others has a dash."""
    chart = comparison_chart(compared(A=(900, 100), B=(510, 490), C=(500, 500)))
    assert marks(chart.table) == {"A": "▲ 39.5", "B": "▼ 19.0", "C": "▼ 20.5"}
    assert "▲▼ each against all others together" in chart.foot
    assert "▲ 39.590.0%" in texts(chart.svg)
    assert marks(comparison_chart(compared(A=(900, 100))).table) == {"A": DASH}


def test_the_intervals_of_groups_have_their_design_effect() -> None:
    """Four times as many ratings by the same authors give the same interval."""
    summary = Summary(positive=320, negative=80)
    chart = comparison_chart({"A": Comparison(Summary(positive=400), summary, 4.0, 4.0)})
    assert f"71.1 {DASH} 86.7" in chart.table


def test_two_selections_are_two_rows() -> None:
    """The first is above the second, and the verdict is the sentence."""
    better = Comparison(Summary(positive=100, negative=900), Summary(positive=500, negative=500))
    chart = change_chart(better)
    assert marks(chart.table) == {"before": DASH, "after": "▲ 40.0"}
    assert chart.description == f"After is better than before{better.sentence.removeprefix('better')}."
    assert not of_class(chart.svg, "avg")
    same = Comparison(Summary(positive=1), Summary(positive=1, negative=1))
    assert change_chart(same).description.startswith("Too close to tell: about ")


def test_the_table_of_groups_has_pictures_and_words() -> None:
    """Screen readers get the values and not the marks."""
    table = fromstring(comparison_chart({"<b>": Comparison(Summary(), Summary(positive=80, negative=20))}).table)
    row = table.findall("tbody/tr")[0]
    assert _name(row) == "<b>"
    assert "".join(row[2].itertext()) == f"80.0%71.1 {DASH} 86.7"
    assert {picture.get("aria-hidden") for picture in table.iter("svg")} == {"true"}


def test_feedback_without_a_group_has_a_name() -> None:
    """Its key is ``None``."""
    chart = comparison_chart({None: Comparison(Summary(), Summary(positive=80))})
    assert "(none)" in marks(chart.table)


def test_only_what_is_more_than_chance_has_strong_colour() -> None:
    """A difference that may be chance has a weak colour; an hour with few thumbs is a dot."""
    slots = hours(48, Summary(positive=70, negative=30))
    slots[MONDAY + timedelta(hours=5)] = Summary(positive=10, negative=90)
    slots[MONDAY + timedelta(hours=6)] = Summary(positive=8, negative=4)
    slots[MONDAY + timedelta(hours=7)] = Summary(positive=9)
    slots[MONDAY + timedelta(hours=8)] = Summary(positive=5, negative=7)
    chart = heat_map_chart(cells(slots))
    (worst,), (weak,), (dot,) = (of_class(chart.svg, kind) for kind in ("h0", "h1", "hf"))
    assert (worst.get("x"), worst.get("y")) == ("20.833%", "18")
    assert (worst.findtext(f"{SVG}title") or "").startswith("Mon 2 Mar, 05:00 to 06:00 UTC: 10.0% of 100 thumbs")
    assert (weak.get("x"), dot.get("cx")) == ("33.333%", "31.25%")
    assert not of_class(chart.svg, "h4")
    assert "1 hour is worse (Mon 2 Mar, 05:00 to 06:00, 10.0%), by more than chance" in chart.description


def test_rows_are_dates_for_under_two_weeks() -> None:
    """Otherwise they are weekdays from Monday. Hours after the last feedback are blank."""
    few = heat_map_chart(cells(hours(30, Summary(positive=20))))
    assert texts(few.svg)[-2:] == ["Mon 2", "Tue 3"]
    assert len(of_class(few.svg, "h2")) == 30
    assert not of_class(few.svg, "hf")
    many = heat_map_chart(cells(hours(14 * 24, Summary(positive=20))))
    assert texts(many.svg)[-7:] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def test_responses_are_shaded() -> None:
    """The largest count has the full colour, one response the palest."""
    slots = {MONDAY: Summary(neutral=1), MONDAY + timedelta(hours=1): Summary(positive=100)}
    chart = heat_map_chart(cells(slots), shows_responses=True)
    assert [part.get("fill-opacity") for part in of_class(chart.svg, "fa")] == ["0.2", "1"]
    assert chart.title == "Responses by day and hour"


def theme(name: str, count: int, share: float, change: ProportionChange | None = None, example: str = "") -> FoundTheme:
    """A theme that was found."""
    examples = (a_feedback(comment=example),) if example else ()
    return FoundTheme(name, Theme(name, None, (name,), count, share, 1.0, (), frozenset()), change, examples)


def test_themes_are_bars_on_one_scale() -> None:
    """They have count, share and change. Long labels are truncated in the picture only."""
    label = "a very long label with <markup> in it"
    grew = ProportionChange(Proportion(1_000, 4_000), Proportion(1_165, 3_759))
    same = ProportionChange(Proportion(764, 3_764), Proportion(764, 3_759))
    found = Themes(
        (theme(label, 1_165, 0.31, grew, "They <never> came"), theme("late", 764, 0.2, same)), 3_759, True, ()
    )
    chart = themes_chart(found)
    assert [part.get("width") for part in of_class(chart.svg, "fd")] == ["77.5%", "50%"]
    assert {"▲ 6.0 points1,165 · 31%", "764 · 20%"} <= set(texts(chart.svg))
    assert label not in texts(chart.svg)
    rows = [["".join(cell.itertext()) for cell in row] for row in fromstring(chart.table).findall("tbody/tr")]
    assert rows == [
        [label, "1,165", "31%", "▲ 6.0 points", "They <never> came"],
        ["late", "764", "20%", "no clear change", ""],
    ]
    assert "the most frequent, a very long label with <markup> in it, is in 1,165 of them (31%)" in chart.description
    assert chart.description.endswith("; 1 share changed.")
    none = themes_chart(Themes((), 3, False, ()))
    assert texts(none.svg) == ["No theme is in enough of 3 thumbs-down comments."]


def test_reasons_are_bars() -> None:
    """The most frequent ten tags are shown in place of the themes."""
    found = Themes(
        (theme("late", 6, 0.1),), 60, False, tuple((f"reason {number}", 60 - number) for number in range(12))
    )
    chart = themes_chart(found, reasons=True)
    assert (chart.title, len(of_class(chart.svg, "fd"))) == ("Reasons", 10)
    assert chart.description.endswith("the most frequent, reason 0, is in 60 of them (100%).")
    assert themes_chart(found).foot == "These comments are too few to find which words belong together."
    none = themes_chart(Themes((), 0, False, ()), reasons=True)
    assert texts(none.svg) == ["There are no thumbs-down comments."]


def test_each_statistic_has_a_chart() -> None:
    """Every chart takes the result of a method of Harken unchanged."""
    with harken.connect("memory://") as hk:
        for number in range(100):
            topic = ("refund", "wifi", "seat", "food", "luggage")[number // 2 % 5]
            agent, rating = ("slow", "down") if number % 2 else ("quick", "up")
            comment = f"The {topic} was late" if rating == "down" else ""
            hk.submit(f"{number}", rating, comment, agent_id=agent, tags=["late"])
        charts = [
            trend_chart(hk.trend("day"), changes=hk.changes()),
            trend_chart(merge_points(hk.trend("hour"))),
            rating_split(hk.estimate()),
            comparison_chart(hk.compare_groups("agent"), by="agent"),
            change_chart(hk.compare({"agent_id": "slow"}, {"agent_id": "quick"})),
            themes_chart(hk.themes()),
            themes_chart(hk.themes(), reasons=True),
            heat_map_chart(hk.heat_map()),
        ]
    assert [chart.is_empty for chart in charts] == [False] * len(charts)
    assert charts[3].description.startswith("quick is better than slow by ")


def test_a_notebook_shows_a_whole_picture() -> None:
    """It has a fixed size, both themes, and style rules that are limited to it."""
    chart = comparison_chart(compared(A=(700, 300), B=(100, 900)))
    picture = fromstring(chart._repr_svg_())
    assert chart.document == chart._repr_svg_()
    assert (picture.get("width"), picture.get("viewBox")) == ("760", None)
    assert int(picture.get("height") or 0) > chart.height
    style = picture.findtext(f"{SVG}style") or ""
    assert "prefers-color-scheme:dark" in style
    assert all(rule.strip().startswith(".harken-chart") for rule in style.partition("}}")[2].split("}") if rule.strip())
    assert {chart.title, chart.description} <= set(texts(chart.document))


def test_a_long_legend_has_two_lines() -> None:
    """No entry is beyond the right edge."""
    points = [
        TrendPoint(MONDAY + timedelta(days=day), MONDAY + timedelta(days=day + 1), Summary(positive=count))
        for day, count in enumerate((20, 20, 0, 3))
    ]
    previous = Previous(points, timedelta(0), "the same days of the previous month")
    swatches = [
        part for part in fromstring(trend_chart(points, previous=previous).document) if part.get("width") == "16"
    ]
    assert len(swatches) == 8
    assert max(float(part.get("x", "")) for part in swatches) < 700
    assert len({part.get("y") for part in swatches}) == 2


def test_names_of_ranked_groups_are_links() -> None:
    """Each group with a link has it in the table, escaped; the others are plain text."""
    estimates: dict[str | datetime | None, Estimate] = {
        "Ann & <b>": estimate(positive=30, negative=10),
        None: estimate(positive=10, negative=30),
    }
    ranking = rank(estimates, None, estimate(positive=40, negative=40))
    chart = ranking_chart(ranking, by="agent", link=lambda key: f"?agent_id={key}&x" if key else None)
    assert '<a href="?agent_id=Ann &amp; &lt;b&gt;&amp;x">Ann &amp; &lt;b&gt;</a>' in chart.table
    assert chart.table.count("<a ") == 1
    assert "<a " not in ranking_chart(ranking, by="agent").table
