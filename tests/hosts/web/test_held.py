"""Why feedback is held, in words."""

from datetime import UTC, datetime

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as some

from harken import Feedback, Moderation, ModerationStatus, Rating, RuleMatch, Target
from harken.domain.feedback import Content
from harken_adapters.hosts.web.held import held, marked

AT = datetime(2026, 3, 4, 12, tzinfo=UTC)
COMMENT = "Click here, please CLICK HERE for a limited offer"
PHRASES = RuleMatch("spam phrases", ((0, 10), (19, 29), (36, 49)))
LAWYER = RuleMatch("mentions a lawyer", ((12, 18),))
COPIES = RuleMatch("near-duplicates")


def entry(moderation: Moderation, comment: str = COMMENT) -> Feedback:
    """An entry with this moderation."""
    return Feedback(
        id="1",
        application="default",
        target=Target("s"),
        content=Content(rating=Rating.UP, comment=comment),
        created_at=AT,
        updated_at=AT,
        moderation=moderation,
    )


BY_HAND = Moderation(status=ModerationStatus.PENDING, moderator="Priya", decided_at=AT, reason="ask the author")


@pytest.mark.parametrize(
    ("moderation", "title", "more"),
    [
        (Moderation.held("Spam detected", (PHRASES,)), "Spam phrase “Click here”", "and “limited offer”"),
        (Moderation.held("Spam detected", (COPIES,)), "Nearly the same text several times", ""),
        (Moderation.held("Reads like spam (0.97)", (COPIES,)), "Reads like spam (0.97)", ""),
        (
            Moderation.held("Spam detected; no", (PHRASES, LAWYER)),
            "Spam phrase “Click here”",
            "and “limited offer” and mentions a lawyer “please”",
        ),
        (Moderation.held("mentions a lawsuit"), "Mentions a lawsuit", ""),
        (Moderation.held(""), "Held without a reason", ""),
        (BY_HAND, "Held again by Priya", ": ask the author"),
        (evolve(BY_HAND, is_undo=True, held_by=(LAWYER,)), "Mentions a lawyer “please”", ""),
    ],
)
def test_the_reason_in_words(moderation: Moderation, title: str, more: str) -> None:
    """The rule with what it matched; the text of the reason where nothing else is stored; who put it back by hand."""
    found = held(entry(moderation))
    assert (found.title, found.more) == (title, more)


@given(some.text(max_size=20), some.lists(some.tuples(some.integers(0, 25), some.integers(0, 25)), max_size=4))
def test_marks_change_no_text(comment: str, pairs: list[tuple[int, int]]) -> None:
    """The parts are the comment, and what is marked is what a rule matched, however its spans overlap."""
    spans = tuple((min(pair), max(pair)) for pair in pairs)
    parts = marked(entry(Moderation.held("x", (RuleMatch("a", spans[:2]), RuleMatch("b", spans[2:]))), comment))
    assert "".join(text for text, _ in parts) == comment
    expected = [any(start <= place < end for start, end in spans) for place in range(len(comment))]
    assert [is_hit for text, is_hit in parts for _ in text] == expected
