"""Tests that every product has to pass whose scores can be removed: the score follows the feedback."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import partial
from itertools import count, product
from typing import Any

import httpx
import pytest
from attrs import evolve, frozen

import harken
from adapters.notifiers.tracing.json_server import Request, Response, serving
from channels import connect_without_relay
from harken import Change, Context, Harken, Rating, Target
from harken.configuration.channels import Channels
from harken.domain.errors import DeliveryFailed
from harken.domain.events import EventType
from harken.domain.query import FeedbackQuery
from harken.ports.notifier import ErasedFeedback, Notification, Notifier
from harken.testing.builders import an_alert
from harken.testing.notifier_contract import ODD_TEXTS, a_notification
from support import ManualClock, a_feedback, in_threads

_traces = count(1)


def a_trace_id() -> str:
    """A new trace id of OpenTelemetry."""
    return f"{next(_traces):032x}"


@frozen
class Shown:
    """A score as the product shows it."""

    rating: str
    value: object
    comment: str
    tags: tuple[str, ...]
    author: str
    application: str


class FollowsFeedback(ABC):
    """The tests. Each uses traces of its own."""

    #: The values of a thumbs-up, a thumbs-down and a neutral rating.
    values: tuple[object, object, object]

    @abstractmethod
    def table(self) -> dict[str, object]:
        """The table of the channel."""

    @abstractmethod
    def add_trace(self) -> str:
        """Add a trace, and return its id in OpenTelemetry."""

    @abstractmethod
    def shown(self, trace: str) -> list[Shown]:
        """The scores of a trace, in any order."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL of the server."""

    def finish(self) -> None:  # noqa: B027 - most products have processed a request when they respond
        """Wait until the product has processed all requests."""

    @pytest.fixture(autouse=True)
    def connect(self, server: Any) -> Iterator[None]:
        """Connect to Harken; ``server`` is the fixture of the product in the module."""
        self.server = server
        self.clock = ManualClock()
        with self.connected() as self.hk:
            yield

    def connected(self, **options: object) -> Any:
        """Connect to a new Harken with this channel only."""
        channels = {"tracing": {**self.table(), **options}}
        return connect_without_relay(self.clock, channels=channels, new_id=harken.clock.new_uuid7)

    def opened(self, **options: object) -> closing[Notifier]:
        """The channel without a Harken."""
        table = {**self.table(), **options}
        return closing(_open(table))

    def deliver(self, hk: Harken | None = None) -> None:
        """Send everything; nothing may fail for good."""
        hk = hk or self.hk
        for _ in range(2):
            hk.relay.run_due()
            self.finish()
            # Langfuse needs a second deletion.
            self.clock.turn(seconds=61)
        assert [(one.state.value, one.error) for one in hk.deliveries.find("dead")] == []
        assert [one.error for one in hk.deliveries.find("pending")] == []

    def vote(self, trace: str, rating: str | None, comment: str = "", **more: Any) -> str:
        """Set the vote of ann on a message; returns its id."""
        return self.hk.collection.set_vote(Target("s", trace), "ann", rating, comment, **more).feedback.id

    @pytest.mark.parametrize(("place", "rating"), list(enumerate(("up", "down", None))))
    def test_ratings(self, place: int, rating: str | None) -> None:
        """A rating becomes a score with comment, tags and author."""
        trace = self.add_trace()
        self.vote(trace, rating, "Too slow", tags=["slow", "wrong"])
        self.deliver()
        word = rating or "neutral"
        assert self.shown(trace) == [Shown(word, self.values[place], "Too slow", ("slow", "wrong"), "ann", "default")]

    def test_changes(self) -> None:
        """A changed vote changes the score; what it no longer has, the score no longer has."""
        trace = self.add_trace()
        self.vote(trace, "down", "Too slow", tags=["slow"])
        self.deliver()
        self.vote(trace, "up")
        self.deliver()
        assert self.shown(trace) == [Shown("up", self.values[0], "", (), "ann", "default")]
        self.vote(trace, None, "Fine")
        self.deliver()
        assert self.shown(trace) == [Shown("neutral", self.values[2], "Fine", (), "ann", "default")]

    def test_withdrawal_and_another_vote(self) -> None:
        """A withdrawn vote has no score. The next vote has one again."""
        trace = self.add_trace()
        feedback_id = self.vote(trace, "down", "Too slow")
        self.deliver()
        self.hk.collection.withdraw("default", feedback_id)
        self.deliver()
        assert self.shown(trace) == []
        self.vote(trace, "up", "Better")
        self.deliver()
        assert [one.comment for one in self.shown(trace)] == ["Better"]

    def test_moderation(self) -> None:
        """Rejected and held feedback has no score; approved feedback has one."""
        trace = self.add_trace()
        feedback_id = self.vote(trace, "up", "Nice")
        self.deliver()
        for status, expected in (("rejected", []), ("approved", ["Nice"]), ("pending", [])):
            self.hk.moderation.decide("default", feedback_id, status, moderator="mod")
            self.deliver()
            assert [one.comment for one in self.shown(trace)] == expected

    @pytest.mark.parametrize("source", ["message_id", "context.trace_id"])
    def test_erasure(self, source: str) -> None:
        """Erased feedback has no score, although only its id is known. Other feedback keeps its score."""
        traces = [self.add_trace(), self.add_trace()]
        with self.connected(trace=source) as hk:
            for trace in (*traces, traces[0]):
                hk.submit(f"session-{trace}", "up", "Nice", message_id=trace, context={"trace_id": trace})
            hk.submit("another", "down", "Mine", message_id=traces[0], context={"trace_id": traces[0]})
            self.deliver(hk)
            assert [len(self.shown(trace)) for trace in traces] == [3, 1]
            for trace in traces:
                hk.collection.erase(FeedbackQuery(application="default", session_id=f"session-{trace}"))
            self.deliver(hk)
            assert [[one.comment for one in self.shown(trace)] for trace in traces] == [["Mine"], []]

    @pytest.mark.parametrize("end", ["withdraw", "reject", "forget"])
    def test_a_trace_in_the_context(self, end: str) -> None:
        """The score moves with the context value, and is removed without it: its feedback has no content any more."""
        first, second = self.add_trace(), self.add_trace()
        with self.connected(trace="context.trace_id") as hk:
            feedback_id = hk.submit("s", "up", "Nice", context={"trace_id": first}).feedback.id
            self.deliver(hk)
            assert len(self.shown(first)) == 1
            hk.collection.change("default", feedback_id, Change(context={"trace_id": second}))
            self.deliver(hk)
            assert (self.shown(first), [one.comment for one in self.shown(second)]) == ([], ["Nice"])
            if end == "withdraw":
                hk.collection.withdraw("default", feedback_id)
            elif end == "reject":
                hk.moderation.decide("default", feedback_id, "rejected")
            else:
                hk.collection.change("default", feedback_id, Change(context={}))
            self.deliver(hk)
            assert (self.shown(first), self.shown(second)) == ([], [])

    def test_feedback_without_a_trace(self) -> None:
        """It counts as delivered, and so do changes of it and alerts; nothing is sent."""
        with self.connected(trace="context.trace_id", url="http://127.0.0.1:9") as hk:
            plain = hk.submit("s", "down", "Too slow", message_id="m-1", context={"trace_id": 7})
            hk.collection.reply("default", hk.submit("s", "up", context={"trace_id": " "}).feedback.id, None)
            hk.relay.run_due()
            assert len(hk.deliveries.find("delivered")) == 2
            assert plain.feedback.context["trace_id"] == 7
        with self.opened(url="http://127.0.0.1:9") as notifier:
            for notification in (a_notification(alert=an_alert()), a_notification(feedback=a_feedback())):
                notifier.deliver(notification)

    def test_a_repeated_delivery(self) -> None:
        """A delivery that is sent again changes nothing."""
        trace = self.add_trace()
        written = a_notification(feedback=a_feedback("f-1", message_id=trace, comment="Nice", author="ann"))
        erased = a_notification(erased=ErasedFeedback("f-1", "s"))
        with self.opened() as notifier:
            for _ in range(3):
                notifier.deliver(written)
            self.finish()
            assert [one.comment for one in self.shown(trace)] == ["Nice"]
            for _ in range(3):
                notifier.deliver(_later(erased))
            self.finish()
            assert self.shown(trace) == []

    def test_applications_with_equal_ids(self) -> None:
        """Feedback of two applications with the same id has two scores, and each is removed alone."""
        trace = self.add_trace()
        with self.opened() as notifier:
            for application in ("a", "b"):
                feedback = a_feedback("f-1", message_id=trace, application=application)
                notifier.deliver(a_notification(feedback=feedback, application=application))
            self.finish()
            assert sorted(one.application for one in self.shown(trace)) == ["a", "b"]
            notifier.deliver(_later(a_notification(erased=ErasedFeedback("f-1", "s"), application="a")))
            self.finish()
            assert [one.application for one in self.shown(trace)] == ["b"]

    def test_odd_texts(self) -> None:
        """Comments, ids and names with special characters arrive unchanged."""
        trace = self.add_trace()
        with self.opened() as notifier:
            for number, text in enumerate(ODD_TEXTS):
                odd = a_feedback(f"odd-{number}", comment=text, message_id=trace, author=text[:100], tags=(text[:100],))
                notifier.deliver(a_notification(feedback=odd))
        self.finish()
        assert sorted(one.comment for one in self.shown(trace)) == sorted(ODD_TEXTS)

    def test_concurrent_deliveries(self) -> None:
        """Threads that share a channel lose nothing."""
        trace = self.add_trace()
        with self.opened() as notifier:
            several = [a_notification(feedback=a_feedback(f"t-{number}", message_id=trace)) for number in range(8)]
            answers = in_threads(partial(notifier.deliver, one) for one in several)
            assert [one is not None and one.status[:1] for one in answers] == ["2"] * 8
        self.finish()
        assert len(self.shown(trace)) == 8

    @pytest.mark.parametrize("forwarded", [False, True])
    def test_interruptions(self, forwarded: bool) -> None:
        """After a delivery that ended at any request, a retry leaves one score, and an erasure none."""
        for last, erasing in product(range(5), (False, True)):
            trace, feedback_id = self.add_trace(), f"i-{last}-{erasing}-{forwarded}"
            written = a_notification(feedback=a_feedback(feedback_id, message_id=trace, version=2))
            proxy = interrupted(self.url, last, forwarded)
            with suppress(DeliveryFailed), proxy as url, self.opened(url=url) as notifier:
                notifier.deliver(written)
            with self.opened() as notifier:
                if not erasing:
                    notifier.deliver(written)
                self.finish()
                if erasing:
                    notifier.deliver(_later(a_notification(erased=ErasedFeedback(feedback_id, "s"))))
            assert len(self.shown(trace)) == (not erasing)

    def test_a_traceparent(self) -> None:
        """The id may also be a traceparent."""
        trace = self.add_trace()
        with self.opened(trace="context.traceparent") as notifier:
            context = Context({"traceparent": f"00-{trace}-{trace[16:]}-01"})
            notifier.deliver(a_notification(feedback=a_feedback("p-1", Rating.UP, "Nice", context=context)))
            self.finish()
            assert [one.comment for one in self.shown_on_span(trace)] == ["Nice"]

    def shown_on_span(self, trace: str) -> list[Shown]:
        """The scores of the only span of a trace; by default those of the trace."""
        return self.shown(trace)


@contextmanager
def interrupted(server: str, last: int, forwarded: bool) -> Iterator[str]:
    """The URL of a proxy that passes ``last`` requests to a server, and loses the next one, or its response."""
    numbers = count()

    def answer(request: Request) -> Response | None:
        ends = next(numbers) >= last
        if ends and not forwarded:
            return None
        headers = {name: value for name, value in request.headers.items() if name != "host"}
        response = httpx.request(
            request.method, f"{server}{request.path}", headers=headers, content=request.content, timeout=60
        )
        return None if ends else Response(response.status_code, response.content)

    with serving(answer) as url:
        yield url


def _open(table: dict[str, object]) -> Notifier:
    with Channels({"tracing": table}, {}).open() as opened:
        return opened["tracing"]


def _later(notification: Notification) -> Notification:
    """The second attempt."""
    assert notification.type is EventType.ERASED
    return evolve(notification, sent_at=notification.occurred_at.replace(hour=notification.occurred_at.hour + 1))
