"""The contract that every channel is held to.

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

from harken.domain.alerts.alert import AlertKind, Subject
from harken.domain.errors import DeliveryFailed
from harken.domain.events import EventType
from harken.domain.feedback import Context, Rating, Sentiment
from harken.domain.moderation import Moderation, ModerationStatus
from harken.domain.rules import label_problem
from harken.ports.notifier import ErasedFeedback, Notification, Notifier
from harken.testing.assertions import at_once
from harken.testing.builders import NOON, a_feedback, an_alert

#: What people write, and what tries to be more than text.
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
    """A down with a comment that was just given, with an id of its own; ``parts`` replaces what matters.

    With an ``alert`` it is about that alert, and about no feedback; with ``erased`` about feedback that was erased.
    """
    about_other = "alert" in parts or "erased" in parts
    feedback = None if about_other else a_feedback(agent_id="helper", rating=Rating.DOWN, comment="Too slow")
    type_of_other = EventType.ERASED if "erased" in parts else EventType.ALERT_RAISED
    plain = Notification(
        id=f"event-{next(_ids):09}:channel",
        type=EventType.CREATED if feedback is not None else type_of_other,
        application="default",
        occurred_at=NOON,
        sent_at=NOON + timedelta(seconds=1),
        feedback=feedback,
    )
    return evolve(plain, **parts)


def every_kind() -> list[Notification]:
    """Notifications of every kind, each with an id of its own."""
    bare, full, alert = a_feedback(), _everything(), an_alert()
    rejected = Moderation(status=ModerationStatus.REJECTED, reason="spam")
    later = NOON + timedelta(hours=1)
    better = full.revised(full.with_content(comment="Better").content, at=later)
    ratings = [a_notification(feedback=a_feedback(rating=rating)) for rating in Rating]
    return [
        a_notification(feedback=bare),
        *ratings,
        a_notification(feedback=full),
        a_notification(feedback=full, text="Somebody said: Too slow"),
        a_notification(feedback=full, text=""),
        a_notification(type=EventType.UPDATED, feedback=better),
        a_notification(type=EventType.MODERATED, feedback=full.moderated(rejected, at=later)),
        a_notification(type=EventType.MODERATED, feedback=full.moderated(rejected, at=later).without_words()),
        a_notification(type=EventType.WITHDRAWN, feedback=full.withdraw(at=later)),
        a_notification(type=EventType.WITHDRAWN, feedback=full.withdraw(at=later).without_words()),
        a_notification(erased=ErasedFeedback(full.id, full.session_id)),
        a_notification(alert=alert),
        a_notification(alert=evolve(alert, figures={}, feedback_ids=()), text="Wake up"),
        a_notification(type=EventType.ALERT_RESOLVED, alert=alert.resolved(at=later)),
        a_notification(type=EventType.ALERT_RESOLVED, alert=alert.emptied(at=later)),
        *(a_notification(alert=evolve(alert, kind=kind)) for kind in AlertKind),
    ]


def odd_ones() -> list[Notification]:
    """Notifications with each of :data:`ODD_TEXTS` wherever such a text may be."""
    labels = [text for text in ODD_TEXTS if label_problem("id", text) is None]
    return [
        *(a_notification(feedback=a_feedback(comment=text, rating=Rating.DOWN)) for text in ODD_TEXTS),
        *(a_notification(text=text) for text in ODD_TEXTS),
        *(a_notification(alert=an_alert(message=text)) for text in ODD_TEXTS),
        *(a_notification(feedback=a_feedback(text, agent_id=text, tags=(text,))) for text in labels),
        *(a_notification(erased=ErasedFeedback(text, text)) for text in labels),
        *(a_notification(alert=an_alert(rule=text, subject=Subject("session", text))) for text in labels),
    ]


class NotifierContract(ABC):
    """Subclass it, say how to open a notifier and what has arrived, and let pytest run it."""

    @abstractmethod
    def open_notifier(self) -> Notifier:
        """A notifier to a receiver that takes everything. The contract closes it."""

    @abstractmethod
    def received(self) -> int:
        """How many notifications have arrived in this test so far, those that arrived twice counted twice."""

    def break_receiver(self) -> bool:
        """Let the receiver refuse everything from now on, and say whether it does.

        A channel whose receiver cannot fail does nothing, as this one.
        """
        return False

    def test_every_kind_of_notification_arrives(self) -> None:
        """Whatever happened, to feedback or to an alert, with or without all that may be missing, is taken."""
        self._check_all_arrive(every_kind())

    def test_odd_texts_arrive(self) -> None:
        """No text that a person or a template may write makes a notification fail."""
        self._check_all_arrive(odd_ones())

    def test_the_same_notification_may_come_again(self) -> None:
        """What was delivered is taken a second time, under the same id: nobody knew that it had arrived."""
        notification = a_notification()
        with closing(self.open_notifier()) as notifier:
            notifier.deliver(notification)
            notifier.deliver(evolve(notification, sent_at=notification.sent_at + timedelta(minutes=5)))
        self._check_received(at_least=1)

    def test_several_threads_may_deliver_at_once(self) -> None:
        """Threads that share a notifier lose nothing of each other's."""
        with closing(self.open_notifier()) as notifier:
            at_once([partial(notifier.deliver, a_notification()) for _ in range(_THREADS)])
        self._check_received(at_least=_THREADS)

    def test_a_broken_receiver_is_told_of(self) -> None:
        """What was not taken raises ``DeliveryFailed`` and nothing else, with a reason, whatever it was about."""
        with closing(self.open_notifier()) as notifier:
            if not self.break_receiver():
                return
            for notification in (a_notification(), a_notification(alert=an_alert())):
                _check_fails(notifier, notification)

    def test_closing_twice_is_harmless(self) -> None:
        """A notifier may be closed again, used before or not."""
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
            raise AssertionError(f"The contract wants {at_least} notifications to arrive, the receiver had {received}")


def _everything() -> Any:
    """Feedback with all that feedback may have."""
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
            raise AssertionError("The contract wants DeliveryFailed to say why") from error
        return
    raise AssertionError("The contract wants DeliveryFailed, but the notification seemed to be taken")
