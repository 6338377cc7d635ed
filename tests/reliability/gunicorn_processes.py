"""Harken in workers of gunicorn, forked from a process that has used it: what becomes of requests when workers end.

``python -m tests.reliability.gunicorn_processes [--seconds N]`` serves MongoDB with ``--preload``, kills and replaces
workers under load for so many seconds, prints what it counted, and ends with status 1 if a promise was broken.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import ClassVar

from attrs import frozen
from tests.mongod import database, replica_set, until
from tests.reliability.http_processes import PATIENCE, UNLIMITED, Load, Report, account, environment, send

import harken

#: What gunicorn loads, by the name of the host.
APPS = {
    "flask": "from harken_adapters.hosts.flask import create_app\napp = create_app()\n",
    "wsgi": "from harken_adapters.hosts.wsgi import WsgiApp\napp = WsgiApp()\n",
    "django": (
        "from django.conf import settings\n"
        "settings.configure(\n"
        "    ALLOWED_HOSTS=['*'], SECRET_KEY='a secret of tests', HARKEN={},\n"
        "    INSTALLED_APPS=['harken_adapters.hosts.django'], ROOT_URLCONF='harken_adapters.hosts.django.urls',\n"
        ")\n"
        "from django.core.wsgi import get_wsgi_application\n"
        "app = get_wsgi_application()\n"
    ),
}
#: Uses what was loaded, so that whatever a connection needs is there before the fork.
WARM = """
from werkzeug.test import Client
answer = Client(app).post("/api/sessions/s/feedback?application=parent", json={"rating": "up"})
assert answer.status_code == 201, answer.text
"""
OPEN = {"HARKEN_SERVER_ACCESS": "open", "HARKEN_SERVER_SENTIMENT": "none", **UNLIMITED}


@frozen
class Gunicorn:
    """gunicorn as a process of its own, with its workers."""

    process: subprocess.Popen[bytes]
    host: str
    port: int
    log: Path
    #: What is served is open.
    credentials: ClassVar[dict[str, str]] = {}

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://{self.host}:{self.port}"

    def workers(self) -> list[int]:
        """The ids of the workers, oldest first."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return sorted(map(int, children.split()))

    def ready(self, boots: int) -> None:
        """Wait until so many workers were started since the beginning."""
        until(lambda: self.log.read_text().count("Booting worker") >= boots, "all workers were started")

    def boots(self) -> int:
        """How many workers were started so far."""
        return self.log.read_text().count("Booting worker")


@contextmanager
def gunicorn(
    program: str, folder: Path, storage: str, *options: str, workers: int = 2, **settings: str
) -> Iterator[Gunicorn]:
    """Serve a program on any free port; on return its workers are there. At the end nothing of it is left."""
    (folder / "served.py").write_text(program)
    log = folder / "gunicorn.log"
    with socket.create_server(("127.0.0.1", 0), backlog=128) as bound, log.open("wb") as errors:
        process = subprocess.Popen(
            (
                *(sys.executable, "-m", "gunicorn", "--bind", f"fd://{bound.fileno()}", f"--workers={workers}"),
                # It would be in the home directory, and the same for all that run.
                *("--no-control-socket", *options, "served:app"),
            ),
            cwd=folder,
            env=environment(**{**OPEN, "HARKEN_STORAGE": storage, **settings}),
            stdout=errors,
            stderr=errors,
            pass_fds=[bound.fileno()],
            start_new_session=True,
        )
        host, port = bound.getsockname()
    try:
        server = Gunicorn(process, host, port, log)
        until(lambda: server.boots() >= workers or process.poll() is not None, "it started")
        assert process.poll() is None, log.read_text()
        yield server
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def play(url: str, folder: Path, *, seconds: float = 0, workers: int = 2) -> Report:
    """Kill, and replace, workers of a parent that has used Harken before it forked them; and count."""
    replaced: list[float] = []
    program = APPS["flask"] + WARM
    options = ("--threads=4", "--preload", "--graceful-timeout=5")
    with gunicorn(program, folder, url, *options, workers=workers) as server:
        begun = monotonic()
        with Load(server) as load:
            for number in cycle(range(2)):
                load.go_on(100)
                replaced.append(_killed(server) if number else _reloaded(server, workers))
                if number and monotonic() > begun + seconds:
                    break
            load.go_on(100)
        took = monotonic() - begun
        assert send(server, "0-0").status_code == 201
    with harken.connect(url) as hk:
        assert hk.summary(application="parent").total >= 1
        return account(hk, load, seconds=took, replaced=replaced)


def _killed(server: Gunicorn) -> float:
    """``kill -9`` of the oldest worker; seconds until another one is there."""
    boots, begun = server.boots(), monotonic()
    os.kill(server.workers()[0], signal.SIGKILL)
    server.ready(boots + 1)
    return monotonic() - begun


def _reloaded(server: Gunicorn, workers: int) -> float:
    """A graceful restart of all workers; seconds until it is done."""
    boots, begun, before = server.boots(), monotonic(), set(server.workers())
    server.process.send_signal(signal.SIGHUP)
    server.ready(boots + workers)
    until(lambda: not before & set(server.workers()), "the workers before it ended")
    return monotonic() - begun


def main(arguments: Sequence[str]) -> int:
    """Serve MongoDB, and kill and replace workers."""
    parser = ArgumentParser(prog="python -m tests.reliability.gunicorn_processes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for how long (60)")
    chosen = parser.parse_args(arguments)
    with replica_set() as deployment, database(deployment.url) as url, TemporaryDirectory() as folder:
        report = play(url, Path(folder), seconds=chosen.seconds)
    print(f"{'ok  ' if report.kept else 'MISS'} kill -9 and SIGHUP of gunicorn with --preload")
    print("     " + str(report).replace("\n", "\n     "))
    return 0 if report.kept else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
