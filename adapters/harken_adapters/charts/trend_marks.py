"""The drawing of a trend chart: lines, bands, bars, gaps and changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from harken.domain.trend import TrendPoint
from harken_adapters.charts.axis import Axis
from harken_adapters.charts.change_labels import BASELINE, DISTANCE, LINE_HEIGHT, ChangeLabel, marker_top, place_labels
from harken_adapters.charts.labels import count_text, estimate_text, span_text, zone_text
from harken_adapters.charts.svg import Element, element, line, path, percent, stretched, title
from harken_adapters.charts.time_axis import time_ticks
from harken_adapters.charts.trend_plot import LINES_HEIGHT, TrendPlot, find_runs, is_few, is_silent, is_solid
from harken_adapters.charts.trend_sentences import PlacedChange

#: Vertical positions in pixels: the top and the bottom of the bars, and the height of the chart.
_BARS_TOP: Final = 204
_BARS_BOTTOM: Final = 260
HEIGHT: Final = 282
#: The width of a bar, as a share of the width of its point.
_BAR_WIDTH: Final = 0.66
_GAP_BETWEEN_BARS: Final = 0.5
HATCH_FILL: Final = "url(#harken-hatch)"
#: The least widths of gaps with a horizontal and with a vertical label, as shares of the width.
_WIDE_GAP: Final = 0.12
_SLIM_GAP: Final = 0.03


def draw_trend(plot: TrendPlot, shown: Sequence[PlacedChange], ends: Mapping[int, int]) -> Iterator[Element]:
    """All elements of the chart, from the back to the front.

    Args:
        plot: the points.
        shown: the changes to mark.
        ends: for the index of each marked change, the index at which its wash ends.
    """
    gaps = plot.runs(is_silent)
    if gaps:
        yield _define_hatch()
    labels = place_labels(plot, shown)
    for label in labels:
        yield from _mark_change(plot, label.change, ends[label.change.index], marker_top(labels, label.marker))
    yield from (_draw_gap(plot, indices) for indices in gaps)
    yield from _draw_grid(plot.axis)
    yield stretched(LINES_HEIGHT, *_draw_bands(plot), *_draw_previous(plot), *_draw_lines(plot))
    yield from _draw_points(plot)
    most = max(point.summary.total for point in plot.points)
    yield from draw_bars(plot, top=_BARS_TOP, bottom=_BARS_BOTTOM, most=most)
    for tick in time_ticks(plot.points):
        yield from tick.elements(_BARS_BOTTOM)
    yield from (part for indices in gaps for part in _label_gap(plot, indices))
    yield from map(_draw_label, labels)
    yield from draw_hover_areas(plot, _BARS_BOTTOM, lambda point: estimate_text(point.estimate))


def _draw_grid(axis: Axis) -> Iterator[Element]:
    for value in axis.ticks:
        y = (1 - axis.share(value)) * LINES_HEIGHT
        yield line("g0" if value == axis.low else "g", ("0", "100%"), (y, y))
        unit = "%" if value == axis.ticks[-1] else ""
        yield element("text", f"{value}{unit}", x=-8, y=y + 4, text_anchor="end")


def _draw_bands(plot: TrendPlot) -> Iterator[Element]:
    for indices in plot.runs(is_solid):
        if len(indices) > 1:
            upper = plot.commands(indices, lambda index: plot.interval(index).high)
            lower = plot.commands(reversed(indices), lambda index: plot.interval(index).low)
            yield element("path", class_="band", d=f"M{upper}L{lower}Z")


def _draw_lines(plot: TrendPlot) -> Iterator[Element]:
    for indices in plot.runs(is_solid):
        ends_open = plot.is_running and indices[-1] == plot.last
        full = indices[:-1] if ends_open else indices
        if len(full) > 1:
            yield path("ln", f"M{plot.commands(full, lambda index: plot.summary(index).satisfaction)}")
        if ends_open and full:
            yield path("ln part", f"M{plot.commands(indices[-2:], lambda index: plot.summary(index).satisfaction)}")


def _draw_previous(plot: TrendPlot) -> Iterator[Element]:
    for indices in find_runs(plot.previous, is_solid):
        commands = plot.commands(indices, lambda index: plot.previous[index].satisfaction)
        # A stroke of length zero has round ends, which makes a single point visible.
        yield path("ln prev", f"M{commands}{'h0' if len(indices) == 1 else ''}")


def _draw_points(plot: TrendPlot) -> Iterator[Element]:
    """Points that are not on a line, and the hollow point at the end of an unfinished trend."""
    for indices in plot.runs(is_solid):
        is_open = plot.is_running and indices[-1] == plot.last
        if len(indices) == 1:
            yield _draw_whisker(plot, indices[0], "whisk a")
        if is_open or len(indices) == 1:
            yield _draw_point(plot, indices[-1], "pt open" if is_open else "pt")
    for indices in plot.runs(is_few):
        for index in indices:
            yield _draw_whisker(plot, index, "whisk")
            yield _draw_point(plot, index, "pt few")


def _draw_whisker(plot: TrendPlot, index: int, kind: str) -> Element:
    interval, x = plot.interval(index), percent(plot.middle(index))
    return line(kind, (x, x), (plot.y(interval.high), plot.y(interval.low)))


def _draw_point(plot: TrendPlot, index: int, kind: str) -> Element:
    y = plot.y(plot.summary(index).satisfaction)
    return element("circle", class_=kind, cx=percent(plot.middle(index)), cy=y, r=4)


def _define_hatch() -> Element:
    stripe = line("g", ("0", "0"), (0, 6))
    return element(
        "defs",
        element(
            "pattern",
            stripe,
            id="harken-hatch",
            width=6,
            height=6,
            patternUnits="userSpaceOnUse",
            patternTransform="rotate(45)",
        ),
    )


def _draw_gap(plot: TrendPlot, indices: range) -> Element:
    x, width = percent(plot.start(indices[0])), percent(len(indices) / len(plot.points))
    return element("rect", x=x, y=0, width=width, height=LINES_HEIGHT, fill=HATCH_FILL)


def _label_gap(plot: TrendPlot, indices: range) -> Iterator[Element]:
    width = len(indices) / len(plot.points)
    if width < _SLIM_GAP:
        return
    is_wide = width >= _WIDE_GAP
    yield element(
        "text",
        "no feedback",
        class_="only-l",
        x=percent(plot.start(indices[0]) + width / 2),
        y=LINES_HEIGHT / 2 + 4 if is_wide else LINES_HEIGHT - 8,
        text_anchor="middle" if is_wide else "end",
        writing_mode=None if is_wide else "vertical-rl",
    )


def _direction_class(change: PlacedChange) -> str:
    return " rise" if change.points > 0 else ""


def _mark_change(plot: TrendPlot, change: PlacedChange, end: int, top: int) -> Iterator[Element]:
    x, width = percent(plot.start(change.index)), percent(plot.start(end) - plot.start(change.index))
    wash = f"wash{_direction_class(change)}{' fu' if _direction_class(change) else ''}"
    yield element("rect", class_=wash, x=x, y=0, width=width, height=_BARS_BOTTOM)
    yield line(f"mark{_direction_class(change)}", (x, x), (top, _BARS_BOTTOM))


def _draw_label(label: ChangeLabel) -> Element:
    kind, top = _direction_class(label.change), label.top + BASELINE
    position = {
        "x": percent(label.marker),
        "dx": -DISTANCE if label.is_left else DISTANCE,
        "text_anchor": "end" if label.is_left else None,
    }
    first = element("tspan", label.event, class_=f"mkb{kind}")
    return element(
        "g",
        element("text", first, class_=f"mk{kind}", y=top, **position),
        *(element("text", text, y=top + LINE_HEIGHT * place, **position) for place, text in enumerate(label.size, 1)),
        class_="only-l halo",
    )


def draw_bars(plot: TrendPlot, *, top: int, bottom: int, most: int) -> Iterator[Element]:
    """The responses as stacked bars on an axis from 0 at ``bottom`` to ``most`` at ``top``."""
    yield element("text", count_text(most), title(f"{most:,}"), x=-8, y=top + 10, text_anchor="end")
    yield element("text", "0", x=-8, y=bottom, text_anchor="end")
    yield line("g0", ("0", "100%"), (bottom, bottom))
    for index in range(len(plot.points)):
        yield from _draw_bar(plot, index, bottom, (bottom - top) / most)


def _draw_bar(plot: TrendPlot, index: int, bottom: float, unit: float) -> Iterator[Element]:
    """The ratings of a point, stacked: down at the bottom, then neutral, then up; ``unit`` pixels for each."""
    summary = plot.summary(index)
    part = " partbar" if plot.is_running and index == plot.last else ""
    x, width = plot.start(index) + (1 - _BAR_WIDTH) / 2 / len(plot.points), _BAR_WIDTH / len(plot.points)
    for kind, count in (("fd", summary.negative), ("fn", summary.neutral), ("fu", summary.positive)):
        if not count:
            continue
        height = count * unit
        drawn = height - _GAP_BETWEEN_BARS if height > 2 * _GAP_BETWEEN_BARS else height
        yield element(
            "rect", class_=f"{kind}{part}", x=percent(x), width=percent(width), y=bottom - height, height=drawn
        )
        bottom -= height


def draw_hover_areas(plot: TrendPlot, height: float, describe: Callable[[TrendPoint], str]) -> Iterator[Element]:
    """An invisible area for each point, with its values as a tooltip."""
    for index, point in enumerate(plot.points):
        so_far = " so far" if plot.is_running and index == plot.last else ""
        yield element(
            "rect",
            title(f"{span_text(point)} {zone_text(point.start)}{so_far}: {describe(point)}"),
            x=percent(plot.start(index)),
            y=0,
            width=percent(1 / len(plot.points)),
            height=height,
            fill="none",
            pointer_events="all",
        )
