"""How news leaves the house: a channel's one method, and what goes through it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime

from attrs import frozen

from harken.domain.alerts.alert import Alert
from harken.domain.events import EventType
from harken.domain.feedback import Feedback


@frozen
class ErasedFeedback:
    """What is left of feedback that was erased: its ids."""

    id: str
    session_id: str


@frozen(kw_only=True)
class Notification:
    """A delivery with what it is about, ready to be sent. It is about feedback, an alert, or feedback that was erased.

    Attributes:
        id: the delivery's id, the same at every try.
        type: what happened.
        application: whose it is.
        occurred_at: when it happened.
        sent_at: when this try was made.
        feedback: what it is about, as it is now and without its revisions. It has neither comment, tags, context,
            sentiment nor reply if it was withdrawn, or does not count and no route to the channel asks for its status.
        alert: what it is about, as it is now.
        erased: what it is about, if the type is ``feedback.erased``.
        text: what the route's template makes of it, if the route has one.
    """

    id: str
    type: EventType
    application: str
    occurred_at: datetime
    sent_at: datetime
    feedback: Feedback | None = None
    alert: Alert | None = None
    erased: ErasedFeedback | None = None
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
