"""How news leaves the house: a channel's one method, and what goes through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime

from attrs import frozen

from harken.domain.alerts import Alert
from harken.domain.events import EventType
from harken.domain.feedback import Feedback


@frozen(kw_only=True)
class Notification:
    """A delivery with what it is about, ready to be sent.

    Attributes:
        id: the delivery's id, the same at every try.
        type: what happened.
        application: whose it is.
        occurred_at: when it happened.
        sent_at: when this try was made.
        feedback: what it is about, as it reads now; ``None`` if it is about an alert.
        alert: what it is about, as it reads now; ``None`` if it is about feedback.
        text: what the route's template makes of it, if the route has one.
    """

    id: str
    type: EventType
    application: str
    occurred_at: datetime
    sent_at: datetime
    feedback: Feedback | None = None
    alert: Alert | None = None
    text: str | None = None


class Notifier(ABC):
    """Sends to one channel. Several threads may use it at once."""

    @abstractmethod
    def deliver(self, notification: Notification) -> None:
        """Send it; on return the receiver has taken it. The same id may come again: it may have arrived before.

        It has to give up after 20 seconds.

        Raises:
            DeliveryFailed: it was not taken; the error says whether trying again makes sense, and when.
        """

    def close(self) -> None:
        """Let go of connections. Closing twice is harmless."""
        return


#: Makes a channel from its table in the settings (without ``kind``), and raises ``ConfigurationError`` where that
#: makes no sense. The entry points of the group ``harken.notifiers`` are of this kind, named after the ``kind``.
OpenNotifier = Callable[[Mapping[str, object]], Notifier]
