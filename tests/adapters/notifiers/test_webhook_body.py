"""What is in a webhook's body, and that it is never too large."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from adapters.notifiers.receiver import a_notification
from harken import Feedback, Moderation, ModerationStatus, Rating, Sentiment
from harken.domain.alerts.alert import Alert, AlertKind, Subject
from harken.domain.events import EventType
from harken.domain.feedback import Content, Context, Target
from harken.domain.moderation import APPROVED
from harken.domain.rules import (
    MAX_COMMENT_LENGTH,
    MAX_CONTEXT_KEYS,
    MAX_CONTEXT_NAME_LENGTH,
    MAX_CONTEXT_VALUE_LENGTH,
    MAX_ID_LENGTH,
    MAX_TAG_LENGTH,
    MAX_TAGS,
)
from harken.ports.notifier import ErasedFeedback, Notification
from harken.testing.strategies import changed, feedback_entries, texts
from harken_adapters.formats.notification import body, notification_record
from harken_adapters.formats.record import stamp
from support import NOON, a_feedback

KILOBYTES_20 = 20_000
#: Four bytes each in UTF-8.
WIDE = "\U0001f600"
#: What is kept for Harken's own use, and what was said before.
NEVER = {"idempotency_key", "fingerprint", "later_keys", "revisions"}
WORDS = {"comment", "context", "tags", "reply", "sentiment", "moderation"}


def data_of(notification: Notification, **options: Any) -> dict[str, Any]:
    """The data as a receiver reads it."""
    data: dict[str, Any] = json.loads(body(notification, **options))["data"]
    return data


def about(feedback: Feedback, type: EventType = EventType.CREATED, **parts: Any) -> Notification:  # noqa: A002
    """News of this feedback."""
    return a_notification(feedback=feedback, type=type, application=feedback.application, **parts)


@st.composite
def histories(draw: st.DrawFn) -> Feedback:
    """Feedback after anything that can happen to it, some of it with a great deal to say."""
    feedback = draw(feedback_entries())
    for _ in range(draw(st.integers(0, 3))):
        feedback = draw(changed(feedback))
    if draw(st.booleans()):
        character = draw(st.characters(codec="utf-8", exclude_characters="\x00"))
        long = st.integers(0, 8_000).map(lambda times: character * times)
        feedback = evolve(feedback.with_content(comment=draw(long)), reply=draw(st.none() | long))
    return feedback


@given(histories(), st.none() | texts(), st.sampled_from(EventType))
def test_it_is_always_json_under_20_kb(feedback: Feedback, text: str | None, type: EventType) -> None:  # noqa: A002
    """Whatever was said, in whatever script: the body is compact JSON of the same three parts, small enough."""
    encoded = body(about(feedback, type, text=text))
    record = json.loads(encoded)
    assert len(encoded) < KILOBYTES_20
    assert list(record) == ["type", "timestamp", "data"]
    assert record["data"]["id"] == feedback.id
    assert record["data"]["application"] == feedback.application
    assert not NEVER & set(record["data"])


@given(histories(), st.none() | texts(), st.integers(2_000, 30_000))
def test_what_is_cut_is_as_little_as_needed(feedback: Feedback, text: str | None, limit: int) -> None:
    """What fits is whole; what does not has lost its context and ends of texts, says so, and has lost nothing else."""
    notification = about(feedback, text=text)
    whole = json.loads(json.dumps(notification_record(notification)["data"]))
    data = data_of(notification, limit=limit)
    assert len(body(notification, limit=limit)) < limit
    if not data.pop("truncated", False):
        assert data == whole
        return
    assert data["context"] == {}
    for name in ("comment", "reply", "text"):
        assert (whole.get(name) or "").startswith(data.get(name) or "")
    shortened = {"context", "comment", "reply", "text", "tags", "moderation"}
    assert {name: data[name] for name in data.keys() - shortened} == {
        name: whole[name] for name in whole.keys() - shortened
    }


def test_the_largest_feedback_that_rules_let_through() -> None:
    """Everything as long as it may be, in characters of four bytes: ids and tags stay, and as many words as fit."""
    label = WIDE * MAX_ID_LENGTH
    feedback = Feedback(
        id=label,
        application=label,
        target=Target(label, label, label),
        content=Content(
            Rating.DOWN,
            comment=WIDE * MAX_COMMENT_LENGTH,
            tags=tuple(WIDE * (MAX_TAG_LENGTH - 2) + f"{number:02}" for number in range(MAX_TAGS)),
            context=Context(
                {
                    f"{WIDE * (MAX_CONTEXT_NAME_LENGTH - 2)}{number:02}": WIDE * MAX_CONTEXT_VALUE_LENGTH
                    for number in range(MAX_CONTEXT_KEYS)
                }
            ),
            sentiment=Sentiment(-1, 1),
        ),
        author=label,
        moderation=Moderation(
            status=ModerationStatus.REJECTED, reason=WIDE * 1000, moderator=label, previous=ModerationStatus.PENDING
        ),
        reply=WIDE * 1000,
        created_at=NOON,
        updated_at=NOON,
    )
    notification = about(feedback, text=WIDE * 10_000)
    data = data_of(notification)
    assert KILOBYTES_20 - 50 < len(body(notification)) < KILOBYTES_20
    assert data["truncated"] is True
    assert (data["id"], data["author"], data["session_id"]) == (label, label, label)
    assert data["tags"] == list(feedback.tags)
    assert set(data["comment"]) == set(data["text"]) == {WIDE}


def test_the_context_goes_before_any_word_does() -> None:
    """If it is enough to leave the context out, what people wrote is whole."""
    feedback = a_feedback(comment="Too slow", context=Context({f"name-{n}": "x" * 1000 for n in range(30)}))
    data = data_of(about(feedback, text="Bad news"))
    assert (data["truncated"], data["context"]) == (True, {})
    assert (data["comment"], data["text"]) == ("Too slow", "Bad news")


def test_half_a_character_does_no_harm() -> None:
    """A template that leaves half a character behind makes no body that receivers cannot read."""
    assert data_of(about(a_feedback(), text="half \ud83d"))["text"] == "half ?"


# --- withdrawn feedback -----------------------------------------------------------------------------------------------


@given(histories(), st.sampled_from(EventType))
def test_the_words_of_withdrawn_feedback_are_not_sent(feedback: Feedback, type: EventType) -> None:  # noqa: A002
    """Once it was taken back nobody is told what it said, not even by news of earlier that arrive late."""
    marked = feedback.with_content(
        comment="marked-comment", tags=("marked-tag",), context=Context({"marked-name": "marked-value"})
    )
    marked = evolve(marked, reply="marked-reply").withdraw(at=NOON)
    encoded = body(about(marked, type))
    assert b"marked" not in encoded
    assert not (WORDS | NEVER) & set(json.loads(encoded)["data"])


def test_news_of_a_withdrawal_has_no_words_of_what_came_after() -> None:
    """News that feedback was deleted has none of its words, even if its author has given it anew meanwhile."""
    data = data_of(about(a_feedback(comment="again"), EventType.WITHDRAWN))
    assert not (WORDS | NEVER) & set(data)
    assert (data["id"], data["rating"], data["session_id"], data["version"]) == ("f", "up", "s", 1)


def test_what_was_said_before_is_not_sent() -> None:
    """A correction takes back what it replaces."""
    feedback = a_feedback(comment="hidden", rating=Rating.DOWN)
    corrected = feedback.revised(Content(Rating.DOWN, "shown"), at=NOON + timedelta(minutes=1))
    encoded = body(about(corrected, EventType.UPDATED))
    assert b"hidden" not in encoded
    assert b"shown" in encoded


def test_a_reason_is_withheld_with_the_words_that_it_may_quote() -> None:
    """The reason of a decision is sent with the words of the feedback, and left out where these are."""
    rejected = a_feedback(comment="marked", fingerprint="digest").moderated(
        APPROVED.decide(ModerationStatus.REJECTED, at=NOON, moderator="mo", reason="it says marked"), at=NOON
    )
    withheld = about(rejected.without_words(), EventType.MODERATED)
    moderation = data_of(withheld)["moderation"]
    assert b"marked" not in body(withheld)
    assert (moderation["reason"], moderation["moderator"]) == ("", "mo")
    assert data_of(about(rejected, EventType.MODERATED))["moderation"]["reason"] == "it says marked"


# --- alerts -----------------------------------------------------------------------------------------------------------

ALERT = Alert(
    id="alert_1",
    application="shop",
    rule="three downs",
    kind=AlertKind.STREAK,
    subject=Subject("agent", "helper"),
    message="3 thumbs-down ratings in a row for agent helper",
    figures={"downs": 3},
    feedback_ids=("a", "b", "c"),
    began_at=NOON,
    raised_at=NOON + timedelta(minutes=2),
)


def test_an_alert_is_told_with_all_that_was_found() -> None:
    """News of an alert has its rule, subject, sentence, figures and times, and no end while it stands."""
    record = json.loads(
        body(a_notification(feedback=None, alert=ALERT, type=EventType.ALERT_RAISED, occurred_at=ALERT.raised_at))
    )
    assert record == {
        "type": "alert.raised",
        "timestamp": "2026-03-04T12:02:00.000000Z",
        "data": {
            "id": "alert_1",
            "application": "shop",
            "rule": "three downs",
            "kind": "streak",
            "subject": {"by": "agent", "value": "helper"},
            "message": "3 thumbs-down ratings in a row for agent helper",
            "figures": {"downs": 3},
            "feedback_ids": ["a", "b", "c"],
            "began_at": "2026-03-04T12:00:00.000000Z",
            "raised_at": "2026-03-04T12:02:00.000000Z",
            "resolved_at": None,
        },
    }


def test_an_erasure_has_ids_only() -> None:
    """Of feedback that was erased there are its id, its application and its session, named as in other events."""
    erased = ErasedFeedback("f-1", "s-1")
    notification = a_notification(feedback=None, erased=erased, type=EventType.ERASED, application="shop")
    assert json.loads(body(notification)) == {
        "type": "feedback.erased",
        "timestamp": stamp(notification.occurred_at),
        "data": {"id": "f-1", "application": "shop", "session_id": "s-1"},
    }


def test_an_alert_that_ended_says_when() -> None:
    """News that an alert was resolved has the time of that, as the time of the news and in the data."""
    over = ALERT.resolved(at=datetime(2026, 3, 4, 14, tzinfo=UTC))
    data = data_of(a_notification(feedback=None, alert=over, type=EventType.ALERT_RESOLVED))
    assert data["resolved_at"] == "2026-03-04T14:00:00.000000Z"


def test_an_alert_of_very_much_feedback_is_cut_too() -> None:
    """Ids of feedback beyond what fits are left out, and the sentence stays."""
    alert = evolve(ALERT, feedback_ids=tuple(f"0199f3b4-6bb3-7c8e-a4f1-{number:012}" for number in range(2_000)))
    notification = a_notification(feedback=None, alert=alert, type=EventType.ALERT_RAISED)
    data = data_of(notification)
    assert KILOBYTES_20 - 50 < len(body(notification)) < KILOBYTES_20
    assert data["truncated"] is True
    assert data["message"] == ALERT.message
    assert tuple(data["feedback_ids"]) == alert.feedback_ids[: len(data["feedback_ids"])]
