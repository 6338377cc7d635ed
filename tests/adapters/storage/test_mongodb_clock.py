"""The common clock of all processes that use one MongoDB: the server's time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import mongomock
import pytest
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

from harken.domain.errors import StorageUnavailable
from harken.ports.storage import Storage
from harken.testing import accepted
from harken_adapters.storage.mongodb import mongo_storage
from harken_adapters.storage.mongodb.clock import ServerClock
from harken_adapters.storage.mongodb.database import Database
from support import ManualClock, a_feedback

#: The largest difference of two clocks that were measured on a busy machine; the tests use hours.
CLOSE = timedelta(seconds=30)
LEASE = timedelta(minutes=5)


class Asked(CommandListener):
    """Counts how often the server's time is read."""

    def __init__(self) -> None:
        self.times = 0

    def started(self, event: Any) -> None:
        self.times += event.command_name == "hello"

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


class Machine:
    """The clock of a machine and the time that has passed; the clock can be set, and the machine can sleep."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 4, tzinfo=UTC)
        self.passed = timedelta(0)

    def run(self, **by: float) -> None:
        self.now += timedelta(**by)
        self.passed += timedelta(**by)

    def set(self, **by: float) -> None:
        self.now += timedelta(**by)


class Server:
    """A server with the correct time, which can become unreachable."""

    served = True

    def __init__(self, machine: Machine, *, ahead: timedelta) -> None:
        self.asked = 0
        self.reachable = True
        self._machine = machine
        self._beginning = machine.now + ahead

    @property
    def now(self) -> datetime:
        return self._beginning + self._machine.passed

    def time(self) -> datetime:
        self.asked += 1
        if not self.reachable:
            raise StorageUnavailable("It cannot be reached")
        return self.now


@pytest.fixture
def machine() -> Machine:
    """A machine whose clock the test sets."""
    return Machine()


@pytest.fixture
def server(machine: Machine) -> Server:
    """A server three hours ahead of the machine."""
    return Server(machine, ahead=timedelta(hours=3))


def _clock(server: Any, machine: Machine) -> ServerClock:
    return ServerClock(server, lambda: machine.now, machine=lambda: machine.now, passed=lambda: machine.passed)


def test_the_servers_time_is_read_once_a_minute(machine: Machine, server: Server) -> None:
    """Most calls do not contact the server, and a drifting clock is corrected every minute."""
    clock = _clock(server, machine)
    for _ in range(50):
        assert clock() == server.now
        machine.run(seconds=1)
    assert server.asked == 1
    machine.run(seconds=10)
    machine.set(seconds=0.5)
    assert clock() == server.now
    assert server.asked == 2


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_set_machine_clock_is_detected_at_once(machine: Machine, server: Server, hours: int) -> None:
    """If the machine's clock is set, by hand or by NTP, the time continues correctly."""
    clock = _clock(server, machine)
    machine.run(seconds=2)
    machine.set(hours=hours)
    assert clock() == server.now
    machine.run(seconds=2)
    assert clock() == server.now


def test_a_sleeping_machine_is_detected_at_once(machine: Machine) -> None:
    """The monotonic clock stopped during the sleep, while the machine's clock and the server's continued."""
    server = Server(machine, ahead=timedelta(0))
    clock = _clock(server, machine)
    machine.set(hours=8)
    assert clock() == server.now
    assert server.asked == 2


def test_the_clock_continues_while_the_server_is_unreachable(machine: Machine, server: Server) -> None:
    """The monotonic clock is used, even if the machine's clock is set, and the server is contacted once a minute."""
    clock = _clock(server, machine)
    server.reachable = False
    machine.run(seconds=5)
    machine.set(hours=4)
    for _ in range(10):
        assert clock() == server.now
        machine.run(seconds=1)
    assert server.asked == 2
    server.reachable = True
    machine.run(minutes=1)
    assert clock() == server.now
    assert server.asked == 3


def test_a_manual_clock_keeps_its_offset(machine: Machine, server: Server) -> None:
    """A test clock is measured once: its changes are added to the time, even if the machine's clock is set."""
    turned = ManualClock()
    clock = ServerClock(server, turned, machine=lambda: machine.now, passed=lambda: machine.passed)  # type: ignore[arg-type]
    began = clock()
    assert began == server.now
    for _ in range(3):
        turned.turn(hours=1)
        machine.run(minutes=2)
        machine.set(minutes=7)
        assert clock() - began == turned.now - ManualClock().now
    assert server.asked == 1


def test_a_simulated_server_does_not_change_the_clock() -> None:
    """Without a server, the given clock is used unchanged."""
    turned = ManualClock()
    assert mongo_storage(mongomock.MongoClient()).clock(turned) is turned


@pytest.fixture
def asked() -> Asked:
    """The commands that ``storage`` sends to the server."""
    return Asked()


@pytest.fixture
def storage(mongodb_url: str, asked: Asked) -> Iterator[Storage]:
    """A storage on a real server."""
    with MongoClient[dict[str, Any]](mongodb_url, event_listeners=[asked]) as client:
        yield mongo_storage(client, client.get_default_database().name)


def _hours_off(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


@pytest.mark.slow
def test_relays_whose_clocks_differ_by_hours_agree(storage: Storage) -> None:
    """No delivery is claimed twice during a lease, and both relays agree on what is due."""
    slow, fast = storage.clock(lambda: _hours_off(-3)), storage.clock(lambda: _hours_off(5))
    assert abs(slow() - fast()) < CLOSE
    assert abs(slow() - datetime.now(UTC)) < CLOSE
    storage.feedback.add(accepted(*(a_feedback(f"f{number}") for number in range(20))))
    plan = [(event, ["log"]) for event in storage.outbox.events(limit=99)]
    storage.outbox.fan_out(plan, due_at=slow() - CLOSE)
    for clock, other in ((slow, fast), (fast, slow)):
        claimed = storage.outbox.claim("log", now=clock(), until=clock() + LEASE, limit=5)
        assert len(claimed) == 5
        others = storage.outbox.claim("log", now=other(), until=other() + LEASE, limit=99)
        assert {one.id for one in claimed}.isdisjoint(one.id for one in others)
        storage.outbox.release(others)
    (later, *_) = storage.outbox.claim("log", now=slow(), until=slow() + LEASE, limit=1)
    storage.outbox.back_off(later, due_at=slow() + timedelta(hours=1), error="refused")
    assert later.id not in {one.id for one in storage.outbox.claim("log", now=fast(), until=fast() + LEASE, limit=99)}


@pytest.mark.slow
def test_claims_do_not_read_the_servers_time(storage: Storage, asked: Asked) -> None:
    """A real server's time is read when the clock is created, not for each claim."""
    clock = storage.clock(lambda: _hours_off(2))
    before = asked.times
    for _ in range(100):
        clock()
    assert asked.times == before


@pytest.mark.slow
def test_a_real_server_is_read_again_after_the_clock_was_set(mongodb_url: str) -> None:
    """A set machine clock is also detected with a real server."""
    off = [timedelta(0)]
    with MongoClient[dict[str, Any]](mongodb_url) as client:
        database = Database(client, client.get_default_database().name, timeout=20)
        clock = ServerClock(database, lambda: datetime.now(UTC) + off[0], machine=lambda: datetime.now(UTC) + off[0])
        for hours in (7, -7):
            off[0] = timedelta(hours=hours)
            assert abs(clock() - datetime.now(UTC)) < CLOSE
