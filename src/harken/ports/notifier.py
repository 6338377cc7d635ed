"""The port for channels: notifiers, and the notifications that they send."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from attrs import frozen

from harken.domain.alerts.alert import Alert
from harken.domain.events import EventType
from harken.domain.feedback import Feedback

if TYPE_CHECKING:
    from harken.domain.digest import Digest
    from harken.domain.session_change import SessionChange


@frozen
class ErasedFeedback:
    """The ids of feedback that was erased."""

    id: str
    session_id: str


@frozen(kw_only=True)
class Notification:
    """A delivery with its subject, ready to be sent.

    The subject is feedback, an alert, erased feedback, a digest, or a change of a session's metadata.

    Attributes:
        id: the delivery's id, the same for every attempt.
        type: the type of the event.
        application: the application.
        occurred_at: the time of the event.
        sent_at: the time of this attempt.
        feedback: the feedback, as it is now and without its revisions. It has no comment, tags, context, sentiment and
            reply if it is withdrawn, or if it is not counted and no route to the channel asks for its status.
        alert: the alert, as it is now.
        erased: the erased feedback, if the type is ``feedback.erased``.
        digest: the digest, as it is now, if the type is ``digest``.
        session: the change of a session's metadata, if the type is ``session.metadata_updated``.
        text: the rendered template of the route, if the route has one.
    """

    id: str
    type: EventType
    application: str
    occurred_at: datetime
    sent_at: datetime
    feedback: Feedback | None = None
    alert: Alert | None = None
    erased: ErasedFeedback | None = None
    digest: Digest | None = None
    session: SessionChange | None = None
    text: str | None = None


@frozen
class ReceiverAnswer:
    """The answer of a receiver that accepted a notification.

    Attributes:
        status: its status, such as ``200 OK``.
        words: its own words; empty if there are none. They are stored only with deliveries about feedback, and erased
            with it. They must not contain a secret of the channel.
    """

    status: str = ""
    words: str = ""


class Notifier(ABC):
    """Sends notifications to one channel. Several threads may use it at the same time."""

    @abstractmethod
    def deliver(self, notification: Notification) -> ReceiverAnswer | None:
        """Send a notification; on return the receiver has accepted it. It must give up after 20 seconds.

        The same id may be sent again, even if it has arrived before.

        Returns the receiver's answer, if there is one that people should see.

        Raises:
            DeliveryFailed: the receiver did not accept it; the error says whether and when to retry.
        """

    def close(self) -> None:
        """Close connections. May be called twice."""
        return


#: Creates a notifier from its table in the settings (without ``kind``), and raises ``ConfigurationError`` if the table
#: is invalid. The entry points of the group ``harken.notifiers`` are of this type; their names are the kinds.
OpenNotifier = Callable[[Mapping[str, object]], Notifier]
