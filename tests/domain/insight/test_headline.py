"""What can be said about a period."""

from datetime import datetime, timedelta

import pytest

from harken import Comparison, Finding, SatisfactionChange, Summary
from harken.domain.insight.headline import find, largest_change, misleading, silence
from harken.domain.insight.mix import mix
from support import NOON

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def _rated(up: int, down: int) -> Summary:
    return Summary(positive=up, negative=down)


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        ((800, 200), (600, 400), Finding.FELL),
        ((600, 400), (800, 200), Finding.ROSE),
        ((5000, 1000), (5010, 990), Finding.SAME),
        ((50, 50), (45, 45), Finding.TOO_FEW),
        ((800, 200), (10, 9), Finding.TOO_FEW),
        ((0, 0), (10, 9), Finding.TOO_FEW),
        ((0, 0), (10, 10), Finding.NO_COMPARISON),
        ((800, 200), (0, 0), Finding.EMPTY),
    ],
)
def test_findings(before: tuple[int, int], after: tuple[int, int], finding: Finding) -> None:
    """A change is reported if it is more than chance, and "about the same" only if no large change is possible."""
    assert find(Comparison(_rated(*before), _rated(*after))) is finding


def test_only_neutral_ratings() -> None:
    """A period with neutral ratings only has too few thumbs."""
    assert find(Comparison(_rated(80, 20), Summary(neutral=30))) is Finding.TOO_FEW


def test_a_filter_on_the_rating() -> None:
    """It leaves only numbers to compare: the satisfaction would be 0 or 100."""
    assert find(Comparison(_rated(0, 400), _rated(0, 900)), counts_only=True) is Finding.COUNT
    assert find(Comparison(_rated(0, 400), _rated(0, 0)), counts_only=True) is Finding.EMPTY


class TestSilence:
    def hours(self, per_hour: int, *, first: int = 35 * 24, last: int = 6) -> dict[datetime, Summary]:
        """Feedback in each hour, from ``first`` hours ago to ``last`` hours ago."""
        return {NOON - hour * HOUR: _rated(per_hour, 0) for hour in range(last, first)}

    def test_at_a_busy_time(self) -> None:
        """Six hours without feedback are silence if there usually is some."""
        found = silence(self.hours(40), NOON - 6 * HOUR, NOON)
        assert found is not None
        assert (found.since, found.length, found.usual) == (NOON - 6 * HOUR, 6 * HOUR, 40)

    def test_of_every_week(self) -> None:
        """A weekend without feedback is not a silence if one of the last weekends had none either."""
        slots = self.hours(40)
        for hour in range(7):
            slots.pop(NOON - 14 * DAY - hour * HOUR)
        assert silence(slots, NOON - 6 * HOUR, NOON) is None

    def test_of_a_young_application(self) -> None:
        """With less than two weeks of feedback, it is compared with the days before."""
        found = silence(self.hours(10, first=5 * 24), NOON - 6 * HOUR, NOON)
        assert found is not None
        assert found.usual == 10

    def test_without_silence(self) -> None:
        """Under an hour, with little feedback, or with a single day before, nothing is said."""
        assert silence(self.hours(40, last=1), NOON - HOUR / 2, NOON) is None
        assert silence(self.hours(40, first=30), NOON - 6 * HOUR, NOON) is None
        few = {at: one for at, one in self.hours(1).items() if at.hour % 12 == 0}
        assert silence(few, NOON - 6 * HOUR, NOON) is None
        assert silence({}, NOON - 6 * HOUR, NOON) is None


def test_the_largest_change_in_a_direction() -> None:
    """Of several changes, the largest is named, as in charts, and never one in the other direction."""
    small = SatisfactionChange(NOON, _rated(8000, 2000), _rated(7000, 3000))
    large = SatisfactionChange(NOON + DAY, _rated(70, 30), _rated(50, 50))
    rise = SatisfactionChange(NOON + 2 * DAY, _rated(500, 500), _rated(900, 100))
    changes = [small, large, rise]
    assert largest_change(changes, -1) == large
    assert largest_change(changes, 1) == rise
    assert largest_change([small, large], 1) is None


def test_what_would_mislead() -> None:
    """A new group is reported if the result without it differs by a point, or in its direction."""
    before, after = {"good": _rated(8000, 2000)}, {"good": _rated(8000, 2000), "hard": _rated(1000, 9000)}
    changed = Comparison(_rated(8000, 2000), _rated(9000, 11000))
    found = misleading(mix(before, after), changed)
    assert found is not None
    assert found.new == ("hard",)
    alike = {"good": _rated(8000, 2000), "new": _rated(801, 199)}
    assert misleading(mix(before, alike), Comparison(_rated(8000, 2000), _rated(8801, 2199))) is None
    assert misleading(mix(before, before), Comparison(*before.values(), *before.values())) is None
    assert misleading(mix(before, {"hard": _rated(10, 90)}), changed) is None
