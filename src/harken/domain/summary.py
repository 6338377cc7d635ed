"""Exact statistics: sums of integers, from which percentages are computed on access."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from operator import add, sub
from typing import Any, Final

from attrs import field, frozen

from harken.domain.display import summary_html, summary_text
from harken.domain.feedback import Feedback, Rating

#: The 97.5th percentile of the standard normal distribution: both tails together leave 5%.
Z_95: Final = 1.959963984540054
NO_HOURS: Final = (0,) * 24
_ONE_AT: Final = tuple(tuple(int(hour == at) for hour in range(24)) for at in range(24))


@frozen
class Interval:
    """A 95% confidence interval, in percent or percentage points."""

    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.low:.1f} to {self.high:.1f}"

    def to_dict(self) -> dict[str, float]:
        """Return both ends with one decimal."""
        return {"low": round(self.low, 1), "high": round(self.high, 1)}


@frozen(kw_only=True)
class Summary:
    """Mergeable statistics: a commutative monoid over integers.

    ``a + b`` is exactly the summary of both inputs together, in any order; ``Summary()`` is zero; ``a - b`` reverses
    the addition. Characters are Unicode code points, sentiments are sums of millionths, and ``by_hour`` counts feedback
    by UTC hour of day.
    """

    positive: int = 0
    negative: int = 0
    neutral: int = 0
    comments: int = 0
    comment_characters: int = 0
    sentiments: int = 0
    polarity_millionths: int = 0
    subjectivity_millionths: int = 0
    by_hour: tuple[int, ...] = field(default=NO_HOURS)

    @classmethod
    def of(cls, feedback: Feedback) -> Summary:
        """Return the summary of one feedback entry."""
        rating, comment, sentiment = feedback.content.rating, feedback.content.comment, feedback.content.sentiment
        return cls(
            positive=int(rating is Rating.UP),
            negative=int(rating is Rating.DOWN),
            neutral=int(rating is Rating.NEUTRAL),
            comments=int(bool(comment)),
            comment_characters=len(comment),
            sentiments=int(sentiment is not None),
            polarity_millionths=sentiment.polarity_millionths if sentiment else 0,
            subjectivity_millionths=sentiment.subjectivity_millionths if sentiment else 0,
            by_hour=_ONE_AT[feedback.created_at.hour],
        )

    @classmethod
    def from_counts(cls, counts: Sequence[int], by_hour: Iterable[int]) -> Summary:
        """Return a summary from counts of a storage: eight in the order of the fields above, and 24 by hour."""
        positive, negative, neutral, comments, comment_characters, sentiments, polarity, subjectivity = counts
        return cls(
            positive=positive,
            negative=negative,
            neutral=neutral,
            comments=comments,
            comment_characters=comment_characters,
            sentiments=sentiments,
            polarity_millionths=polarity,
            subjectivity_millionths=subjectivity,
            by_hour=tuple(by_hour),
        )

    @classmethod
    def fold(cls, feedback: Iterable[Feedback]) -> Summary:
        """Return the summary of all entries, added one at a time. Storages must return equal results."""
        return sum((cls.of(one) for one in feedback), cls())

    @classmethod
    def sum_of(cls, parts: Iterable[Summary]) -> Summary:
        """Return the sum of summaries. It is faster than adding one after the other."""
        rows = [
            (
                one.positive,
                one.negative,
                one.neutral,
                one.comments,
                one.comment_characters,
                one.sentiments,
                one.polarity_millionths,
                one.subjectivity_millionths,
                *one.by_hour,
            )
            for one in parts
        ]
        if not rows:
            return cls()
        sums = [sum(column) for column in zip(*rows, strict=True)]
        return cls.from_counts(sums[:-24], sums[-24:])

    def __add__(self, other: Summary) -> Summary:
        return Summary(
            positive=self.positive + other.positive,
            negative=self.negative + other.negative,
            neutral=self.neutral + other.neutral,
            comments=self.comments + other.comments,
            comment_characters=self.comment_characters + other.comment_characters,
            sentiments=self.sentiments + other.sentiments,
            polarity_millionths=self.polarity_millionths + other.polarity_millionths,
            subjectivity_millionths=self.subjectivity_millionths + other.subjectivity_millionths,
            by_hour=tuple(map(add, self.by_hour, other.by_hour)),
        )

    def __sub__(self, other: Summary) -> Summary:
        return Summary(
            positive=self.positive - other.positive,
            negative=self.negative - other.negative,
            neutral=self.neutral - other.neutral,
            comments=self.comments - other.comments,
            comment_characters=self.comment_characters - other.comment_characters,
            sentiments=self.sentiments - other.sentiments,
            polarity_millionths=self.polarity_millionths - other.polarity_millionths,
            subjectivity_millionths=self.subjectivity_millionths - other.subjectivity_millionths,
            by_hour=tuple(map(sub, self.by_hour, other.by_hour)),
        )

    def __str__(self) -> str:
        return summary_text(self, self.interval, is_adjusted=False)

    def _repr_html_(self) -> str:
        return summary_html(self, self.interval, is_adjusted=False)

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON values, named as in the HTTP API.

        Counts and sums are exact. Percentages and lengths have one decimal, sentiments three. Those of nothing are
        ``None``.
        """
        record = {
            **self.to_sums(),
            "quality_score": round(self.quality, 1) if self.total else None,
            "average_comment_length": round(self.average_comment_length, 1) if self.total else None,
            "interval": self.interval.to_dict(),
        }
        if self.average_polarity is not None and self.average_subjectivity is not None:
            record["average_polarity"] = round(self.average_polarity, 3)
            record["average_subjectivity"] = round(self.average_subjectivity, 3)
        return record

    def to_sums(self) -> dict[str, Any]:
        """Return the counts and sums, from which everything else can be computed, and the satisfaction in percent.

        It is ``None`` without thumbs.
        """
        return {
            "total_feedbacks": self.total,
            "positive": self.positive,
            "negative": self.negative,
            "neutral": self.neutral,
            "satisfaction_score": round(self.satisfaction, 1) if self.decided else None,
            "comments": self.comments,
            "comment_characters": self.comment_characters,
            "sentiments": self.sentiments,
            "polarity_millionths": self.polarity_millionths,
            "subjectivity_millionths": self.subjectivity_millionths,
            "by_hour": list(self.by_hour),
        }

    @property
    def total(self) -> int:
        """The number of feedback entries."""
        return self.positive + self.negative + self.neutral

    @property
    def decided(self) -> int:
        """The number of thumbs-up and thumbs-down entries."""
        return self.positive + self.negative

    @property
    def satisfaction(self) -> float:
        """The share of thumbs-up in all thumbs, from 0.0 to 100.0; 0.0 without thumbs."""
        return self.positive / self.decided * 100 if self.decided else 0.0

    @property
    def quality(self) -> float:
        """The mean of 100 for thumbs-up, 50 for neutral and 0 for thumbs-down; 0.0 without feedback."""
        return (100 * self.positive + 50 * self.neutral) / self.total if self.total else 0.0

    @property
    def average_comment_length(self) -> float:
        """The mean comment length in code points, counting missing comments as 0; 0.0 without feedback."""
        return self.comment_characters / self.total if self.total else 0.0

    @property
    def average_polarity(self) -> float | None:
        """The mean polarity, from -1 to 1, of feedback with a sentiment; ``None`` without any."""
        return self.polarity_millionths / self.sentiments / 1_000_000 if self.sentiments else None

    @property
    def average_subjectivity(self) -> float | None:
        """The mean subjectivity, from 0 to 1, of feedback with a sentiment; ``None`` without any."""
        return self.subjectivity_millionths / self.sentiments / 1_000_000 if self.sentiments else None

    @property
    def interval(self) -> Interval:
        """The 95% confidence interval of satisfaction, in percent; 0 to 100 without thumbs.

        The score interval of E. B. Wilson, "Probable inference, the law of succession, and statistical inference",
        Journal of the American Statistical Association 22 (1927).
        """
        low, high = wilson(self.positive, self.decided)
        return Interval(low * 100, high * 100)


def wilson(successes: float, trials: float) -> tuple[float, float]:
    """The 95% score interval of a share, from 0 to 1; counts may be effective counts, which are not whole."""
    if not trials:
        return 0.0, 1.0
    share, square = successes / trials, Z_95**2
    centre = share + square / (2 * trials)
    margin = Z_95 * sqrt(share * (1 - share) / trials + square / (4 * trials**2))
    scale = 1 + square / trials
    # At the ends the exact result is 0 or 1, which floating point may miss slightly.
    low = 0.0 if successes == 0 else (centre - margin) / scale
    high = 1.0 if successes == trials else (centre + margin) / scale
    return low, high
