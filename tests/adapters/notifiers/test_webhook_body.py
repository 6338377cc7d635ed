"""The body of webhooks: its content and its maximum size."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from adapters.notifiers.receiver import a_notification
from harken import Feedback, Moderation, ModerationStatus, Rating, Sentiment
from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import AlertKind, Subject
from harken.domain.events import EventType
from harken.domain.feedback import Content, Context, Target
from harken.domain.instants import stamp
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
from harken.domain.session_change import change_events, change_of
from harken.ports.notifier import ErasedFeedback, Notification
from harken.testing import a_digest, a_session_change, with_content
from harken.testing.strategies import feedback_entries, later_versions, texts
from harken_adapters.formats.notification import body, notification_record
from support import NOON, a_feedback

KILOBYTES_20 = 20_000
#: Four bytes each in UTF-8.
WIDE = "\U0001f600"
#: Internal fields and earlier versions, which are never sent.
NEVER = {"idempotency_key", "fingerprint", "later_keys", "revisions"}
WORDS = {"comment", "context", "tags", "reply", "sentiment", "moderation"}


def data_of(notification: Notification, **options: Any) -> dict[str, Any]:
    """The data as a receiver reads it."""
    data: dict[str, Any] = json.loads(body(notification, **options))["data"]
    return data


def about(feedback: Feedback, type: EventType = EventType.CREATED, **parts: Any) -> Notification:  # noqa: A002
    """A notification about this feedback."""
    return a_notification(feedback=feedback, type=type, application=feedback.application, **parts)


@st.composite
def histories(draw: st.DrawFn) -> Feedback:
    """Feedback with any history, some of it with very long texts."""
    feedback = draw(feedback_entries())
    for _ in range(draw(st.integers(0, 3))):
        feedback = draw(later_versions(feedback))
    if draw(st.booleans()):
        character = draw(st.characters(codec="utf-8", exclude_characters="\x00"))
        long = st.integers(0, 8_000).map(lambda times: character * times)
        feedback = evolve(with_content(feedback, comment=draw(long)), reply=draw(st.none() | long))
    return feedback


@given(histories(), st.none() | texts(), st.sampled_from(EventType))
def test_the_body_is_json_below_20_kb(feedback: Feedback, text: str | None, type: EventType) -> None:  # noqa: A002
    """For any content, the body is compact JSON with three members, below the limit."""
    encoded = body(about(feedback, type, text=text))
    record = json.loads(encoded)
    assert len(encoded) < KILOBYTES_20
    assert list(record) == ["type", "timestamp", "data"]
    assert record["data"]["id"] == feedback.id
    assert record["data"]["application"] == feedback.application
    assert not NEVER & set(record["data"])


@given(histories(), st.none() | texts(), st.integers(2_000, 30_000))
def test_a_body_is_cut_as_little_as_needed(feedback: Feedback, text: str | None, limit: int) -> None:
    """A body within the limit is complete; a larger one is marked, and only its context and texts are cut."""
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


def test_the_largest_valid_feedback() -> None:
    """All values have the maximum length in characters of four bytes: ids and tags are complete, texts are cut."""
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
            status=ModerationStatus.REJECTED,
            reason=WIDE * 1000,
            moderator=label,
            previous=ModerationStatus.PENDING,
            previous_reason=WIDE * 1000,
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


def test_the_context_is_removed_first() -> None:
    """Texts are complete if removing the context is enough."""
    feedback = a_feedback(comment="Too slow", context=Context({f"name-{n}": "x" * 1000 for n in range(30)}))
    data = data_of(about(feedback, text="Bad news"))
    assert (data["truncated"], data["context"]) == (True, {})
    assert (data["comment"], data["text"]) == ("Too slow", "Bad news")


def test_lone_surrogates_are_replaced() -> None:
    """A template can produce a lone surrogate, which is replaced."""
    assert data_of(about(a_feedback(), text="half \ud83d"))["text"] == "half ?"


# --- withdrawn feedback -----------------------------------------------------------------------------------------------


@given(histories(), st.sampled_from(EventType))
def test_the_content_of_withdrawn_feedback_is_not_sent(feedback: Feedback, type: EventType) -> None:  # noqa: A002
    """After a withdrawal no notification has the content, not even a late one of an earlier event."""
    marked = with_content(
        feedback, comment="marked-comment", tags=("marked-tag",), context=Context({"marked-name": "marked-value"})
    )
    marked = evolve(marked, reply="marked-reply").withdraw(at=NOON)
    encoded = body(about(marked, type))
    assert b"marked" not in encoded
    assert not (WORDS | NEVER) & set(json.loads(encoded)["data"])


def test_a_withdrawal_has_no_content_of_a_later_vote() -> None:
    """The notification has no content, even if the author has voted again meanwhile."""
    data = data_of(about(a_feedback(comment="again"), EventType.WITHDRAWN))
    assert not (WORDS | NEVER) & set(data)
    assert (data["id"], data["rating"], data["session_id"], data["version"]) == ("f", "up", "s", 1)


def test_earlier_versions_are_not_sent() -> None:
    """An update has only the new content."""
    feedback = a_feedback(comment="hidden", rating=Rating.DOWN)
    corrected = feedback.revised(Content(Rating.DOWN, "shown"), at=NOON + timedelta(minutes=1))
    encoded = body(about(corrected, EventType.UPDATED))
    assert b"hidden" not in encoded
    assert b"shown" in encoded


def test_a_reason_is_withheld_with_the_content() -> None:
    """The reason of a decision may quote the content, so it is withheld with it."""
    rejected = a_feedback(comment="marked", fingerprint="digest").moderated(
        APPROVED.decide(ModerationStatus.REJECTED, at=NOON, moderator="mo", reason="it says marked"), at=NOON
    )
    withheld = about(rejected.without_words(), EventType.MODERATED)
    moderation = data_of(withheld)["moderation"]
    assert b"marked" not in body(withheld)
    assert (moderation["reason"], moderation["moderator"]) == ("", "mo")
    assert data_of(about(rejected, EventType.MODERATED))["moderation"]["reason"] == "it says marked"
    undone = rejected.moderated(rejected.moderation.undo(at=NOON), at=NOON)
    assert b"marked" not in body(about(undone.without_words(), EventType.MODERATED))


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


def test_the_body_of_an_alert() -> None:
    """A raised alert has its rule, subject, message, counts and times; ``resolved_at`` is null."""
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
            "version": 1,
        },
    }


def test_an_erasure_has_ids_only() -> None:
    """An erasure has the id, application and session, named as in other events."""
    erased = ErasedFeedback("f-1", "s-1")
    notification = a_notification(feedback=None, erased=erased, type=EventType.ERASED, application="shop")
    assert json.loads(body(notification)) == {
        "type": "feedback.erased",
        "timestamp": stamp(notification.occurred_at),
        "data": {"id": "f-1", "application": "shop", "session_id": "s-1"},
    }


def test_a_resolved_alert() -> None:
    """A resolved alert has ``resolved_at``."""
    resolved = ALERT.resolved(at=datetime(2026, 3, 4, 14, tzinfo=UTC))
    data = data_of(a_notification(feedback=None, alert=resolved, type=EventType.ALERT_RESOLVED))
    assert data["resolved_at"] == "2026-03-04T14:00:00.000000Z"


def test_an_alert_with_many_ids_is_cut() -> None:
    """Feedback ids beyond the limit are removed, and the message is complete."""
    alert = evolve(ALERT, feedback_ids=tuple(f"0199f3b4-6bb3-7c8e-a4f1-{number:012}" for number in range(2_000)))
    notification = a_notification(feedback=None, alert=alert, type=EventType.ALERT_RAISED)
    data = data_of(notification)
    assert KILOBYTES_20 - 50 < len(body(notification)) < KILOBYTES_20
    assert data["truncated"] is True
    assert data["message"] == ALERT.message
    assert tuple(data["feedback_ids"]) == alert.feedback_ids[: len(data["feedback_ids"])]


def test_a_change_of_a_session() -> None:
    """The session, the operation, and the names with their values; nothing else of the session's metadata."""
    change = a_session_change({"tier": "pro", "seats": [1, None]}, current={"secret": 1})
    record = json.loads(body(a_notification(feedback=None, type=EventType.SESSION_UPDATED, session=change)))
    assert record["type"] == "session.metadata_updated"
    assert record["data"] == {
        "application": "default",
        "session_id": "session",
        "operation": "update",
        "names": ["seats", "tier"],
        "metadata": {"tier": "pro", "seats": [1, None]},
    }
    deleted = a_session_change({"tier": None}, operation="delete", current={})
    notification = a_notification(feedback=None, type=EventType.SESSION_UPDATED, session=deleted)
    assert data_of(notification)["metadata"] == {"tier": None}


def test_large_values_of_metadata_are_left_out() -> None:
    """The receiver gets the session and the names, with which it can read them, and the values that fit."""
    change = a_session_change({"large": "x" * KILOBYTES_20, "small": 1, "none": None})
    data = data_of(a_notification(feedback=None, type=EventType.SESSION_UPDATED, session=change))
    assert (data["session_id"], data["names"]) == ("session", ["large", "none", "small"])
    assert (data["metadata"], data["truncated"]) == ({"small": 1, "none": None}, True)


@given(
    names=st.lists(st.text(st.sampled_from('aß"\\\uffff\U0001f600'), min_size=1, max_size=50), min_size=1),
    times=st.integers(1, 20),
    value=st.sampled_from([None, 1, "x" * 1_000]),
    text=st.sampled_from([None, "", WIDE * KILOBYTES_20]),
)
def test_names_of_metadata_are_never_cut(names: list[str], times: int, value: object, text: str | None) -> None:
    """Together, the notifications of a change have every name; those of a deletion have every value, too."""
    metadata = {name * times: value for name in names}
    label = WIDE * MAX_ID_LENGTH
    sent = []
    for event in change_events(label, label, "update", metadata, event_id="e", at=NOON):
        change = change_of(event, metadata)
        notification = a_notification(feedback=None, type=event.type, application=label, session=change, text=text)
        assert len(body(notification)) < KILOBYTES_20
        data = data_of(notification)
        sent += data["names"]
        if value is None and not text:
            assert data["metadata"] == dict.fromkeys(change.names)
    assert sent == sorted(metadata)


@given(st.dictionaries(st.text(max_size=5), st.integers(0, 9_000).map("ß".__mul__), min_size=1, max_size=9))
def test_as_many_values_are_sent_as_fit(metadata: dict[str, str]) -> None:
    """The body never exceeds the limit, and a value is left out only if there is no room for it."""
    change = a_session_change(metadata)
    notification = a_notification(feedback=None, type=EventType.SESSION_UPDATED, session=change)
    size = len(body(notification))
    left_out = metadata.keys() - data_of(notification)["metadata"].keys()
    assert size < KILOBYTES_20
    assert all(
        size + len(json.dumps({name: metadata[name]}, ensure_ascii=False).encode()) >= KILOBYTES_20 for name in left_out
    )


def test_a_digest() -> None:
    """The statistics of the week and of each day, and the issues with ids, by which a receiver can erase them."""
    digest = a_digest("Too slow for me")
    record = json.loads(body(a_notification(feedback=None, type=EventType.DIGEST, digest=digest)))
    (example,) = digest.quoted
    data = record["data"]
    assert record["type"] == "digest"
    assert (data["since"], data["until"]) == ("2025-12-29T00:00:00+00:00", "2026-01-05T00:00:00+00:00")
    assert (data["finding"], data["satisfaction_change"]) == ("fell", -30.0)
    assert data["always_valid_interval"] == {"low": -58.8, "high": -1.2}
    statistics = {"total_feedbacks": 100, "positive": 50, "negative": 50, "neutral": 0, "satisfaction_score": 50.0}
    assert data["statistics"] == statistics
    assert data["issues"] == [
        {
            "name": "slow",
            "count": 25,
            "share": 50.0,
            "verdict": "more frequent",
            "example": {"id": example, "comment": "Too slow for me"},
        }
    ]
