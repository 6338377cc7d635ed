"""Summaries: a commutative monoid over integers, and the statistics derived from it."""

from datetime import timedelta
from fractions import Fraction
from random import Random

import pytest
from attrs import astuple
from hypothesis import given
from hypothesis import strategies as st

from harken import Comparison, Feedback, Rating, Sentiment, Summary, Verdict
from support import NOON, a_feedback

#: The seven comments of the guide's analytics example.
GUIDE = [
    (Rating.UP, "Excellent!"),
    (Rating.DOWN, "Could be better with more examples"),
    (Rating.NEUTRAL, "Just saving this for later"),
    (Rating.UP, "Very clear explanation"),
    (Rating.UP, "Thanks!"),
    (Rating.DOWN, "The response was incomplete"),
    (Rating.UP, "Perfect, exactly what I needed"),
]
entries = st.builds(
    lambda rating, comment, sentiment, minutes: a_feedback(
        "f", rating, comment, sentiment=sentiment, created_at=NOON + timedelta(minutes=minutes)
    ),
    st.sampled_from(Rating),
    st.text(max_size=20),
    st.none() | st.builds(Sentiment, st.floats(-1, 1), st.floats(0, 1)),
    st.integers(0, 3000),
)
lists = st.lists(entries, max_size=12)
summaries = lists.map(Summary.fold)


class TestMonoid:
    @given(summaries)
    def test_counts_give_the_same_summary(self, summary: Summary) -> None:
        """A storage that sums in its own way gets the same value."""
        *counts, by_hour = astuple(summary, recurse=False)
        assert Summary.from_counts(counts, by_hour) == summary

    @given(summaries, summaries, summaries)
    def test_laws(self, a: Summary, b: Summary, c: Summary) -> None:
        """Addition is associative and commutative, has a zero, and can be reversed exactly."""
        assert (a + b) + c == a + (b + c)
        assert a + b == b + a
        assert a + Summary() == a == Summary() + a
        assert a + b - b == a
        assert a - a == Summary()

    @given(st.lists(summaries, max_size=5))
    def test_the_sum_of_several(self, parts: list[Summary]) -> None:
        """Adding several at once is the same as adding one after the other."""
        assert Summary.sum_of(parts) == sum(parts, Summary())

    @given(lists, st.randoms(use_true_random=False))
    def test_order_does_not_matter(self, several: list[Feedback], random: Random) -> None:
        """Any order and grouping of feedback gives the same sum."""
        whole = Summary.fold(several)
        shuffled = random.sample(several, len(several))
        cut = random.randint(0, len(several))
        assert Summary.fold(shuffled[:cut]) + Summary.fold(shuffled[cut:]) == whole


class TestStatistics:
    @given(lists)
    def test_equal_simple_formulas(self, several: list[Feedback]) -> None:
        """The statistics equal the results of simple formulas."""
        summary = Summary.fold(several)
        ratings = [one.rating for one in several]
        thumbs = [rating for rating in ratings if rating is not Rating.NEUTRAL]
        points = {Rating.UP: 100, Rating.NEUTRAL: 50, Rating.DOWN: 0}
        moods = [one.sentiment for one in several if one.sentiment]
        lengths = [len(one.comment) for one in several]

        def mean(values: list[int] | list[float]) -> float:
            return float(Fraction(sum(map(Fraction, values)), len(values))) if values else 0.0

        assert summary.total == len(several)
        assert summary.decided == len(thumbs)
        assert (summary.positive, summary.negative, summary.neutral) == tuple(map(ratings.count, Rating))
        assert summary.comments == len([length for length in lengths if length])
        assert summary.satisfaction == pytest.approx(mean([100 * (thumb is Rating.UP) for thumb in thumbs]))
        assert summary.quality == pytest.approx(mean([points[rating] for rating in ratings]))
        assert summary.average_comment_length == pytest.approx(mean(lengths))
        assert summary.by_hour == tuple(sum(one.created_at.hour == hour for one in several) for hour in range(24))
        if moods:
            assert summary.average_polarity == pytest.approx(mean([mood.polarity for mood in moods]), abs=1e-12)
            assert summary.average_subjectivity == pytest.approx(mean([mood.subjectivity for mood in moods]), abs=1e-12)
        else:
            assert summary.average_polarity is summary.average_subjectivity is None

    def test_the_guides_example(self) -> None:
        """Four of six thumbs are up, and the average length is the exact mean of the seven comments."""
        summary = Summary.fold(a_feedback(str(index), *one) for index, one in enumerate(GUIDE))
        assert round(summary.satisfaction, 1) == 66.7
        assert summary.average_comment_length == sum(len(comment) for _, comment in GUIDE) / 7
        assert summary.quality == pytest.approx((4 * 100 + 50) / 7)

    def test_an_empty_summary(self) -> None:
        """Without feedback, all statistics are numbers, and the interval is the whole range."""
        nothing = Summary()
        assert (nothing.total, nothing.satisfaction, nothing.quality, nothing.average_comment_length) == (0, 0, 0, 0)
        assert (nothing.interval.low, nothing.interval.high) == (0, 100)


class TestWilson:
    @pytest.mark.parametrize(
        ("positive", "negative", "low", "high"),
        [
            # Newcombe, "Two-sided confidence intervals for the single proportion" (1998), table I, method 3.
            (81, 263 - 81, 25.53, 36.62),
            (15, 148 - 15, 6.24, 16.05),
            (0, 20, 0.00, 16.11),
            (1, 28, 0.61, 17.18),
            # By hand: 8 of 10 is (0.8 + z²/20 ± z·sqrt(0.016 + z²/400)) / (1 + z²/10) with z² = 3.8415.
            (8, 2, 49.02, 94.33),
            # By hand: 1 of 1 is 1 / (1 + z²) to 1, and none of 1 is its mirror image.
            (1, 0, 100 / 4.841459, 100),
            (0, 1, 0, 100 * 3.841459 / 4.841459),
        ],
    )
    def test_published_values(self, positive: int, negative: int, low: float, high: float) -> None:
        """The interval equals Wilson's published values."""
        interval = Summary(positive=positive, negative=negative, neutral=99).interval
        assert interval.low == pytest.approx(low, abs=0.005)
        assert interval.high == pytest.approx(high, abs=0.005)

    @given(st.integers(0, 10**6), st.integers(0, 10**6))
    def test_the_interval_contains_the_satisfaction(self, positive: int, negative: int) -> None:
        """The interval is within 0 and 100, contains the satisfaction, and is mirrored when the thumbs are swapped."""
        summary = Summary(positive=positive, negative=negative)
        low, high = summary.interval.low, summary.interval.high
        assert 0 <= low <= high <= 100
        if summary.decided:
            assert low - 1e-9 <= summary.satisfaction <= high + 1e-9
        mirrored = Summary(positive=negative, negative=positive).interval
        assert (mirrored.low, mirrored.high) == (pytest.approx(100 - high), pytest.approx(100 - low))

    @given(st.integers(0, 1000), st.integers(1, 1000), st.integers(2, 50))
    def test_more_feedback_narrows_the_interval(self, positive: int, negative: int, times: int) -> None:
        """The interval is narrower with more thumbs."""
        little = Summary(positive=positive, negative=negative).interval
        much = Summary(positive=positive * times, negative=negative * times).interval
        assert much.high - much.low < little.high - little.low


class TestComparison:
    @pytest.mark.parametrize(
        ("after", "before", "low", "high"),
        [
            # Newcombe, "Interval estimation for the difference between independent proportions" (1998), table II,
            # method 10: examples (a) 56/70 - 48/80, (b) 9/10 - 3/10, (d) 5/56 - 0/29, (g) 10/10 - 0/20.
            ((56, 14), (48, 32), 5.24, 33.39),
            ((9, 1), (3, 7), 17.05, 80.90),
            ((5, 51), (0, 29), -3.81, 19.26),
            ((10, 0), (0, 20), 67.91, 100.00),
        ],
    )
    def test_published_values(self, after: tuple[int, int], before: tuple[int, int], low: float, high: float) -> None:
        """The interval of the change is Newcombe's method 10, in percentage points."""
        comparison = Comparison(
            Summary(positive=before[0], negative=before[1]), Summary(positive=after[0], negative=after[1])
        )
        assert comparison.interval.low == pytest.approx(low, abs=0.005)
        assert comparison.interval.high == pytest.approx(high, abs=0.005)

    @given(summaries, summaries)
    def test_swapped_summaries(self, before: Summary, after: Summary) -> None:
        """Swapping the summaries negates the change and its interval."""
        forth, back = Comparison(before, after), Comparison(after, before)
        assert forth.satisfaction_change == pytest.approx(-back.satisfaction_change)
        assert forth.quality_change == pytest.approx(-back.quality_change)
        assert forth.total_change == -back.total_change == after.total - before.total
        assert forth.interval.low == pytest.approx(-back.interval.high)
        opposite = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
        assert forth.verdict is opposite.get(back.verdict, back.verdict)

    def test_a_loss_is_worse(self) -> None:
        """A change whose interval is entirely below zero is for the worse."""
        comparison = Comparison(Summary(positive=90, negative=10), Summary(positive=10, negative=90))
        assert comparison.interval.high < 0
        assert comparison.verdict is Verdict.WORSE

    @pytest.mark.parametrize("other", [Summary(), Summary(neutral=3)])
    def test_without_thumbs_the_change_is_unknown(self, other: Summary) -> None:
        """If one side has no thumbs, the interval is the whole range."""
        for comparison in (Comparison(Summary(positive=9), other), Comparison(other, Summary(positive=9))):
            assert (comparison.interval.low, comparison.interval.high) == (-100, 100)
            assert comparison.verdict is Verdict.UNDECIDED
