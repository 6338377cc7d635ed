"""Satisfaction over time with its 95% interval, and the responses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from attrs import frozen

from harken.domain.insight.change_points import SatisfactionChange
from harken.domain.summary import Summary
from harken.domain.trend import TrendPoint
from harken_adapters.charts.chart import Chart, LegendItem, empty_chart
from harken_adapters.charts.labels import DAY, bucket_text, interval_text, satisfaction_text, zone_text
from harken_adapters.charts.svg import Element, element, line
from harken_adapters.charts.table import Column, build_table
from harken_adapters.charts.trend_marks import HATCH_FILL, HEIGHT, draw_trend
from harken_adapters.charts.trend_plot import FEW_THUMBS, TrendPlot, find_runs, is_few, is_silent, is_solid
from harken_adapters.charts.trend_sentences import (
    NO_FEEDBACK,
    PlacedChange,
    change_texts,
    is_unfinished,
    largest_changes,
    place_changes,
    trend_sentence,
)

_TITLE: Final = "Satisfaction over time"
#: The space for the labels of the vertical axis, in pixels.
GUTTER: Final = 42


@frozen
class Previous:
    """The previous period, for comparison.

    Attributes:
        points: its trend, in points of the same length.
        shift: the distance between the periods on the wall clock: a point is compared with the one that starts
            ``shift`` later.
        label: the name of the period, such as ``17 to 19 Feb``.
    """

    points: Sequence[TrendPoint]
    shift: timedelta
    label: str


def trend_chart(
    points: Sequence[TrendPoint],
    *,
    previous: Previous | None = None,
    changes: Iterable[SatisfactionChange] = (),
    now: datetime | None = None,
) -> Chart:
    """A chart of satisfaction over time, with stacked bars of responses on the same time axis.

    Args:
        points: oldest first, consecutive, of equal length, in the time zone to display; see
            :meth:`harken.Harken.trend`.
        previous: the previous period, drawn as a dotted line.
        changes: see :meth:`harken.Harken.changes`. The two largest in the time of ``points`` are marked.
        now: the current time. The last point is drawn as unfinished if it contains this time.
    """
    if not any(point.summary.total for point in points):
        return empty_chart(_TITLE, NO_FEEDBACK)
    plot = TrendPlot(points, align_previous(points, previous), is_unfinished(points, now))
    placed = place_changes(points, changes)
    shown = largest_changes(placed)
    captions = period_captions(plot)
    return Chart(
        title=_TITLE,
        description=trend_sentence(points, shown),
        table=str(_build_table(plot)),
        caption=" · ".join([*captions, *([f"axis starts at {plot.axis.low}%"] if plot.axis.low else [])]),
        table_caption=" · ".join(captions),
        notes=tuple(": ".join(change_texts(points, change)) for change in shown),
        height=HEIGHT,
        gutter=GUTTER,
        content=tuple(draw_trend(plot, shown, _find_ends(placed, len(points)))),
        legend_items=tuple(_build_legend(plot, previous)),
    )


def align_previous(points: Sequence[TrendPoint], previous: Previous | None) -> list[Summary]:
    """The summary of the previous period for each point; zero where it has none."""
    if previous is None:
        return [Summary()] * len(points)
    earlier = {point.start.replace(tzinfo=None): point.summary for point in previous.points}
    return [earlier.get(point.start.replace(tzinfo=None) - previous.shift, Summary()) for point in points]


def _find_ends(changes: Sequence[PlacedChange], count: int) -> dict[int, int]:
    """For each change the index of the next one, marked or not, or ``count`` after the last."""
    return dict(pairwise([*(change.index for change in changes), count]))


def period_captions(plot: TrendPlot) -> list[str]:
    """What is needed to read the times: the length of points, the zone, and whether the last one has not ended."""
    parts = [f"by {bucket_text(plot.length)}", zone_text(plot.points[0].start)]
    if plot.is_running:
        parts.append("today so far" if plot.length < 2 * DAY else f"this {bucket_text(plot.length)} so far")
    return parts


def _build_legend(plot: TrendPlot, previous: Previous | None) -> Iterator[LegendItem]:
    if plot.runs(is_solid):
        yield LegendItem((_swatch_line("ln"),), "Satisfaction")
        yield LegendItem((element("rect", class_="band", width=16, height=10, rx=2),), "95% interval")
    if previous is not None and find_runs(plot.previous, is_solid):
        yield LegendItem((_swatch_line("ln prev"),), previous.label)
    if plot.runs(is_few):
        hollow = element("circle", class_="pt few", cx=8, cy=5, r=4)
        yield LegendItem((hollow,), f"Under {FEW_THUMBS} thumbs")
    if plot.runs(is_silent):
        yield LegendItem((element("rect", width=16, height=10, fill=HATCH_FILL),), "No feedback")
    yield from rating_legend()


def rating_legend(total: Summary | None = None) -> Iterator[LegendItem]:
    """The legend of the bars: of all ratings, or of those that a summary has."""
    counts = (1, 1, 1) if total is None else (total.positive, total.neutral, total.negative)
    parts = [one for one, count in zip((("fu", "Up"), ("fn", "Neutral"), ("fd", "Down")), counts, strict=True) if count]
    for place, (kind, label) in enumerate(parts):
        mark = element("rect", class_=kind, x=3, width=10, height=10, rx=2)
        yield LegendItem((mark,), label, is_apart=place == 0)


def _swatch_line(kind: str) -> Element:
    return line(kind, ("0", "16"), (5, 5))


def _build_table(plot: TrendPlot) -> Element:
    has_previous = any(summary.total for summary in plot.previous)
    columns = [
        Column("Time"),
        Column("Satisfaction", is_number=True),
        Column("95% interval", is_number=True),
        *([Column("Before", is_number=True)] if has_previous else []),
        *(Column(name, is_number=True) for name in ("Responses", "Up", "Neutral", "Down")),
    ]
    rows = (_build_row(plot, index, has_previous) for index in range(len(plot.points)))
    return build_table(f"Satisfaction and responses by {bucket_text(plot.length)}", columns, rows)


def _build_row(plot: TrendPlot, index: int, has_previous: bool) -> list[Element | str]:
    summary = plot.summary(index)
    return [
        plot.time_element(index),
        satisfaction_text(summary),
        interval_text(plot.interval(index), summary.decided),
        *([satisfaction_text(plot.previous[index])] if has_previous else []),
        *(f"{count:,}" for count in (summary.total, summary.positive, summary.neutral, summary.negative)),
    ]
