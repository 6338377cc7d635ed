"""Simulations with a known truth: how often intervals cover it, and verdicts, changes and alarms are wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import accumulate
from math import comb
from random import Random

from tests.measurements.table import Row

from harken import Comparison, Summary
from harken.domain.alerts.rules import ChangeRule
from harken.domain.insight.change_points import Day, alarm, change_points
from harken.domain.insight.comparison import Verdict, decide_together
from harken.domain.insight.sampling import design_effect

DAYS = 60
_WEEK = 7
_YEAR = 365
_AUTHOR_RATINGS = 3
_INTRACLASS_CORRELATION = 0.2
_RULE = ChangeRule(name="change")


def rows(seeds: Sequence[int]) -> Iterator[Row]:
    """Each with one value for each seed."""
    for share in (0.2, 0.5, 0.8):
        for size in (30, 100, 1_000):
            coverages = [_coverage(Random(seed), share, size) for seed in seeds]
            yield Row(f"single look, n {size}, p {share}: covers", coverages, ".93 to .97")
    yield Row("60 daily looks, 20 a day, single-look interval: wrong", [_fixed_looks(Random(s)) for s in seeds])
    yield Row("60 daily looks, 20 a day: wrong", [_looks(Random(s), 0.7, 0.7)[1] for s in seeds], "<= .05")
    yield Row("60 daily looks, 20 a day, +10 points: found", [_looks(Random(s), 0.6, 0.7)[0] for s in seeds], "")
    for per_day in (50, 200):
        sliding = [_sliding_looks(Random(seed), per_day) for seed in seeds]
        what = f"last 7 days against the 7 before, {per_day} a day"
        yield Row(f"{what}, one look: wrong", [one for one, _, _ in sliding], "<= .05")
        yield Row(f"{what}, 60 looks: wrong", [some for _, some, _ in sliding])
        yield Row(f"{what}, 365 looks: wrong", [year for _, _, year in sliding])
    many = [_many_looks(Random(seed)) for seed in seeds]
    yield Row("40 comparisons x 60 looks, one at +10 points: wrong", [wrong for _, wrong in many], "<= .05")
    yield Row("40 comparisons x 60 looks, one at +10 points: found", [found for found, _ in many], ">= .95")
    authors = [_authors(Random(seed)) for seed in seeds]
    yield Row("three ratings an author, ICC .2: covers", [covers for covers, _, _ in authors], ">= .93")
    yield Row("three ratings an author, ICC .2: covers, authors ignored", [covers for _, covers, _ in authors], "")
    yield Row("three ratings an author, ICC .2, 60 looks: wrong", [wrong for _, _, wrong in authors], "<= .05")
    for days_differ in (False, True):
        what = "days differ" if days_differ else "days alike"
        drops = [_change_points(Random(s), 50, -0.2, days_differ=days_differ) for s in seeds]
        yield Row(f"-20 points, 50 a day, {what}: found within a day", [near for near, _ in drops], ">= .95")
        drops = [_change_points(Random(s), 200, -0.1, days_differ=days_differ) for s in seeds]
        yield Row(f"-10 points, 200 a day, {what}: found within a day", [near for near, _ in drops], ">= .95")
        for days, per_day in ((30, 50), (90, 50), (90, 200)):
            false = [_change_points(Random(s), per_day, 0, days=days, days_differ=days_differ)[1] for s in seeds]
            yield Row(f"no change, {days} days, {per_day} a day, {what}: found", false, "<= .07")
    yield Row("no change, 50 a day, each of 90 days looked at: ever found", [_change_looks(Random(s)) for s in seeds])
    yield from _alarm_rows(seeds)


def _alarm_rows(seeds: Sequence[int]) -> Iterator[Row]:
    for days_differ in (False, True):
        for share in (0.2, 0.5, 0.75, 0.95):
            name = f"alarm, 20 a day, {'days differ' if days_differ else 'days alike'}, {share}"
            false = [_false_alarms(Random(s), 20, share, days_differ=days_differ) for s in seeds]
            yield Row(f"{name}: years with a false one", false, "<= .07")
            for step in (-0.2, 0.2):
                if 0 < share + step < 1:
                    found = [_alarms(Random(s), 20, share, step, 14, days_differ=days_differ) for s in seeds]
                    yield Row(f"{name}, {100 * step:+.0f} points: found in 14 days", found, ">= .90")
    for per_day in (5, 10, 20, 50, 100, 200):
        name = f"alarm, {per_day} a day, 0.75"
        if per_day != 20:
            yield Row(f"{name}: years with a false one", [_false_alarms(Random(s), per_day, 0.75) for s in seeds])
        for step, within in ((-0.2, 14), (-0.2, 28), (-0.1, 28)):
            found = [_alarms(Random(s), per_day, 0.75, step, within) for s in seeds]
            yield Row(f"{name}, {100 * step:+.0f} points: found in {within} days", found)
    false = [_false_alarms(Random(s), 50, 0.75, spread=0.06, runs=100) for s in seeds]
    yield Row("alarm, 50 a day, 0.75, each day +-6 points: years with a false one", false)


def _coverage(random: Random, share: float, size: int, runs: int = 2_000) -> float:
    covered = 0
    for _ in range(runs):
        before, after = (_summary(_binomial(random, size, share), size) for _ in range(2))
        interval = Comparison(before, after).interval
        covered += interval.low <= 0 <= interval.high
    return covered / runs


def _looks(random: Random, before: float, after: float, per_day: int = 20, runs: int = 400) -> tuple[float, float]:
    """How often a verdict is "better" at any of 60 daily looks, and how often it is any verdict."""
    better = decided = 0
    for _ in range(runs):
        verdict = _first_verdict(random, before, after, per_day)
        better += verdict is Verdict.BETTER
        decided += verdict is not Verdict.UNDECIDED
    return better / runs, decided / runs


def _fixed_looks(random: Random, share: float = 0.7, per_day: int = 20, runs: int = 400) -> float:
    """How often the interval for a single look excludes zero at any of 60 daily looks, without a change."""
    wrong = 0
    for _ in range(runs):
        old = new = Summary()
        for _ in range(DAYS):
            old += _summary(_binomial(random, per_day, share), per_day)
            new += _summary(_binomial(random, per_day, share), per_day)
            interval = Comparison(old, new).interval
            if not interval.low <= 0 <= interval.high:
                wrong += 1
                break
    return wrong / runs


def _first_verdict(random: Random, before: float, after: float, per_day: int) -> Verdict:
    old = new = Summary()
    for _ in range(DAYS):
        old += _summary(_binomial(random, per_day, before), per_day)
        new += _summary(_binomial(random, per_day, after), per_day)
        verdict = Comparison(old, new).verdict
        if verdict is not Verdict.UNDECIDED:
            return verdict
    return Verdict.UNDECIDED


def _sliding_looks(random: Random, per_day: int, share: float = 0.7, runs: int = 200) -> tuple[float, float, float]:
    """How often a verdict on the last week and the one before is wrong: at one look, ever in 60 days, and in 365."""
    one = some = year = 0
    for _ in range(runs):
        ups = [_binomial(random, per_day, share) for _ in range(2 * _WEEK + _YEAR - 1)]
        weeks = [_summary(sum(ups[day : day + _WEEK]), _WEEK * per_day) for day in range(_WEEK + _YEAR)]
        verdicts = [Comparison(weeks[day], weeks[day + _WEEK]).verdict for day in range(_YEAR)]
        wrong = [verdict is not Verdict.UNDECIDED for verdict in verdicts]
        one += sum(wrong)
        some += any(wrong[:DAYS])
        year += any(wrong)
    return one / (runs * _YEAR), some / runs, year / runs


def _many_looks(random: Random, per_day: int = 30, runs: int = 40) -> tuple[float, float]:
    """How often the one of 40 that changed is found, and how often any other is."""
    found = wrong = 0
    for _ in range(runs):
        sides = [[Summary(), Summary()] for _ in range(40)]
        ever: set[int] = set()
        for _ in range(DAYS):
            for number, pair in enumerate(sides):
                pair[0] += _summary(_binomial(random, per_day, 0.7), per_day)
                pair[1] += _summary(_binomial(random, per_day, 0.8 if number == 0 else 0.7), per_day)
            decided = decide_together({number: Comparison(*pair) for number, pair in enumerate(sides)})
            ever |= {number for number, one in decided.items() if one.verdict is not Verdict.UNDECIDED}
        found += 0 in ever
        wrong += bool(ever - {0})
    return found / runs, wrong / runs


def _authors(random: Random, runs: int = 400) -> tuple[float, float, float]:
    """Coverage with and without design effects, and how often 60 daily looks are wrong."""
    covered = ignored = 0
    for _ in range(runs):
        sides = [[_author(random) for _ in range(100)] for _ in range(2)]
        interval = _compare(*sides).interval
        covered += interval.low <= 0 <= interval.high
        interval = Comparison(*map(_of_authors, sides)).interval
        ignored += interval.low <= 0 <= interval.high
    wrong = sum(_authors_decide(random) for _ in range(runs // 4))
    return covered / runs, ignored / runs, wrong / (runs // 4)


def _authors_decide(random: Random) -> bool:
    sides: list[list[tuple[int, int]]] = [[], []]
    for _ in range(DAYS):
        for side in sides:
            side += [_author(random) for _ in range(7)]
        if _compare(*sides).verdict is not Verdict.UNDECIDED:
            return True
    return False


def _author(random: Random) -> tuple[int, int]:
    """The thumbs of an author, and how many are up: a beta-binomial distribution."""
    strength = 1 / _INTRACLASS_CORRELATION - 1
    share = random.betavariate(strength * 0.7, strength * 0.3)
    return _AUTHOR_RATINGS, sum(random.random() < share for _ in range(_AUTHOR_RATINGS))


def _compare(before: list[tuple[int, int]], after: list[tuple[int, int]]) -> Comparison:
    return Comparison(_of_authors(before), _of_authors(after), design_effect(before), design_effect(after))


def _of_authors(authors: list[tuple[int, int]]) -> Summary:
    return _summary(sum(up for _, up in authors), sum(given for given, _ in authors))


def _change_points(
    random: Random, per_day: int, step: float, *, days: int = 90, days_differ: bool, runs: int = 200
) -> tuple[float, float]:
    """How often a change is found within a day of the true one, and how often any is."""
    near = found = 0
    for _ in range(runs):
        at = random.randrange(days // 4, 3 * days // 4)
        series = _series(random, [0.75 + (step if day >= at else 0) for day in range(days)], per_day, days_differ)
        changes = change_points(series)
        found += bool(changes)
        near += any(abs(index - at) <= 1 for index in changes)
    return near / runs, found / runs


def _change_looks(random: Random, runs: int = 40) -> float:
    """How often a change is named at any of 90 daily looks at all days so far, without a change."""
    named = 0
    for _ in range(runs):
        series = [Day(_binomial(random, 50, 0.75), 50, day % 7) for day in range(90)]
        named += any(change_points(series[: day + 1]) for day in range(90))
    return named / runs


def _false_alarms(
    random: Random, per_day: int, share: float, *, days_differ: bool = False, spread: float = 0, runs: int = 40
) -> float:
    """In how many years without a change a rule that is evaluated daily raises an alert."""
    wrong = 0
    for _ in range(runs):
        shares = [share + (random.gauss(0, spread) if spread else 0) for _ in range(_RULE.days + 365)]
        series = _series(random, shares, per_day, days_differ)
        wrong += next(_directions(series), None) is not None
    return wrong / runs


def _alarms(
    random: Random,
    per_day: int,
    share: float,
    step: float,
    within: int,
    *,
    days_differ: bool = False,
    runs: int = 100,
) -> float:
    """How often a rule that is evaluated daily raises an alert of the right direction within some days of a change."""
    shares = [share] * _RULE.days + [share + step] * within
    found = 0
    for _ in range(runs):
        found += (step > 0) in _directions(_series(random, shares, per_day, days_differ))
    return found / runs


def _directions(series: Sequence[Day]) -> Iterator[bool]:
    """Whether satisfaction rose, for each day after which the rule finds a new change."""
    for end in range(_RULE.days + 1, len(series) + 1):
        change = alarm(series[end - _RULE.days : end])
        if change and change.index >= _RULE.days - _RULE.new_for:
            yield change.is_rise


def _series(random: Random, shares: Sequence[float], per_day: int, days_differ: bool) -> list[Day]:
    weekly = [random.gauss(0, 0.04) if days_differ else 0.0 for _ in range(7)]
    return [
        Day(sum(random.random() < share + weekly[day % 7] for _ in range(per_day)), per_day, day % 7)
        for day, share in enumerate(shares)
    ]


def _summary(positive: int, decided: int) -> Summary:
    return Summary(positive=positive, negative=decided - positive)


def _binomial(random: Random, size: int, share: float) -> int:
    return random.choices(range(size + 1), cum_weights=_cumulative(size, share))[0]


@cache
def _cumulative(size: int, share: float) -> list[float]:
    return list(accumulate(comb(size, k) * share**k * (1 - share) ** (size - k) for k in range(size + 1)))
