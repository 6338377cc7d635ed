"""The limits of the history of feedback."""

from datetime import timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from harken import Content, Context, Feedback, Rating
from harken.domain.history import MAX_LATER_KEYS, MAX_REVISIONS, limit_history
from harken.domain.rules import MAX_FEEDBACK_BYTES, MAX_TEXT_LENGTH, restore_violations, size_problem
from support import NOON, a_feedback

_LONGEST = "\U0001f44d" * MAX_TEXT_LENGTH
_FULL = Context({f"{number:02}{'é' * 98}": "\U0001f44d" * 1_000 for number in range(50)})

#: Comments of several sizes, from empty to the maximum.
_CONTENT = st.sampled_from(["", "short", "x" * 80_000, _LONGEST])
_LARGE = st.tuples(_CONTENT, st.sampled_from([None, "Sorry", _LONGEST]), st.booleans(), st.integers(1, 4))
_MANY = st.tuples(st.just("short"), st.none(), st.just(False), st.sampled_from([30, 105]))


def _changed(feedback: Feedback, comment: str, *, full: bool, key: str) -> Feedback:
    content = Content(
        Rating.DOWN if feedback.rating is Rating.UP else Rating.UP,
        comment,
        context=_FULL if full else Context(),
        tags=("\U0001f44d" * 100,) * 20 if full else (),
    )
    moderation = evolve(feedback.moderation, reason=_LONGEST if full else "")
    at = feedback.updated_at + timedelta(minutes=1)
    revised = feedback.revised(content, at=at, moderation=moderation)
    return limit_history(evolve(revised, later_keys=(*revised.later_keys, (key, "f" * 64))))


@pytest.mark.slow
@given(st.lists(_LARGE | _MANY, max_size=5))
def test_the_history_is_bounded_after_any_changes(changes: list[tuple[str, str | None, bool, int]]) -> None:
    """The first and latest revisions are kept, versions ascend, and the size and number of revisions are bounded."""
    feedback = a_feedback(comment=_LONGEST, context=_FULL, vote=True, author="ann")
    replaced = []
    for comment, reply, full, times in changes:
        for _ in range(times):
            feedback = feedback.answered(reply, at=feedback.updated_at)
            replaced.append(feedback.version)
            feedback = _changed(feedback, comment, full=full, key=f"{len(replaced):0200}")
            assert size_problem(feedback) is None
            versions = [revision.version for revision in feedback.revisions]
            assert versions == sorted(set(versions))
            assert (versions[0], versions[-1]) == (replaced[0], replaced[-1])
            assert len(versions) <= MAX_REVISIONS
            # The removed revisions are consecutive, directly after the first one.
            assert versions[1:] == replaced[len(replaced) - len(versions) + 1 :]
            assert feedback.later_keys[-1][0] == f"{len(replaced):0200}"
            assert len(feedback.later_keys) <= MAX_LATER_KEYS
    assert list(restore_violations(feedback)) == []


def test_only_necessary_revisions_are_removed() -> None:
    """Up to 100 small revisions are kept, and as many large ones as fit."""
    feedback = a_feedback()
    for number in range(MAX_REVISIONS):
        feedback = _changed(feedback, "short", full=False, key=str(number))
    assert len(feedback.revisions) == MAX_REVISIONS
    large = a_feedback(comment="x" * MAX_TEXT_LENGTH, created_at=NOON)
    for number in range(60):
        large = _changed(large, "x" * MAX_TEXT_LENGTH, full=False, key=str(number))
    assert len(large.revisions) == MAX_FEEDBACK_BYTES // MAX_TEXT_LENGTH - 2
