"""Events and deliveries."""

from hypothesis import given
from hypothesis import strategies as st

from harken.domain.events import Delivery, Event, EventType
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
    assert (event.application, event.feedback_id, event.version) == ("shop", "f", 4)
    assert (event.type.value, event.occurred_at) == ("feedback.moderated", NOON)


def test_a_delivery_is_known_by_event_and_channel() -> None:
    """A receiver that keeps delivery ids sees each event once for each channel."""
    event = event_of("default", "f", 1)
    assert Delivery.id_for(event.id, "mail") == f"{event.id}/mail"
    assert Delivery.id_for(event.id, "mail") != Delivery.id_for(event.id, "chat")
