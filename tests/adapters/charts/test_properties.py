"""Properties of all charts for any data."""

import re
import unicodedata
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from itertools import pairwise
from xml.etree.ElementTree import Element, fromstring
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harken import FoundTheme, Proportion, ProportionChange, Summary, Themes
from harken.domain.insight.change_points import SatisfactionChange
from harken.domain.insight.comparison import Comparison, Estimate, decide_together
from harken.domain.insight.heat_map import Cell, heat_map, is_short
from harken.domain.insight.themes import Theme
from harken.domain.trend import Period, TrendPoint, trend
from harken.testing.builders import a_feedback
from harken_adapters.charts import (
    Chart,
    Previous,
    change_chart,
    comparison_chart,
    heat_map_chart,
    merge_points,
    rating_split,
    responses_chart,
    themes_chart,
    trend_chart,
)
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

SVG = "{http://www.w3.org/2000/svg}"
START = datetime(2026, 3, 2, tzinfo=ZoneInfo("Europe/Berlin"))
LENGTHS = [timedelta(hours=1), timedelta(hours=3), timedelta(days=1), timedelta(days=7)]
#: Texts in which markup, quotes, controls, surrogates and wide signs are likely.
TEXTS = st.text(st.one_of(st.sampled_from("<>&\"'\x00\x1b\x9b\ud800\uffff\u202e漢é "), st.characters()), max_size=40)
YES_OR_NO = st.booleans()
ENCODINGS = st.sampled_from(["utf-8", "ascii", "latin-1", "cp437", "cp1252"])

summaries = st.builds(
    Summary,
    positive=st.one_of(st.integers(0, 12), st.integers(0, 10**7)),
    negative=st.one_of(st.integers(0, 12), st.integers(0, 10**7)),
    neutral=st.integers(0, 30),
)


@st.composite
def series(draw: st.DrawFn) -> list[TrendPoint]:
    """Points of one length, many of them silent."""
    length = draw(st.sampled_from(LENGTHS))
    found = draw(st.lists(st.one_of(st.just(Summary()), summaries), max_size=90))
    return [
        TrendPoint(START + place * length, START + (place + 1) * length, summary) for place, summary in enumerate(found)
    ]


def by_day(slots: Mapping[datetime, Summary], zone: ZoneInfo) -> list[Cell]:
    """Cells, by date where these are few."""
    return heat_map(slots, zone, by_date=is_short(slots, zone))


days = st.integers(-3, 95).map(lambda day: START + timedelta(days=day))
change_lists = st.lists(st.builds(SatisfactionChange, days, summaries, summaries), max_size=5)
effects = st.floats(1, 5)
estimates = st.builds(Estimate, summaries, effects)
comparisons = st.builds(Comparison, summaries, summaries, effects, effects)
proportions = st.tuples(st.integers(0, 5_000), st.integers(0, 5_000), effects).map(
    lambda parts: Proportion(parts[0], parts[0] + parts[1], parts[2])
)
proportion_changes = st.builds(ProportionChange, proportions, proportions)


@st.composite
def compared(draw: st.DrawFn) -> dict[str | None, Comparison]:
    """Groups of any sizes, each compared with the others."""
    groups = draw(st.dictionaries(st.one_of(st.none(), TEXTS), summaries, max_size=8))
    total, effect = sum(groups.values(), Summary()), draw(effects)
    return decide_together({key: Comparison(total - one, one, effect, effect) for key, one in groups.items()})


@st.composite
def found_themes(draw: st.DrawFn) -> Themes:
    """Themes and tags with any texts, with or without a previous period and examples."""
    comments, labels = draw(st.integers(0, 10**7)), draw(st.lists(TEXTS, max_size=8))
    changes = draw(st.one_of(st.none(), proportion_changes))
    return Themes(
        tuple(
            FoundTheme(
                label,
                Theme(label, None, (label,), count, count / max(1, comments), 1.0, (), frozenset()),
                changes,
                (a_feedback(comment=draw(TEXTS)),) if draw(YES_OR_NO) else (),
            )
            for label in labels
            for count in (draw(st.integers(0, comments)),)
        ),
        comments,
        draw(YES_OR_NO),
        tuple((tag, draw(st.integers(0, comments))) for tag in draw(st.lists(TEXTS, max_size=12))),
    )


slot_maps = st.dictionaries(
    st.integers(0, 4 * 24 * 30).map(lambda quarter: START + timedelta(minutes=15 * quarter)), summaries, max_size=40
)


@st.composite
def trends(draw: st.DrawFn) -> Chart:
    """Trends of satisfaction or numbers with any period before, any changes, finished or not."""
    points = draw(series())
    length = points[0].end - points[0].start if points else timedelta(days=1)
    earlier = [
        TrendPoint(point.start - 60 * length, point.end - 60 * length, draw(summaries))
        for point in points
        if draw(YES_OR_NO)
    ]
    previous = Previous(earlier, 60 * length, draw(TEXTS)) if draw(YES_OR_NO) else None
    is_running = draw(YES_OR_NO)
    now = points[-1].start if points and is_running else None
    if draw(YES_OR_NO):
        return responses_chart(points, previous=previous, now=now)
    return trend_chart(points, previous=previous, changes=draw(change_lists), now=now)


charts = st.one_of(
    trends(),
    estimates.map(rating_split),
    st.builds(comparison_chart, compared(), by=TEXTS, changes=st.one_of(st.none(), compared())),
    comparisons.map(change_chart),
    st.builds(themes_chart, found_themes(), reasons=YES_OR_NO),
    st.builds(
        heat_map_chart,
        slot_maps.map(lambda slots: by_day(slots, ZoneInfo("Asia/Kathmandu"))),
        zone=TEXTS,
        shows_responses=st.booleans(),
    ),
)


@given(charts)
def test_every_chart_is_well_formed_and_described(chart: Chart) -> None:
    """Both pictures, table and legend parse as XML, and the pictures have a role, a title and a description."""
    for text in (chart.svg, chart._repr_svg_()):
        picture = fromstring(text)
        assert (picture.tag, picture.get("role")) == (f"{SVG}svg", "img")
        assert [part.tag for part in picture[:2]] == [f"{SVG}title", f"{SVG}desc"]
        assert all((part.text or "").strip() for part in picture[:2])
    assert fromstring(chart.table).tag in {"table", "p"}
    if chart.legend:
        fromstring(chart.legend)


@given(charts)
def test_pictures_fit_any_width_and_need_no_style_attribute(chart: Chart) -> None:
    """The outer picture has no viewBox, stretched parts have one, and a strict content security policy allows all."""
    picture = fromstring(chart.svg)
    assert (picture.get("width"), picture.get("viewBox")) == ("100%", None)
    assert picture.get("height") == str(chart.height)
    for part in picture.iter():
        assert part.get("style") is None
        assert part.tag not in {f"{SVG}script", f"{SVG}style", f"{SVG}image", f"{SVG}foreignObject"}
        if part.get("viewBox"):
            assert (part.get("preserveAspectRatio"), part.get("width")) == ("none", "100%")
    for part in picture.iter(f"{SVG}path"):
        assert part.get("class") == "band" or part.get("vector-effect") == "non-scaling-stroke"


@given(charts)
def test_everything_is_inside_the_picture(chart: Chart) -> None:
    """All positions and sizes are inside the picture, and numbers have at most three decimals."""
    picture = fromstring(chart.svg)
    for part, top in _placed(picture, 0.0):
        for name in ("x", "x1", "x2", "cx"):
            assert -chart.gutter <= _number(part, name) <= 100 or part.get(name, "").lstrip("-").isdigit()
            if part.get(name, "").endswith("%"):
                assert 0 <= _number(part, name) <= 100
        if part.get("width", "").endswith("%"):
            assert 0 <= _number(part, "x") + _number(part, "width") <= 100.01
        for name in ("y", "y1", "y2", "cy"):
            assert 0 <= top + _number(part, name) <= chart.height + 0.01
        assert 0 <= top + _number(part, "y") + _pixels(part) <= chart.height + 0.01
    for figure in re.findall(r'[ "LM](-?\d+\.\d+)', "".join(re.findall(r'="[^"]*"', chart.svg))):
        assert len(figure.partition(".")[2]) <= 3
    for path in picture.iter(f"{SVG}path"):
        across, down = zip(*_coordinates(path.get("d", "")), strict=True)
        assert (min(across) >= 0, max(across) <= 1000, min(down) >= 0, max(down) <= 184) == (True,) * 4


def _placed(part: Element, top: float) -> Iterator[tuple[Element, float]]:
    """All elements outside patterns, with the vertical origin of their coordinates."""
    for child in part:
        if child.tag == f"{SVG}defs":
            continue
        yield child, top
        yield from _placed(child, top + _number(child, "y") if child.tag == f"{SVG}svg" else top)


def _number(part: Element, name: str) -> float:
    return float(part.get(name, "0").rstrip("%"))


def _pixels(part: Element) -> float:
    return _number(part, "height") if part.tag != f"{SVG}text" else 0.0


def _coordinates(commands: str) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in re.findall(r"([\d.]+) ([\d.-]+)", commands)]


@given(series(), change_lists)
def test_at_most_two_changes_are_marked(points: list[TrendPoint], changes: list[SatisfactionChange]) -> None:
    """Each mark has a line, a wash and a note."""
    chart = trend_chart(points, changes=changes)
    picture = fromstring(chart.svg)
    marks = [part for part in picture.iter(f"{SVG}line") if part.get("class", "").startswith("mark")]
    washes = [part for part in picture.iter(f"{SVG}rect") if part.get("class", "").startswith("wash")]
    assert len(marks) == len(washes) == len(chart.notes) <= 2


@given(series())
def test_no_line_crosses_a_gap(points: list[TrendPoint]) -> None:
    """Lines and bands connect adjacent points with at least 10 thumbs only; points with fewer are drawn alone."""
    picture = fromstring(trend_chart(points, now=points[-1].start if points else None).svg)
    joined: set[int] = set()
    for path in picture.iter(f"{SVG}path"):
        places = [round(x / 1000 * len(points) - 0.5) for x, _ in _coordinates(path.get("d", ""))]
        assert all(abs(place - after) <= 1 for place, after in pairwise(places))
        joined.update(places)
    assert all(points[place].summary.decided >= 10 for place in joined)
    few = [part for part in picture.iter(f"{SVG}circle") if part.get("class") == "pt few"]
    assert len(few) == sum(0 < point.summary.decided < 10 for point in points)


@given(series())
def test_silence_is_hatched_and_never_zero(points: list[TrendPoint]) -> None:
    """The hatched width equals the share of points without feedback."""
    chart = trend_chart(points)
    hatched = [part for part in fromstring(chart.svg).iter(f"{SVG}rect") if "hatch" in part.get("fill", "")]
    silent = sum(not point.summary.total for point in points)
    if silent == len(points):
        assert "No feedback" in chart.svg
        return
    assert sum(_number(part, "width") for part in hatched) == pytest.approx(100 * silent / len(points), abs=0.1)


@given(TEXTS, summaries)
def test_texts_of_users_are_escaped(text: str, summary: Summary) -> None:
    """Parsing gives the names of groups and themes back unchanged, except for characters that XML forbids."""
    allowed = re.sub("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)
    theme = Theme(text, None, (text,), 3, 0.5, 1.0, (), frozenset())
    themes = themes_chart(Themes((FoundTheme(text, theme, None, ()),), 6, True, ()))
    seen = fromstring(themes.table).find("tbody/tr/td")
    assert seen is not None
    assert (seen.text or "") == allowed.replace("\r\n", "\n").replace("\r", "\n")
    other = Summary(positive=30)
    groups = {text: Comparison(other, summary), f"{text} 2": Comparison(summary, other)}
    for chart in (themes, comparison_chart(groups)):
        assert {part.tag for part in fromstring(chart.svg).iter()} <= {
            f"{SVG}{name}" for name in ("svg", "title", "desc", "text", "tspan", "line", "rect", "circle")
        }


WIDTHS = st.sampled_from([32, 40, 80, 100])


@given(series(), change_lists, WIDTHS, ENCODINGS)
def test_trends_fit_a_terminal(
    points: list[TrendPoint], changes: list[SatisfactionChange], width: int, encoding: str
) -> None:
    """Also with more points than columns."""
    _assert_fits(trend_text(points, changes=changes, now=START, width=width), width, encoding)


@given(
    estimate=estimates,
    groups=compared(),
    change=comparisons,
    themes=found_themes(),
    slots=slot_maps,
    width=WIDTHS,
    encoding=ENCODINGS,
)
def test_texts_fit_a_terminal(
    *,
    estimate: Estimate,
    groups: dict[str | None, Comparison],
    change: Comparison,
    themes: Themes,
    slots: dict[datetime, Summary],
    width: int,
    encoding: str,
) -> None:
    """No line is wider than the terminal, in any encoding, and none has control characters."""
    rows = [(key or "", Estimate(one.after, 1.0)) for key, one in groups.items()]
    for text in (
        rating_split_text(estimate, width=width),
        groups_text(rows, by="agent", total=estimate.summary, width=width),
        comparison_text(groups, by="agent", width=width),
        change_text(change, width=width),
        themes_text(themes, width=width),
        themes_text(themes, reasons=True, width=width),
        heat_map_text(by_day(slots, ZoneInfo("UTC")), width=width),
    ):
        _assert_fits(text, width, encoding)


def _assert_fits(text: str, width: int, encoding: str) -> None:
    encoded = encode_text(text, encoding)
    encoded.encode(encoding)
    assert len(encoded) == len(text)
    assert text.strip()
    for line in text.split("\n"):
        assert not any(unicodedata.category(character).startswith("C") for character in line)
        used = sum(
            0
            if unicodedata.category(character) in {"Mn", "Me"}
            else 1 + (unicodedata.east_asian_width(character) in "WF")
            for character in line
        )
        assert used <= width, line


@given(slot_maps, st.sampled_from(["Asia/Kathmandu", "Europe/Berlin", "Australia/Lord_Howe"]))
def test_points_hold_all_feedback(slots: dict[datetime, Summary], zone: str) -> None:
    """The points add up to all feedback, and there are at most 60 of them unless they are weeks."""
    points = merge_points(trend(slots, Period.HOUR, ZoneInfo(zone)))
    assert sum((point.summary for point in points), Summary()) == sum(slots.values(), Summary())
    assert all(point.end == after.start for point, after in pairwise(points))
    assert len(points) <= 60 or points[0].end - points[0].start >= timedelta(days=7)
