"""Groups that are new, or gone."""

from harken import Summary
from harken.domain.insight.mix import mix


def test_a_new_group_is_named_and_taken_out() -> None:
    """The total fell because a group with low ratings came; without it nothing changed."""
    before = {"delta": Summary(positive=80, negative=20), "united": Summary(positive=80, negative=20)}
    after = {**before, "american": Summary(positive=10, negative=190)}
    found = mix(before, after)
    assert (found.new, found.gone) == (("american",), ())
    assert found.without.satisfaction_change == 0


def test_a_group_that_is_gone_is_named() -> None:
    """A group that hardly has ratings any more counts as gone."""
    before = {"a": Summary(positive=500), "b": Summary(positive=100, negative=100)}
    after = {"a": Summary(positive=1), "b": Summary(positive=100, negative=100)}
    found = mix(before, after)
    assert (found.new, found.gone) == ((), ("a",))
    assert found.without.satisfaction_change == 0


def test_the_same_groups_are_compared_whole() -> None:
    """Nothing is new: the comparison is that of the totals."""
    before, after = {None: Summary(positive=5, negative=5)}, {None: Summary(positive=6, negative=4)}
    found = mix(before, after)
    assert (found.new, found.gone) == ((), ())
    assert found.without.satisfaction_change == 10
