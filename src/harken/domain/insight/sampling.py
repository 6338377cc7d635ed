"""How far ratings can be trusted: repeated authors, small groups, and looking more than once."""

from __future__ import annotations

from collections.abc import Iterable
from math import comb, log, sqrt
from typing import Final

from harken.domain.feedback import Feedback, Rating

#: The false-positive rate of verdicts, over any number of looks.
ALPHA: Final = 0.05
#: The scale of the changes that the always-valid interval is most sensitive to: 5 percentage points.
SCALE: Final = 0.05


def count_by_author(rated: Iterable[Feedback]) -> list[tuple[int, int]]:
    """For each author of thumbs, or session without one, how many they gave, and how many of these are up."""
    counts: dict[tuple[bool, str], tuple[int, int]] = {}
    for one in rated:
        author = (one.author is None, one.author or one.session_id)
        given, up = counts.get(author, (0, 0))
        counts[author] = given + 1, up + (one.rating is Rating.UP)
    return list(counts.values())


def design_effect(authors: Iterable[tuple[int, int]]) -> float:
    """By what factor the variance of a share exceeds that of independent ratings; at least 1.

    The ratio estimator for clusters of unequal sizes, with the share shrunk as ``(x + 1) / (n + 2)``: W. G. Cochran,
    "Sampling Techniques", third edition (1977), section 9A.

    Args:
        authors: for each author, how many thumbs they gave, and how many of these were up.
    """
    count = ratings = ups = 0
    squares = products = up_squares = 0
    for given, up in authors:
        count += 1
        ratings += given
        ups += up
        squares += given * given
        products += given * up
        up_squares += up * up
    # Ratings by different authors are independent.
    if count < 2 or count == ratings:
        return 1.0
    share = (ups + 1) / (ratings + 2)
    residuals = up_squares - 2 * share * products + share * share * squares
    return max(1.0, residuals / (ratings * share * (1 - share)) * count / (count - 1))


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


def holm_level(log_e_values: Iterable[float]) -> float:
    """The level at which each of many comparisons is decided, so that all together are wrong at most 5% of the time.

    S. Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979), on
    ``1 / e`` as the p-values. The level is that of the step at which the procedure stops: exactly the comparisons that
    it rejects have ``1 / e`` of at most this level.
    """
    ranked = sorted(log_e_values, reverse=True)
    for place, value in enumerate(ranked):
        level = ALPHA / (len(ranked) - place)
        if value < log(1 / level):
            return level
    return ALPHA


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
