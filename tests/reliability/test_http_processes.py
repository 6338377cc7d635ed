"""``harken serve`` with two workers on MongoDB: shared state of the workers, and killed workers.

``python -m tests.reliability.http_processes`` kills workers for a given time.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import requests
from tests.reliability.http_processes import UNLIMITED, Load, Service, account, play, send, serve

import harken
from hosts.events import Stream, listening
from support import in_threads

#: A window that is longer than any test. A test fails only if it runs when the window ends, once in 360 days.
LIMIT = "5/year"
UP = {"rating": "up"}


@pytest.fixture
def service(mongodb_url: str, tmp_path: Path) -> Iterator[Service]:
    """A service with two workers on MongoDB."""
    # With the timeout, a busy machine does not make the workers count separately.
    patient = f"{mongodb_url}&timeoutMS=60000"
    settings = {**UNLIMITED, "HARKEN_SERVER_LIMIT_PRODUCTION": LIMIT, "HARKEN_SERVER_LIMIT_STORAGE": patient}
    with serve(mongodb_url, tmp_path, "--workers", "2", **settings) as serving:
        serving.ready(workers=2)
        yield serving


@pytest.mark.slow
def test_workers_share_limits_keys_events_and_metrics(service: Service, mongodb_url: str) -> None:
    """Limits and idempotency keys apply across workers, and both send the events and metrics of both."""
    assert len(service.workers()) == 2
    _check_limits(service)
    _check_metrics(service)
    _check_keys(service)
    _check_events(service)
    with harken.connect(mongodb_url) as hk:
        assert hk.summary().total == 5 + 10 + 40
        assert hk.check() == []
    assert service.end() == 0
    assert service.workers() == []


def _check_limits(service: Service) -> None:
    """Of twenty concurrent requests over separate connections, five are accepted; then both workers reject requests."""
    submit = partial(service.ask, "POST", "/api/feedback?session_id=limited", json=UP)
    assert Counter(response.status_code for response in _at_once(20, submit)) == {201: 5, 429: 15}
    for worker in service.workers():
        with service.only(worker):
            assert submit().status_code == 429


def _check_metrics(service: Service) -> None:
    """Each worker returns the metrics of both."""
    operation = 'operation="submit_feedback_in_production"'
    for worker in service.workers():
        with service.only(worker):
            for status, times in (("201", 5), ("429", 17)):
                name = f'harken_http_requests_total{{method="POST",{operation},status="{status}"}}'
                assert service.metric(name) == times
            assert service.metric('harken_submissions_total{outcome="stored"}') == 5


def _check_keys(service: Service) -> None:
    """Eight concurrent requests with the same key store one entry and get the same response."""
    for number in range(10):
        submit = partial(send, service, f"key-{number}")
        responses = _at_once(8, submit)
        # 409 if the same worker is handling the key; the other worker waits for the result and replays it.
        assert {response.status_code for response in responses} <= {201, 409}
        accepted = [response for response in responses if response.status_code == 201]
        assert sum("idempotency-replayed" not in response.headers for response in accepted) == 1
        for worker in service.workers():
            with service.only(worker):
                retry = submit()
            assert "idempotency-replayed" in retry.headers, retry.text
            accepted.append(retry)
        assert len({response.json()["feedback_id"] for response in accepted}) == 1


def _check_events(service: Service) -> None:
    """A listener of either worker receives the events of both, in any order."""
    workers = service.workers()
    with ExitStack() as opened:
        streams = []
        for worker in workers:
            with service.only(worker):
                streams.append(opened.enter_context(listening(service.url, **service.credentials)))
        for worker in workers * 2:
            with service.only(worker):
                responses = [service.ask("POST", "/api/sessions/watched/feedback", json=UP) for _ in range(10)]
            # Received before the next submissions: a worker that accepts one reads at once, also the other's events.
            ids = {response.json()["feedback_id"] for response in responses}
            assert in_threads([partial(_receive, stream, len(ids)) for stream in streams]) == [ids] * 2


def _receive(stream: Stream, events: int) -> set[str]:
    """Receive this number of events; returns the ids of their feedback."""
    return {stream.event().feedback["id"] for _ in range(events)}


def _at_once(times: int, call: Callable[[], requests.Response]) -> list[requests.Response]:
    """Send concurrent requests; returns the responses. Fails if one has no response."""
    results = in_threads([call] * times)
    responses = [result for result in results if isinstance(result, requests.Response)]
    assert len(responses) == times, results
    return responses


@pytest.mark.slow
def test_a_killed_worker_loses_nothing(mongodb_url: str, tmp_path: Path) -> None:
    """``kill -9`` under load: acknowledged feedback is stored once, and the worker is replaced."""
    report = play(mongodb_url, tmp_path)
    assert report.ok, str(report)
    assert report.errors, "no request failed"


@pytest.mark.slow
def test_lost_and_duplicated_feedback_is_detected(tmp_path: Path) -> None:
    """The report counts acknowledged feedback that is missing, and keys that are stored twice."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    with serve(url, tmp_path, **UNLIMITED) as service, Load(service, clients=2) as load:
        load.wait_for_more(20)
    with harken.connect(url) as hk:
        report = account(hk, load, seconds=1)
        assert report.ok, str(report)
        assert report.acknowledged == hk.summary().total >= 20
        hk.collection.erase(hk.query(session_id="session-0").in_any_state())
        hk.submit("another session", "up", idempotency_key="0-1")
        violations = account(hk, load, seconds=1).violations
    assert violations["lost"] >= 1
    assert violations["duplicated"] == 1
