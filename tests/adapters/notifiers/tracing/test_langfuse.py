"""Feedback as scores in Langfuse, by a stub that follows its documentation."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import timedelta
from typing import Any

import pytest
from attrs import evolve

from adapters.notifiers.tracing.following import FollowsFeedback, Shown, a_trace_id
from adapters.notifiers.tracing.json_server import Response
from adapters.notifiers.tracing.langfuse_server import PUBLIC_KEY, SECRET_KEY, Langfuse, langfuse_server
from harken.domain.errors import DeliveryFailed
from harken.ports.notifier import ErasedFeedback
from harken.testing.notifier_contract import a_notification
from support import NOON, a_feedback


@pytest.fixture
def server() -> Iterator[Langfuse]:
    """The stub."""
    with langfuse_server() as started:
        yield started


class TestLangfuse(FollowsFeedback):
    values = (1.0, 0.0, 0.5)
    server: Langfuse

    def table(self) -> dict[str, object]:
        keys = {"public_key": PUBLIC_KEY, "secret_key": SECRET_KEY}
        return {"kind": "langfuse", "url": self.server.url, "allow": ["127.0.0.1"], **keys}

    @property
    def url(self) -> str:
        return self.server.url

    def add_trace(self) -> str:
        # Langfuse accepts scores before their traces.
        return a_trace_id()

    def shown(self, trace: str) -> list[Shown]:
        return [_shown(one) for one in self.server.of_trace(trace)]

    def finish(self) -> None:
        self.server.store()

    def test_a_vote_that_is_withdrawn_at_once(self) -> None:
        """A score that Langfuse stores after its deletion is deleted again, a minute later."""
        trace = self.add_trace()
        feedback_id = self.vote(trace, "up", "Oops")
        self.hk.relay.run_due()
        self.clock.turn(seconds=2)
        self.hk.collection.withdraw("default", feedback_id)
        self.hk.relay.run_due()
        self.server.store()
        assert len(self.shown(trace)) == 1
        (waiting,) = self.hk.deliveries.find("pending")
        assert waiting.due_at == self.clock.now + timedelta(seconds=60)
        assert "may still be storing it: the deletion will be repeated" in waiting.error
        assert self.hk.channels.state("tracing").failing_since is None
        self.clock.turn(seconds=60)
        self.hk.relay.run_due()
        assert self.shown(trace) == []
        assert self.hk.deliveries.find("pending") == []

    def test_a_vote_that_is_repeated_at_once(self) -> None:
        """A vote that is set again while the deletion waits has its score in the end."""
        trace = self.add_trace()
        feedback_id = self.vote(trace, "up")
        self.hk.relay.run_due()
        self.hk.collection.withdraw("default", feedback_id)
        self.hk.relay.run_due()
        self.vote(trace, "down", "Too slow")
        self.server.store()
        self.clock.turn(seconds=61)
        self.deliver()
        assert [one.comment for one in self.shown(trace)] == ["Too slow"]

    def test_a_deletion_much_later(self) -> None:
        """A deletion long after the event is not repeated."""
        erased = a_notification(erased=ErasedFeedback("f", "s"), occurred_at=NOON, sent_at=NOON + timedelta(seconds=60))
        with self.opened() as notifier:
            with pytest.raises(DeliveryFailed, match="will be repeated") as caught:
                notifier.deliver(evolve(erased, sent_at=NOON + timedelta(seconds=59)))
            assert (caught.value.retryable, caught.value.retry_after) == (True, timedelta(seconds=1))
            assert caught.value.planned
            notifier.deliver(erased)

    def test_the_time_of_a_score(self) -> None:
        """The time of a score is that of the feedback, and is the same after a change, as it identifies the score."""
        trace = self.add_trace()
        self.vote(trace, "up")
        self.deliver()
        self.clock.turn(days=70)
        self.vote(trace, "down", "Too slow")
        self.deliver()
        ((_, timestamp),) = self.server.stored
        assert timestamp == NOON

    def test_other_ids(self) -> None:
        """Langfuse allows any text as the id of a trace."""
        self.vote("msg-7/../x", "up")
        self.deliver()
        assert len(self.shown("msg-7/../x")) == 1

    def test_an_observation(self) -> None:
        """A traceparent refers to an observation of the trace."""
        trace = a_trace_id()
        with self.opened() as notifier:
            feedback = a_feedback("o-1", message_id=f"00-{trace}-{trace[16:]}-01")
            notifier.deliver(a_notification(feedback=feedback))
        self.finish()
        assert [one["observation_id"] for one in self.server.of_trace(trace)] == [trace[16:]]

    def test_name_and_environment(self) -> None:
        """The settings name and environment are those of the scores."""
        trace = self.add_trace()
        with self.opened(name="rating", environment="production") as notifier:
            notifier.deliver(a_notification(feedback=a_feedback(message_id=trace)))
        self.finish()
        assert [(one["name"], one["environment"]) for one in self.server.of_trace(trace)] == [("rating", "production")]

    def test_wrong_keys(self) -> None:
        """Wrong keys can be corrected, so the delivery is retried. The error has the words of Langfuse and no keys."""
        with self.opened(secret_key="sk-lf-wrong") as notifier, pytest.raises(DeliveryFailed) as caught:
            notifier.deliver(a_notification(feedback=a_feedback(message_id="t")))
        assert str(caught.value) == f"Langfuse at {self.server.url} responded with 401: Invalid credentials."
        assert caught.value.retryable

    def test_words_have_no_credentials(self) -> None:
        """A server, or a proxy before it, may quote the headers of the request."""
        token = b64encode(b"pk-lf-public:sk-lf-SECRET").decode()
        self.server.outage = Response(403, {"message": f"not allowed: Basic {token}", "detail": "sk-lf-SECRET"})
        keys = {"public_key": "pk-lf-public", "secret_key": "sk-lf-SECRET"}
        with self.opened(**keys) as notifier, pytest.raises(DeliveryFailed) as caught:
            notifier.deliver(a_notification(feedback=a_feedback(message_id="t")))
        assert caught.value.words == "not allowed: Basic ***: ***"
        assert str(caught.value).endswith(caught.value.words)

    @pytest.mark.parametrize(
        ("response", "reason", "retryable", "pause"),
        [
            (Response(429, {"message": "Slow down"}, {"retry-after": "7"}), ": Slow down", True, 7),
            (Response(503, {"error": "x\ny"}, {"retry-after": "Wed, 04 Mar 2026 12:00:09 GMT"}), ": x y", True, 8),
            (Response(500, b"<html>No", {"content-type": "text/html"}), "", True, None),
            (Response(502, b""), "", True, None),
            (Response(400, {"message": "Invalid", "error": ["x"]}), ': Invalid: ["x"]', False, None),
            (Response(404, {"detail": "Nothing here"}), ": Nothing here", False, None),
            (Response(413, b"\xffToo\x00 large"), ": Too  large", False, None),
            (Response(422, b"x" * 2_000_000), f": {'x' * 300}", False, None),
        ],
    )
    def test_failures(self, response: Response, reason: str, retryable: bool, pause: int | None) -> None:
        """The status decides whether a delivery is retried and when; the error has the reason in one short line."""
        self.server.outage = response
        notification = a_notification(
            feedback=a_feedback(message_id="t"), occurred_at=NOON, sent_at=NOON + timedelta(seconds=1)
        )
        with self.opened() as notifier, pytest.raises(DeliveryFailed) as caught:
            notifier.deliver(notification)
        assert str(caught.value) == f"Langfuse at {self.server.url} responded with {response.status}{reason}"
        assert caught.value.retryable == retryable
        assert caught.value.retry_after == (None if pause is None else timedelta(seconds=pause))

    @pytest.mark.parametrize("response", [Response(200, b"<html>"), Response(200, {"id": "x"}), Response(200, [])])
    def test_something_else_at_the_url(self, response: Response) -> None:
        """A success of something that is not Langfuse is not a success."""
        self.server.outage = response
        with self.opened() as notifier, pytest.raises(DeliveryFailed, match="check the url"):
            notifier.deliver(a_notification(feedback=a_feedback(message_id="t")))

    @pytest.mark.parametrize(("words", "removed"), [("Score not found", True), ("Not found", False)])
    def test_a_missing_score(self, words: str, removed: bool) -> None:
        """A score that does not exist is removed. A 404 of something else at the URL does not mean that."""
        self.server.outage = Response(404, {"message": words})
        erased = a_notification(erased=ErasedFeedback("f", "s"), occurred_at=NOON, sent_at=NOON + timedelta(hours=1))
        with self.opened() as notifier, nullcontext() if removed else pytest.raises(DeliveryFailed, match=words):
            notifier.deliver(erased)

    def test_a_redirect(self) -> None:
        """A redirect is not followed, and its target is named without its path."""
        self.server.outage = Response(308, b"", {"location": "https://example.com/secret"})
        with self.opened() as notifier, pytest.raises(DeliveryFailed) as caught:
            notifier.deliver(a_notification(feedback=a_feedback(message_id="t")))
        expected = "responded with 308, a redirect to https://example.com, which is not followed"
        assert str(caught.value) == f"Langfuse at {self.server.url} {expected}"

    def test_a_path(self) -> None:
        """The server may be below a path."""
        with self.opened(url=f"{self.server.url}/tools/langfuse/") as notifier, pytest.raises(DeliveryFailed):
            notifier.deliver(a_notification(feedback=a_feedback(message_id="t")))
        assert [one.path for one in self.server.requests] == ["/tools/langfuse/api/public/scores"]


def _shown(score: dict[str, Any]) -> Shown:
    metadata = score["metadata"]
    return Shown(
        rating=metadata["rating"],
        value=score["value"],
        comment=score["comment"],
        tags=tuple(metadata["tags"]),
        author=metadata["author"],
        application=metadata["application"],
    )
