"""Whether feedback is an earlier version of other feedback."""

from datetime import timedelta

from attrs import evolve

from harken.domain.feedback import Feedback
from harken.domain.lineage import precedes
from support import NOON, a_feedback


def edited(feedback: Feedback, *comments: str) -> Feedback:
    """The feedback after these changes, a minute apart."""
    for comment in comments:
        at = feedback.updated_at + timedelta(minutes=1)
        feedback = feedback.revised(evolve(feedback.content, comment=comment), at=at)
    return feedback


def test_an_earlier_version_precedes_all_later_ones() -> None:
    """Each version precedes those that were made of it, and no other."""
    versions = [edited(a_feedback("f", comment="a"), *"bcd"[:number]) for number in range(4)]
    for place, one in enumerate(versions):
        assert [precedes(one, other) for other in versions] == [place < number for number in range(4)]


def test_a_history_with_a_gap_that_no_folding_made_is_another_one() -> None:
    """A short history of which a part is missing was not folded, so it is not the same feedback's."""
    earlier = edited(a_feedback("f", comment="a"), "b", "c")
    later = edited(earlier, "d")
    first, _, *others = later.revisions
    assert precedes(earlier, later)
    assert not precedes(earlier, evolve(later, revisions=(first, *others)))


def test_feedback_that_began_differently_does_not_precede() -> None:
    """Equal ids and times are not enough."""
    assert not precedes(edited(a_feedback("f", comment="x"), "b"), edited(a_feedback("f", comment="a"), "b", "c"))
    assert not precedes(a_feedback("f", comment="x"), edited(a_feedback("f", comment="a"), "b"))
    assert a_feedback("f").created_at == NOON
