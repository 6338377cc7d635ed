"""The charts of ratings, groups, hours and themes, and pictures for notebooks."""

from datetime import datetime, timedelta
from xml.etree.ElementTree import Element, fromstring
from zoneinfo import ZoneInfo

from harken import Summary
from harken.domain.insight.comparison import Comparison
from harken_adapters.charts import (
    Group,
    ThemeRow,
    comparison_chart,
    heat_cells,
    heat_map_chart,
    rating_split,
    themes_chart,
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


def hours(number: int, summary: Summary) -> dict[datetime, Summary]:
    """The same in each of these hours from Monday on."""
    return {MONDAY + timedelta(hours=hour): summary for hour in range(number)}


def test_the_split_is_as_long_as_all_feedback() -> None:
    """Down, neutral and up, from left to right."""
    chart = rating_split(Summary(positive=14, neutral=19, negative=67))
    assert [
        (part.get("x"), part.get("width")) for kind in ("fd", "fn", "fu") for part in of_class(chart.svg, kind)[:1]
    ] == [("0%", "67%"), ("67%", "19%"), ("86%", "14%")]
    assert chart.description.startswith("Of 100 responses, 67% down, 19% neutral, 14% up; satisfaction is 17%")
    assert texts(rating_split(Summary()).svg) == ["No feedback in this period."]


def test_a_tiny_share_is_not_none() -> None:
    """Shares that would round to 0% or 100% are shown as below 1% or above 99%."""
    chart = rating_split(Summary(positive=1, negative=9_999))
    assert "<1% up" in chart.description
    assert ">99% down" in chart.description
    assert "<1% up" in (fromstring(chart.svg).findtext(f"{SVG}desc") or "")


def a_group(name: str, up: int, down: int, change: Comparison | None = None) -> Group:
    """A group by its thumbs."""
    return Group(name=name, summary=Summary(positive=up, negative=down), change=change)


def test_groups_are_compared_in_a_sentence() -> None:
    """The two best are named, and the number of comparisons counts all groups with 20 thumbs."""
    chart = comparison_chart([a_group("United", 100, 900), a_group("Delta", 700, 300)], by="agent")
    assert chart.description.startswith("Delta is better than United by ")
    assert chart.description.endswith(" points.")
    assert chart.notes == (chart.description,)
    three = comparison_chart([a_group(name, 100, 100) for name in "ABC"])
    assert three.description.startswith("A and B are too close to tell")
    assert "corrected for 3 comparisons" in three.foot


def test_the_surest_pair_is_named_where_the_best_are_too_close() -> None:
    """The pair with a difference comes first."""
    groups = [a_group("A", 500, 500), a_group("B", 499, 501), a_group("C", 50, 950)]
    assert comparison_chart(groups).description.startswith("A is better than C by ")
    assert "A and B are too close to tell" in comparison_chart(groups).description


def test_groups_with_few_thumbs_are_not_compared() -> None:
    """They are last and grey, and do not extend the axis."""
    chart = comparison_chart([a_group("tiny", 19, 0), a_group("large", 20, 180)], by="agent")
    assert chart.description == "Only large has 20 thumbs, so there is nothing to compare it with."
    assert [text.partition("  ")[0] for text in texts(chart.svg) if "thumbs" in text] == ["large", "tiny"]
    assert len(of_class(chart.svg, "whisk a")) == len(of_class(chart.svg, "whisk")) == 1
    assert "20%" in texts(chart.svg)
    assert comparison_chart([a_group("tiny", 1, 1)], by="agent").description == "No agent has 20 thumbs yet."
    assert texts(comparison_chart([], by="agent").svg) == ["No agent has thumbs in this period."]


def test_only_sure_changes_have_an_arrow() -> None:
    """Others are shown as new, unclear or unknown."""

    def change(before: Summary) -> Comparison:
        return Comparison(before, Summary(positive=500, negative=500))

    changes = {
        "fell": change(Summary(positive=900, negative=100)),
        "rose": change(Summary(positive=100, negative=900)),
        "same": change(Summary(positive=500, negative=500)),
        "new": change(Summary(positive=1, negative=1)),
        "unknown": None,
    }
    table = fromstring(comparison_chart([a_group(name, 500, 500, found) for name, found in changes.items()]).table)
    shown = {_name(row): "".join(row[3].itertext()) for row in table.findall("tbody/tr")}
    assert shown == {"fell": "▼ 40.0", "rose": "▲ 40.0", "same": "≈no clear change", "new": "new", "unknown": DASH}


def _name(row: Element) -> str:
    return row.findtext("td/div") or ""


def test_the_table_of_groups_has_pictures_and_words() -> None:
    """Screen readers get the values and not the marks."""
    table = fromstring(comparison_chart([a_group("<b>", 80, 20)]).table)
    row = table.findall("tbody/tr")[0]
    assert _name(row) == "<b>"
    assert "".join(row[2].itertext()) == f"80.0%71.1 {DASH} 86.7"
    assert {picture.get("aria-hidden") for picture in table.iter("svg")} == {"true"}


def test_the_picture_of_groups_has_changes() -> None:
    """A change that is more than chance is beside the satisfaction."""
    fell = Comparison(Summary(positive=900, negative=100), Summary(positive=500, negative=500))
    chart = comparison_chart([a_group("A", 500, 500, fell), a_group("B", 200, 800)])
    assert "▼ 40.050.0%" in texts(chart.svg)
    assert "20.0%" in texts(chart.svg)
    assert [part.get("dx") for part in of_class(chart.svg, "val")] == ["8", None]


def test_only_what_is_more_than_chance_has_strong_colour() -> None:
    """A difference that may be chance has a weak colour; an hour with few thumbs is a dot."""
    slots = hours(48, Summary(positive=70, negative=30))
    slots[MONDAY + timedelta(hours=5)] = Summary(positive=10, negative=90)
    slots[MONDAY + timedelta(hours=6)] = Summary(positive=8, negative=4)
    slots[MONDAY + timedelta(hours=7)] = Summary(positive=9)
    slots[MONDAY + timedelta(hours=8)] = Summary(positive=5, negative=7)
    chart = heat_map_chart(heat_cells(slots, UTC))
    (worst,), (weak,), (dot,) = (of_class(chart.svg, kind) for kind in ("h0", "h1", "hf"))
    assert (worst.get("x"), worst.get("y")) == ("20.833%", "18")
    assert (worst.findtext(f"{SVG}title") or "").startswith("Mon 2 Mar, 05:00 to 06:00 UTC: 10.0% of 100 thumbs")
    assert (weak.get("x"), dot.get("cx")) == ("33.333%", "31.25%")
    assert not of_class(chart.svg, "h4")
    assert "1 hour is worse (Mon 2 Mar, 05:00 to 06:00, 10.0%), by more than chance" in chart.description


def test_rows_are_dates_for_under_two_weeks() -> None:
    """Otherwise they are weekdays from Monday. Hours after the last feedback are blank."""
    few = heat_map_chart(heat_cells(hours(30, Summary(positive=20)), UTC))
    assert texts(few.svg)[-2:] == ["Mon 2", "Tue 3"]
    assert len(of_class(few.svg, "h2")) == 30
    assert not of_class(few.svg, "hf")
    many = heat_map_chart(heat_cells(hours(14 * 24, Summary(positive=20)), UTC))
    assert texts(many.svg)[-7:] == ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]


def test_responses_are_shaded() -> None:
    """The largest count has the full colour, one response the palest."""
    slots = {MONDAY: Summary(neutral=1), MONDAY + timedelta(hours=1): Summary(positive=100)}
    chart = heat_map_chart(heat_cells(slots, UTC), shows_responses=True)
    assert [part.get("fill-opacity") for part in of_class(chart.svg, "fa")] == ["0.2", "1"]
    assert chart.title == "Responses by day and hour"


def test_themes_are_bars_on_one_scale() -> None:
    """They have count, share and change. Long labels are truncated in the picture only."""
    label = "a very long label with <markup> in it"
    chart = themes_chart([ThemeRow(label, 1_165, 0.31, "▲ 3.4 points"), ThemeRow("late", 764, 0.2)], thumbs_down=3_759)
    assert [part.get("width") for part in of_class(chart.svg, "fd")] == ["77.5%", "50%"]
    assert "▲ 3.4 points1,165 · 31%" in texts(chart.svg)
    assert label not in texts(chart.svg)
    assert fromstring(chart.table).findtext("tbody/tr/td") == label
    assert "the most frequent, a very long label with <markup> in it, is in 1,165 of them (31%)" in chart.description
    assert texts(themes_chart([], thumbs_down=0).svg) == ["No themes in this period."]


def test_a_notebook_shows_a_whole_picture() -> None:
    """It has a fixed size, both themes, and style rules that are limited to it."""
    chart = comparison_chart([a_group("A", 700, 300), a_group("B", 100, 900)])
    picture = fromstring(chart._repr_svg_())
    assert (picture.get("width"), picture.get("viewBox")) == ("760", None)
    assert int(picture.get("height") or 0) > chart.height
    style = picture.findtext(f"{SVG}style") or ""
    assert "prefers-color-scheme:dark" in style
    assert all(rule.strip().startswith(".harken-chart") for rule in style.partition("}}")[2].split("}") if rule.strip())
    assert {chart.title, *chart.notes} <= {"".join(part.itertext()) for part in picture.iter(f"{SVG}text")}
