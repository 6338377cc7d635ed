"""Satisfaction over time, with its uncertainty, and the responses that it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from typing import Final

from attrs import field, frozen

from harken.domain.insight.change_points import ChangePoint
from harken.domain.summary import Summary
from harken.domain.trend import TrendPoint
from harken_adapters.charts.axis import Axis, satisfaction_axis
from harken_adapters.charts.chart import Chart, LegendItem, empty_chart
from harken_adapters.charts.labels import (
    DAY,
    amount,
    bucket_text,
    count_text,
    interval_text,
    length_of,
    moment_text,
    satisfaction_text,
    span_text,
    summary_text,
    weekday_text,
    zone_text,
)
from harken_adapters.charts.svg import Element, element, line, number, path, percent, stretched, title
from harken_adapters.charts.table import Column, table
from harken_adapters.charts.time_axis import time_ticks

#: A point with fewer thumbs is joined to nothing.
FEW_THUMBS: Final = 10
MOST_CHANGES: Final = 2
_TITLE: Final = "Satisfaction over time"
EMPTY: Final = "No feedback in this period."
#: Heights in pixels: of the part for satisfaction; where bars end at the top and stand at the bottom; of all.
_LINES: Final = 184
_BARS_TOP: Final = 204
_BARS_BOTTOM: Final = 260
_HEIGHT: Final = 282
_GUTTER: Final = 42
_BAR_WIDTH: Final = 0.66
_GAP_BETWEEN_BARS: Final = 0.5
_HATCH: Final = "harken-hatch"
#: From how wide a gap its label fits across, and from how wide it fits upright, as shares of the width.
_WIDE_GAP: Final = 0.12
_SLIM_GAP: Final = 0.03
#: The label of a change takes so much of the width.
_CHANGE_LABEL: Final = 0.3


@frozen
class Previous:
    """The period before, to compare with.

    Attributes:
        points: its trend, in points as long as those of the trend that it is compared with.
        shift: how much earlier it was; a point is drawn under the one that starts so much later on the wall clock.
        label: what the period is called, such as ``last week``.
    """

    points: Sequence[TrendPoint]
    shift: timedelta
    label: str


@frozen
class _Plot:
    """The points, and where they are.

    Attributes:
        points: at least one of them with feedback.
        previous: the summaries of the period before, one for each point; zero where there is none.
        is_running: whether the last point is not over.
    """

    points: Sequence[TrendPoint]
    previous: Sequence[Summary]
    is_running: bool
    axis: Axis = field(init=False)

    @axis.default
    def _axis(self) -> Axis:
        return satisfaction_axis(values_shown([point.summary for point in self.points], self.previous))

    @property
    def length(self) -> timedelta:
        return length_of(self.points)

    @property
    def last(self) -> int:
        return len(self.points) - 1

    def summary(self, place: int) -> Summary:
        return self.points[place].summary

    def middle(self, place: int) -> float:
        """Where a point is, from 0 to 1."""
        return (place + 0.5) / len(self.points)

    def start(self, place: int) -> float:
        """Where the slot of a point begins, from 0 to 1."""
        return place / len(self.points)

    def y(self, value: float) -> float:
        """How far down a percentage is, in pixels."""
        return (1 - self.axis.share(value)) * _LINES

    def commands(self, places: Iterable[int], value: Callable[[int], float]) -> str:
        """A path through the values at these places, in coordinates of the stretched part."""
        return "L".join(f"{number(self.middle(place) * 1000)} {number(self.y(value(place)))}" for place in places)

    def runs(self, belongs: Callable[[Summary], bool]) -> list[range]:
        """The longest stretches of points that belong."""
        return _runs([point.summary for point in self.points], belongs)


def trend_chart(
    points: Sequence[TrendPoint],
    *,
    previous: Previous | None = None,
    changes: Iterable[ChangePoint] = (),
    now: datetime | None = None,
) -> Chart:
    """The chart of a trend.

    Args:
        points: oldest first, without gaps, all of one length, in the zone to show; see
            :func:`harken.domain.trend.trend` and :func:`harken_adapters.charts.buckets.trend_points`.
        previous: the period before.
        changes: where satisfaction changed; their indices are those of ``points``. The two largest are marked.
        now: the last point is shown as unfinished if it ends after this.
    """
    if not any(point.summary.total for point in points):
        return empty_chart(_TITLE, EMPTY)
    plot = _Plot(points, _aligned(points, previous), is_unfinished(points, now))
    shown = largest_changes(changes, len(points))
    return Chart(
        title=_TITLE,
        description=trend_sentence(points, shown),
        table=str(_table(plot)),
        caption=_caption(plot),
        notes=tuple(": ".join(change_texts(points, change)) for change in shown),
        height=_HEIGHT,
        gutter=_GUTTER,
        content=tuple(_content(plot, shown, _ends(changes_in(changes, len(points)), len(points)))),
        legend_items=tuple(_legend(plot, previous)),
    )


def is_unfinished(points: Sequence[TrendPoint], now: datetime | None) -> bool:
    """Whether the last point is not over."""
    return now is not None and bool(points) and points[-1].start <= now < points[-1].end


def changes_in(changes: Iterable[ChangePoint], count: int) -> list[ChangePoint]:
    """The changes that lie between the first and the last of so many points, in order."""
    return sorted((change for change in changes if 0 < change.index < count), key=lambda change: change.index)


def largest_changes(changes: Iterable[ChangePoint], count: int) -> list[ChangePoint]:
    """The two largest changes among so many points, in order."""
    by_size = sorted(changes_in(changes, count), key=lambda change: (-abs(change.after - change.before), change.index))
    return sorted(by_size[:MOST_CHANGES], key=lambda change: change.index)


def change_texts(points: Sequence[TrendPoint], change: ChangePoint) -> tuple[str, str]:
    """What happened and when, and how much: ``Fell at Sat 18:00`` and ``23.1% before, 13.3% since``."""
    verb = "Rose" if change.after > change.before else "Fell"
    when = moment_text(points[change.index].start, length_of(points))
    return f"{verb} {when}", f"{change.before * 100:.1f}% before, {change.after * 100:.1f}% since"


def trend_sentence(points: Sequence[TrendPoint], changes: Sequence[ChangePoint]) -> str:
    """What a trend shows, in one sentence; points must not be empty."""
    total = sum((point.summary for point in points), Summary())
    rated = [point.summary for point in points if point.summary.decided >= FEW_THUMBS]
    what = f"Satisfaction by {bucket_text(length_of(points))}, {trend_span(points)}"
    parts = [f"{satisfaction_text(total)} of {amount(total.decided, 'thumb')} in all"]
    if rated:
        least, most = (chosen(summary.satisfaction for summary in rated) for chosen in (min, max))
        parts.insert(0, f"between {least:.0f}% and {most:.0f}%")
    for change in changes:
        what_happened, how_much = change_texts(points, change)
        parts.append(f"it {what_happened[0].lower()}{what_happened[1:]}, {how_much}")
    return f"{what}: {'; '.join(parts)}."


def trend_span(points: Sequence[TrendPoint]) -> str:
    """The days of a trend and its zone: ``Fri 20 Feb to Sun 22 Feb 2026, UTC``."""
    first, last = points[0].start, points[-1].end.replace(tzinfo=None) - timedelta(microseconds=1)
    until = f"{weekday_text(last)} {last.year}"
    if first.date() == last.date():
        return f"{until}, {zone_text(first)}"
    year = "" if first.year == last.year else f" {first.year}"
    return f"{weekday_text(first)}{year} to {until}, {zone_text(first)}"


def _aligned(points: Sequence[TrendPoint], previous: Previous | None) -> list[Summary]:
    if previous is None:
        return [Summary()] * len(points)
    earlier = {point.start.replace(tzinfo=None): point.summary for point in previous.points}
    return [earlier.get(point.start.replace(tzinfo=None) - previous.shift, Summary()) for point in points]


def values_shown(summaries: Iterable[Summary], previous: Iterable[Summary] = ()) -> Iterator[float]:
    """All that the axis has to show: values and bands. Whiskers of few thumbs may end at its ends."""
    for summary in summaries:
        if is_solid(summary):
            yield from (summary.interval.low, summary.interval.high)
        elif summary.decided:
            yield summary.satisfaction
    yield from (summary.satisfaction for summary in previous if is_solid(summary))


def is_solid(summary: Summary) -> bool:
    """Whether a point has enough thumbs to be joined to others."""
    return summary.decided >= FEW_THUMBS


def _is_few(summary: Summary) -> bool:
    return 0 < summary.decided < FEW_THUMBS


def _is_silent(summary: Summary) -> bool:
    return summary.total == 0


def _runs(summaries: Sequence[Summary], belongs: Callable[[Summary], bool]) -> list[range]:
    grouped = groupby(range(len(summaries)), key=lambda place: belongs(summaries[place]))
    together = [list(places) for is_in, places in grouped if is_in]
    return [range(places[0], places[-1] + 1) for places in together]


def _content(plot: _Plot, shown: Sequence[ChangePoint], ends: dict[int, int]) -> Iterator[Element]:
    """Everything, from the back to the front."""
    gaps = plot.runs(_is_silent)
    if gaps:
        yield _hatch()
    for change in shown:
        yield from _change_mark(plot, change, ends[change.index])
    yield from (_gap(plot, places) for places in gaps)
    yield from _grid(plot.axis)
    yield stretched(_LINES, *_bands(plot), *_previous_lines(plot), *_lines(plot))
    yield from _points(plot)
    yield from _bars(plot)
    for tick in time_ticks(plot.points):
        yield from tick.elements(_BARS_BOTTOM)
    yield from (part for places in gaps for part in _gap_label(plot, places))
    yield from (_change_label(plot, change, lower) for change, lower in _with_room(plot, shown))
    yield from _hover_areas(plot)


def _grid(axis: Axis) -> Iterator[Element]:
    for value in axis.ticks:
        y = (1 - axis.share(value)) * _LINES
        yield line("g0" if value == axis.low else "g", ("0", "100%"), (y, y))
        unit = "%" if value == axis.ticks[-1] else ""
        yield element("text", f"{value}{unit}", x=-8, y=y + 4, text_anchor="end")


def _bands(plot: _Plot) -> Iterator[Element]:
    for places in plot.runs(is_solid):
        if len(places) > 1:
            upper = plot.commands(places, lambda place: plot.summary(place).interval.high)
            lower = plot.commands(reversed(places), lambda place: plot.summary(place).interval.low)
            yield element("path", class_="band", d=f"M{upper}L{lower}Z")


def _lines(plot: _Plot) -> Iterator[Element]:
    for places in plot.runs(is_solid):
        ends_open = plot.is_running and places[-1] == plot.last
        full = places[:-1] if ends_open else places
        if len(full) > 1:
            yield path("ln", f"M{plot.commands(full, lambda place: plot.summary(place).satisfaction)}")
        if ends_open and full:
            yield path("ln part", f"M{plot.commands(places[-2:], lambda place: plot.summary(place).satisfaction)}")


def _previous_lines(plot: _Plot) -> Iterator[Element]:
    for places in _runs(plot.previous, is_solid):
        commands = plot.commands(places, lambda place: plot.previous[place].satisfaction)
        # A stroke of no length still gets its round ends, so that a point between gaps is seen.
        yield path("ln prev", f"M{commands}{'h0' if len(places) == 1 else ''}")


def _points(plot: _Plot) -> Iterator[Element]:
    """The points that no line goes through, and the hollow one at the end of an unfinished trend."""
    for places in plot.runs(is_solid):
        is_open = plot.is_running and places[-1] == plot.last
        if len(places) == 1:
            yield _whisker(plot, places[0], "whisk a")
        if is_open or len(places) == 1:
            yield _point(plot, places[-1], "pt open" if is_open else "pt")
    for places in plot.runs(_is_few):
        for place in places:
            yield _whisker(plot, place, "whisk")
            yield _point(plot, place, "pt few")


def _whisker(plot: _Plot, place: int, kind: str) -> Element:
    interval, x = plot.summary(place).interval, percent(plot.middle(place))
    return line(kind, (x, x), (plot.y(interval.high), plot.y(interval.low)))


def _point(plot: _Plot, place: int, kind: str) -> Element:
    y = plot.y(plot.summary(place).satisfaction)
    return element("circle", class_=kind, cx=percent(plot.middle(place)), cy=y, r=4)


def _hatch() -> Element:
    stripe = line("g", ("0", "0"), (0, 6))
    return element(
        "defs",
        element(
            "pattern",
            stripe,
            id=_HATCH,
            width=6,
            height=6,
            patternUnits="userSpaceOnUse",
            patternTransform="rotate(45)",
        ),
    )


def _gap(plot: _Plot, places: range) -> Element:
    x, width = percent(plot.start(places[0])), percent(len(places) / len(plot.points))
    return element("rect", x=x, y=0, width=width, height=_LINES, fill=f"url(#{_HATCH})")


def _gap_label(plot: _Plot, places: range) -> Iterator[Element]:
    width = len(places) / len(plot.points)
    if width < _SLIM_GAP:
        return
    is_wide = width >= _WIDE_GAP
    yield element(
        "text",
        "no feedback",
        class_="only-l",
        x=percent(plot.start(places[0]) + width / 2),
        y=_LINES / 2 + 4 if is_wide else _LINES - 8,
        text_anchor="middle" if is_wide else "end",
        writing_mode=None if is_wide else "vertical-rl",
    )


def _ends(changes: Sequence[ChangePoint], count: int) -> dict[int, int]:
    """Where the time after each change ends: at the next change, marked or not, or with the last point."""
    return dict(pairwise([*(change.index for change in changes), count]))


def _direction(change: ChangePoint) -> str:
    return " rise" if change.after > change.before else ""


def _change_mark(plot: _Plot, change: ChangePoint, end: int) -> Iterator[Element]:
    x, width = percent(plot.start(change.index)), percent(plot.start(end) - plot.start(change.index))
    wash = f"wash{_direction(change)}{' fu' if _direction(change) else ''}"
    yield element("rect", class_=wash, x=x, y=0, width=width, height=_BARS_BOTTOM)
    yield line(f"mark{_direction(change)}", (x, x), (0, _BARS_BOTTOM))


def _with_room(plot: _Plot, shown: Sequence[ChangePoint]) -> Iterator[tuple[ChangePoint, bool]]:
    """The changes, and whether a label has to stand lower, so as not to lie on that of the change before."""
    before = None
    for change in shown:
        share = plot.start(change.index)
        yield change, before is not None and share - before < 2 * _CHANGE_LABEL
        before = share


def _change_label(plot: _Plot, change: ChangePoint, lower: bool) -> Element:
    share = plot.start(change.index)
    is_left = share > 1 - _CHANGE_LABEL
    what, how_much = change_texts(plot.points, change)
    top = 48 if lower else 14
    place = {"x": percent(share), "dx": -10 if is_left else 10, "text_anchor": "end" if is_left else None}
    first = element("tspan", what, class_=f"mkb{_direction(change)}")
    return element(
        "g",
        element("text", first, class_=f"mk{_direction(change)}", y=top, **place),
        element("text", how_much, y=top + 17, **place),
        class_="only-l halo",
    )


def _bars(plot: _Plot) -> Iterator[Element]:
    most = max(point.summary.total for point in plot.points)
    yield element("text", count_text(most), title(f"{most:,}"), x=-8, y=_BARS_TOP + 10, text_anchor="end")
    yield element("text", "0", x=-8, y=_BARS_BOTTOM, text_anchor="end")
    yield line("g0", ("0", "100%"), (_BARS_BOTTOM, _BARS_BOTTOM))
    for place in range(len(plot.points)):
        yield from _bar(plot, place, (_BARS_BOTTOM - _BARS_TOP) / most)


def _bar(plot: _Plot, place: int, unit: float) -> Iterator[Element]:
    """The ratings of a point, one on the other: down below, then neutral, up on top; ``unit`` pixels for each."""
    summary, bottom = plot.summary(place), float(_BARS_BOTTOM)
    part = " partbar" if plot.is_running and place == plot.last else ""
    x, width = plot.start(place) + (1 - _BAR_WIDTH) / 2 / len(plot.points), _BAR_WIDTH / len(plot.points)
    for kind, count in (("fd", summary.negative), ("fn", summary.neutral), ("fu", summary.positive)):
        if not count:
            continue
        height = count * unit
        drawn = height - _GAP_BETWEEN_BARS if height > 2 * _GAP_BETWEEN_BARS else height
        yield element(
            "rect", class_=f"{kind}{part}", x=percent(x), width=percent(width), y=bottom - height, height=drawn
        )
        bottom -= height


def _hover_areas(plot: _Plot) -> Iterator[Element]:
    """An invisible area for each point, that shows its figures."""
    for place, point in enumerate(plot.points):
        yield element(
            "rect",
            title(_figures(plot, point)),
            x=percent(plot.start(place)),
            y=0,
            width=percent(1 / len(plot.points)),
            height=_BARS_BOTTOM,
            fill="none",
            pointer_events="all",
        )


def _figures(plot: _Plot, point: TrendPoint) -> str:
    so_far = " so far" if plot.is_running and point is plot.points[-1] else ""
    return f"{span_text(point)} {zone_text(point.start)}{so_far}: {summary_text(point.summary)}"


def _caption(plot: _Plot) -> str:
    parts = [f"by {bucket_text(plot.length)}", zone_text(plot.points[0].start)]
    if plot.is_running:
        parts.append("today so far" if plot.length < 2 * DAY else f"last {bucket_text(plot.length)} so far")
    if plot.axis.low:
        parts.append(f"axis starts at {plot.axis.low}%")
    return " · ".join(parts)


def _legend(plot: _Plot, previous: Previous | None) -> Iterator[LegendItem]:
    if plot.runs(is_solid):
        yield LegendItem((_swatch_line("ln"),), "Satisfaction")
        yield LegendItem((element("rect", class_="band", width=16, height=10, rx=2),), "95% interval")
    if previous is not None and _runs(plot.previous, is_solid):
        yield LegendItem((_swatch_line("ln prev"),), previous.label)
    if plot.runs(_is_few):
        hollow = element("circle", class_="pt few", cx=8, cy=5, r=4)
        yield LegendItem((hollow,), f"Under {FEW_THUMBS} thumbs")
    if plot.runs(_is_silent):
        yield LegendItem((element("rect", width=16, height=10, fill=f"url(#{_HATCH})"),), "No feedback")
    for kind, label in (("fu", "Up"), ("fn", "Neutral"), ("fd", "Down")):
        mark = element("rect", class_=kind, x=3, width=10, height=10, rx=2)
        yield LegendItem((mark,), label, is_apart=kind == "fu")


def _swatch_line(kind: str) -> Element:
    return line(kind, ("0", "16"), (5, 5))


def _table(plot: _Plot) -> Element:
    has_previous = any(summary.total for summary in plot.previous)
    columns = [
        Column("Time"),
        Column("Satisfaction", is_number=True),
        Column("95% interval", is_number=True),
        *([Column("Before", is_number=True)] if has_previous else []),
        *(Column(name, is_number=True) for name in ("Responses", "Up", "Neutral", "Down")),
    ]
    rows = (_row(plot, place, has_previous) for place in range(len(plot.points)))
    return table(f"Satisfaction and responses by {bucket_text(plot.length)}", columns, rows)


def _row(plot: _Plot, place: int, has_previous: bool) -> list[Element | str]:
    point, summary = plot.points[place], plot.summary(place)
    so_far = " so far" if plot.is_running and place == plot.last else ""
    return [
        element("time", f"{span_text(point)}{so_far}", datetime=point.start.isoformat(), class_="nowrap"),
        satisfaction_text(summary),
        interval_text(summary.interval, summary.decided),
        *([satisfaction_text(plot.previous[place])] if has_previous else []),
        *(f"{count:,}" for count in (summary.total, summary.positive, summary.neutral, summary.negative)),
    ]
