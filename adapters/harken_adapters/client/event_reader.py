"""Server-sent events (HTML standard, section 9.2.6) as events of Harken, and when to reconnect."""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, Final

from attrs import define, evolve, field

from harken import HarkenError, Overloaded, StorageError, StorageUnavailable
from harken.domain.events import EventType
from harken.services.feed import Missed, News, Place
from harken_adapters.client.calls import Call
from harken_adapters.client.lines import Lines
from harken_adapters.formats.notification import alert_from
from harken_adapters.formats.record import from_record

logger = logging.getLogger(__name__)

_LONGEST_DELAY: Final = 60.0
_MISSED: Final = "missed"


@define
class EventReader:
    """The state of an event stream across connections.

    Attributes:
        call: the call that opens the stream.
        application: the application of the events.
        jitter: returns a number from 0 to 1, by which delays are shortened.
    """

    call: Call[None]
    application: str = ""
    jitter: Callable[[], float] = random.random
    _lines: Lines = field(factory=Lines)
    _fields: dict[str, str] = field(factory=dict)
    _retry: float = 2.0
    _failures: int = 0

    def connected(self, application: str) -> None:
        """Begin to read a new connection. What the last one cut off is sent again by the server."""
        self.application = application
        self._lines, self._fields = Lines(), {}

    def feed(self, chunk: bytes) -> Iterator[News | Missed]:
        """The events that the chunk completes.

        Raises:
            StorageError: an event is not one of Harken.
        """
        self._failures = 0
        for raw in self._lines.feed(chunk):
            line = raw.removesuffix(b"\r").decode(errors="replace")
            if line:
                name, _, value = line.partition(":")
                # A comment has an empty name.
                self._fields[name] = value.removeprefix(" ")
            else:
                yield from self._dispatch()

    def delay_after(self, error: HarkenError | None) -> float:
        """The seconds to wait before the next connection, after an error or the end of the stream.

        Raises:
            HarkenError: another connection would fail too.
        """
        if error is not None and not isinstance(error, StorageUnavailable | Overloaded):
            raise error
        delay = min(self._retry * float(2 ** min(self._failures, 10)), _LONGEST_DELAY)
        self._failures += 1
        asked = error.retry_after if isinstance(error, Overloaded) else None
        delay = max(delay * (1 - self.jitter() / 2), (asked or timedelta()).total_seconds())
        logger.info("The event stream ended (%s); reconnecting in %.1f seconds", error or "no error", delay)
        return delay

    def _dispatch(self) -> Iterator[News | Missed]:
        fields, self._fields = self._fields, {}
        if (retry := fields.get("retry", "")).isdigit():
            self._retry = int(retry[:9]) / 1000
        event = self._event(fields)
        if place := fields.get("id"):
            self.call = evolve(self.call, headers=(("Last-Event-ID", place),))
        if event is not None:
            yield event

    def _event(self, fields: dict[str, str]) -> News | Missed | None:
        name = fields.get("event")
        if name is None:
            return None
        if name == _MISSED:
            return Missed(_count_in(fields.get("data", "")))
        try:
            kind = EventType(name)
        except ValueError:
            logger.warning("The server sent an event of an unknown type, %r; a newer client may know it", name)
            return None
        try:
            return self._news(kind, Place.parse(fields["id"]), json.loads(fields["data"])["data"])
        except (LookupError, TypeError, ValueError, RecursionError) as error:
            raise StorageError(f"The server sent an event of type {name} that is not valid: {error}") from error

    def _news(self, kind: EventType, place: Place, data: Any) -> News:
        if kind.about_alert:
            return News(place, kind, alert=alert_from(data))
        return News(place, kind, from_record(data, self.application))


def _count_in(data: str) -> int | None:
    """The number in an event ``missed``; older servers send none."""
    try:
        count = json.loads(data)["count"]
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
    return count if isinstance(count, int) else None
