"""The distribution of ratings: down, neutral and up."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import frozen

from harken.domain.insight.comparison import Estimate
from harken.domain.summary import Summary
from harken.domain.texts import amount
from harken_adapters.charts.chart import Chart, empty_chart
from harken_adapters.charts.labels import count_text, interval_text, satisfaction_text, share_text
from harken_adapters.charts.svg import Element, element, percent, title
from harken_adapters.charts.table import Column, build_table

_TITLE: Final = "Ratings"
_BAR: Final = 20
_HEIGHT: Final = 62


@frozen
class RatingShare:
    """The count of a rating.

    Attributes:
        name: ``Down``, ``Neutral`` or ``Up``.
        kind: the CSS class of its marks.
        count: the number of responses with this rating.
        share: its share of all feedback, from 0 to 1.
    """

    name: str
    kind: str
    count: int
    share: float


def rating_split(estimate: Estimate) -> Chart:
    """A single stacked bar: down at the left, then neutral, up at the right.

    Args:
        estimate: from :meth:`harken.Harken.estimate`.
    """
    summary = estimate.summary
    if not summary.total:
        return empty_chart(_TITLE, "No feedback in this period.")
    return Chart(
        title=_TITLE,
        description=split_sentence(estimate),
        table=str(_build_table(summary)),
        height=_HEIGHT,
        content=(*_draw_bar(summary), *_draw_labels(summary)),
    )


def rating_shares(summary: Summary) -> list[RatingShare]:
    """Down, neutral and up, in this order in all charts."""
    counts = (("Down", "fd", summary.negative), ("Neutral", "fn", summary.neutral), ("Up", "fu", summary.positive))
    return [RatingShare(name, kind, count, count / max(1, summary.total)) for name, kind, count in counts]


def split_sentence(estimate: Estimate) -> str:
    """The distribution and the satisfaction, in one sentence."""
    summary = estimate.summary
    shares = ", ".join(f"{share_text(part.share)} {part.name.lower()}" for part in rating_shares(summary))
    sentence = f"Of {amount(summary.total, 'response')}, {shares}"
    if not summary.decided:
        return f"{sentence}."
    interval = interval_text(estimate.interval, summary.decided)
    return f"{sentence}; satisfaction is {satisfaction_text(summary)} ({interval}, 95% confidence)."


def _draw_bar(summary: Summary) -> Iterator[Element]:
    x = 0.0
    for part in rating_shares(summary):
        hint = title(f"{part.name}: {part.count:,}, {share_text(part.share)}")
        if part.count:
            yield element(
                "rect", hint, class_=part.kind, x=percent(x), y=0, width=percent(part.share), height=_BAR
            )  # fmt: skip
        x += part.share


def _draw_labels(summary: Summary) -> Iterator[Element]:
    places = (("0", None), ("50%", "middle"), ("100%", "end"))
    for part, (x, anchor) in zip(rating_shares(summary), places, strict=True):
        square = element("tspan", "■", class_=part.kind, aria_hidden="true")
        yield element("text", square, f" {part.name}", x=x, y=_BAR + 18, text_anchor=anchor)
        figures = f"{count_text(part.count)} · {share_text(part.share)}"
        yield element("text", figures, title(f"{part.count:,}"), class_="val", x=x, y=_BAR + 35, text_anchor=anchor)


def _build_table(summary: Summary) -> Element:
    columns = [Column("Rating"), Column("Responses", is_number=True), Column("Share", is_number=True)]
    rows = [[part.name, f"{part.count:,}", share_text(part.share)] for part in rating_shares(summary)]
    return build_table(_TITLE, columns, rows)
