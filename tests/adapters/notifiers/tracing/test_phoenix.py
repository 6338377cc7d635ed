"""Feedback as annotations in a real Phoenix server."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from adapters.notifiers.tracing.following import FollowsFeedback, Shown, a_trace_id
from harken.testing.notifier_contract import a_notification
from support import a_feedback, eventually
from tracing_servers import phoenix_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.Client]:
    """A client of a server for these tests."""
    with phoenix_server() as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


class TestPhoenix(FollowsFeedback):
    values = (1.0, 0.0, None)

    @property
    def url(self) -> str:
        return str(self.server.base_url).rstrip("/")

    def table(self) -> dict[str, object]:
        return {"kind": "phoenix", "url": self.url, "allow": ["127.0.0.1"]}

    def add_trace(self, project: str = "default") -> str:
        trace = a_trace_id()
        context = {"trace_id": trace, "span_id": trace[16:]}
        times = {"start_time": "2026-01-01T00:00:00Z", "end_time": "2026-01-01T00:00:01Z"}
        kind = {"span_kind": "LLM", "status_code": "OK", "attributes": {}}
        span = {"name": "answer", "context": context, **kind, **times}
        self.server.post(f"/v1/projects/{project}/spans", json={"data": [span]}).raise_for_status()
        # Phoenix stores spans in the background.
        eventually(lambda: self._annotations("span", trace, project).is_success)
        return trace

    def shown(self, trace: str, kind: str = "trace") -> list[Shown]:
        return [_shown(one) for one in self._annotations(kind, trace).raise_for_status().json()["data"]]

    def shown_on_span(self, trace: str) -> list[Shown]:
        return self.shown(trace, "span")

    def _annotations(self, kind: str, trace: str, project: str = "default") -> httpx.Response:
        query = {f"{kind}_ids": trace if kind == "trace" else trace[16:], "limit": 1000}
        return self.server.get(f"/v1/projects/{project}/{kind}_annotations", params=query)

    def test_a_span(self) -> None:
        """Feedback on a span is an annotation of the span, and is removed like that of a trace."""
        trace = self.add_trace()
        feedback_id = self.vote(trace[16:], "up", "Nice")
        self.deliver()
        assert ([one.comment for one in self.shown_on_span(trace)], self.shown(trace)) == (["Nice"], [])
        self.hk.collection.withdraw("default", feedback_id)
        self.deliver()
        assert self.shown_on_span(trace) == []

    def test_a_span_that_arrives_later(self) -> None:
        """Feedback on an unknown span is not lost: it is retried, with the words of Phoenix."""
        trace = a_trace_id()
        self.hk.submit("s", "up", message_id=trace[16:])
        self.hk.relay.run_due()
        (waiting,) = self.hk.deliveries.find("pending")
        assert waiting.error == f"Phoenix at {self.url} responded with 404: Spans with IDs {trace[16:]} do not exist."

    def test_another_project(self) -> None:
        """The setting project is the one in which annotations are removed."""
        trace = self.add_trace("my project & more")
        with self.connected(project="my project & more") as hk:
            hk.submit("s", "up", message_id=trace)
            self.deliver(hk)
            assert len(self._annotations("trace", trace, "my project & more").json()["data"]) == 1
            hk.collection.erase(hk.query(session_id="s"))
            self.deliver(hk)
            assert self._annotations("trace", trace, "my project & more").json()["data"] == []

    def test_an_unknown_project(self) -> None:
        """An annotation that cannot be removed, as the project is wrong, is not reported as removed."""
        trace = self.add_trace()
        with self.connected(project="missing") as hk:
            hk.submit("s", "up", message_id=trace)
            self.deliver(hk)
            hk.collection.erase(hk.query(session_id="s"))
            hk.relay.run_due()
            (waiting,) = hk.deliveries.find("pending")
            assert waiting.error == "The channel reported: 404 Not Found"

    @pytest.mark.parametrize("trace", ["msg-7", "tr-12", "0" * 31])
    def test_an_id_of_another_form(self, trace: str) -> None:
        """A message id that is not an id of Phoenix is a dead letter with a reason."""
        self.hk.submit("s", "up", message_id=trace)
        self.hk.relay.run_due()
        (dead,) = self.hk.deliveries.find("dead")
        assert dead.error.startswith(f"{trace!r} is not the id of a span or trace in Phoenix; expected 16 or 32")

    def test_the_name(self) -> None:
        """The setting name is the name of the annotations."""
        trace = self.add_trace()
        with self.opened(name="rating & more 😀") as notifier:
            notifier.deliver(a_notification(feedback=a_feedback("n-1", message_id=trace)))
        (annotation,) = self._annotations("trace", trace).json()["data"]
        assert (annotation["name"], annotation["annotator_kind"]) == ("rating & more 😀", "HUMAN")


def _shown(annotation: Any) -> Shown:
    result, metadata = annotation["result"], annotation["metadata"]
    return Shown(
        rating=result["label"],
        value=result["score"],
        comment=result["explanation"] or "",
        tags=tuple(metadata["tags"]),
        author=metadata["author"],
        application=metadata["application"],
    )
