"""When satisfaction changed."""

from random import Random

import pytest

from harken.domain.insight.change_points import (
    Day,
    Hour,
    alarm,
    change_points,
    dispersion_of,
    hourly_change_points,
    threshold,
    without_weekday_effects,
)


def _series(shares: list[float], per_day: int, seed: int = 1) -> list[Day]:
    random = Random(seed)
    return [
        Day(sum(random.random() < share for _ in range(per_day)), per_day, number % 7)
        for number, share in enumerate(shares)
    ]


def test_a_drop_is_found_on_its_day() -> None:
    """20 points at 50 ratings a day."""
    (index,) = change_points(_series([0.8] * 40 + [0.6] * 50, 50))
    assert abs(index - 40) <= 1


def test_two_changes_are_found_in_order() -> None:
    """Each is placed within the part that is left."""
    first, second = change_points(_series([0.8] * 30 + [0.5] * 30 + [0.8] * 30, 100))
    assert abs(first - 30) <= 1
    assert abs(second - 60) <= 1


def test_weekends_are_not_changes() -> None:
    """Days of the week that always differ are removed first."""
    weekly = [0.8, 0.8, 0.8, 0.8, 0.8, 0.6, 0.6] * 12
    series = _series(weekly, 200)
    assert change_points(series) == []
    assert dispersion_of(without_weekday_effects(series)) < dispersion_of(series)


def test_days_that_differ_by_themselves_need_more() -> None:
    """Where every day is different, a difference means nothing."""
    random = Random(3)
    restless = [0.7 + random.choice((-0.1, 0.1)) for _ in range(60)]
    series = _series(restless, 200)
    assert dispersion_of(series) > 3
    assert change_points(series) == []


def test_too_few_days_have_no_change() -> None:
    """Nor does a series without ratings, or with only one kind of them."""
    assert change_points([]) == []
    assert change_points(_series([0.9, 0.1], 50)) == []
    assert change_points([Day(0, 0, number % 7) for number in range(30)]) == []
    assert change_points([Day(5, 5, number % 7) for number in range(30)]) == []


def test_hours_without_a_difference_have_no_change() -> None:
    """Hours without ratings, or with only one kind of them."""
    assert hourly_change_points([]) == []
    assert hourly_change_points([Hour(0, 0, number % 24) for number in range(72)]) == []
    assert hourly_change_points([Hour(5, 5, number % 24) for number in range(72)]) == []
    assert hourly_change_points([Hour(0, 5, number % 24) for number in range(72)]) == []


def test_thresholds_grow_with_the_number_of_days() -> None:
    """More days are more chances."""
    bounds = [threshold(days) for days in (1, 14, 20, 30, 60, 90, 200, 365, 1_000)]
    assert bounds == sorted(bounds)
    assert (threshold(30), threshold(90), threshold(5_000)) == (7.9, 9.66, 10.0)


def test_the_alarm_names_the_day_and_the_direction() -> None:
    """A fall of 15 points at 50 ratings a day is certain within ten days, and its beginning is about right."""
    found = alarm(_series([0.8] * 40 + [0.65] * 10, 50))
    assert found is not None
    assert not found.is_rise
    assert abs(found.began - 40) <= 2
    assert found.index >= found.began


@pytest.mark.parametrize(("share", "per_day"), [(0.2, 5), (0.5, 5), (0.5, 20), (0.75, 5), (0.95, 5)])
def test_the_alarm_is_silent_without_a_change(share: float, per_day: int) -> None:
    """Of ten years in which the last 90 days are evaluated each week, at most two have an alarm of the last week."""
    wrong = 0
    for seed in range(10):
        series = _series([share] * (90 + 365), per_day, seed)
        windows = [series[end - 90 : end] for end in range(90, len(series), 7)]
        wrong += any(found.index >= 83 for found in map(alarm, windows) if found)
    assert wrong <= 2


@pytest.mark.parametrize("per_day", [20, 100])
@pytest.mark.parametrize(
    ("share", "step"),
    [(0.05, 0.2), (0.2, 0.2), (0.5, 0.2), (0.8, 0.2), (0.2, -0.2), (0.5, -0.2), (0.8, -0.2), (0.95, -0.2)],
)
def test_the_alarm_finds_changes_at_any_level(share: float, step: float, per_day: int) -> None:
    """A fall or rise of 20 points is certain within two weeks in four of five series, also near 0% and 100%."""
    found = [alarm(_series([share] * 75 + [share + step] * 14, per_day, seed)) for seed in range(20)]
    assert sum(one is not None and one.is_rise == (step > 0) and abs(one.began - 75) <= 5 for one in found) >= 16


def test_the_alarm_finds_a_change_after_another() -> None:
    """The last of two changes is reported, and its baseline begins after the first."""
    for seed in range(20):
        found = alarm(_series([0.6] * 35 + [0.8] * 35 + [0.5] * 20, 50, seed))
        assert found is not None
        assert not found.is_rise
        assert abs(found.began - 70) <= 3
        assert 35 < found.baseline < 70


def test_the_alarm_needs_a_baseline() -> None:
    """There is none with too few days, or with a baseline without ratings."""
    assert alarm(_series([0.8] * 20 + [0.2] * 8, 50)) is None
    assert alarm([Day(0, 0, number % 7) for number in range(60)]) is None
