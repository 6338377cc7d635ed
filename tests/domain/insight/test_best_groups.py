"""The largest groups, compared with each other."""

from hypothesis import example, given
from hypothesis import strategies as st

from harken import Estimate, Summary, Verdict
from harken.domain.insight.best_groups import best_groups


def _rated(positive: int, negative: int, effect: float = 1.0) -> Estimate:
    return Estimate(Summary(positive=positive, negative=negative), effect)


def test_the_best_two_differ() -> None:
    """They are named with their comparison, from the second to the first."""
    found = best_groups({"good": _rated(700, 300), "best": _rated(900, 100), "bad": _rated(100, 900)})
    assert found.compared == ("best", "good", "bad")
    assert found.best is not None
    assert (found.best.better, found.best.other) == ("best", "good")
    assert round(found.best.comparison.satisfaction_change) == 20
    assert found.best.comparison.verdict is Verdict.BETTER
    assert (found.clearest, found.left_out) == (None, 0)


def test_the_clearest_difference() -> None:
    """If the best two are too close to tell, it is the pair with the strongest evidence."""
    found = best_groups({"a": _rated(500, 500), "b": _rated(499, 501), "c": _rated(50, 950), "d": _rated(90, 910)})
    assert found.best is not None
    assert found.best.comparison.verdict is Verdict.UNDECIDED
    assert found.clearest is not None
    assert (found.clearest.better, found.clearest.other) == ("a", "c")


def test_pairs_are_decided_together() -> None:
    """A difference that is clear between two groups may be chance between 20; the range is that of all pairs."""
    two = {"a": _rated(688, 312), "b": _rated(600, 400)}
    alone, among = best_groups(two), best_groups(two | {str(number): _rated(12, 8) for number in range(18)})
    assert alone.best is not None
    assert among.best is not None
    assert alone.best.comparison.verdict is Verdict.BETTER
    assert among.best.comparison.verdict is Verdict.UNDECIDED
    assert (among.best.comparison.needed or 0) > 0


def test_repeated_authors() -> None:
    """Each side has the design effect of its group."""
    found = best_groups({"a": _rated(80, 20, 2.0), "b": _rated(60, 40, 3.0)})
    assert found.best is not None
    assert (found.best.comparison.before_effect, found.best.comparison.after_effect) == (3.0, 2.0)


def test_too_few() -> None:
    """Groups with less than 20 thumbs are not compared, and one group has no other."""
    assert best_groups({}).best is None
    found = best_groups({"few": _rated(19, 0), "enough": _rated(10, 10)})
    assert (found.compared, found.left_out, found.best) == (("enough",), 0, None)


@given(st.lists(st.integers(0, 200), max_size=60))
@example([20, 30, 19] * 10)
@example(list(range(60)))
def test_the_largest_are_compared(sizes: list[int]) -> None:
    """At most 20, and none that is left out is larger; of equal groups, the first comes first."""
    found = best_groups({place: _rated(size, 0) for place, size in enumerate(sizes)})
    enough = [place for place, size in enumerate(sizes) if size >= 20]
    assert len(found.compared) == min(20, len(enough))
    assert found.left_out == len(enough) - len(found.compared)
    assert list(found.compared) == sorted(enough, key=lambda place: (-sizes[place], place))[:20]
