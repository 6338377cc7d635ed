"""Contract tests for notifiers.

::

    from harken.testing import NotifierContract

    class TestMyChannel(NotifierContract):
        def open_notifier(self):
            return my_package.open_notifier({"url": ...})

        def received(self):
            return len(the_receiver_of_this_test.messages)

Run it with pytest.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, Final

from attrs import evolve

from harken.domain.alerts.patterns import AlertKind, Subject
from harken.domain.errors import DeliveryFailed
from harken.domain.events import EventType
from harken.domain.feedback import Context, Rating, Sentiment
from harken.domain.moderation import Moderation, ModerationStatus
from harken.domain.rules import label_problem
from harken.ports.notifier import ErasedFeedback, Notification, Notifier
from harken.testing.assertions import at_once
from harken.testing.builders import NOON, a_digest, a_feedback, a_session_change, an_alert, with_content

#: Text that people write, and text with special characters.
ODD_TEXTS: Final = (
    "👩\u200d👩\u200d👧 🇳🇵 ❤\ufe0f",
    "עברית and العربية, \u202eturned around\u202c",
    "two\nlines\r\n\r\n\tand more\x07\x1b[31m",
    "x" * 1_000,
    "😀" * 1_000,
    "{session_id} {} {0.__class__} %s %(name)s ${HOME} {{ 7 * 7 }} {% raw %}",
    "<script>alert(1)</script> &amp; <!channel> <@U123> @everyone [a](https://example.com) *b* _c_ `d`",
    "'\"; DROP TABLE feedback; --\\",
    " ",
)
_THREADS: Final = 8
_ids: Final[Iterator[int]] = count(1)


def a_notification(**parts: Any) -> Notification:
    """Return a notification with a new id about thumbs-down feedback with a comment; ``parts`` replaces fields.

    With ``alert``, it is about that alert instead of feedback; with ``erased``, about erased feedback; with ``digest``,
    it is that digest; with ``session``, that change of a session.
    """
    types = {
        "alert": EventType.ALERT_RAISED,
        "erased": EventType.ERASED,
        "digest": EventType.DIGEST,
        "session": EventType.SESSION_UPDATED,
    }
    other = next((type_ for name, type_ in types.items() if name in parts), None)
    feedback = None if other else a_feedback(agent_id="helper", rating=Rating.DOWN, comment="Too slow")
    plain = Notification(
        id=f"event-{next(_ids):09}:channel",
        type=other or EventType.CREATED,
        application="default",
        occurred_at=NOON,
        sent_at=NOON + timedelta(seconds=1),
        feedback=feedback,
    )
    return evolve(plain, **parts)


def every_kind() -> list[Notification]:
    """Return one notification of each kind, each with a new id."""
    bare, full, alert = a_feedback(), _everything(), an_alert()
    rejected = Moderation(status=ModerationStatus.REJECTED, reason="spam")
    later = NOON + timedelta(hours=1)
    better = full.revised(with_content(full, comment="Better").content, at=later)
    ratings = [a_notification(feedback=a_feedback(rating=rating)) for rating in Rating]
    return [
        a_notification(feedback=bare),
        *ratings,
        a_notification(feedback=full),
        a_notification(feedback=full, text="The user wrote: Too slow"),
        a_notification(feedback=full, text=""),
        a_notification(type=EventType.UPDATED, feedback=better),
        a_notification(type=EventType.MODERATED, feedback=full.moderated(rejected, at=later)),
        a_notification(type=EventType.MODERATED, feedback=full.moderated(rejected, at=later).without_words()),
        a_notification(type=EventType.WITHDRAWN, feedback=full.withdraw(at=later)),
        a_notification(type=EventType.WITHDRAWN, feedback=full.withdraw(at=later).without_words()),
        a_notification(erased=ErasedFeedback(full.id, full.session_id)),
        a_notification(digest=a_digest()),
        a_notification(digest=(digest := a_digest(days=(), link="")).without(digest.quoted)),
        a_notification(session=a_session_change()),
        a_notification(session=a_session_change({"tier": "pro", "seats": [1, {"row": None}]})),
        a_notification(session=a_session_change({"tier": None}, operation="delete"), text="The tier was deleted"),
        a_notification(alert=alert),
        a_notification(alert=evolve(alert, figures={}, feedback_ids=()), text="Check this"),
        a_notification(type=EventType.ALERT_RESOLVED, alert=alert.resolved(at=later)),
        a_notification(type=EventType.ALERT_RESOLVED, alert=alert.emptied(at=later)),
        *(a_notification(alert=evolve(alert, kind=kind)) for kind in AlertKind),
    ]


def odd_notifications() -> list[Notification]:
    """Return notifications with each of :data:`ODD_TEXTS` in every field that may contain such text."""
    labels = [text for text in ODD_TEXTS if label_problem("id", text) is None]
    return [
        *(a_notification(feedback=a_feedback(comment=text, rating=Rating.DOWN)) for text in ODD_TEXTS),
        *(a_notification(text=text) for text in ODD_TEXTS),
        *(a_notification(alert=an_alert(message=text)) for text in ODD_TEXTS),
        *(a_notification(digest=a_digest(text)) for text in ODD_TEXTS),
        *(a_notification(session=a_session_change({"tier": text})) for text in ODD_TEXTS),
        *(a_notification(feedback=a_feedback(text, agent_id=text, tags=(text,))) for text in labels),
        *(a_notification(erased=ErasedFeedback(text, text)) for text in labels),
        *(a_notification(session=a_session_change({text: 1}, session_id=text)) for text in labels),
        *(a_notification(digest=a_digest(reason=text)) for text in labels),
        *(a_notification(alert=an_alert(rule=text, subject=Subject("session", text))) for text in labels),
    ]


class NotifierContract(ABC):
    """Base class: implement :meth:`open_notifier` and :meth:`received`, and run the class with pytest."""

    @abstractmethod
    def open_notifier(self) -> Notifier:
        """Return a notifier whose receiver accepts everything. The contract closes it."""

    @abstractmethod
    def received(self) -> int:
        """Return the number of notifications that arrived in this test; repeated ones count each time."""

    def break_receiver(self) -> bool:
        """Let the receiver refuse all notifications from now on. Returns whether it does.

        By default it does nothing and returns ``False``, for channels whose receiver cannot fail.
        """
        return False

    def test_every_kind_of_notification_arrives(self) -> None:
        """Notifications about feedback and alerts are accepted, with and without their optional fields."""
        self._check_all_arrive(every_kind())

    def test_odd_texts_arrive(self) -> None:
        """Special characters from users or templates do not make a notification fail."""
        self._check_all_arrive(odd_notifications())

    def test_a_notification_may_be_repeated(self) -> None:
        """A delivered notification is accepted again with the same id, as the sender may not know that it arrived."""
        notification = a_notification()
        with closing(self.open_notifier()) as notifier:
            notifier.deliver(notification)
            notifier.deliver(evolve(notification, sent_at=notification.sent_at + timedelta(minutes=5)))
        self._check_received(at_least=1)

    def test_concurrent_deliveries_all_arrive(self) -> None:
        """Threads that share a notifier lose no notifications."""
        with closing(self.open_notifier()) as notifier:
            at_once([partial(notifier.deliver, a_notification()) for _ in range(_THREADS)])
        self._check_received(at_least=_THREADS)

    def test_a_failing_receiver_raises(self) -> None:
        """A refused notification of any kind raises ``DeliveryFailed`` with a reason, and no other error."""
        with closing(self.open_notifier()) as notifier:
            if not self.break_receiver():
                return
            for notification in (a_notification(), a_notification(alert=an_alert())):
                _check_fails(notifier, notification)

    def test_close_is_idempotent(self) -> None:
        """A notifier may be closed twice, used or unused."""
        unused, used = self.open_notifier(), self.open_notifier()
        used.deliver(a_notification())
        for notifier in (unused, used):
            notifier.close()
            notifier.close()

    def _check_all_arrive(self, notifications: list[Notification]) -> None:
        with closing(self.open_notifier()) as notifier:
            for notification in notifications:
                notifier.deliver(notification)
        self._check_received(at_least=len(notifications))

    def _check_received(self, *, at_least: int) -> None:
        if (received := self.received()) < at_least:
            raise AssertionError(
                f"The contract requires {at_least} notifications to arrive, but the receiver got {received}"
            )


def _everything() -> Any:
    """Return feedback with every optional field."""
    return a_feedback(
        "session-1",
        message_id="message-1",
        agent_id="helper",
        rating=Rating.DOWN,
        comment="Too slow\nand wrong",
        author="author-1",
        tags=("slow", "wrong"),
        context=Context({"user_tier": "gold", "agent_version": 2}),
        sentiment=Sentiment(-0.5, 0.5),
        reply="Sorry!",
    )


def _check_fails(notifier: Notifier, notification: Notification) -> None:
    try:
        notifier.deliver(notification)
    except DeliveryFailed as error:
        if not str(error).strip():
            raise AssertionError("The contract requires DeliveryFailed to give a reason") from error
        return
    raise AssertionError("The contract requires DeliveryFailed, but the notifier reported success")
