"""Evaluation events: one per counted rating, as in the conventions for generative AI."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import Future
from datetime import UTC, datetime
from threading import Event
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider

import harken
from harken import FeedbackRejected, Harken, Rating, Receipt, Submission, Target
from harken.ports.repository import Accepted, Outcome
from harken_adapters.storage.memory import open_storage
from harken_adapters.telemetry import evaluation_events
from support import NOON, PATIENCE, ManualClock, a_submission

COMMENT = "a confidential comment"
VALUE = "gen_ai.evaluation.score.value"
WAYS: dict[str, Callable[[Harken, Submission], object]] = {
    "submit": lambda hk, submission: hk.collection.submit(submission),
    "submit_soon": lambda hk, submission: hk.collection.submit_soon(submission).result(PATIENCE),
    "submit_many": lambda hk, submission: hk.collection.submit_many([submission]),
}


class Events:
    """A Harken with evaluation events, and its events."""

    def __init__(self, storage: Any = "memory://", *, explanation: bool = False, **settings: Any) -> None:
        self._exporter = InMemoryLogRecordExporter()
        provider = LoggerProvider()
        provider.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))
        self.middleware = evaluation_events(explanation=explanation, logger_provider=provider)
        self.hk = harken.connect(storage, middleware=[self.middleware], clock=ManualClock(), **settings)

    @property
    def records(self) -> list[Any]:
        """The events so far."""
        return [exported.log_record for exported in self._exporter.get_finished_logs()]

    @property
    def attributes(self) -> list[dict[str, Any]]:
        """The attributes of the events so far."""
        return [dict(record.attributes) for record in self.records]


@pytest.fixture
def events() -> Events:
    """A Harken with evaluation events."""
    return Events()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("rating", "score"),
    [
        ("up", {"gen_ai.evaluation.score.label": "up", "gen_ai.evaluation.score.value": 1.0}),
        ("down", {"gen_ai.evaluation.score.label": "down", "gen_ai.evaluation.score.value": 0.0}),
        (None, {"gen_ai.evaluation.score.label": "neutral"}),
    ],
)
def test_a_rating(events: Events, way: str, rating: str | None, score: dict[str, Any]) -> None:
    """A rating causes one event with its label and value, in all ways to submit it; neutral has no value."""
    WAYS[way](events.hk, a_submission("s", rating, COMMENT, message_id="m-1", author="ann"))
    (record,) = events.records
    assert record.event_name == "gen_ai.evaluation.result"
    assert record.timestamp == int(NOON.timestamp()) * 1_000_000_000
    assert dict(record.attributes) == {
        "gen_ai.evaluation.name": "user_feedback",
        "gen_ai.response.id": "m-1",
        **score,
    }


def test_events_have_no_personal_data(events: Events) -> None:
    """Events have no comment, author, session or context."""
    personal = {"author": "author-1", "context": {"tier": "tier-1"}, "tags": ("tag-1",), "agent_id": "agent-1"}
    events.hk.collection.submit(a_submission("session-1", "down", COMMENT, **personal))
    (record,) = events.records
    for secret in ("author-1", "tier-1", "tag-1", "session-1", COMMENT):
        assert secret not in repr(vars(record))


def test_the_comment_on_request() -> None:
    """With ``explanation`` the event has the stored comment, if there is one."""
    events = Events(explanation=True)
    events.hk.submit("s", "down", f" {COMMENT} ")
    events.hk.submit("s", "up")
    assert [one.get("gen_ai.evaluation.explanation") for one in events.attributes] == [COMMENT, None]


@given(st.lists(st.sampled_from(list(Rating))))
def test_their_mean_is_the_satisfaction(ratings: list[Rating]) -> None:
    """The mean of the values of the events is the satisfaction."""
    events = Events()
    for rating in ratings:
        events.hk.submit("s", rating, "because")
    values = [one[VALUE] for one in events.attributes if VALUE in one]
    assert len(events.records) == len(ratings)
    assert events.hk.summary().satisfaction == pytest.approx(100 * sum(values) / len(values) if values else 0.0)


@pytest.mark.parametrize("way", WAYS)
def test_a_duplicate_causes_no_event(events: Events, way: str) -> None:
    """A repeated submission causes one event."""
    for _ in range(3):
        WAYS[way](events.hk, a_submission(idempotency_key="k"))
    assert len(events.records) == 1


def test_feedback_that_is_not_counted() -> None:
    """Rejected and pending feedback causes no event."""
    events = Events(spam="hold")
    assert not events.hk.submit("s", "up", "buy viagra").feedback.is_counted
    with pytest.raises(FeedbackRejected):
        events.hk.submit("s", "down")
    assert events.records == []


def test_a_changed_vote(events: Events) -> None:
    """A changed vote causes another event, a repeated one does not."""
    for rating in ("up", "up", None):
        events.hk.collection.set_vote(Target("s"), "ann", rating)
    assert [one["gen_ai.evaluation.score.label"] for one in events.attributes] == ["up", "neutral"]


def test_old_feedback_has_its_own_time(events: Events) -> None:
    """The event of feedback with an earlier time has this time, exactly."""
    at = datetime(2024, 5, 6, 7, 8, 9, 123_457, UTC)
    events.hk.collection.submit(a_submission(created_at=at))
    assert [record.timestamp for record in events.records] == [1_714_979_289_123_457_000]


class Held:
    """A repository whose writes wait for ``go``."""

    def __init__(self, repository: Any) -> None:
        self._repository = repository
        self.entered, self.go = Event(), Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._repository, name)

    def add(self, batch: list[Accepted]) -> list[Outcome]:
        self.entered.set()
        assert self.go.wait(PATIENCE)
        outcomes: list[Outcome] = self._repository.add(batch)
        return outcomes


def test_each_event_belongs_to_its_own_request() -> None:
    """One thread emits the events of a batch, but each event is in the span of its submission, or in none."""
    tracer = TracerProvider().get_tracer("test")
    with open_storage("memory://") as storage:
        held: Any = Held(storage.feedback)
        events = Events(evolve(storage, feedback=held))
        expected: dict[str, int] = {}
        futures: list[Future[Receipt]] = []
        with tracer.start_as_current_span("first") as span:
            futures.append(events.hk.submit_soon("s", "up", message_id="first"))
            expected["first"] = span.get_span_context().span_id
        assert held.entered.wait(PATIENCE)
        for name in ("second", "third"):
            with tracer.start_as_current_span(name) as span:
                futures.append(events.hk.submit_soon("s", "up", message_id=name))
                expected[name] = span.get_span_context().span_id
        futures.append(events.hk.submit_soon("s", "up", message_id="none"))
        expected["none"] = 0
        with tracer.start_as_current_span("writer") as span:
            expected["writer"] = span.get_span_context().span_id
            held.go.set()
            events.hk.submit("s", "up", message_id="writer")
        for future in futures:
            future.result(PATIENCE)
        events.hk.close()
    assert {dict(one.attributes)["gen_ai.response.id"]: one.span_id for one in events.records} == expected


def test_a_submission_outside_of_a_span() -> None:
    """Its event is not in the span of the thread that emits it."""
    tracer = TracerProvider().get_tracer("test")
    events = Events()
    receipt = events.hk.submit("s", "up")
    steps = events.middleware(a_submission())
    next(steps)
    with tracer.start_as_current_span("another"), pytest.raises(StopIteration):
        steps.send(receipt)
    assert [record.span_id for record in events.records] == [0, 0]


@pytest.mark.slow
def test_without_opentelemetry() -> None:
    """Without OpenTelemetry the error has the command that installs it."""
    program = """
import sys
sys.modules["opentelemetry"] = None
from harken import MissingExtra
from harken_adapters.telemetry import evaluation_events
try:
    evaluation_events()
except MissingExtra as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "Evaluation events need the package 'opentelemetry-api'; try pip install \"harken[telemetry]\"\n"
    )
