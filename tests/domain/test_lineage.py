"""Whether feedback is an earlier version of other feedback."""

from datetime import timedelta

from attrs import evolve

from harken.domain.feedback import Feedback
from harken.domain.lineage import precedes
from support import NOON, a_feedback


def edit(feedback: Feedback, *comments: str) -> Feedback:
    """Return the feedback after these changes, one minute apart."""
    for comment in comments:
        at = feedback.updated_at + timedelta(minutes=1)
        feedback = feedback.revised(evolve(feedback.content, comment=comment), at=at)
    return feedback


def test_a_version_precedes_all_later_versions() -> None:
    """Each version precedes those that were derived from it, and no other."""
    versions = [edit(a_feedback("f", comment="a"), *"bcd"[:number]) for number in range(4)]
    for place, one in enumerate(versions):
        assert [precedes(one, other) for other in versions] == [place < number for number in range(4)]


def test_a_history_with_an_unexplained_gap_is_another_history() -> None:
    """A short history with a gap cannot be the result of the size limit, so it is not the same history."""
    earlier = edit(a_feedback("f", comment="a"), "b", "c")
    later = edit(earlier, "d")
    first, _, *others = later.revisions
    assert precedes(earlier, later)
    assert not precedes(earlier, evolve(later, revisions=(first, *others)))


def test_feedback_with_another_beginning_does_not_precede() -> None:
    """Equal ids and times are not sufficient."""
    assert not precedes(edit(a_feedback("f", comment="x"), "b"), edit(a_feedback("f", comment="a"), "b", "c"))
    assert not precedes(a_feedback("f", comment="x"), edit(a_feedback("f", comment="a"), "b"))
    assert a_feedback("f").created_at == NOON
