"""A comment that is far too long is refused before its text is processed, for each way to submit."""

from collections.abc import Callable
from typing import Any

import pytest

import harken
from harken import Change, FeedbackRejected, Harken, RatingPolicy, Sentiment, Submission, Target
from support import a_submission

HOSTILE = "<b>" * 20_000
TARGET = Target("s", "m")


class Watching:
    """All three text adapters; they record the lengths of their texts."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def sanitize(self, text: str) -> str:
        self.seen.append(len(text))
        return text.replace("<b>", "")

    def is_spam(self, submission: Submission) -> bool:
        self.seen.append(len(submission.comment))
        return False

    def analyze(self, text: str) -> Sentiment:
        self.seen.append(len(text))
        return Sentiment(0.0, 0.0)


def connected(text: Watching, **options: Any) -> Harken:
    """A Harken with these text adapters."""
    return harken.connect("memory://", sanitizer=text, spam_filter=text, sentiment_analyzer=text, **options)


def submit_many(hk: Harken, comment: str) -> None:
    """Submit it as one of many."""
    (answer,) = hk.collection.submit_many([a_submission(comment=comment)])
    if isinstance(answer, FeedbackRejected):
        raise answer


def change(hk: Harken, comment: str) -> None:
    """Change a comment to this."""
    feedback = hk.submit("s", "up").feedback
    hk.collection.change(feedback.application, feedback.id, Change(comment=comment))


@pytest.mark.parametrize(
    "way",
    [
        lambda hk, comment: hk.submit("s", "up", comment),
        lambda hk, comment: hk.collection.submit_soon(a_submission(comment=comment)).result(),
        lambda hk, comment: hk.collection.set_vote(TARGET, "ann", "up", comment),
        submit_many,
        change,
    ],
    ids=["submit", "submit_soon", "set_vote", "submit_many", "change"],
)
def test_no_text_adapter_sees_it(way: Callable[[Harken, str], object]) -> None:
    """The usual violation has the length and the limit."""
    text = Watching()
    with connected(text) as hk:
        with pytest.raises(FeedbackRejected) as caught:
            way(hk, HOSTILE)
        assert not any(text.seen)
        assert [(one.field, one.code, one.message) for one in caught.value.violations] == [
            ("comment", "too_long", "Comment too long: 60000 characters (max: 1000)")
        ]
        way(hk, "<b>fine")
        assert max(text.seen) == len("<b>fine")


@pytest.mark.parametrize(
    ("options", "longest"),
    [
        ({}, 5_000),
        ({"max_comment_length": 10}, 1_040),
        ({"max_comment_length": 100_000}, 250_000),
        ({"policy": RatingPolicy.standard(max_comment_length=None)}, 250_000),
        ({"policy": RatingPolicy()}, 5_000),
    ],
)
def test_room_for_markup(options: dict[str, Any], longest: int) -> None:
    """Comments of up to four times the maximum plus 1,000 characters are sanitised first, and the result counts."""
    text = Watching()
    with connected(text, **options) as hk:
        comment = "<b>" * (longest // 3) + " " * (longest % 3)
        assert hk.submit("s", "up", comment).feedback.comment == ""
        text.seen.clear()
        with pytest.raises(FeedbackRejected, match=r"too long.*max"):
            hk.submit("s", "up", f"{comment} ")
        assert text.seen == []


def test_all_violations_are_reported() -> None:
    """Also those of other parts, and of the text itself."""
    with connected(Watching()) as hk, pytest.raises(FeedbackRejected) as caught:
        hk.collection.submit(a_submission(rating="great", comment=HOSTILE + "\0", tags=[""]))
    assert [(one.field, one.code) for one in caught.value.violations] == [
        ("rating", "unknown"),
        ("comment", "nul"),
        ("tags", "empty"),
        ("comment", "too_long"),
    ]


def test_middleware_may_shorten_a_comment() -> None:
    """Middleware runs first, as always, and its comment is checked."""

    def shortened(submission: Submission) -> Any:
        yield Submission(target=submission.target, rating="up", comment=submission.comment[:1_000])

    text = Watching()
    with connected(text, middleware=[shortened]) as hk:
        assert hk.submit("s", "up", "x" * 60_000).feedback.comment == "x" * 1_000
    assert max(text.seen) == 1_000
