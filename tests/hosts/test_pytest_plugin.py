"""What the pytest plugin gives to whoever tests an app with Harken in it; these tests use it as that one would."""

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


def test_the_clock_stands_still_and_ids_count(harken: Harken, harken_clock: FrozenClock) -> None:
    """Two feedbacks are given at the same time, until the clock is moved, and their ids are known beforehand."""
    first, second = (harken.submit("session", "up").feedback for _ in range(2))
    assert [first.id, second.id] == ["feedback-000001", "feedback-000002"]
    assert first.created_at == second.created_at == harken_clock.now
    harken_clock.advance(hours=1)
    assert harken.submit("session", "up").feedback.created_at == first.created_at + timedelta(hours=1)


@given(by=st.fixed_dictionaries({}, optional={name: st.integers(-999, 999) for name in ("days", "hours", "seconds")}))
def test_a_clock_moves_by_what_it_is_told(by: dict[str, int]) -> None:
    """Moving the clock takes the words of ``timedelta``, and gives the time that it shows afterwards."""
    clock = FrozenClock()
    before = clock.now
    assert clock.advance(**by) == clock.now == clock() == before + timedelta(**by)


def test_a_clock_can_be_set_to_any_time_with_a_zone() -> None:
    """Times without a zone, which mean another instant on another machine, are refused."""
    clock = FrozenClock()
    clock.now = datetime.fromisoformat("2026-05-01T12:00+05:45")
    assert clock.now == datetime(2026, 5, 1, 6, 15, tzinfo=UTC)
    with pytest.raises(ValueError, match="needs a time with a zone"):
        clock.now = datetime(2026, 5, 1)  # noqa: DTZ001 - that is what is refused


def test_what_would_be_sent_is_there_when_somebody_looks(harken: Harken, harken_notifications: Notifications) -> None:
    """Notifications are those that a relay would have sent by now, once each, without threads and waiting."""
    assert harken_notifications == []
    feedback = harken.submit("session", "down", "Too slow").feedback
    [notification] = harken_notifications
    assert (notification.feedback, notification.id[-9:]) == (feedback, ":captured")
    harken.collection.withdraw("default", feedback.id)
    assert harken_notifications.types == ["feedback.created", "feedback.withdrawn"]
    assert harken_notifications[0] is notification
    assert harken_notifications[1:] == [harken_notifications[-1]]
    assert harken_notifications != []


def test_deliver_gives_what_is_new(harken: Harken, harken_notifications: Notifications) -> None:
    """Whoever delivers by hand gets what came of that, and nothing a second time."""
    harken.submit("session", "up")
    assert [one.type.value for one in harken_notifications.deliver()] == ["feedback.created"]
    assert harken_notifications.deliver() == []
    assert len(harken_notifications) == 1


@pytest.mark.harken(alert_rules=[{"name": "quiet", "kind": "silence", "after": "1h"}])
def test_time_that_passes_raises_alerts(
    harken: Harken, harken_clock: FrozenClock, harken_notifications: Notifications
) -> None:
    """Rules that go by time see the clock that a test moves."""
    harken.submit("session", "up")
    harken_clock.advance(minutes=59)
    assert harken_notifications.types == ["feedback.created"]
    harken_clock.advance(minutes=2)
    assert harken_notifications.types == ["feedback.created", "alert.raised"]


@pytest.mark.harken(comment_when_down=False, application="shop")
class TestMarker:
    def test_it_gives_keywords_to_connect(self, harken: Harken) -> None:
        """What the marker says, the Harken is like."""
        assert harken.submit("session", "down").feedback.application == "shop"

    @pytest.mark.harken(application="bank")
    def test_the_nearest_one_counts(self, harken: Harken) -> None:
        """A test says what is different from its class, and keeps the rest."""
        assert harken.submit("session", "down").feedback.application == "bank"

    @pytest.mark.harken(
        routes=[Route(name="all", channel="archive"), {"name": "downs", "channel": "support", "ratings": ["down"]}]
    )
    def test_channels_of_routes_are_captured(self, harken: Harken, harken_notifications: Notifications) -> None:
        """Routes send where they say, and all of it is captured; the id tells the channel."""
        harken.submit("session", "up")
        harken.submit("session", "down")
        assert [one.id.rpartition(":")[2] for one in harken_notifications] == ["archive", "archive", "support"]

    own = Recorder()

    @pytest.mark.harken(channels={"own": own})
    def test_a_channel_of_ones_own_is_told_too(self, harken: Harken, harken_notifications: Notifications) -> None:
        """A test may bring the channel that it is about."""
        harken.submit("session", "up")
        assert harken_notifications.types == self.own.types == ["feedback.created"]


def test_surroundings_do_not_matter(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Neither variables nor ``harken.toml`` change what a test sees, and the variables are there afterwards."""
    (tmp_path / "harken.toml").write_text("max_comment_length = 2\n[[routes]]\nname = 'all'\nchannel = 'nobody'\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HARKEN_APPLICATION", "elsewhere")
    notifications: Notifications = request.getfixturevalue("harken_notifications")
    harken: Harken = request.getfixturevalue("harken")
    assert harken.submit("session", "up", "Thanks").feedback.application == "default"
    assert notifications.types == ["feedback.created"]
    assert os.environ["HARKEN_APPLICATION"] == "elsewhere"


@pytest.mark.parametrize("wanted", [(7, 3, 0), (0, 1, 2), (0, 0, 0)])
def test_filling_gives_as_many_as_asked(
    harken: Harken, harken_fill: Fill, harken_clock: FrozenClock, wanted: tuple[int, int, int]
) -> None:
    """One line fills a Harken: ups, downs and neutrals in this order, each in a new session, as far apart as asked."""
    began, (up, down, neutral) = harken_clock.now, wanted
    given = harken_fill(up=up, down=down, neutral=neutral, every=timedelta(minutes=5), agent_id="helper")
    summary = harken.summary(agent_id="helper")
    assert (summary.positive, summary.negative, summary.neutral) == wanted
    assert [one.rating for one in given] == [Rating.UP] * up + [Rating.DOWN] * down + [Rating.NEUTRAL] * neutral
    assert [one.created_at for one in given] == [began + index * timedelta(minutes=5) for index in range(len(given))]
    [later] = harken_fill(up=1, comment="Thanks", tags=["quick"])
    assert later.session_id not in {one.session_id for one in given}
    assert (later.comment, later.tags) == ("Thanks", ("quick",))


@pytest.mark.parametrize("turn", [1, 2])
def test_a_storage_of_each_kind_is_empty_and_open(harken_storage: Storage, turn: int) -> None:
    """Whatever storage is there, each test gets one for itself."""
    with connect(harken_storage) as hk:
        hk.submit("session", "up", f"Turn {turn}")
        assert hk.summary().total == 1


@pytest.mark.parametrize("harken_storage", ["sqlite"], indirect=True)
def test_one_storage_can_be_chosen(harken_storage: Storage, tmp_path: Path) -> None:
    """Who wants one kind only names it."""
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
def test_a_server_is_used_as_it_was_named(url: str, expected: str) -> None:
    """Another database on the same servers, with the same options; who logs in does so where they did before."""
    assert with_database(url, "new") == expected


def test_it_closes_what_it_opened(pytester: pytest.Pytester) -> None:
    """After the test its Harken is closed, and a storage, too."""
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


def test_a_marker_that_cannot_be_meant_says_so(pytester: pytest.Pytester) -> None:
    """What is no keyword, or no setting, is an error of that test, with a reason."""
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
def test_who_does_not_use_it_does_not_pay(pytester: pytest.Pytester) -> None:
    """Pytest finds the plugin by itself, and a run that uses no fixture of it has imported no Harken."""
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
def test_what_is_not_installed_is_left_out(pytester: pytest.Pytester) -> None:
    """Without mongomock there is no test on it, and the others run."""
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
    """On the server that the variable names, each test finds an empty database, and leaves none behind."""
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
