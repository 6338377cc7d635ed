"""The errors: messages, base classes and pickling."""

import inspect
import pickle
import re
from datetime import timedelta

import pytest

import harken
from harken import (
    DecisionConflict,
    FeedbackNotFound,
    FeedbackRejected,
    HarkenError,
    IdempotencyConflict,
    Moderation,
    SearchNotReady,
    Violation,
)
from harken.domain import errors

TREE = [value for value in vars(errors).values() if inspect.isclass(value) and issubclass(value, Exception)]
VIOLATIONS = [Violation("comment", "spam", "Spam detected"), Violation("author", "empty", "author must not be empty")]
SPECIAL: dict[type[HarkenError], HarkenError] = {
    FeedbackRejected: FeedbackRejected(VIOLATIONS),
    IdempotencyConflict: IdempotencyConflict(VIOLATIONS[:1]),
    FeedbackNotFound: FeedbackNotFound("shop", "f1"),
    SearchNotReady: SearchNotReady(40_960, 1_204_331, retry_after=timedelta(seconds=70)),
    DecisionConflict: DecisionConflict("f1", 2, Moderation.held("spam")),
}


@pytest.mark.parametrize("kind", TREE)
def test_all_are_harken_errors_and_public(kind: type[HarkenError]) -> None:
    """``HarkenError`` is the base of all errors, and every error can be imported from the package."""
    assert issubclass(kind, HarkenError)
    assert getattr(harken, kind.__name__) is kind


@pytest.mark.parametrize("kind", TREE)
def test_pickle_round_trip(kind: type[HarkenError]) -> None:
    """An error raised in a worker process arrives with all its attributes."""
    error = SPECIAL.get(kind) or kind("what went wrong")
    arrived = pickle.loads(pickle.dumps(error))
    assert type(arrived) is kind
    assert str(arrived) == str(error)
    assert vars(arrived) == vars(error)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    """The docstring's tree contains every error with its base from the standard library."""
    drawing = inspect.getdoc(errors) or ""
    for kind in TREE:
        bases = [base.__name__ for base in kind.__bases__ if base.__module__ == "builtins" and base is not Exception]
        drawn = f"{kind.__name__} ({bases[0]})" if bases else kind.__name__
        assert re.search(rf"[ ]{re.escape(drawn)}(\s|$)", drawing)


def test_a_rejection_has_all_messages() -> None:
    """The message joins the messages of all violations."""
    error = FeedbackRejected(VIOLATIONS)
    assert str(error) == "Spam detected; author must not be empty"
    assert error.violations == tuple(VIOLATIONS)
    with pytest.raises(ValueError, match=r"^Spam detected; author"):
        raise error


def test_feedback_not_found() -> None:
    """The error is a ``LookupError`` with the id and the application in its message."""
    with pytest.raises(LookupError, match="No feedback with id 'f1' in application 'shop'"):
        raise FeedbackNotFound("shop", "f1")
