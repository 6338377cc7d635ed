"""Tests gunicorn workers that are forked from a process that has used Harken, while they are killed and replaced.

``python -m tests.reliability.gunicorn_processes [--seconds N]`` serves MongoDB with ``--preload``, kills and replaces
workers under load for the given time, prints a report, and exits with 1 if a guarantee was violated.
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

#: The programs that gunicorn loads, by the name of the host.
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
#: Uses the application, so that its connections exist before the fork.
WARM = """
from werkzeug.test import Client
response = Client(app).post("/api/sessions/s/feedback?application=parent", json={"rating": "up"})
assert response.status_code == 201, response.text
"""
OPEN = {"HARKEN_SERVER_ACCESS": "open", "HARKEN_SERVER_SENTIMENT": "none", **UNLIMITED}


@frozen
class Gunicorn:
    """A gunicorn process with its workers."""

    process: subprocess.Popen[bytes]
    host: str
    port: int
    log: Path
    #: The service is open.
    credentials: ClassVar[dict[str, str]] = {}

    @property
    def url(self) -> str:
        """The URL, without a trailing slash."""
        return f"http://{self.host}:{self.port}"

    def workers(self) -> list[int]:
        """The process ids of the workers, oldest first."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return sorted(map(int, children.split()))

    def ready(self, boots: int) -> None:
        """Wait until this number of workers was started in total."""
        until(lambda: self.log.read_text().count("Booting worker") >= boots, "all workers were started")

    def boots(self) -> int:
        """The number of workers that were started so far."""
        return self.log.read_text().count("Booting worker")


@contextmanager
def gunicorn(
    program: str, folder: Path, storage: str, *options: str, workers: int = 2, **settings: str
) -> Iterator[Gunicorn]:
    """Serve a program on a free port; its workers run within the context."""
    (folder / "served.py").write_text(program)
    log = folder / "gunicorn.log"
    with socket.create_server(("127.0.0.1", 0), backlog=128) as bound, log.open("wb") as errors:
        process = subprocess.Popen(
            (
                *(sys.executable, "-m", "gunicorn", "--bind", f"fd://{bound.fileno()}", f"--workers={workers}"),
                # The control socket would be in the home directory, shared by all running servers.
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
    """Kill and replace workers of a parent that used Harken before it forked them; returns the report."""
    replaced: list[float] = []
    program = APPS["flask"] + WARM
    options = ("--threads=4", "--preload", "--graceful-timeout=5")
    with gunicorn(program, folder, url, *options, workers=workers) as server:
        start = monotonic()
        with Load(server) as load:
            for number in cycle(range(2)):
                load.wait_for_more(100)
                replaced.append(_kill(server) if number else _reload(server, workers))
                if number and monotonic() > start + seconds:
                    break
            load.wait_for_more(100)
        took = monotonic() - start
        assert send(server, "0-0").status_code == 201
    with harken.connect(url) as hk:
        assert hk.summary(application="parent").total >= 1
        return account(hk, load, seconds=took, replaced=replaced)


def _kill(server: Gunicorn) -> float:
    """``kill -9`` of the oldest worker; returns the seconds until it is replaced."""
    boots, start = server.boots(), monotonic()
    os.kill(server.workers()[0], signal.SIGKILL)
    server.ready(boots + 1)
    return monotonic() - start


def _reload(server: Gunicorn, workers: int) -> float:
    """Restart all workers gracefully; returns the seconds until all are replaced."""
    boots, start, before = server.boots(), monotonic(), set(server.workers())
    server.process.send_signal(signal.SIGHUP)
    server.ready(boots + workers)
    until(lambda: not before & set(server.workers()), "the previous workers ended")
    return monotonic() - start


def main(arguments: Sequence[str]) -> int:
    """Serve MongoDB, and kill and replace workers; returns the exit code."""
    parser = ArgumentParser(prog="python -m tests.reliability.gunicorn_processes", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="duration in seconds (default: 60)")
    chosen = parser.parse_args(arguments)
    with replica_set() as deployment, database(deployment.url) as url, TemporaryDirectory() as folder:
        report = play(url, Path(folder), seconds=chosen.seconds)
    print(f"{'ok  ' if report.ok else 'MISS'} kill -9 and SIGHUP of gunicorn with --preload")
    print("     " + str(report).replace("\n", "\n     "))
    return 0 if report.ok else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
