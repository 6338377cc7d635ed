"""Groups on one axis."""

from harken import Estimate, Summary
from harken.domain.insight.ranking import MOST_RANKED, count_thumbs, rank
from harken.domain.insight.sampling import AuthorRatings

TOTAL = Estimate(Summary(positive=1, negative=1), 1.0)


def _rated(positive: int, negative: int, effect: float = 1.0) -> Estimate:
    return Estimate(Summary(positive=positive, negative=negative), effect)


def test_the_order_of_groups() -> None:
    """The best first; those with fewer than 20 thumbs last, at any satisfaction."""
    groups = {"few": _rated(19, 0), "bad": _rated(5, 95), "good": _rated(90, 10), "fewer": _rated(3, 0)}
    found = rank(groups, None, TOTAL)
    assert [one.key for one in found.groups] == ["good", "bad", "few", "fewer"]
    assert [one.has_enough for one in found.groups] == [True, True, False, False]
    assert (found.pairs, found.found) == (1, 4)
    assert found.best.best is not None
    assert (found.best.best.better, found.best.best.other) == ("good", "bad")


def test_changes() -> None:
    """Each group has its change; one with fewer than 20 thumbs before is new, and decides nothing about others."""
    groups = {"fell": _rated(500, 500), "same": _rated(800, 200), "new": _rated(10, 90)}
    earlier = {"fell": _rated(800, 200), "same": _rated(790, 210), "new": _rated(9, 10), "gone": _rated(10, 10)}
    found = {one.key: one for one in rank(groups, earlier, TOTAL).groups}
    assert found.keys() == groups.keys()
    assert [one.change.direction for one in found.values() if one.change] == [0, -1, 0]
    assert [one.is_new for one in found.values()] == [False, False, True]
    assert [one.change for one in rank(groups, None, TOTAL).groups] == [None] * 3
    assert not any(one.is_new for one in rank(groups, None, TOTAL).groups)


def test_many_groups() -> None:
    """The 50 with the most thumbs are ranked, and all are counted."""
    groups = {str(number): _rated(number, number) for number in range(1, 201)}
    found = rank(groups, groups, TOTAL)
    assert {one.key for one in found.groups} == {str(number) for number in range(151, 201)}
    assert len(found.groups) == MOST_RANKED
    assert (found.found, found.pairs) == (200, 190)


def test_thumbs_of_authors() -> None:
    """Groups of authors' thumbs have their sums and their design effects."""
    ratings = [AuthorRatings("a", "one", 10, 10), AuthorRatings("a", "two", 10, 0), AuthorRatings("b", "one", 1, 1)]
    found = count_thumbs(ratings)
    assert {key: one.summary for key, one in found.items()} == {
        "a": Summary(positive=10, negative=10),
        "b": Summary(positive=1),
    }
    assert found["a"].design_effect > 5
    assert found["b"].design_effect == 1
