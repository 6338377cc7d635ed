"""Comparisons: single looks, verdicts that may be looked at every day, and many at once."""

from math import isclose, log

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harken import Comparison, Interval, Proportion, ProportionChange, Summary
from harken.domain.insight.comparison import Verdict, decide_together
from harken.domain.insight.sampling import design_effect, holm_level, mid_p


def _rated(positive: int, decided: int) -> Summary:
    return Summary(positive=positive, negative=decided - positive)


sides = st.tuples(st.integers(0, 300), st.integers(0, 300)).map(lambda pair: _rated(pair[0], sum(pair)))
sides_with_thumbs = sides.filter(lambda side: side.decided > 0)
comparisons = st.builds(Comparison, sides, sides, st.floats(1, 5), st.floats(1, 5))
OPPOSITE = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER, Verdict.UNDECIDED: Verdict.UNDECIDED}


class TestVerdict:
    def test_a_large_change_is_named(self) -> None:
        """The sentence gives the direction and the range in points."""
        comparison = Comparison(_rated(600, 1_000), _rated(750, 1_000))
        assert comparison.verdict is Verdict.BETTER
        assert comparison.sentence == "better by 9 to 21 points"
        worse = Comparison(_rated(750, 1_000), _rated(600, 1_000))
        assert (worse.verdict, worse.sentence) == (Verdict.WORSE, "worse by 9 to 21 points")

    def test_a_single_look_is_not_a_verdict(self) -> None:
        """An interval and a p-value that hold for one look do not decide: they are too sure for many looks."""
        comparison = Comparison(_rated(48, 80), _rated(56, 70))
        assert comparison.interval.low > 5
        assert comparison.p_value == pytest.approx(0.0104, abs=0.0001)
        assert (comparison.verdict, comparison.needed) == (Verdict.UNDECIDED, 154)

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
        assert comparison.sentence == "too close to tell: one side has no thumbs"

    @pytest.mark.parametrize(
        ("before", "after", "verdict", "low", "high"),
        # By hand, with the variances .000439, .0483 and .000403.
        [
            ((600, 1_000), (750, 1_000), Verdict.BETTER, 8.62, 21.38),
            ((5, 10), (7, 10), Verdict.UNDECIDED, -100, 100),
            ((750, 1_000), (600, 1_000), Verdict.WORSE, -21.38, -8.62),
            ((700, 1_000), (740, 1_000), Verdict.UNDECIDED, -2.11, 10.11),
        ],
    )
    def test_known_values(
        self, before: tuple[int, int], after: tuple[int, int], verdict: Verdict, low: float, high: float
    ) -> None:
        """The interval is Robbins' normal mixture."""
        comparison = Comparison(_rated(*before), _rated(*after))
        interval = comparison.always_valid_interval
        assert (round(interval.low, 2), round(interval.high, 2)) == (low, high)
        assert comparison.verdict is verdict

    @given(st.lists(comparisons, min_size=1, max_size=5), st.integers(0, 40))
    def test_all_parts_agree(self, some: list[Comparison], others: int) -> None:
        """Interval, verdict, needed and sentence say the same, also among many comparisons."""
        nothing = Comparison(_rated(6, 10), _rated(6, 10))
        for comparison in decide_together(dict(enumerate([*some, *[nothing] * others]))).values():
            interval, change = comparison.always_valid_interval, comparison.satisfaction_change
            if comparison.verdict is Verdict.UNDECIDED:
                assert interval.low <= 0 <= interval.high
                assert comparison.needed is None or comparison.needed > 0
                assert comparison.sentence.startswith("too close to tell")
            else:
                assert 0 < min(abs(interval.low), abs(interval.high)) <= abs(change)
                assert (comparison.verdict is Verdict.BETTER) == (change > 0)
                assert comparison.needed == 0
                assert comparison.sentence.startswith(f"{comparison.verdict.value} by ")

    @given(sides, sides)
    def test_sides_can_be_swapped(self, before: Summary, after: Summary) -> None:
        """The change, the interval, the verdict and the evidence are the mirror image."""
        there, back = Comparison(before, after), Comparison(after, before)
        assert there.log_e_value == pytest.approx(back.log_e_value)
        assert there.p_value == pytest.approx(back.p_value)
        assert there.needed == back.needed
        assert there.always_valid_interval.low == pytest.approx(-back.always_valid_interval.high)
        assert there.verdict is OPPOSITE[back.verdict]

    @given(sides_with_thumbs, sides_with_thumbs)
    def test_up_and_down_can_be_swapped(self, before: Summary, after: Summary) -> None:
        """A share and its complement change equally, in opposite directions."""
        ups = ProportionChange(*(Proportion(one.positive, one.decided) for one in (before, after)))
        downs = ProportionChange(*(Proportion(one.negative, one.decided) for one in (before, after)))
        assert ups.difference == pytest.approx(-downs.difference)
        assert ups.direction == -downs.direction
        assert ups.needed == pytest.approx(downs.needed, abs=1)
        assert ups.always_valid_interval.low == pytest.approx(-downs.always_valid_interval.high)
        assert ups.interval.low == pytest.approx(-downs.interval.high)

    @given(sides_with_thumbs, sides_with_thumbs, st.integers(2, 50))
    def test_more_ratings_with_the_same_shares_are_surer(self, before: Summary, after: Summary, times: int) -> None:
        """The interval is narrower, a verdict stays, and no more ratings are needed."""
        few = Comparison(before, after)
        many = Comparison(*(_rated(one.positive * times, one.decided * times) for one in (before, after)))
        assert many.satisfaction_change == pytest.approx(few.satisfaction_change)
        assert _width(many.always_valid_interval) <= _width(few.always_valid_interval)
        assert few.verdict in (Verdict.UNDECIDED, many.verdict)
        if few.needed is not None:
            assert many.needed is not None
            assert many.needed <= few.needed

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

    def test_what_many_comparisons_would_need(self) -> None:
        """A change that is too close to tell among forty needs more ratings, and that number decides it."""
        close = Comparison(_rated(600, 1_000), _rated(688, 1_000))
        nothing = {number: Comparison(_rated(6, 10), _rated(6, 10)) for number in range(39)}
        first = decide_together({"close": close, **nothing})["close"]
        assert first.needed
        assert first.sentence == "too close to tell: about 130 more thumbs needed"
        interval = first.always_valid_interval
        assert (round(interval.low, 1), round(interval.high, 1)) == (-0.3, 17.9)
        for times, verdict in ((0.5, Verdict.UNDECIDED), (1.5, Verdict.BETTER)):
            size = round((2_000 + times * first.needed) / 2)
            more = Comparison(_rated(round(0.6 * size), size), _rated(round(0.688 * size), size))
            assert decide_together({"close": more, **nothing})["close"].verdict is verdict

    @given(st.lists(comparisons, max_size=12))
    def test_holm(self, some: list[Comparison]) -> None:
        """As in the paper: the clearest is decided if it is clear among all, then the next among the rest."""
        left = sorted(some, key=lambda comparison: -comparison.log_e_value)
        expected = []
        while left and left[0].log_e_value >= log(20 * len(left)):
            expected.append(left.pop(0))
        decided = [
            some[place]
            for place, one in decide_together(dict(enumerate(some))).items()
            if one.verdict is not Verdict.UNDECIDED
        ]
        assert sorted(map(str, decided)) == sorted(map(str, expected))

    @given(comparisons, st.integers(0, 40))
    def test_more_comparisons_never_help(self, one: Comparison, others: int) -> None:
        """Among others that show nothing, the interval is wider, and no fewer ratings are needed."""
        nothing = [Comparison(_rated(6, 10), _rated(6, 10))] * others
        few, many = (decide_together(dict(enumerate([one, *some])))[0] for some in (nothing, [*nothing, *nothing[:1]]))
        assert _width(many.always_valid_interval) >= _width(few.always_valid_interval)
        assert many.verdict in (Verdict.UNDECIDED, few.verdict)
        if many.needed is not None:
            assert few.needed is not None
            assert many.needed >= few.needed

    def test_the_level(self) -> None:
        """It is that of the first comparison that fails; later ones fail even if their own bound is lower."""
        assert holm_level([3.5, 9.0, 3.2]) == 0.025
        assert holm_level([9.0, 9.0]) == holm_level([]) == 0.05
        assert holm_level([1.0, 1.0, 9.0, 1.0]) == pytest.approx(0.05 / 3)


class TestPValue:
    def test_small_groups_are_exact(self) -> None:
        """By hand: 2 x 45 tables are less likely than the 2 x 1,200 as likely ones, of 125,970."""
        comparison = Comparison(_rated(3, 10), _rated(9, 10))
        assert comparison.is_exact
        assert comparison.p_value == pytest.approx((90 + 2_400 / 2) / 125_970)

    def test_repeated_authors(self) -> None:
        """With a design effect, the normal approximation of the effective counts: 1.5 of 5 and 4.5 of 5."""
        comparison = Comparison(_rated(3, 10), _rated(9, 10), 2.0, 2.0)
        assert not comparison.is_exact
        assert comparison.p_value == pytest.approx(0.0528, abs=0.0001)

    def test_large_groups(self) -> None:
        """From 200 thumbs on, the normal approximation, which is close to the exact value there."""
        comparison = Comparison(_rated(60, 100), _rated(75, 100))
        assert not comparison.is_exact
        assert comparison.p_value == pytest.approx(mid_p((60, 100), (75, 100)), rel=0.05)
        assert comparison.p_value == pytest.approx(0.02354, abs=0.00001)

    @pytest.mark.parametrize("positive", [0, 150])
    def test_without_any_variance(self, positive: int) -> None:
        """If all ratings are equal, there is nothing to explain."""
        assert Comparison(_rated(positive, 150), _rated(positive, 150)).p_value == 1.0


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
        [
            ((0, 1), (1, 1), 0.5),
            ((0, 2), (2, 2), 1 / 6),
            ((1, 2), (1, 2), 2 / 3),
            ((0, 3), (0, 3), 0.5),
            # Fisher's lady tasting tea: 3 of 4 cups right.
            ((1, 4), (3, 4), 18 / 70),
        ],
    )
    def test_known_tables(self, before: tuple[int, int], after: tuple[int, int], expected: float) -> None:
        """Equal to what the distribution gives."""
        assert mid_p(before, after) == pytest.approx(expected)
