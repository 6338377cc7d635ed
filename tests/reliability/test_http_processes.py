"""``harken serve`` with two workers on MongoDB: what they have to do together, and what becomes of it if one dies.

``python -m tests.reliability.http_processes`` kills workers for as long as one likes.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import requests
from tests.reliability.http_processes import UNLIMITED, Load, Service, account, play, send, serve

import harken
from hosts.events import listening
from support import in_threads

#: A window that no test outlasts, however slow it is, unless it begins at midnight on the first of January.
LIMIT = "5/year"


@pytest.fixture
def service(mongodb_url: str, tmp_path: Path) -> Iterator[Service]:
    """Two workers on one MongoDB."""
    settings = {**UNLIMITED, "HARKEN_SERVER_LIMIT_PRODUCTION": LIMIT}
    with serve(mongodb_url, tmp_path, "--workers", "2", **settings) as serving:
        serving.ready(workers=2)
        yield serving


@pytest.mark.slow
def test_workers_do_together_what_one_does_alone(service: Service, mongodb_url: str) -> None:
    """Limits and idempotency keys hold across workers, both tell of what either took, and figures are of both."""
    assert len(service.workers()) == 2
    _limits_hold(service)
    _keys_hold(service)
    _events_cross(service)
    with harken.connect(mongodb_url) as hk:
        assert hk.summary().total == 5 + 10 + 20
        assert hk.check() == []
    assert service.end() == 0
    assert service.workers() == []


def _limits_hold(service: Service) -> None:
    """Of twenty requests at once, each over a connection of its own, five are let in."""
    body = {"rating": "up"}
    asked = [lambda: service.ask("POST", "/api/feedback?session_id=limited", json=body)] * 20
    answers = [answer for answer in in_threads(asked) if isinstance(answer, requests.Response)]
    assert Counter(answer.status_code for answer in answers) == {201: 5, 429: 15}
    operation = 'operation="submit_feedback_in_production"'
    for status, times in (("201", 5), ("429", 15)):
        assert service.metric(f'harken_http_requests_total{{method="POST",{operation},status="{status}"}}') == times
    assert service.metric('harken_submissions_total{outcome="stored"}') == 5


def _keys_hold(service: Service) -> None:
    """The same submission sent four times at once is kept once, and all that are answered get the same answer."""
    for number in range(10):
        answers = in_threads([lambda key=f"key-{number}": send(service.url, key)] * 4)  # type: ignore[misc]
        taken = [one for one in answers if isinstance(one, requests.Response) and one.status_code == 201]
        assert len({one.json()["feedback_id"] for one in taken}) == 1
        # A worker that handles a key already says so; what it says of the other's is the other's answer.
        assert all(one.status_code in (201, 409) for one in answers if isinstance(one, requests.Response))
        assert sum("idempotency-replayed" not in one.headers for one in taken) == 1


def _events_cross(service: Service) -> None:
    """Every listener hears everything, whoever serves it."""
    with ExitStack() as opened:
        streams = [opened.enter_context(listening(service.url)) for _ in range(6)]
        given = [service.ask("POST", "/api/sessions/watched/feedback", json={"rating": "up"}) for _ in range(20)]
        ids = {answer.json()["feedback_id"] for answer in given}
        for stream in streams:
            heard: set[str] = set()
            while not ids <= heard:
                heard.add(stream.event().feedback["id"])


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(mongodb_url: str, tmp_path: Path) -> None:
    """``kill -9`` under load: what was acknowledged is there, no retry is kept twice, and another worker serves."""
    report = play(mongodb_url, tmp_path)
    assert report.kept, str(report)
    assert len(report.replaced) == 1


@pytest.mark.slow
def test_the_account_notices_what_is_lost_or_doubled(tmp_path: Path) -> None:
    """The count sees what was acknowledged and is not there, and a key that is kept twice."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    with serve(url, tmp_path, **UNLIMITED) as service, Load(service.url, clients=2) as load:
        load.go_on(20)
    with harken.connect(url) as hk:
        report = account(hk, load, seconds=1)
        assert report.kept, str(report)
        assert report.acknowledged == hk.summary().total >= 20
        hk.collection.erase(hk.query(session_id="session-0").in_any_state())
        hk.submit("another session", "up", idempotency_key="0-1")
        broken = account(hk, load, seconds=1).broken
    assert broken["lost"] >= 1
    assert broken["duplicated"] == 1
