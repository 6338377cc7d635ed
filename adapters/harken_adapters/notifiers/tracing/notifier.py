"""What all channels to tracing products have in common."""

from __future__ import annotations

from abc import abstractmethod
from hashlib import blake2b

from attrs import frozen

from harken.domain.feedback import Feedback
from harken.ports.notifier import Notification, Notifier, ReceiverAnswer
from harken_adapters.notifiers.endpoint import Endpoint, status_of
from harken_adapters.notifiers.tracing.exchange import Exchange
from harken_adapters.notifiers.tracing.ids import TraceSource
from harken_adapters.notifiers.transport import Headers


@frozen(kw_only=True)
class Score:
    """Counted feedback that is about a trace.

    Attributes:
        id: the id of the score: 32 hexadecimal digits, the same for every version of the feedback.
        feedback: the feedback.
        trace: the id of the trace, in any form.
        moved: whether an earlier version may have been about another trace.
    """

    id: str
    feedback: Feedback
    trace: str
    moved: bool


class TracingNotifier(Notifier):
    """Shows counted feedback as a score on the trace that it is about.

    The score follows the feedback: it is written again after every change, and removed when the feedback is withdrawn,
    rejected, held or erased. Feedback without the id of a trace, alerts, and changes of sessions count as delivered.

    Args:
        endpoint: the server of the product.
        source: where feedback has the id of its trace.
        name: the name of the scores.
        headers: the headers of every request.
    """

    def __init__(self, endpoint: Endpoint, source: TraceSource, name: str, headers: Headers) -> None:
        self._endpoint = endpoint
        self._source = source
        self._name = name
        self._headers = headers

    def __repr__(self) -> str:
        return f"<{type(self).__name__} to {self._endpoint.where}>"

    def deliver(self, notification: Notification) -> ReceiverAnswer:
        """Write or remove the score of the feedback. Writing it again changes nothing."""
        exchange = Exchange(self._endpoint, self._headers, notification.sent_at)
        if notification.erased is not None:
            self.remove(exchange, notification)
        elif notification.feedback is not None:
            self._follow(exchange, notification, notification.feedback)
        return ReceiverAnswer(status_of(exchange.statuses[-1]) if exchange.statuses else "nothing to send")

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()

    @abstractmethod
    def write(self, exchange: Exchange, score: Score) -> None:
        """Write the score, or replace it.

        Raises:
            DeliveryFailed: the product did not accept it.
        """

    @abstractmethod
    def remove(self, exchange: Exchange, notification: Notification) -> None:
        """Remove the score of the feedback that the notification is about; it may not exist.

        Raises:
            DeliveryFailed: the product did not accept it.
        """

    def _follow(self, exchange: Exchange, notification: Notification, feedback: Feedback) -> None:
        trace, moved = self._source.id_of(feedback), self._source.may_have_changed(feedback)
        if trace is None and not moved:
            return
        if trace is None or not feedback.is_counted:
            self.remove(exchange, notification)
        else:
            self.write(exchange, Score(id=score_id(notification), feedback=feedback, trace=trace, moved=moved))


def score_id(notification: Notification) -> str:
    """The id of the score of the feedback that a notification is about. It reveals nothing about the feedback."""
    subject = notification.feedback or notification.erased
    text = f"{notification.application}\0{subject.id if subject else ''}"
    return blake2b(text.encode(), digest_size=16).hexdigest()


def metadata(feedback: Feedback) -> dict[str, object]:
    """What a score has besides rating and comment.

    The keys are always the same, as Langfuse merges the metadata of an update into that of the score.
    """
    return {
        "feedback_id": feedback.id,
        "application": feedback.application,
        "session_id": feedback.session_id,
        "agent_id": feedback.agent_id or "",
        "author": feedback.author or "",
        "rating": feedback.rating.word,
        "tags": list(feedback.tags),
        "version": feedback.version,
    }
