"""``harken serve`` with two workers on MongoDB: what they have to do together, and what becomes of it if one dies.

``python -m tests.reliability.http_processes`` kills workers for as long as one likes.
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

#: A window that no test outlasts, however slow it is; one in 360 days may see its end.
LIMIT = "5/year"
UP = {"rating": "up"}


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
    _figures_are_of_both(service)
    _keys_hold(service)
    _events_cross(service)
    with harken.connect(mongodb_url) as hk:
        assert hk.summary().total == 5 + 10 + 40
        assert hk.check() == []
    assert service.end() == 0
    assert service.workers() == []


def _limits_hold(service: Service) -> None:
    """Of twenty requests at once, each over a connection of its own, five are let in, and then neither lets one in."""
    submit = partial(service.ask, "POST", "/api/feedback?session_id=limited", json=UP)
    assert Counter(answer.status_code for answer in _at_once(20, submit)) == {201: 5, 429: 15}
    for worker in service.workers():
        with service.only(worker):
            assert submit().status_code == 429


def _figures_are_of_both(service: Service) -> None:
    """Whichever worker is asked, it tells what both have done."""
    operation = 'operation="submit_feedback_in_production"'
    for worker in service.workers():
        with service.only(worker):
            for status, times in (("201", 5), ("429", 17)):
                name = f'harken_http_requests_total{{method="POST",{operation},status="{status}"}}'
                assert service.metric(name) == times
            assert service.metric('harken_submissions_total{outcome="stored"}') == 5


def _keys_hold(service: Service) -> None:
    """The same submission sent eight times at once is kept once, and all that are answered get the same answer."""
    for number in range(10):
        submit = partial(send, service, f"key-{number}")
        answers = _at_once(8, submit)
        # A worker that handles a key already says so; what it says of the other's is the other's answer.
        assert {answer.status_code for answer in answers} <= {201, 409}
        taken = [answer for answer in answers if answer.status_code == 201]
        assert sum("idempotency-replayed" not in answer.headers for answer in taken) == 1
        for worker in service.workers():
            with service.only(worker):
                again = submit()
            assert "idempotency-replayed" in again.headers, again.text
            taken.append(again)
        assert len({answer.json()["feedback_id"] for answer in taken}) == 1


def _events_cross(service: Service) -> None:
    """Whoever listens to one worker hears what each of them took, in whatever turn."""
    workers = service.workers()
    with ExitStack() as opened:
        streams = []
        for worker in workers:
            with service.only(worker):
                streams.append(opened.enter_context(listening(service.url, **service.credentials)))
        for worker in workers * 2:
            with service.only(worker):
                given = [service.ask("POST", "/api/sessions/watched/feedback", json=UP) for _ in range(10)]
            # Heard before the next ones are given: whoever takes some itself looks at once, and finds others' too.
            ids = {answer.json()["feedback_id"] for answer in given}
            assert in_threads([partial(_heard, stream, len(ids)) for stream in streams]) == [ids] * 2


def _heard(stream: Stream, events: int) -> set[str]:
    """The ids of the feedback that so many events tell of."""
    return {stream.event().feedback["id"] for _ in range(events)}


def _at_once(times: int, call: Callable[[], requests.Response]) -> list[requests.Response]:
    """What so many calls at the same time are answered; fails if one of them is not."""
    answers = in_threads([call] * times)
    given = [answer for answer in answers if isinstance(answer, requests.Response)]
    assert len(given) == times, answers
    return given


@pytest.mark.slow
def test_a_worker_that_is_killed_loses_nothing(mongodb_url: str, tmp_path: Path) -> None:
    """``kill -9`` under load: what was acknowledged is there, no retry is kept twice, and another worker serves."""
    report = play(mongodb_url, tmp_path)
    assert report.kept, str(report)
    assert report.errors, "no request was hit"


@pytest.mark.slow
def test_the_account_notices_what_is_lost_or_doubled(tmp_path: Path) -> None:
    """The count sees what was acknowledged and is not there, and a key that is kept twice."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    with serve(url, tmp_path, **UNLIMITED) as service, Load(service, clients=2) as load:
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
