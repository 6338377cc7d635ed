"""Retention: relays erase expired feedback, and nothing else."""

import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import harken
from harken import ConfigurationError, Harken, Retention, StorageUnavailable, Summary
from harken.configuration.storage_urls import open_storage
from harken.domain.instants import to_microseconds
from harken.domain.query import FeedbackQuery
from harken.ports.state import StateEntry
from harken.ports.storage import Storage
from harken.services.feedback.retention import BATCH
from support import NOON, ManualClock, a_feedback, eventually

DAY = timedelta(days=1)
KEPT = Retention(400 * DAY, {"shop": 90 * DAY, "archive": None})
APPLICATIONS = ("archive", "default", "shop")
#: How old the entries of each application are, in days.
AGES = (0, 89, 91, 399, 401, 1_000)


@pytest.fixture(params=["memory", "sqlite"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """A storage with feedback of all ages in several applications.

    Not on MongoDB, whose clock a test cannot turn: its server has it.
    """
    url = "memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/feedback.db"
    with open_storage(url) as opened, harken.connect(opened) as hk:
        for name in APPLICATIONS:
            hk.collection.restore(
                [a_feedback(f"{age}", application=name, created_at=NOON - age * DAY, comment="x") for age in AGES]
            )
        yield opened


def _ages(storage: Storage) -> dict[str, list[int]]:
    """The ages of the stored entries, in days."""
    return {
        name: [
            (NOON - one.created_at) // DAY
            for one in reversed(list(storage.feedback.stream(FeedbackQuery(application=name).in_any_state())))
        ]
        for name in APPLICATIONS
    }


def _run(hk: Harken) -> int:
    return sum(hk.retention.erase_expired())


def test_older_feedback_is_erased(storage: Storage, clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """Each application loses what is older than its own retention; statistics are those of the rest."""
    caplog.set_level(logging.INFO, logger="harken.retention")
    with harken.connect(storage, clock=clock, retention=KEPT) as hk:
        hk.collection.restore([a_feedback("edge", application="shop", created_at=NOON - 90 * DAY)])
        assert _run(hk) == 0
        clock.turn(minutes=10)
        # At the check before, the edge was exactly as old as allowed.
        assert _run(hk) == 2 + 4
        assert _ages(storage) == {"archive": [*AGES], "default": [*AGES[:4]], "shop": [0, 89, 90]}
        for name in APPLICATIONS:
            stored = hk.collection.stream(FeedbackQuery(application=name))
            assert hk.summary(application=name) == Summary.fold(stored)
        assert hk.check() == []
    assert [record.getMessage() for record in caplog.records] == [
        "Retention: 400d, forever for archive, 90d for shop. Erasing begins with the next check, in ten minutes",
        "Erased 2 entries of application default, created before 2025-01-28 12:00Z: feedback is kept for 400d",
        "Erased 4 entries of application shop, created before 2025-12-04 12:00Z: feedback is kept for 90d",
    ]


def test_every_storage_erases_by_its_own_clock(storage_url: str) -> None:
    """Also on MongoDB, where that is the clock of the server."""
    now = datetime.now(UTC)
    with harken.connect(storage_url, retention="90 days") as hk:
        given = [a_feedback(f"{age}", created_at=now - age * DAY, comment="x") for age in (91, 90.5, 89, 0)]
        hk.collection.restore(given)
        assert _run(hk) == 0
        last = hk.state.get("retention", "last-check")
        assert last is not None
        earlier = {"at": to_microseconds(now - timedelta(minutes=11))}
        assert hk.state.put("retention", StateEntry("last-check", earlier, last.version + 1))
        assert _run(hk) == 2
        assert list(hk.export()) == given[2:]
        assert (hk.summary(), hk.check()) == (Summary.fold(given[2:]), [])


def test_over_time(storage: Storage, clock: ManualClock) -> None:
    """Feedback is erased when it has become too old, measured at the check before, and never earlier."""
    with harken.connect(storage, clock=clock, retention=KEPT) as hk:
        _run(hk)
        before = clock()
        while before < NOON + 420 * DAY:
            clock.turn(days=10)
            _run(hk)
            cutoffs = {name: KEPT.expired_before(name, before) for name in APPLICATIONS}
            assert _ages(storage) == {
                name: [age for age in AGES if cutoff is None or NOON - age * DAY >= cutoff]
                for name, cutoff in cutoffs.items()
            }
            before = clock()
    assert _ages(storage) == {"archive": [*AGES], "default": [], "shop": []}


def test_a_clock_that_is_wrong_for_a_moment_erases_nothing(storage: Storage, clock: ManualClock) -> None:
    """Two checks, ten minutes apart, must agree: after one with a clock ahead, ages are measured at the other one."""
    with harken.connect(storage, clock=clock, retention=KEPT) as hk:
        _run(hk)
        for wrong in (timedelta(days=3_650), timedelta(days=-3_650), timedelta(days=3_650)):
            clock.turn(minutes=10)
            right = clock()
            clock.now += wrong
            # Another relay checks at the same wrong time.
            _run(hk), _run(hk)
            clock.now = right + timedelta(seconds=5)
            _run(hk)
        assert _ages(storage) == {"archive": [*AGES], "default": [*AGES[:4]], "shop": [*AGES[:2]]}


def test_one_relay_does_it(storage: Storage, clock: ManualClock) -> None:
    """Of two relays one erases, and the other one only when ten minutes have passed."""
    with (
        harken.connect(storage, clock=clock, retention=KEPT) as one,
        harken.connect(storage, clock=clock, retention=KEPT) as other,
    ):
        assert [_run(one), _run(other)] == [0, 0]
        clock.turn(minutes=10)
        with closing(one.retention.erase_expired()) as batches:
            assert next(batches) == 2
            assert _run(other) == 0
        clock.turn(minutes=10)
        assert [_run(other), _run(one)] == [4, 0]


def test_two_relays_at_once_erase_each_entry_once(storage: Storage, clock: ManualClock) -> None:
    """Even if the second one starts while the first one still erases."""
    with (
        harken.connect(storage, clock=clock, retention=KEPT) as one,
        harken.connect(storage, clock=clock, retention=KEPT) as other,
    ):
        _run(one)
        clock.turn(minutes=10)
        slow = one.retention.erase_expired()
        erased = [next(slow)]
        clock.turn(minutes=10)
        erased += [_run(other), *slow]
        assert (sum(erased), one.check()) == (6, [])


def test_a_restart_continues(storage: Storage, clock: ManualClock) -> None:
    """What a relay that was killed has left is erased by the next one."""
    for expected in (0, 2, 4, 0):
        # As if it was killed after its first batch.
        with (
            harken.connect(storage, clock=clock, retention=KEPT) as hk,
            closing(hk.retention.erase_expired()) as batches,
        ):
            assert next(batches, 0) == expected
        clock.turn(minutes=10)


def test_batches_are_small(clock: ManualClock, caplog: pytest.LogCaptureFixture) -> None:
    """So that other writers wait only briefly; one line in the log says how many entries were erased, even if the
    relay stops.
    """
    caplog.set_level(logging.INFO, logger="harken.retention")
    with harken.connect("memory://", clock=clock, retention="1 day") as hk:
        old = [a_feedback(f"{number}", created_at=NOON - 2 * DAY) for number in range(2 * BATCH + 1)]
        hk.collection.restore(old)
        _run(hk)
        clock.turn(minutes=10)
        with closing(hk.retention.erase_expired()) as batches:
            assert list(islice(batches, 2)) == [BATCH, BATCH]
        assert [record.getMessage().partition(" of")[0] for record in caplog.records[1:]] == ["Erased 1,000 entries"]
        clock.turn(minutes=10)
        assert _run(hk) == 1


def test_conversations_and_metadata_stay(clock: ManualClock) -> None:
    """They have no time, so their session may still be in use."""
    with harken.connect("memory://", clock=clock, retention="1 day") as hk:
        hk.submit("s", "up")
        hk.sessions.update("default", "s", {"tier": "gold"})
        hk.conversations.append("default", "s", "helper", 0, {"text": "Hello"})
        clock.turn(days=2)
        _run(hk)
        clock.turn(minutes=10)
        assert _run(hk) == 1
        assert (hk.sessions.get("default", "s"), hk.conversations.count("default", "s")) == ({"tier": "gold"}, 1)


@pytest.mark.slow
@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/feedback.db"])
def test_a_running_relay_erases(url: str, tmp_path: Path, clock: ManualClock) -> None:
    """In a thread of its own, without any event; and the relay stops promptly."""
    with harken.connect(url.format(tmp_path), clock=clock, retention="1 day", channels={}, routes=[]) as hk:
        hk.collection.restore([a_feedback(f"{number}", created_at=NOON - 2 * DAY) for number in range(BATCH + 1)])
        hk.start_relay()
        eventually(lambda: hk.state.get("retention", "last-check"))
        clock.turn(minutes=10)
        eventually(lambda: not hk.summary().total)
        hk.relay.stop()


@pytest.mark.slow
def test_a_relay_survives_a_failure_of_the_storage(
    clock: ManualClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It logs the failure, and erases after the next check."""
    with (
        open_storage("memory://") as storage,
        harken.connect(storage, clock=clock, retention="1 day", channels={}, routes=[]) as hk,
    ):
        hk.collection.restore([a_feedback("old", created_at=NOON - 2 * DAY)])
        _run(hk)
        clock.turn(minutes=10)

        def fail(*_: object) -> list[str]:
            raise StorageUnavailable("gone")

        with monkeypatch.context() as patch:
            patch.setattr(type(storage.feedback), "applications", fail)
            hk.start_relay()
            eventually(lambda: "Expired feedback waits to be erased: gone" in caplog.text)
        clock.turn(minutes=10)
        eventually(lambda: not hk.summary().total)


@pytest.mark.slow
def test_a_relay_stops_between_two_batches(clock: ManualClock) -> None:
    """However much there is to erase."""
    with harken.connect("memory://", clock=clock, retention="1 day", channels={}, routes=[]) as hk:
        hk.collection.restore([a_feedback(f"{number}", created_at=NOON - 2 * DAY) for number in range(20 * BATCH)])
        _run(hk)
        clock.turn(minutes=10)
        hk.start_relay()
        eventually(lambda: hk.summary().total < 20 * BATCH)
        hk.relay.stop()
        assert hk.summary().total > 0


def test_a_relay_without_threads_erases_and_notifies(clock: ManualClock) -> None:
    """``run_due`` erases everything that is due, and sends the notices of the erasure."""
    with harken.connect("memory://", clock=clock, retention="1 day") as hk:
        hk.submit("s", "up")
        assert hk.relay.run_due() == 1
        clock.turn(days=2)
        assert hk.relay.run_due() == 0
        clock.turn(minutes=10)
        assert (hk.relay.run_due(), hk.summary().total) == (1, 0)


def test_without_retention_nothing_is_erased_or_stored(clock: ManualClock) -> None:
    """The default keeps everything."""
    with harken.connect("memory://", clock=clock) as hk:
        hk.submit("s", "up")
        for _ in range(3):
            clock.turn(days=10_000)
            assert (_run(hk), hk.relay.run_due()) in ((0, 1), (0, 0))
        assert (hk.summary().total, hk.state.get("retention", "last-check")) == (1, None)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current directory, which is empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("file", "argument", "expected"),
    [
        ("", None, Retention()),
        ('retention = "400 days"', None, Retention(400 * DAY)),
        ('retention = "400 days"\n[applications.a]', "7d", Retention(7 * DAY, {"a": 7 * DAY})),
        ('retention = "9d"\n[applications.a]\nretention = "90d"', None, Retention(9 * DAY, {"a": 90 * DAY})),
        ('[applications.a]\nretention = "90d"', KEPT, KEPT),
    ],
)
def test_settings(file: str, argument: Any, expected: Retention, directory: Path) -> None:
    """The file has a retention for all applications, and tables for single ones; an argument overrides the former."""
    (directory / "harken.toml").write_text(file)
    with harken.connect("memory://", retention=argument) as hk:
        assert hk.retention.settings == expected


def test_the_environment(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable overrides the retention of all applications that have no table."""
    (directory / "harken.toml").write_text('retention = "1d"\n[applications.a]\nretention = "forever"')
    monkeypatch.setenv("HARKEN_RETENTION", "30 days")
    with harken.connect("memory://") as hk:
        assert hk.retention.settings == Retention(30 * DAY, {"a": None})


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ('retention = "400"', r"retention in .*harken\.toml must be a duration in days or hours, such as '400 days'"),
        ("retention = 400", r"retention in .*harken\.toml must be of type str"),
        ('[applications.shop]\nretention = "1h"', "retention of application 'shop' must be at least a day"),
        ('[applications.shop]\nretentoin = "90d"', r"\[applications\.shop\]: unknown setting 'retentoin'"),
        ('[applications]\nshop = "90d"', r"applications must be tables, such as \[applications\.shop\]"),
    ],
)
def test_mistakes_in_the_settings(file: str, message: str, directory: Path) -> None:
    """They are refused before anything is opened, and the message says where they are."""
    (directory / "harken.toml").write_text(file)
    with pytest.raises(ConfigurationError, match=message):
        harken.connect("memory://")
