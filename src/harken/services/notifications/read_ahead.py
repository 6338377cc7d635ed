"""Reading the subjects of events, for deliveries right before they are sent."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from time import perf_counter
from typing import Final

from harken.domain.alerts.alert import Alert
from harken.domain.events import Event
from harken.domain.feedback import Feedback
from harken.ports.repository import FeedbackRepository
from harken.services.feedback.erasing import FRESH

_MOST: Final = 25

#: Feedback and alerts by application and id.
Subjects = Mapping[tuple[str, str], Feedback | Alert]


def read_subjects(
    events: Iterable[Event], feedback: FeedbackRepository, alert_of: Callable[[Event], Alert | None]
) -> Subjects:
    """The current subjects of events, without those that do not exist any more."""
    wanted: dict[str, set[str]] = {}
    found: dict[tuple[str, str], Feedback | Alert] = {}
    for event in events:
        if event.type.about_feedback:
            wanted.setdefault(event.application, set()).add(event.subject_id)
        elif event.type.about_alert and (alert := alert_of(event)):
            found[event.application, event.subject_id] = alert
    for application, ids in wanted.items():
        for feedback_id, one in feedback.get_many(application, ids).items():
            found[application, feedback_id] = one
    return found


class ReadAhead:
    """Reads the subjects of a batch of events, as many at a time as are likely to be sent while they are fresh.

    A call to a storage takes much longer than reading an entry, for example over a network. If sending is slow, each
    subject is read separately. For use by one thread.
    """

    def __init__(
        self, events: Sequence[Event], read: Callable[[Sequence[Event]], Subjects], changed: Callable[[], object]
    ) -> None:
        """``changed`` returns a different object after each change that this process has made."""
        self._events = events
        self._read = read
        self._changed = changed
        self._found: Subjects = {}
        self._begin = self._end = 0
        self._read_at = -FRESH
        self._as_of = changed()

    def subject(self, place: int) -> Feedback | Alert | None:
        """The current subject of the event at that place of the batch; ``None`` if it does not exist any more.

        Raises:
            StorageError: the storage failed.
        """
        now = perf_counter()
        if place >= self._end or now - self._read_at >= FRESH or self._changed() is not self._as_of:
            each = max(now - self._read_at, FRESH / _MOST) / max(place - self._begin, 1)
            self._begin, self._end = place, place + max(1, min(_MOST, int(FRESH / each)))
            self._as_of, self._read_at = self._changed(), now
            self._found = self._read(self._events[place : self._end])
        event = self._events[place]
        return self._found.get((event.application, event.subject_id))
