"""One client cannot block the event loop, and calls of disconnected clients are dropped."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from attrs import evolve
from fastapi import FastAPI
from tests.reliability.http_processes import environment

import harken
from harken import Harken
from harken_adapters.hosts.fastapi import ServerSettings, feedback_router
from harken_adapters.hosts.http.wire.parameters import Parameters
from harken_adapters.storage import memory
from harken_adapters.storage.memory import MemoryFeedbackRepository
from hosts.http.test_fair_threads import Hanging, SlowForOne
from hosts.serving import OPEN, Server, problem, raw_request, served, serving
from support import PATIENCE, eventually

PATH = "/api/sessions/s/feedback"
#: Larger than what the event loop processes itself, and within the limit of the sanitiser.
HOSTILE = "<b>" * 1_000


class HangingSanitizer(Hanging):
    """Hangs on markup."""

    def sanitize(self, text: str) -> str:
        if "<b>" in text:
            self()
        return text.replace("<b>", "")


@contextmanager
def routed(hk: Harken, **settings: Any) -> Iterator[Server]:
    """Serve the router in a host application."""
    app = FastAPI()
    app.include_router(feedback_router(hk, ServerSettings(**{**OPEN, **settings})))
    with serving(app) as server:
        yield server


@contextmanager
def django_in_loop(hk: Harken, **settings: Any) -> Iterator[Server]:
    """Serve it in a Django project."""
    from hosts.django_serving import serve_django_in_loop  # noqa: PLC0415 - configures Django, for these tests only

    with serve_django_in_loop(hk, ServerSettings(**{**OPEN, **settings})) as server:
        yield server


@pytest.mark.parametrize("host", [served, routed, django_in_loop])
def test_a_large_comment_is_cleaned_beside_the_loop(host: Any) -> None:
    """While the sanitiser is busy with large comments of one tenant, other tenants submit and read feedback."""
    text = HangingSanitizer()
    with ExitStack() as opened:
        hk = opened.enter_context(harken.connect("memory://", sanitizer=text))
        server = opened.enter_context(host(hk, access="keys"))
        opened.callback(text.released.set)
        hostile, other = (
            {"Authorization": f"Bearer {hk.keys.create(name, ['submit', 'read']).text}"} for name in ("one", "other")
        )
        statuses: list[int] = []

        def attack() -> None:
            answer = server.ask("POST", PATH, json={"rating": "up", "comment": HOSTILE}, headers=hostile)
            statuses.append(answer.status_code)

        attacking = [Thread(target=attack, daemon=True) for _ in range(12)]
        for one in attacking:
            one.start()
        eventually(lambda: text.begun > 0)
        server.post(PATH, {"rating": "up", "comment": "Fine"}, headers=other)
        server.post(PATH, {"rating": "up", "comment": "x" * 1_000, "context": {"a": "y" * 1_000}}, headers=other)
        assert server.get(PATH, headers=other)["total_feedbacks"] == 2
        assert statuses == []
        text.released.set()
        for one in attacking:
            one.join(PATIENCE)
    assert statuses == [201] * 12


def test_a_long_query_string_is_parsed_beside_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parsing a long query string takes a while, during which other requests are answered."""
    hanging, parse = Hanging(), Parameters.parse

    def hang_on_long_ones(query: str, *known: Any, **options: Any) -> Parameters:
        if len(query) > 10_000:
            hanging()
        return parse(query, *known, **options)

    monkeypatch.setattr(Parameters, "parse", hang_on_long_ones)
    with ExitStack() as opened:
        server = opened.enter_context(served(opened.enter_context(harken.connect("memory://"))))
        opened.callback(hanging.released.set)
        long = f"/api/feedback?author={'%41' * 10_000}"
        asking = Thread(target=lambda: server.ask("GET", long), daemon=True)
        asking.start()
        eventually(lambda: hanging.begun == 1)
        server.post(PATH, {"rating": "up"})
        hanging.released.set()
        asking.join(PATIENCE)


def test_a_content_type_has_a_length() -> None:
    """A Content-Type with thousands of parameters is rejected without parsing it; usual ones are accepted."""
    with harken.connect("memory://") as hk, served(hk) as server:
        for fine in ("application/json; charset=utf-8", "application/vnd.api+json; profile=x"):
            assert server.ask("POST", PATH, data='{"rating": "up"}', headers={"Content-Type": fine}).status_code == 201
        large = {"Content-Type": "application/json;" + "a=b;" * 10_000}
        detail = problem(
            server.ask("POST", PATH, data='{"rating": "up"}', headers=large), 415, "unsupported-media-type"
        )
        assert "1,000 characters" in detail["detail"]


@contextmanager
def greedy_and_modest(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Server, Hanging, dict[str, Any]]]:
    """A service on which the queries of the tenant ``greedy`` hang, and keys of two tenants."""
    hanging = Hanging()
    monkeypatch.setattr(SlowForOne, "hanging", hanging, raising=False)
    with ExitStack() as opened:
        storage = opened.enter_context(memory.open_storage())
        assert isinstance(storage.feedback, MemoryFeedbackRepository)
        hk = opened.enter_context(harken.connect(evolve(storage, feedback=SlowForOne(storage.feedback._data))))
        keys = {name: hk.keys.create(name, ["read", "submit"]).text for name in ("greedy", "default")}
        server = opened.enter_context(served(hk, access="keys"))
        opened.callback(hanging.released.set)
        yield server, hanging, {name: {"Authorization": f"Bearer {text}"} for name, text in keys.items()}


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_calls_of_clients_that_went_away_are_dropped(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that has not started when its client disconnects is dropped, so it does not delay the tenant's next
    call.
    """
    with greedy_and_modest(monkeypatch) as (server, hanging, credentials):
        body = b'{"rating": "up"}' if method == "PUT" else b""
        path = "/api/sessions/s/messages/m/feedback?author=ann" if method == "PUT" else "/api/feedback"
        header = f"Authorization: {credentials['greedy']['Authorization']}"

        def ask() -> None:
            server.ask("GET", "/api/feedback", headers=credentials["greedy"])

        busy = [Thread(target=ask, daemon=True) for _ in range(6)]
        for one in busy:
            one.start()
        eventually(lambda: hanging.begun == 6)
        for _ in range(20):
            with socket.create_connection((server.host, server.port), timeout=PATIENCE) as connection:
                connection.sendall(raw_request(method, path, header, "Content-Type: application/json", body=body))

        def dropped() -> float:
            text = server.ask("GET", "/metrics", headers=credentials["default"]).text
            lines = (one for one in text.splitlines() if "requests_total{" in one and 'status="499"' in one)
            return sum(float(one.rpartition(" ")[2]) for one in lines)

        eventually(lambda: dropped() == 20)
        hanging.released.set()
        assert server.get("/api/feedback", headers=credentials["greedy"])["feedbacks"] == []
        for one in busy:
            one.join(PATIENCE)
        assert hanging.begun == 7


PROGRAM = r"""
import os
import sys
from threading import Event
from harken.services.analytics import AnalyticsService
from harken_adapters.hosts.cli import main

def hang(*_, **__):
    os.write(1, b"hangs\n")
    Event().wait()

AnalyticsService.keywords = hang
sys.exit(main())
"""


@pytest.mark.slow
def test_slow_calls_do_not_block_shutdown(tmp_path: Path) -> None:
    """A signal ends the server although calls hang and others wait, and everything acknowledged is stored."""
    storage = f"sqlite:///{tmp_path}/feedback.db"
    with harken.connect(storage) as hk:
        key = hk.keys.create("default", ["read", "submit"]).text
    with (
        subprocess.Popen(
            (sys.executable, "-c", PROGRAM, "--storage", storage, "serve", "--port", "0"),
            stdout=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            env=environment(XDG_STATE_HOME=str(tmp_path)),
        ) as process,
        ExitStack() as opened,
    ):
        opened.callback(process.kill)
        assert process.stdout is not None
        host, port = process.stdout.readline().split()[-1].removeprefix("http://").split(":")
        server = Server(host, int(port))
        credentials = {"Authorization": f"Bearer {key}"}
        for number in range(20):
            connection = opened.enter_context(socket.create_connection((host, int(port)), timeout=PATIENCE))
            connection.sendall(raw_request("GET", "/api/analytics/themes?keyword=a", f"Authorization: Bearer {key}"))
            if number % 2:
                connection.close()
        begun = 0
        while begun < 6:
            begun += process.stdout.readline() == "hangs\n"
        server.post(PATH, {"rating": "up"}, headers=credentials)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        assert "hangs" not in process.stdout.read()
    with harken.connect(storage) as hk:
        assert hk.summary().total == 1
