"""When satisfaction changed."""

from random import Random

from harken.domain.insight.change_points import (
    Day,
    alarm,
    change_points,
    dispersion_of,
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


def test_thresholds_grow_with_the_number_of_days() -> None:
    """More days are more chances."""
    bounds = [threshold(days) for days in (1, 14, 20, 30, 60, 90, 200, 365, 1_000)]
    assert bounds == sorted(bounds)
    assert (threshold(30), threshold(90), threshold(5_000)) == (7.9, 9.66, 10.0)


def test_the_alarm_names_the_day_and_the_direction() -> None:
    """A fall of 15 points at 50 ratings a day is certain within days, and its beginning is about right."""
    found = alarm(_series([0.8] * 40 + [0.65] * 10, 50))
    assert found is not None
    assert not found.is_rise
    assert abs(found.began - 40) <= 2
    assert 40 <= found.index <= 46


def test_the_alarm_is_silent_without_a_change() -> None:
    """Nor is there one with too few days, or without ratings; 200 series of 60 days give few false ones."""
    assert alarm(_series([0.8] * 20, 50)) is None
    assert alarm([Day(0, 0, number % 7) for number in range(60)]) is None
    assert sum(alarm(_series([0.75] * 60, 50, seed)) is not None for seed in range(200)) <= 10
