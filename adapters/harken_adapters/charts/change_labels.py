"""The places of the labels of changes: beside their markers, where they cover neither each other nor the lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import Final

from attrs import field, frozen

from harken_adapters.charts.trend_plot import LINES_HEIGHT, TrendPlot, is_solid
from harken_adapters.charts.trend_sentences import PlacedChange, change_texts

#: The distance of a label from its marker, in pixels.
DISTANCE: Final = 10
#: The distance of the baseline of its first line from its top, and the height of a line, in pixels.
BASELINE: Final = 14
LINE_HEIGHT: Final = 17
#: Labels are tried at heights with this distance, in pixels.
_STEP: Final = 12
#: The number of places for a label that are considered together with those of the other.
_MOST_PLACES: Final = 24
#: The width of a letter, and of the narrowest picture that has labels, in pixels.
_LETTER: Final = 6.4
_NARROWEST: Final = 600
#: Lines keep this distance from labels, in pixels, and are looked at in this number of positions.
_CLEARANCE: Final = 3
_POSITIONS: Final = 60
#: How bad it is to leave the picture or to cover another label, to cover a marker or shorten it, and to cover lines at
#: a position.
_HIDES_LABEL, _HIDES_MARKER, _SHORTENS_MARKER = 10_000.0, 1_000.0, 30.0
_HIDES_LINE, _HIDES_PREVIOUS, _HIDES_BAND = 3.0, 2.0, 0.1


@frozen
class ChangeLabel:
    """A label beside the marker of a change.

    Attributes:
        change: the change.
        event: the first line: what happened when.
        size: the lines below it: satisfaction before and after.
        marker: the position of the marker, from 0 to 1.
        is_left: whether the label is to the left of the marker.
        top: its upper end, in pixels.
        bottom: its lower end, in pixels.
        ends: where it begins and ends in the narrowest picture, from 0 to 1.
    """

    change: PlacedChange
    event: str
    size: tuple[str, ...]
    marker: float
    is_left: bool
    top: int
    bottom: int = field(init=False)
    ends: tuple[float, float] = field(init=False)

    @bottom.default
    def _find_bottom(self) -> int:
        return self.top + LINE_HEIGHT * (1 + len(self.size)) + 2

    @ends.default
    def _find_ends(self) -> tuple[float, float]:
        width = (DISTANCE + _LETTER * max(map(len, (self.event, *self.size)))) / _NARROWEST
        return (self.marker - width, self.marker) if self.is_left else (self.marker, self.marker + width)

    def covers(self, y: float) -> bool:
        """Whether it covers, or nearly covers, a vertical position."""
        return self.top - _CLEARANCE <= y <= self.bottom + _CLEARANCE

    def crosses(self, marker: float) -> bool:
        """Whether the marker of another change, at this position, would cross it."""
        start, end = self.ends
        return marker != self.marker and start < marker < end

    def overlaps(self, other: ChangeLabel) -> bool:
        """Whether it overlaps another label."""
        (start, end), (other_start, other_end) = self.ends, other.ends
        return start < other_end and other_start < end and self.top < other.bottom and other.top < self.bottom


@frozen
class Drawn:
    """What is drawn at a horizontal position.

    Attributes:
        share: the position, from 0 to 1.
        line: where the line of satisfaction is, in pixels from the top; or the text that there is none.
        previous: where the line of the previous period is, if there is one.
        band: the upper and lower end of the band.
    """

    share: float
    line: float
    previous: float | None
    band: tuple[float, float]


def place_labels(plot: TrendPlot, changes: Sequence[PlacedChange]) -> Sequence[ChangeLabel]:
    """The best places for the labels of these changes."""
    if not changes:
        return ()
    markers = [plot.start(change.index) for change in changes]
    drawn = [_drawn_at(plot, (place + 0.5) / _POSITIONS) for place in range(_POSITIONS)]
    choices = [_best_places(plot, change, drawn, markers) for change in changes]
    best = min(product(*choices), key=lambda chosen: sum(cost for _, cost in chosen) + _overlap(chosen))
    return [label for label, _ in best]


def _best_places(
    plot: TrendPlot, change: PlacedChange, drawn: Sequence[Drawn], markers: Sequence[float]
) -> list[tuple[ChangeLabel, float]]:
    """The places for a label, each with how much it would cover there, the best first."""
    places = ((label, _cost(label, drawn, markers)) for label in _candidates(plot, change))
    return sorted(places, key=lambda place: place[1])[:_MOST_PLACES]


def marker_top(labels: Sequence[ChangeLabel], marker: float) -> int:
    """Where a marker begins, in pixels from the top: below a label that it would cross there."""
    return max((label.bottom for label in labels if label.crosses(marker) and not label.top), default=0)


def _candidates(plot: TrendPlot, change: PlacedChange) -> Iterator[ChangeLabel]:
    """The places for a label, the usual ones first: in two lines, right of the marker, and high."""
    event, size = change_texts(plot.points, change)
    before, after = size.split(", ")
    for lines, is_left, top in product(((size,), (f"{before},", after)), (False, True), range(0, LINES_HEIGHT, _STEP)):
        label = ChangeLabel(change, event, lines, plot.start(change.index), is_left, top)
        if label.bottom <= LINES_HEIGHT:
            yield label


def _overlap(chosen: Sequence[tuple[ChangeLabel, float]]) -> float:
    pairs = combinations([label for label, _ in chosen], 2)
    return sum(_HIDES_LABEL for one, other in pairs if one.overlaps(other))


def _cost(label: ChangeLabel, drawn: Sequence[Drawn], markers: Sequence[float]) -> float:
    """How much a label covers."""
    start, end = label.ends
    outside = max(0.0, -start) + max(0.0, end - 1)
    crossed = sum(map(label.crosses, markers)) * (_HIDES_MARKER if label.top else _SHORTENS_MARKER)
    lines = sum(_covered(label, one) for one in drawn if start < one.share < end)
    return _HIDES_LABEL * outside + crossed + lines


def _covered(label: ChangeLabel, drawn: Drawn) -> float:
    covered = _HIDES_LINE * label.covers(drawn.line)
    if drawn.previous is not None:
        covered += _HIDES_PREVIOUS * label.covers(drawn.previous)
    return covered + _HIDES_BAND * (drawn.band[0] < label.bottom and label.top < drawn.band[1])


def _drawn_at(plot: TrendPlot, share: float) -> Drawn:
    place = min(max(share * len(plot.points) - 0.5, 0.0), plot.last)
    left, right, part = int(place), min(int(place) + 1, plot.last), place % 1
    interval = plot.interval(left if part < 0.5 else right)
    before = [plot.previous[index] for index in (left, right)]
    previous = [plot.y(summary.satisfaction) for summary in before] if all(map(is_solid, before)) else None
    return Drawn(
        share=share,
        line=_between([_line_of(plot, index) for index in (left, right)], part),
        previous=None if previous is None else _between(previous, part),
        band=(plot.y(interval.high), plot.y(interval.low)),
    )


def _between(ends: Sequence[float], part: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * part


def _line_of(plot: TrendPlot, index: int) -> float:
    summary = plot.summary(index)
    # Where there is no feedback, a text in the middle says so.
    return plot.y(summary.satisfaction) if summary.decided else LINES_HEIGHT / 2
