"""Comparisons: single looks, verdicts that may be looked at every day, and many at once."""

from math import isclose

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harken import Comparison, Interval, Summary
from harken.domain.insight.comparison import Verdict, decide_together
from harken.domain.insight.sampling import design_effect, holm, mid_p


def _rated(positive: int, decided: int) -> Summary:
    return Summary(positive=positive, negative=decided - positive)


sides = st.tuples(st.integers(0, 300), st.integers(0, 300)).map(lambda pair: _rated(pair[0], sum(pair)))


class TestVerdict:
    def test_a_large_change_is_named(self) -> None:
        """The sentence gives the direction and the range in points."""
        comparison = Comparison(_rated(600, 1_000), _rated(750, 1_000))
        assert comparison.verdict is Verdict.BETTER
        assert comparison.sentence == "better by 9 to 21 points"
        worse = Comparison(_rated(750, 1_000), _rated(600, 1_000))
        assert (worse.verdict, worse.sentence) == (Verdict.WORSE, "worse by 9 to 21 points")

    def test_too_close_says_what_would_decide(self) -> None:
        """About as many more ratings decide it, if both shares stay as they are."""
        comparison = Comparison(_rated(60, 100), _rated(65, 100))
        assert comparison.verdict is Verdict.UNDECIDED
        needed = comparison.needed
        assert needed
        factor = (200 + needed) / 200
        later = Comparison(
            _rated(round(60 * factor), round(100 * factor)), _rated(round(65 * factor), round(100 * factor))
        )
        assert isclose(abs(later.always_valid_interval.low), 0, abs_tol=0.1)
        assert comparison.sentence.startswith("too close to tell: about ")

    def test_equal_shares_are_never_decided(self) -> None:
        """No number of ratings would do: the sentence promises none."""
        comparison = Comparison(_rated(60, 100), _rated(600, 1_000))
        assert comparison.needed is None
        assert comparison.sentence == "too close to tell"

    @pytest.mark.parametrize("sides", [(Summary(), _rated(1, 2)), (_rated(1, 2), Summary()), (Summary(), Summary())])
    def test_a_side_without_ratings_decides_nothing(self, sides: tuple[Summary, Summary]) -> None:
        """Not even with many ratings on the other side."""
        comparison = Comparison(*sides)
        assert comparison.verdict is Verdict.UNDECIDED
        assert comparison.p_value == 1.0
        assert comparison.sentence == "too close to tell: one side has no ratings"

    @given(sides, sides)
    def test_the_always_valid_interval_contains_the_change(self, before: Summary, after: Summary) -> None:
        """It is not narrower than what a single look allows by much, and its verdict is that of its ends."""
        comparison = Comparison(before, after)
        interval = comparison.always_valid_interval
        assert interval.low <= comparison.satisfaction_change <= interval.high or not (before.decided and after.decided)
        assert (comparison.verdict is Verdict.BETTER) == (interval.low > 0)
        assert (comparison.verdict is Verdict.WORSE) == (interval.high < 0)

    @given(sides, sides)
    def test_sides_can_be_swapped(self, before: Summary, after: Summary) -> None:
        """The change, the verdict and the evidence are the mirror image."""
        there, back = Comparison(before, after), Comparison(after, before)
        assert (
            isclose(there.log_e_value, back.log_e_value, rel_tol=1e-9, abs_tol=1e-9)
            or there.log_e_value == back.log_e_value
        )
        assert there.needed == back.needed
        assert (there.verdict is Verdict.BETTER) == (back.verdict is Verdict.WORSE)

    @given(sides, sides, st.floats(1, 20))
    def test_a_design_effect_widens_intervals(self, before: Summary, after: Summary, effect: float) -> None:
        """Ratings that are not independent are worth less."""
        assume(before.decided and after.decided)
        plain, clustered = Comparison(before, after), Comparison(before, after, effect, effect)
        assert _width(clustered.always_valid_interval) >= _width(plain.always_valid_interval) - 1e-9


def _width(interval: Interval) -> float:
    return interval.high - interval.low


class TestManyComparisons:
    def test_many_need_more_evidence(self) -> None:
        """A change that is clear alone may be chance among forty; the clearest stays decided."""
        clear, close = (
            Comparison(_rated(500, 1_000), _rated(800, 1_000)),
            Comparison(_rated(600, 1_000), _rated(688, 1_000)),
        )
        assert close.verdict is Verdict.BETTER
        many = {"clear": clear, "close": close} | {str(n): Comparison(_rated(6, 10), _rated(6, 10)) for n in range(38)}
        decided = decide_together(many)
        assert decided["clear"].verdict is Verdict.BETTER
        assert decided["close"].verdict is Verdict.UNDECIDED

    def test_holm_stops_at_the_first_that_fails(self) -> None:
        """Later ones are not decided, even if their own bound is lower."""
        assert holm({"a": 9.0, "b": 3.5, "c": 3.2}) == {"a"}


class TestPValue:
    def test_small_groups_are_exact(self) -> None:
        """Below 200 thumbs it is the mid-p value of the table of both sides."""
        assert Comparison(_rated(3, 10), _rated(9, 10)).p_value == mid_p((3, 10), (9, 10))

    def test_large_groups(self) -> None:
        """From 200 thumbs on, the normal approximation, which is close to the exact value there."""
        comparison = Comparison(_rated(60, 100), _rated(75, 100))
        assert comparison.p_value == pytest.approx(mid_p((60, 100), (75, 100)), rel=0.05)
        assert comparison.p_value == pytest.approx(0.02354, abs=0.00001)

    @pytest.mark.parametrize("positive", [0, 150])
    def test_without_any_variance(self, positive: int) -> None:
        """If all ratings are equal, there is nothing to explain."""
        assert Comparison(_rated(positive, 150), _rated(positive, 150)).p_value == 1.0

    def test_it_does_not_depend_on_the_order(self) -> None:
        """Better and worse are equally surprising."""
        one, other = _rated(130, 200), _rated(150, 200)
        assert Comparison(one, other).p_value == pytest.approx(Comparison(other, one).p_value)


class TestDesignEffect:
    def test_independent_authors_have_none(self) -> None:
        """One rating each: every rating counts in full."""
        for authors in (1, 2, 50):
            assert design_effect([(1, 1), (1, 0)] * authors) == 1.0

    def test_authors_who_agree_with_themselves_count_once(self) -> None:
        """Three equal ratings of each author are worth about one."""
        assert design_effect([(3, 3), (3, 0)] * 50) == pytest.approx(3, rel=0.05)

    def test_it_is_never_below_one(self) -> None:
        """Authors who contradict themselves do not make the others more certain."""
        assert design_effect([(2, 1)] * 50) == 1.0
        assert design_effect([]) == 1.0

    def test_few_authors_who_agree_with_themselves_count_once(self) -> None:
        """However many equal ratings one author gives, they are worth one; also if nobody else rated."""
        assert design_effect([(60, 0)]) == 60
        assert design_effect([(10, 0)] * 3) == 10
        assert design_effect([(10, 10), (10, 0)]) > 10

    def test_a_single_author_with_varied_ratings_counts_more(self) -> None:
        """Such as an import without authors, in one session."""
        assert 1 < design_effect([(9, 1)]) < 4
        assert design_effect([(2_000, 1_000)]) == 1.0

    @given(st.lists(st.integers(1, 9).flatmap(lambda given: st.tuples(st.just(given), st.integers(0, given)))))
    def test_ratings_are_worth_at_least_one_and_at_most_all(self, authors: list[tuple[int, int]]) -> None:
        """The design effect is at least 1; exchanging up and down does not change it."""
        effect = design_effect(authors)
        assert effect >= 1
        assert effect == pytest.approx(design_effect((given, given - up) for given, up in authors))


class TestMidP:
    @pytest.mark.parametrize(
        ("before", "after", "expected"),
        # Sums over the hypergeometric distribution, by hand: the tables as likely as the observed one count half.
        [((0, 1), (1, 1), 0.5), ((0, 2), (2, 2), 1 / 6), ((1, 2), (1, 2), 2 / 3), ((0, 3), (0, 3), 0.5)],
    )
    def test_known_tables(self, before: tuple[int, int], after: tuple[int, int], expected: float) -> None:
        """Equal to what the distribution gives."""
        assert mid_p(before, after) == pytest.approx(expected)
