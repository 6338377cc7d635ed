"""Events and deliveries."""

from datetime import timedelta

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from harken.domain.events import Delivery, DeliveryState, Event, EventType, erasure_deliveries, event_order
from support import NOON, a_feedback

identities = st.tuples(st.text(min_size=1, max_size=3), st.text(min_size=1, max_size=3), st.integers(1, 12))


def event_of(application: str, feedback_id: str, version: int) -> Event:
    """The event of one version of one feedback."""
    feedback = a_feedback(feedback_id, application=application, version=version)
    return Event.about(feedback, EventType.UPDATED)


@given(st.lists(identities, unique=True, max_size=8))
def test_ids_are_deterministic_and_distinct(happenings: list[tuple[str, str, int]]) -> None:
    """The same happening has the same id in every process, and no other happening has it."""
    ids = [event_of(*happening).id for happening in happenings]
    assert ids == [event_of(*happening).id for happening in happenings]
    assert len(set(ids)) == len(happenings)


def test_an_id_never_changes() -> None:
    """Events in a storage keep their ids through upgrades: this one came from b2sum -l 128."""
    assert event_of("default", "f", 1).id == "19d44167fe829b74ab80130a3e934a59"


def test_says_what_happened_to_which_version() -> None:
    """An event carries what a listener needs to look the feedback up, and when it happened."""
    event = Event.about(a_feedback("f", application="shop", version=4), EventType.MODERATED)
    assert (event.application, event.subject_id, event.version) == ("shop", "f", 4)
    assert (event.type.value, event.occurred_at) == ("feedback.moderated", NOON)


def test_a_delivery_is_known_by_event_and_channel() -> None:
    """A receiver that keeps delivery ids sees each event once for each channel."""
    event = event_of("default", "f", 1)
    delivery = Delivery.of(event, "mail", due_at=NOON)
    assert (delivery.id, delivery.event, delivery.channel) == (f"{event.id}:mail", event, "mail")
    assert (delivery.state, delivery.attempts, delivery.due_at) == (DeliveryState.PENDING, 0, NOON)
    assert delivery.id != Delivery.of(event, "chat", due_at=NOON).id


@given(st.integers(0, 20), st.integers(0, 20))
def test_tries_are_counted_from_the_last_replay(before: int, since: int) -> None:
    """Attempts count on for ever, tries begin anew with each replay."""
    delivery = Delivery.of(event_of("default", "f", 1), "mail", due_at=NOON)
    assert evolve(delivery, attempts=before + since, attempts_before=before).tries == since


@pytest.mark.parametrize("type", EventType)
def test_an_event_tells_of_feedback_or_of_an_alert(type: EventType) -> None:  # noqa: A002 - the field's name
    """Whoever looks the subject up knows from the type where."""
    assert type.about_alert == type.value.startswith("alert.")


@given(st.permutations([(minute, name, version) for minute in (0, 1) for name in "ab" for version in (1, 2)]))
def test_events_are_told_in_the_order_in_which_they_happened(places: list[tuple[int, str, int]]) -> None:
    """By time, and where a clock stood still by subject and version, whatever order they come in."""
    events = [
        evolve(event_of("default", name, version), occurred_at=NOON + timedelta(minutes=minute))
        for minute, name, version in places
    ]
    told = [(event.subject_id, event.version) for event in sorted(events, key=event_order)]
    assert told == [("a", 1), ("a", 2), ("b", 1), ("b", 2)] * 2


def test_an_erasure_that_is_finished_twice_is_notified_once() -> None:
    """What was made of the same erasure before stays as it is; that of an earlier one goes out once more."""
    feedback = a_feedback("f")
    (made,) = erasure_deliveries(feedback, [], ["mail"], at=NOON)
    sent = evolve(made, state=DeliveryState.DELIVERED, attempts=1)
    assert erasure_deliveries(feedback, [sent], ["mail"], at=NOON) == [sent]
    later = NOON + timedelta(days=1)
    (again,) = erasure_deliveries(feedback, [sent], ["mail"], at=later)
    assert (again.id, again.state, again.event.occurred_at) == (made.id, DeliveryState.PENDING, later)
