"""The fixtures of the pytest plugin, used as the tests of an application would use them."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymongo import MongoClient

from channels import Recorder
from harken import Feedback, Harken, Rating, Route, connect
from harken.ports.storage import Storage
from harken_adapters.hosts.pytest_plugin import FrozenClock, with_database
from harken_adapters.hosts.pytest_plugin.capturing import Notifications

pytest_plugins = ["pytester"]

Fill = Callable[..., list[Feedback]]


def test_the_clock_is_frozen_and_ids_are_sequential(harken: Harken, harken_clock: FrozenClock) -> None:
    """Entries have the same time until the clock is advanced, and predictable ids."""
    first, second = (harken.submit("session", "up").feedback for _ in range(2))
    assert [first.id, second.id] == ["feedback-000001", "feedback-000002"]
    assert first.created_at == second.created_at == harken_clock.now
    harken_clock.advance(hours=1)
    assert harken.submit("session", "up").feedback.created_at == first.created_at + timedelta(hours=1)


@given(by=st.fixed_dictionaries({}, optional={name: st.integers(-999, 999) for name in ("days", "hours", "seconds")}))
def test_a_clock_advances_by_keywords_of_timedelta(by: dict[str, int]) -> None:
    """``advance`` returns the new time."""
    clock = FrozenClock()
    before = clock.now
    assert clock.advance(**by) == clock.now == clock() == before + timedelta(**by)


def test_a_clock_can_be_set_to_any_time_with_a_zone() -> None:
    """Times without a zone, which are ambiguous, are rejected."""
    clock = FrozenClock()
    clock.now = datetime.fromisoformat("2026-05-01T12:00+05:45")
    assert clock.now == datetime(2026, 5, 1, 6, 15, tzinfo=UTC)
    with pytest.raises(ValueError, match="needs a time with a time zone"):
        clock.now = datetime(2026, 5, 1)  # noqa: DTZ001 - the rejected value


def test_notifications_are_sent_when_they_are_read(harken: Harken, harken_notifications: Notifications) -> None:
    """The notifications are those that a relay would have sent so far, once each, without threads or waiting."""
    assert harken_notifications == []
    feedback = harken.submit("session", "down", "Too slow").feedback
    [notification] = harken_notifications
    assert (notification.feedback, notification.id[-9:]) == (feedback, ":captured")
    harken.collection.withdraw("default", feedback.id)
    assert harken_notifications.types == ["feedback.created", "feedback.withdrawn"]
    assert harken_notifications[0] is notification
    assert harken_notifications[1:] == [harken_notifications[-1]]
    assert harken_notifications != []


def test_deliver_returns_new_notifications(harken: Harken, harken_notifications: Notifications) -> None:
    """Each notification is returned once."""
    harken.submit("session", "up")
    assert [one.type.value for one in harken_notifications.deliver()] == ["feedback.created"]
    assert harken_notifications.deliver() == []
    assert len(harken_notifications) == 1


@pytest.mark.harken(alert_rules=[{"name": "quiet", "kind": "silence", "after": "1h"}])
def test_advancing_the_clock_raises_alerts(
    harken: Harken, harken_clock: FrozenClock, harken_notifications: Notifications
) -> None:
    """Alert rules that depend on time use the frozen clock."""
    harken.submit("session", "up")
    harken_clock.advance(minutes=59)
    assert harken_notifications.types == ["feedback.created"]
    harken_clock.advance(minutes=2)
    assert harken_notifications.types == ["feedback.created", "alert.raised"]


@pytest.mark.harken(reason_when_down=False, application="shop")
class TestMarker:
    def test_it_passes_keywords_to_connect(self, harken: Harken) -> None:
        """The keywords of the marker are those of ``connect``."""
        assert harken.submit("session", "down").feedback.application == "shop"

    @pytest.mark.harken(application="bank")
    def test_the_closest_marker_takes_precedence(self, harken: Harken) -> None:
        """A test overrides keywords of its class, and inherits the others."""
        assert harken.submit("session", "down").feedback.application == "bank"

    @pytest.mark.harken(
        routes=[Route(name="all", channel="archive"), {"name": "negative", "channel": "support", "ratings": ["down"]}]
    )
    def test_channels_of_routes_are_captured(self, harken: Harken, harken_notifications: Notifications) -> None:
        """The channels of routes are captured; the id ends with the channel."""
        harken.submit("session", "up")
        harken.submit("session", "down")
        assert [one.id.rpartition(":")[2] for one in harken_notifications] == ["archive", "archive", "support"]

    own = Recorder()

    @pytest.mark.harken(channels={"own": own})
    def test_a_custom_channel_is_notified_too(self, harken: Harken, harken_notifications: Notifications) -> None:
        """A test may define the channel under test."""
        harken.submit("session", "up")
        assert harken_notifications.types == self.own.types == ["feedback.created"]


def test_settings_are_ignored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    """Variables and ``harken.toml`` do not affect a test, and the variables are restored."""
    (tmp_path / "harken.toml").write_text("max_comment_length = 2\n[[routes]]\nname = 'all'\nchannel = 'nobody'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARKEN_APPLICATION", "elsewhere")
    notifications: Notifications = request.getfixturevalue("harken_notifications")
    harken: Harken = request.getfixturevalue("harken")
    assert harken.submit("session", "up", "Thanks").feedback.application == "default"
    assert notifications.types == ["feedback.created"]
    assert os.environ["HARKEN_APPLICATION"] == "elsewhere"


@pytest.mark.parametrize("wanted", [(7, 3, 0), (0, 1, 2), (0, 0, 0)])
def test_harken_fill(
    harken: Harken, harken_fill: Fill, harken_clock: FrozenClock, wanted: tuple[int, int, int]
) -> None:
    """It submits thumbs-up, thumbs-down and neutral entries, each in a new session, with the given interval."""
    start, (up, down, neutral) = harken_clock.now, wanted
    entries = harken_fill(up=up, down=down, neutral=neutral, every=timedelta(minutes=5), agent_id="helper")
    summary = harken.summary(agent_id="helper")
    assert (summary.positive, summary.negative, summary.neutral) == wanted
    assert [one.rating for one in entries] == [Rating.UP] * up + [Rating.DOWN] * down + [Rating.NEUTRAL] * neutral
    assert [one.created_at for one in entries] == [start + index * timedelta(minutes=5) for index in range(sum(wanted))]
    [later] = harken_fill(up=1, comment="Thanks", tags=["quick"])
    assert later.session_id not in {one.session_id for one in entries}
    assert (later.comment, later.tags) == ("Thanks", ("quick",))


@pytest.mark.parametrize("turn", [1, 2])
def test_a_storage_of_each_kind_is_empty_and_open(harken_storage: Storage, turn: int) -> None:
    """Each test gets a separate storage of each available kind."""
    with connect(harken_storage) as hk:
        hk.submit("session", "up", f"Turn {turn}")
        assert hk.summary().total == 1


@pytest.mark.parametrize("harken_storage", ["sqlite"], indirect=True)
def test_one_storage_can_be_chosen(harken_storage: Storage, tmp_path: Path) -> None:
    """Indirect parametrization selects one kind."""
    assert (tmp_path / "harken.db").exists()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mongodb://localhost", "mongodb://localhost/new"),
        ("mongodb://localhost/", "mongodb://localhost/new"),
        ("mongodb://a:1,b:2/old?replicaSet=rs", "mongodb://a:1,b:2/new?replicaSet=rs"),
        ("mongodb://me:secret@localhost", "mongodb://me:secret@localhost/new?authSource=admin"),
        ("mongodb://me:secret@localhost/old?w=1", "mongodb://me:secret@localhost/new?w=1&authSource=old"),
        ("mongodb://me:s@localhost/old?authSource=x", "mongodb://me:s@localhost/new?authSource=x"),
    ],
)
def test_only_the_database_in_a_url_is_replaced(url: str, expected: str) -> None:
    """Servers, options and the authentication database stay the same."""
    assert with_database(url, "new") == expected


def test_it_closes_what_it_opened(pytester: pytest.Pytester) -> None:
    """After a test, its Harken and its storage are closed."""
    pytester.makepyfile(
        """
        import pytest
        from harken import StorageClosed

        used = []

        def test_use(harken, harken_storage):
            used.extend([harken.summary, harken_storage.outbox.forget])

        def test_closed():
            assert len(used) == 2
            with pytest.raises(StorageClosed):
                used[0]()
        """
    )
    done = pytester.runpytest_inprocess("--strict-markers", "-W", "error", "-k", "memory or closed")
    done.assert_outcomes(passed=2, deselected=done.parseoutcomes()["deselected"])


def test_an_invalid_marker_is_an_error(pytester: pytest.Pytester) -> None:
    """A positional argument or an unknown keyword is an error of the test, with the reason."""
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.harken("memory://")
        def test_no_keyword(harken): ...

        @pytest.mark.harken(spam="perhaps")
        def test_no_setting(harken): ...
        """
    )
    done = pytester.runpytest_inprocess()
    done.assert_outcomes(errors=2)
    done.stdout.fnmatch_lines(["*takes keywords of harken.connect, got 'memory://'*", "*spam*perhaps*"])


@pytest.mark.slow
def test_an_unused_plugin_imports_nothing(pytester: pytest.Pytester) -> None:
    """Pytest finds the plugin automatically, and a run without its fixtures does not import Harken."""
    pytester.makepyfile(
        """
        import sys

        def test_nothing_is_imported(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("harken")
            found = [name for name in sys.modules if name.partition(".")[0] in {"harken", "mongomock", "pymongo"}]
            assert found == []
        """
    )
    pytester.runpytest_subprocess("-W", "error").assert_outcomes(passed=1)


@pytest.mark.slow
def test_storages_that_are_not_installed_are_omitted(pytester: pytest.Pytester) -> None:
    """Without mongomock, tests run on the other storages only."""
    pytester.makepyfile(
        without_mongomock="import sys; sys.modules['mongomock'] = None",
        test_it="def test_it(harken_storage): harken_storage.outbox.events(limit=1)",
    )
    pytester.syspathinsert()
    done = pytester.runpytest_subprocess("-p", "without_mongomock", "-v")
    done.stdout.fnmatch_lines(["*test_it?memory? PASSED*", "*test_it?sqlite? PASSED*"])
    done.stdout.no_fnmatch_line("*mongomock? *")


@pytest.mark.slow
def test_each_test_gets_a_database_of_its_own(
    pytester: pytest.Pytester, mongodb_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On the server in the variable, each test gets an empty database, which is dropped afterwards."""
    monkeypatch.setenv("HARKEN_TEST_MONGODB_URL", mongodb_server)
    session_id = uuid4().hex
    pytester.makepyfile(
        f"""
        import pytest

        @pytest.mark.parametrize("turn", [1, 2])
        def test_it(harken_storage, turn):
            harken_storage.sessions.update("default", "{session_id}", {{"turn": turn}})
            assert [metadata for _, _, metadata in harken_storage.sessions.stream()] == [{{"turn": turn}}]
        """
    )
    pytester.runpytest_subprocess("-v", "-k", "mongodb").assert_outcomes(passed=2, deselected=6)
    with MongoClient[dict[str, Any]](mongodb_server) as client:
        # Others may use the same server.
        sessions = [client[name]["harken_sessions"] for name in client.list_database_names()]
        assert not any(one.count_documents({"session_id": session_id}) for one in sessions)
