"""The places of the labels of changes: beside their markers, where they cover neither each other nor the lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations, product
from typing import Final

from attrs import frozen

from harken_adapters.charts.trend_plot import LINES_HEIGHT, TrendPlot, is_solid
from harken_adapters.charts.trend_sentences import PlacedChange, change_texts

#: The distance of a label from its marker, in pixels.
DISTANCE: Final = 10
#: The distance of the baseline of its first line from its top, and the height of a line, in pixels.
BASELINE: Final = 14
LINE_HEIGHT: Final = 17
_HEIGHT: Final = 2 * LINE_HEIGHT + 2
#: Labels are tried at heights with this distance, in pixels.
_STEP: Final = 8
#: The width of a letter, and of the narrowest picture that has labels, in pixels.
_LETTER: Final = 6.4
_NARROWEST: Final = 600
#: Lines keep this distance from labels, in pixels, and are measured at this number of positions.
_CLEARANCE: Final = 3
_POSITIONS: Final = 24
#: How bad it is to leave the picture or to cover another label, to cover a marker, and to cover lines at a position.
_HIDES_LABEL, _HIDES_MARKER, _HIDES_LINE, _HIDES_PREVIOUS, _HIDES_BAND = 10_000.0, 1_000.0, 3.0, 2.0, 0.1


@frozen
class ChangeLabel:
    """A label of two lines beside the marker of a change.

    Attributes:
        change: the change.
        event: the first line: what happened when.
        size: the second line: satisfaction before and after.
        marker: the position of the marker, from 0 to 1.
        is_left: whether the label is to the left of the marker.
        top: its upper end, in pixels.
    """

    change: PlacedChange
    event: str
    size: str
    marker: float
    is_left: bool
    top: int

    @property
    def ends(self) -> tuple[float, float]:
        """Where it begins and ends in the narrowest picture, from 0 to 1."""
        width = (DISTANCE + _LETTER * max(len(self.event), len(self.size))) / _NARROWEST
        return (self.marker - width, self.marker) if self.is_left else (self.marker, self.marker + width)

    def covers(self, y: float) -> bool:
        """Whether it covers, or nearly covers, a vertical position."""
        return self.top - _CLEARANCE <= y <= self.top + _HEIGHT + _CLEARANCE

    def overlaps(self, other: ChangeLabel) -> bool:
        """Whether it overlaps another label."""
        (start, end), (other_start, other_end) = self.ends, other.ends
        return start < other_end and other_start < end and abs(self.top - other.top) < _HEIGHT


def place_labels(plot: TrendPlot, changes: Sequence[PlacedChange]) -> Sequence[ChangeLabel]:
    """The best places for the labels of these changes."""
    markers = [plot.start(change.index) for change in changes]
    choices = [[(label, _cost(plot, label, markers)) for label in _candidates(plot, change)] for change in changes]
    best = min(product(*choices), key=lambda chosen: sum(cost for _, cost in chosen) + _overlap([*chosen]))
    return [label for label, _ in best]


def _candidates(plot: TrendPlot, change: PlacedChange) -> Iterator[ChangeLabel]:
    """The places for a label, the usual ones first: right of the marker, and high."""
    event, size = change_texts(plot.points, change)
    for is_left in (False, True):
        for top in range(0, LINES_HEIGHT - _HEIGHT + 1, _STEP):
            yield ChangeLabel(change, event, size, plot.start(change.index), is_left, top)


def _overlap(chosen: Sequence[tuple[ChangeLabel, float]]) -> float:
    pairs = combinations([label for label, _ in chosen], 2)
    return sum(_HIDES_LABEL for one, other in pairs if one.overlaps(other))


def _cost(plot: TrendPlot, label: ChangeLabel, markers: Sequence[float]) -> float:
    """How much a label covers."""
    start, end = label.ends
    outside = max(0.0, -start) + max(0.0, end - 1)
    hidden = sum(start < marker < end and marker != label.marker for marker in markers)
    positions = (start + (end - start) * (place + 0.5) / _POSITIONS for place in range(_POSITIONS))
    lines = sum(_covered(plot, label, position) for position in positions if 0 <= position <= 1)
    return _HIDES_LABEL * outside + _HIDES_MARKER * hidden + lines


def _covered(plot: TrendPlot, label: ChangeLabel, position: float) -> float:
    """What a label covers at a horizontal position."""
    place = min(max(position * len(plot.points) - 0.5, 0.0), plot.last)
    left, right, part = int(place), min(int(place) + 1, plot.last), place % 1
    covered = 0.0
    # Without thumbs, there is a text in the middle.
    y = [_y_of(plot, index) for index in (left, right)]
    if label.covers(y[0] + (y[1] - y[0]) * part):
        covered += _HIDES_LINE
    before = [plot.previous[index] for index in (left, right)]
    if all(map(is_solid, before)):
        low, high = (plot.y(summary.satisfaction) for summary in before)
        covered += _HIDES_PREVIOUS * label.covers(low + (high - low) * part)
    interval = plot.interval(left if part < 0.5 else right)
    band = plot.y(interval.high), plot.y(interval.low)
    covered += _HIDES_BAND * (band[0] < label.top + _HEIGHT and label.top < band[1])
    return covered


def _y_of(plot: TrendPlot, index: int) -> float:
    summary = plot.summary(index)
    return plot.y(summary.satisfaction) if summary.decided else LINES_HEIGHT / 2
