"""The number of responses over time, for selections whose satisfaction says nothing: those of one rating."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final

from harken.domain.summary import Summary
from harken.domain.texts import amount
from harken.domain.trend import TrendPoint
from harken_adapters.charts.chart import Chart, LegendItem, empty_chart
from harken_adapters.charts.labels import bucket_text, length_of, rating_counts, span_text
from harken_adapters.charts.svg import Element, line, number, path, stretched
from harken_adapters.charts.table import Column, build_table
from harken_adapters.charts.time_axis import time_ticks
from harken_adapters.charts.trend import GUTTER, Previous, align_previous, period_captions, rating_legend
from harken_adapters.charts.trend_marks import draw_bars, draw_hover_areas
from harken_adapters.charts.trend_plot import LINES_HEIGHT, TrendPlot
from harken_adapters.charts.trend_sentences import NO_FEEDBACK, is_unfinished, trend_span

_TITLE: Final = "Responses over time"
#: The highest bar ends below the top of the picture.
_TOP: Final = 8
_BELOW_BARS: Final = 22


def responses_chart(
    points: Sequence[TrendPoint], *, previous: Previous | None = None, now: datetime | None = None
) -> Chart:
    """A chart of the number of responses over time, as stacked bars.

    Args:
        points: as for :func:`harken_adapters.charts.trend_chart`.
        previous: the previous period, whose numbers are a dotted line.
        now: the current time. The last point is drawn as unfinished if it contains this time.
    """
    total = sum((point.summary for point in points), Summary())
    if not total.total:
        return empty_chart(_TITLE, NO_FEEDBACK)
    plot = TrendPlot(points, align_previous(points, previous), is_unfinished(points, now))
    has_previous = any(summary.total for summary in plot.previous)
    return Chart(
        title=_TITLE,
        description=_describe(plot, total),
        table=str(_build_table(plot, has_previous=has_previous)),
        caption=" · ".join(period_captions(plot)),
        height=LINES_HEIGHT + _BELOW_BARS,
        gutter=GUTTER,
        content=tuple(_draw(plot, has_previous=has_previous)),
        legend_items=tuple(_build_legend(total, previous if has_previous else None)),
    )


def _describe(plot: TrendPlot, total: Summary) -> str:
    most = max(plot.points, key=lambda point: point.summary.total)
    return (
        f"Responses by {bucket_text(plot.length)}, {trend_span(plot.points)}: {total.total:,} in all, "
        f"at most {most.summary.total:,} ({span_text(most)})."
    )


def _draw(plot: TrendPlot, *, has_previous: bool) -> Iterator[Element]:
    most = max(summary.total for summary in (*(point.summary for point in plot.points), *plot.previous))
    yield from draw_bars(plot, top=_TOP, bottom=LINES_HEIGHT, most=most)
    if has_previous:
        height = (LINES_HEIGHT - _TOP) / most
        places = (
            f"{number(plot.middle(index) * 1000)} {number(LINES_HEIGHT - summary.total * height)}"
            for index, summary in enumerate(plot.previous)
        )
        yield stretched(LINES_HEIGHT, path("ln prev", f"M{'L'.join(places)}"))
    for tick in time_ticks(plot.points):
        yield from tick.elements(LINES_HEIGHT)
    yield from draw_hover_areas(plot, LINES_HEIGHT, _count_text)


def _count_text(point: TrendPoint) -> str:
    return f"{amount(point.summary.total, 'response')}: {rating_counts(point.summary)}"


def _build_legend(total: Summary, previous: Previous | None) -> Iterator[LegendItem]:
    if previous is not None:
        yield LegendItem((line("ln prev", ("0", "16"), (5, 5)),), previous.label)
    yield from rating_legend(total)


def _build_table(plot: TrendPlot, *, has_previous: bool) -> Element:
    names = ["Responses", *(["Before"] if has_previous else []), "Up", "Neutral", "Down"]
    return build_table(
        f"Responses by {bucket_text(length_of(plot.points))}",
        [Column("Time"), *(Column(name, is_number=True) for name in names)],
        (_build_row(plot, index, has_previous=has_previous) for index in range(len(plot.points))),
    )


def _build_row(plot: TrendPlot, index: int, *, has_previous: bool) -> list[Element | str]:
    summary = plot.summary(index)
    before = [plot.previous[index].total] if has_previous else []
    counts = (summary.total, *before, summary.positive, summary.neutral, summary.negative)
    return [plot.time_element(index), *(f"{count:,}" for count in counts)]
