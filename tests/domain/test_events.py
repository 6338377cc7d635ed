"""Events and deliveries."""

from datetime import timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from harken.domain.events import Delivery, DeliveryState, Event, EventType, erasure_deliveries, event_order, is_answer
from support import NOON, a_feedback

identities = st.tuples(st.text(min_size=1, max_size=3), st.text(min_size=1, max_size=3), st.integers(1, 12))


def event_of(application: str, feedback_id: str, version: int) -> Event:
    """The event of one version of feedback."""
    feedback = a_feedback(feedback_id, application=application, version=version)
    return Event.about(feedback, EventType.UPDATED)


@given(st.lists(identities, unique=True, max_size=8))
def test_ids_are_deterministic_and_distinct(versions: list[tuple[str, str, int]]) -> None:
    """The id depends on the application, the feedback and the version only, and differs for each."""
    ids = [event_of(*version).id for version in versions]
    assert ids == [event_of(*version).id for version in versions]
    assert len(set(ids)) == len(versions)


def test_an_id_never_changes() -> None:
    """The ids of stored events stay valid after an upgrade. This one was computed with b2sum -l 128."""
    assert event_of("default", "f", 1).id == "19d44167fe829b74ab80130a3e934a59"


def test_event_about_feedback() -> None:
    """An event has the ids and the version of the feedback, and the time of the change."""
    event = Event.about(a_feedback("f", application="shop", version=4), EventType.MODERATED)
    assert (event.application, event.subject_id, event.version) == ("shop", "f", 4)
    assert (event.type.value, event.occurred_at) == ("feedback.moderated", NOON)


def test_delivery_ids_consist_of_event_and_channel() -> None:
    """Receivers can discard duplicates by the id."""
    event = event_of("default", "f", 1)
    delivery = Delivery.of(event, "mail", due_at=NOON)
    assert (delivery.id, delivery.event, delivery.channel) == (f"{event.id}:mail", event, "mail")
    assert (delivery.state, delivery.attempts, delivery.due_at) == (DeliveryState.PENDING, 0, NOON)
    assert delivery.id != Delivery.of(event, "chat", due_at=NOON).id


@given(st.integers(0, 20), st.integers(0, 20))
def test_tries_are_counted_from_the_last_replay(before: int, since: int) -> None:
    """A replay resets ``tries`` but not ``attempts``."""
    delivery = Delivery.of(event_of("default", "f", 1), "mail", due_at=NOON)
    assert evolve(delivery, attempts=before + since, attempts_before=before).tries == since


@pytest.mark.parametrize("type", EventType)
def test_event_types_of_alerts(type: EventType) -> None:  # noqa: A002 - the field's name
    """The type tells whether the subject is an alert."""
    assert type.about_alert == type.value.startswith("alert.")


@given(st.permutations([(minute, name, version) for minute in (0, 1) for name in "ab" for version in (1, 2)]))
def test_order_of_events(places: list[tuple[int, str, int]]) -> None:
    """Events sort by time, then by subject and version."""
    events = [
        evolve(event_of("default", name, version), occurred_at=NOON + timedelta(minutes=minute))
        for minute, name, version in places
    ]
    order = [(event.subject_id, event.version) for event in sorted(events, key=event_order)]
    assert order == [("a", 1), ("a", 2), ("b", 1), ("b", 2)] * 2


def test_an_erasure_that_is_finished_twice_is_notified_once() -> None:
    """The delivery of the same erasure is kept; that of an earlier erasure is replaced and sent again."""
    feedback = a_feedback("f")
    (first,) = erasure_deliveries(Event.erasure(feedback, at=NOON), [], ["mail"])
    sent = evolve(first, state=DeliveryState.DELIVERED, attempts=1)
    assert erasure_deliveries(Event.erasure(feedback, at=NOON), [sent], ["mail"]) == [sent]
    later = NOON + timedelta(days=1)
    (again,) = erasure_deliveries(Event.erasure(feedback, at=later), [sent], ["mail"])
    assert (again.id, again.state, again.event.occurred_at) == (first.id, DeliveryState.PENDING, later)


@pytest.mark.parametrize(("status", "expected"), [("410 Gone", True), ("timed out", False), ("", False)])
def test_the_status_of_an_answer(status: str, expected: bool) -> None:
    """A status that begins with a number is that of an answer; others say why there was none."""
    assert is_answer(status) is expected
