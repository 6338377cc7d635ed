"""How far ratings can be trusted: repeated authors, small groups, and looking more than once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from datetime import datetime
from math import comb, isqrt, log, sqrt
from typing import Final

from attrs import frozen

from harken.domain.feedback import Feedback, Rating
from harken.domain.query import GroupBy, GroupKey

#: The false-positive rate of verdicts, over any number of looks.
ALPHA: Final = 0.05
#: The scale of the changes that the always-valid interval is most sensitive to: 5 percentage points.
SCALE: Final = 0.05


#: Up to this number of authors, how little their own ratings differ counts in full.
_FEW_AUTHORS: Final = 10


@frozen
class AuthorRatings:
    """The thumbs that an author gave in a group.

    Attributes:
        group: the key of the group; ``None`` without groups.
        author: differs from author to author; feedback without an author counts as that of its session.
        given: how many thumbs.
        up: how many of these are up.
    """

    group: GroupKey
    author: str
    given: int
    up: int


def author_of(feedback: Feedback) -> str:
    """The author for :class:`AuthorRatings`."""
    return f"s{feedback.session_id}" if feedback.author is None else f"a{feedback.author}"


def count_by_author(rated: Iterable[Feedback], group_by: GroupBy | None = None) -> list[AuthorRatings]:
    """What each author gave in each group."""
    counts: dict[tuple[GroupKey, str], tuple[int, int]] = {}
    for one in rated:
        author, up = author_of(one), one.rating is Rating.UP
        for group in group_by.keys(one) if group_by else (None,):
            given, of_these = counts.get((group, author), (0, 0))
            counts[group, author] = given + 1, of_these + up
    return [AuthorRatings(*place, *count) for place, count in counts.items()]


def count_by_period(
    ratings: Iterable[AuthorRatings], period_of: Callable[[datetime], Hashable]
) -> Collection[tuple[int, int]]:
    """For each period and author, how many thumbs, and how many of these are up; the groups are slots."""
    counts: dict[Hashable, tuple[int, int]] = {}
    periods: dict[GroupKey, Hashable] = {}
    for one in ratings:
        if one.group not in periods and isinstance(one.group, datetime):
            periods[one.group] = period_of(one.group)
        place = periods[one.group], one.author
        given, up = counts.get(place, (0, 0))
        counts[place] = given + one.given, up + one.up
    return counts.values()


def design_effect(clusters: Iterable[tuple[int, int]], without: Mapping[int, int] | None = None) -> float:
    """By what factor the variance of a share exceeds that of independent ratings; at least 1.

    The ratio estimator for clusters of unequal sizes, with the share shrunk as ``p = (x + 1) / (n + 2)``: W. G.
    Cochran, "Sampling Techniques", third edition (1977), section 9A. It compares authors with each other, so it says
    little about ten authors, and nothing about one. For these, it is at least ``1 + (sum n_c^2 / n - 1) r``, L. Kish,
    "Survey Sampling" (1965), section 5.4, with ``r = 1 - (mean variance within authors) / p (1 - p)``; with more
    authors, ``r`` counts less. All ratings of a single author who always agrees with themselves are worth one.

    Args:
        clusters: for each author, how many thumbs they gave, and how many of these were up.
        without: more authors, none of whose thumbs were up: how many gave each number of thumbs.
    """
    count = total = ups = 0
    squares = products = up_squares = 0
    repeated, within = 0, 0.0
    for given, up in clusters:
        count += 1
        total += given
        ups += up
        squares += given * given
        products += given * up
        up_squares += up * up
        if given > 1:
            repeated += given
            within += up * (given - up) / (given - 1)
    for given, authors in (without or {}).items():
        count += authors
        total += given * authors
        squares += given * given * authors
        repeated += given * authors if given > 1 else 0
    # Ratings by different authors are independent.
    if not repeated:
        return 1.0
    share = (ups + 1) / (total + 2)
    variance = share * (1 - share)
    correlation = (1 - within / repeated / variance) * min(1, _FEW_AUTHORS / count)
    residuals = up_squares - 2 * share * products + share * share * squares
    between = residuals / (total * variance) * count / (count - 1) if count > 1 else 1.0
    return max(1.0, between, 1 + (squares / total - 1) * correlation)


def design_effects(ratings: Iterable[AuthorRatings]) -> dict[GroupKey, float]:
    """The design effect of each group."""
    groups: defaultdict[GroupKey, list[tuple[int, int]]] = defaultdict(list)
    for one in ratings:
        groups[one.group].append((one.given, one.up))
    return {group: design_effect(of_group) for group, of_group in groups.items()}


def unnoticed(thumbs: int) -> int:
    """How many thumbs more, even if all are of one author, hardly change the design effect of this many thumbs.

    ``k`` thumbs of one author among ``n`` add at most about ``k ** 2 / n``, which is kept under 0.02.
    """
    return isqrt(thumbs // 50)


def variance_of_change(before: tuple[float, float], after: tuple[float, float]) -> float:
    """The variance of the difference of two shares: the larger of the separate and the pooled estimate.

    Args:
        before: thumbs-up and all thumbs, divided by the design effect.
        after: the same.
    """
    (x1, n1), (x2, n2) = before, after
    p1, p2 = (x1 + 1) / (n1 + 2), (x2 + 1) / (n2 + 2)
    pooled = (x1 + x2 + 1) / (n1 + n2 + 2)
    return max(p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2, pooled * (1 - pooled) * (1 / n1 + 1 / n2))


def always_valid_margin(variance: float, alpha: float) -> float:
    """Half the width of an interval that may be read at any number of looks at growing data, as a share.

    Robbins' normal mixture with variance ``SCALE ** 2``: R. Johari, L. Pekelis, D. J. Walsh, "Always valid inference:
    bringing sequential analysis to A/B testing" (2015). It excludes zero if :func:`log_e_value` is at least
    ``log(1 / alpha)``.

    Args:
        variance: of the difference.
        alpha: how often the interval may be wrong at any look.
    """
    mixed = variance + SCALE**2
    return sqrt(variance * mixed / SCALE**2 * (2 * log(1 / alpha) + log(mixed / variance)))


def log_e_value(change: float, variance: float) -> float:
    """The logarithm of the evidence against "no change", by the same mixture; e-values may be combined and compared."""
    mixed = variance + SCALE**2
    return 0.5 * log(variance / mixed) + change**2 * SCALE**2 / (2 * variance * mixed)


def holm_level(log_e_values: Iterable[float], alpha: float = ALPHA) -> float:
    """The level at which each of many comparisons is decided, so that all together are wrong with this probability.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979), on
    ``1 / e`` as the p-values. The level is that of the step at which the procedure stops: exactly the comparisons that
    it rejects have ``1 / e`` of at most this level. For p-values, give ``-log(p)``.
    """
    ranked = sorted(log_e_values, reverse=True)
    for place, value in enumerate(ranked):
        level = alpha / (len(ranked) - place)
        if value < log(1 / level):
            return level
    return alpha


def mid_p(before: tuple[int, int], after: tuple[int, int]) -> float:
    """The two-sided mid-p value of Fisher's exact test on two shares; for small groups.

    Tables that are as likely as the observed one count half: H. O. Lancaster, "Significance tests in discrete
    distributions", Journal of the American Statistical Association 56 (1961).

    Args:
        before: thumbs-up and all thumbs.
        after: the same.
    """
    (x1, n1), (x2, n2) = before, after
    total, ups = n1 + n2, x1 + x2
    ways = [comb(n1, k) * comb(n2, ups - k) if 0 <= ups - k <= n2 else 0 for k in range(min(n1, ups) + 1)]
    observed = ways[x1]
    less = sum(way for way in ways if way < observed)
    equal = sum(way for way in ways if way == observed)
    return (less + equal / 2) / comb(total, ups)
