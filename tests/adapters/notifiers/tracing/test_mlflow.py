"""Feedback as assessments in a real MLflow server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest

from adapters.notifiers.tracing.following import FollowsFeedback, Shown, a_trace_id
from adapters.notifiers.tracing.json_server import Request, Response, serving
from harken.domain.errors import DeliveryFailed
from harken.ports.notifier import ErasedFeedback
from harken.testing.notifier_contract import a_notification
from harken_adapters.notifiers.tracing.mlflow import open_notifier
from support import a_feedback
from tracing_servers import mlflow_server

pytestmark = pytest.mark.slow
_API = "/api/3.0/mlflow/traces"


@pytest.fixture(scope="module")
def server() -> Iterator[httpx.Client]:
    """A client of a server for these tests."""
    with mlflow_server() as url, httpx.Client(base_url=url, timeout=60) as client:
        yield client


class TestMlflow(FollowsFeedback):
    values = (True, False, None)

    @property
    def url(self) -> str:
        return str(self.server.base_url).rstrip("/")

    def table(self) -> dict[str, object]:
        return {"kind": "mlflow", "url": self.url, "allow": ["127.0.0.1"]}

    def add_trace(self) -> str:
        trace = a_trace_id()
        self._add(f"tr-{trace}", "0")
        return trace

    def shown(self, trace: str) -> list[Shown]:
        return [_shown(one) for one in self._info(trace).get("assessments", [])]

    def _add(self, trace_id: str, experiment: str) -> None:
        location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment}}
        info = {"trace_id": trace_id, "trace_location": location, "request_time": "2026-01-01T00:00:00Z", "state": "OK"}
        self.server.post(_API, json={"trace": {"trace_info": info}}).raise_for_status()

    def _info(self, trace: str) -> Any:
        return self.server.get(f"{_API}/tr-{trace}").raise_for_status().json()["trace"]["trace_info"]

    def test_an_id_of_mlflow(self) -> None:
        """The id may also be that of MLflow."""
        trace = self.add_trace()
        self.vote(f"tr-{trace}", "up")
        self.deliver()
        assert [one.rating for one in self.shown(trace)] == ["up"]

    def test_nothing_remains(self) -> None:
        """After an erasure the trace has the tags that it had before."""
        trace = self.add_trace()
        before = self._info(trace)
        self.hk.submit("s", "up", "Nice", message_id=trace)
        self.deliver()
        assert self._info(trace)["tags"] != before["tags"]
        self.hk.collection.erase(self.hk.query(session_id="s"))
        self.deliver()
        assert self._info(trace) == before

    def test_a_trace_that_arrives_later(self) -> None:
        """Feedback on an unknown trace waits until the trace arrives."""
        trace = a_trace_id()
        self.hk.submit("s", "up", message_id=trace)
        self.hk.relay.run_due()
        (waiting,) = self.hk.deliveries.find("pending")
        assert waiting.error == f"MLflow at {self.url} responded with 404: Trace with ID 'tr-{trace}' not found."
        self._add(f"tr-{trace}", "0")
        self.clock.turn(seconds=6)
        self.deliver()
        assert len(self.shown(trace)) == 1

    def test_another_experiment(self) -> None:
        """Erased feedback is found in every experiment."""
        created = self.server.post("/api/2.0/mlflow/experiments/create", json={"name": a_trace_id()})
        trace = a_trace_id()
        self._add(f"tr-{trace}", created.json()["experiment_id"])
        self.hk.submit("s", "up", message_id=trace)
        self.deliver()
        assert len(self.shown(trace)) == 1
        self.hk.collection.erase(self.hk.query(session_id="s"))
        self.deliver()
        assert self.shown(trace) == []

    @pytest.mark.parametrize("name", ["rating", 'it\'s `odd` "%" & 😀'])
    def test_the_name(self, name: str) -> None:
        """The setting name is the name of the assessments."""
        trace = self.add_trace()
        with self.opened(name=name) as notifier:
            notifier.deliver(a_notification(feedback=a_feedback("n-1", message_id=trace)))
        assert [one["assessment_name"] for one in self._info(trace)["assessments"]] == [name]

    def test_metadata(self) -> None:
        """An assessment has the ids of the feedback, as texts."""
        trace = self.add_trace()
        self.hk.submit("s", "up", message_id=trace, author="ann", agent_id="helper", tags=["fast", "kind"])
        self.deliver()
        (assessment,) = self._info(trace)["assessments"]
        (feedback,) = self.hk.feedback().items
        assert assessment["metadata"] == {
            "feedback_id": feedback.id,
            "application": "default",
            "session_id": "s",
            "agent_id": "helper",
            "author": "ann",
            "rating": "up",
            "tags": "fast, kind",
            "version": "1",
        }

    @pytest.mark.parametrize("trace", ["msg-7", "../../2.0/mlflow/experiments", "tr-12", "0123456789abcdef"])
    def test_an_id_of_another_form(self, trace: str) -> None:
        """A message id that is not a trace id is a dead letter with a reason, and is not a part of a path."""
        self.hk.submit("s", "up", message_id=trace)
        self.hk.relay.run_due()
        (dead,) = self.hk.deliveries.find("dead")
        assert dead.error.startswith(f"{trace!r} is not the id of a trace in MLflow; expected 'tr-' and 32 hexadecimal")

    def test_another_url(self) -> None:
        """A URL of something else is an error with the status of the response, not a success."""
        trace = self.add_trace()
        expected = pytest.raises(DeliveryFailed, match=rf"MLflow at {self.url} responded with 404")
        with self.opened(url=f"{self.url}/nowhere") as notifier, expected:
            notifier.deliver(a_notification(feedback=a_feedback("e-1", message_id=trace)))


def test_experiments_with_long_notes() -> None:
    """Erased feedback is found among any number of experiments, whose notes are parts of the responses."""
    experiments = [{"experiment_id": str(number), "tags": [{"value": "x" * 5_000}]} for number in range(1_000)]
    deleted = []

    def answer(request: Request) -> Response:
        if request.method == "DELETE":
            deleted.append(request.path)
            return Response(200, {})
        asked = json.loads(request.content)
        if "page_token" in asked:
            start, most = int(asked["page_token"] or 0), asked["max_results"]
            following = {"next_page_token": str(start + most)} if start + most < len(experiments) else {}
            return Response(200, {"experiments": experiments[start : start + most], **following})
        found = any(one["mlflow_experiment"]["experiment_id"] == "999" for one in asked["locations"])
        return Response(200, {"traces": [{"trace_id": "tr-1"}] if found else []})

    with serving(answer) as url, closing(open_notifier({"url": url, "allow": ["127.0.0.1"]})) as notifier:
        notifier.deliver(a_notification(erased=ErasedFeedback("f-1", "s")))
    assert [path.split("/")[-3:-1] for path in deleted] == [["tr-1", "assessments"], ["traces", "tr-1"]]


def _shown(assessment: Any) -> Shown:
    metadata = assessment["metadata"]
    return Shown(
        rating=metadata["rating"],
        value=assessment["feedback"].get("value"),
        comment=assessment.get("rationale", ""),
        tags=tuple(filter(None, metadata["tags"].split(", "))),
        author=assessment["source"]["source_id"],
        application=metadata["application"],
    )
