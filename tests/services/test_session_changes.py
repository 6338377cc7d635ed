"""Notifications of changes of session metadata."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import pytest
from attrs import evolve

import harken
from channels import Recorder, connect_without_relay
from harken import DeliveryFailed, FeedbackQuery, Harken, InvalidMetadata, Route, StorageUnavailable
from harken.clock import new_uuid7
from harken.domain.events import EventType
from harken.domain.session_change import SessionChange
from harken.ports.storage import same_clock
from harken.services.copying import Copying
from support import ManualClock, eventually

APP = "default"
ROUTE = {"name": "sessions", "channel": "team", "events": ["session.metadata_updated"]}
CATCH_ALL = {"name": "all", "channel": "team"}


class Watched:
    """A repository that records the names of the called methods, and calls ``before`` ahead of each."""

    def __init__(self, repository: Any, calls: list[str]) -> None:
        self.before: Callable[[str], object] = lambda _: None
        self._repository = repository
        self._calls = calls

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._repository, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            self._calls.append(name)
            self.before(name)
            return method(*arguments, **keywords)

        return call


class Place:
    """A storage whose repositories are watched, and its connections, which have one clock."""

    def __init__(self, url: str, opened: ExitStack) -> None:
        self.calls: list[str] = []
        self.clock = ManualClock()
        storage = opened.enter_context(harken.open_storage(url))
        self.outbox, self.sessions, self.state = (
            Watched(one, self.calls) for one in (storage.outbox, storage.sessions, storage.state)
        )
        # Else the relay would follow the clock of the MongoDB server.
        parts: dict[str, Any] = {"outbox": self.outbox, "sessions": self.sessions, "state": self.state}
        self.storage = evolve(storage, clock=same_clock, **parts)
        self._opened = opened

    def connect(self, channel: Recorder, *routes: dict[str, Any], **options: Any) -> Harken:
        """Connect once more."""
        known: dict[str, Any] = {"channels": {"team": channel}, "routes": routes}
        return self._opened.enter_context(connect_without_relay(self.clock, self.storage, **{**known, **options}))


@pytest.fixture
def channel() -> Recorder:
    """The receiver of the channel ``team``."""
    return Recorder()


@pytest.fixture
def place(storage_url: str) -> Iterator[Place]:
    """An empty storage of each kind."""
    with ExitStack() as opened:
        yield Place(storage_url, opened)


@pytest.fixture
def hk(place: Place, channel: Recorder) -> Harken:
    """A connection with a route for changes of sessions."""
    return place.connect(channel, ROUTE)


def sent(channel: Recorder) -> list[SessionChange]:
    """The changes that arrived, in order."""
    return [one.session for one in channel.arrived if one.session is not None]


def fail(name: str) -> Callable[[str], None]:
    """Return a callback that raises for the method with this name."""

    def callback(called: str) -> None:
        if called == name:
            raise StorageUnavailable("The disk is full")

    return callback


# --- What is sent -----------------------------------------------------------------------------------------------------


def test_updates_and_deletions_are_sent(hk: Harken, place: Place, channel: Recorder) -> None:
    """A notification has the names that changed, their values, ``None`` for deleted ones, and all metadata."""
    hk.sessions.update(APP, "s", {"tier": "pro", "connection_id": "c-1"})
    assert hk.relay.run_due() == 1
    hk.sessions.delete(APP, "s", "tier")
    assert hk.relay.run_due() == 1
    set_, deleted = sent(channel)
    everything = {"tier": "pro", "connection_id": "c-1"}
    assert set_ == SessionChange("s", "update", ("connection_id", "tier"), everything, everything)
    assert deleted == SessionChange("s", "delete", ("tier",), {"tier": None}, {"connection_id": "c-1"})
    first, second = channel.arrived
    assert (first.type, first.application, first.occurred_at) == (EventType.SESSION_UPDATED, APP, place.clock.now)
    assert first.id != second.id
    assert first.id.endswith(":team")


def test_the_values_are_read_when_they_are_sent(hk: Harken, place: Place, channel: Recorder) -> None:
    """A notification that is retried has the values of that time, and the same id."""
    channel.refuse = lambda _: (_ for _ in ()).throw(DeliveryFailed("busy", status="503"))
    hk.sessions.update(APP, "s", {"tier": "free", "topic": "seats"})
    assert hk.relay.run_due() == 1
    hk.sessions.update(APP, "s", {"tier": "pro"})
    hk.sessions.delete(APP, "s", "topic")
    channel.refuse = lambda _: None
    place.clock.turn(minutes=10)
    assert hk.relay.run_due() == 3
    (first,) = [one for one in sent(channel) if len(one.names) == 2]
    assert first.metadata == {"tier": "pro", "topic": None}
    assert channel.tried[0].id in channel.ids


def test_paths_are_sent_as_given(hk: Harken, channel: Recorder) -> None:
    """A dotted path has the value that it leads to; after its deletion ``None``."""
    hk.sessions.update(APP, "s", {"user.tier": "pro", "user.name": "Ann"}, paths=True)
    hk.relay.run_due()
    hk.sessions.delete(APP, "s", ["user.tier"], paths=True)
    hk.relay.run_due()
    assert [one.metadata for one in sent(channel)] == [{"user.name": "Ann", "user.tier": "pro"}, {"user.tier": None}]
    assert sent(channel)[1].current == {"user": {"name": "Ann"}}


def test_a_name_with_a_dot_is_not_a_path(hk: Harken, channel: Recorder) -> None:
    """If a session has both, the one that changed is sent."""
    hk.sessions.update(APP, "s", {"a.b": "literal", "a": {"b": "nested"}})
    hk.relay.run_due()
    hk.sessions.update(APP, "s", {"a.b": "path"}, paths=True)
    hk.relay.run_due()
    hk.sessions.delete(APP, "s", "a.b")
    hk.relay.run_due()
    assert [one.metadata for one in sent(channel)[1:]] == [{"a.b": "path"}, {"a.b": None}]


def test_deleting_everything_names_what_there_was(hk: Harken, channel: Recorder) -> None:
    """The deletion of all metadata has all names; without metadata, or without names, nothing changes and is sent."""
    hk.sessions.update(APP, "s", {"a": 1, "b": 2})
    hk.relay.run_due()
    assert hk.sessions.delete(APP, "s") == 2
    hk.relay.run_due()
    assert sent(channel)[-1] == SessionChange("s", "delete", ("a", "b"), {"a": None, "b": None}, {})
    hk.sessions.delete(APP, "s")
    hk.sessions.delete(APP, "s", [])
    hk.sessions.update(APP, "s", {})
    assert hk.relay.run_due() == 0


def test_deleting_everything_deletes_what_is_announced(hk: Harken, place: Place, channel: Recorder) -> None:
    """A name that another process sets during the deletion stays, also if the session had no metadata before."""
    hk.sessions.update(APP, "s", {"a": 1})

    def set_meanwhile(name: str) -> None:
        if name == "delete":
            place.sessions.before = lambda _: None
            hk.sessions.update(APP, "s", {"b": 2})

    for removed in (1, 0):
        hk.relay.run_due()
        place.sessions.before = set_meanwhile
        assert hk.sessions.delete(APP, "s") == removed
        assert hk.sessions.get(APP, "s") == {"b": 2}
        place.storage.sessions.delete(APP, "s")
    hk.relay.run_due()
    assert [one.names for one in sent(channel) if one.operation == "delete"] == [("a",)]


def test_a_deletion_has_the_names_that_were_asked_for(hk: Harken, channel: Recorder) -> None:
    """Also those that did not exist, if one did."""
    hk.sessions.update(APP, "s", {"a": 1})
    hk.relay.run_due()
    assert hk.sessions.delete(APP, "s", ["a", "missing"]) == 1
    hk.relay.run_due()
    assert sent(channel)[-1].metadata == {"a": None, "missing": None}


@pytest.mark.parametrize(("filling", "sizes"), [("", [50, 100, 100]), ("\N{GRINNING FACE}" * 450, [4] * 62 + [2])])
def test_many_names_are_sent_in_several_notifications(
    hk: Harken, channel: Recorder, filling: str, sizes: list[int]
) -> None:
    """A notification has at most 100 names, and 8,000 bytes of names; together they have all."""
    hk.sessions.update(APP, "s", {f"name-{number:03}{filling}": number for number in range(250)})
    assert hk.relay.run_due() == len(sizes)
    assert sorted(len(one.names) for one in sent(channel)) == sorted(sizes)
    assert len({name for one in sent(channel) for name in one.names}) == 250


def test_erased_metadata_is_not_sent(hk: Harken, channel: Recorder) -> None:
    """A change that waits when the session is erased is not sent any more, and not when it is replayed."""
    hk.sessions.update(APP, "erased", {"name": "Ann"})
    hk.sessions.update(APP, "kept", {"name": "Ben"})
    hk.collection.erase(FeedbackQuery(session_id="erased"))
    hk.relay.run_due()
    assert [one.session_id for one in sent(channel)] == ["kept"]
    (delivered,) = hk.deliveries.find("delivered", type="session.metadata_updated")
    hk.collection.erase(FeedbackQuery(session_id="kept"))
    hk.deliveries.replay(delivered.id)
    hk.relay.run_due()
    assert len(channel.arrived) == 1


def test_a_template_renders_the_change(place: Place, channel: Recorder) -> None:
    """A route may have a template; it knows the session, the operation, the names and the values."""
    template = "{{ session_id }} {{ operation }} {% for n in names %}{{ n }}={{ metadata[n] }} {% endfor %}"
    hk = place.connect(channel, {**ROUTE, "template": template})
    hk.sessions.update(APP, "s", {"tier": "pro", "age": 3})
    hk.relay.run_due()
    assert channel.arrived[0].text == "s update age=3 tier=pro "


# --- Which routes take it ---------------------------------------------------------------------------------------------


def test_a_program_without_such_a_route_makes_no_calls_for_it(place: Place, channel: Recorder) -> None:
    """A change stores the metadata and nothing else; routes that others added are read once a second at most."""
    hk = place.connect(channel, CATCH_ALL)
    hk.sessions.update(APP, "s", {"a": 0})
    place.calls.clear()
    for number in range(100):
        hk.sessions.update(APP, "s", {"a": number})
        hk.sessions.delete(APP, "s", "a")
    assert place.calls == ["update", "delete"] * 100
    place.clock.turn(seconds=1)
    hk.sessions.update(APP, "s", {"a": 1})
    assert place.calls[200:] == ["all", "update"]
    hk.relay.run_due()
    assert channel.arrived == []


def test_applications_are_separate(place: Place, channel: Recorder) -> None:
    """A route for an application takes the changes of its sessions only."""
    hk = place.connect(channel, {**ROUTE, "applications": ["shop"]})
    for application in (APP, "shop", "shop-2"):
        hk.sessions.update(application, "s", {"a": application})
    hk.relay.run_due()
    assert [(one.application, one.session.metadata) for one in channel.arrived if one.session] == [
        ("shop", {"a": "shop"})
    ]


def test_each_channel_is_notified_once(place: Place, channel: Recorder) -> None:
    """Two routes to one channel send one notification; another channel has its own."""
    other = Recorder()
    routes = [ROUTE, {**ROUTE, "name": "again"}, {**ROUTE, "name": "other", "channel": "other"}]
    hk = place.connect(channel, *routes, channels={"team": channel, "other": other})
    hk.sessions.update(APP, "s", {"a": 1})
    assert hk.relay.run_due() == 2
    assert sent(channel) == sent(other)


def test_routes_that_are_added_apply(place: Place, channel: Recorder) -> None:
    """A route that is added at run time applies at once in this process, and within a second in others."""
    hk, other = (place.connect(channel, new_id=new_uuid7) for _ in range(2))
    for one in (hk, other):
        one.sessions.update(APP, "s", {"a": 1})
    hk.routes.put(Route(name="sessions", channel="team", events=[EventType.SESSION_UPDATED]))
    hk.sessions.update(APP, "s", {"a": 2})
    place.clock.turn(seconds=1)
    other.sessions.update(APP, "s", {"a": 3})
    assert hk.relay.run_due() == 2
    hk.routes.delete("sessions")
    hk.sessions.update(APP, "s", {"a": 4})
    assert hk.relay.run_due() == 0


def test_another_thread_may_change_routes_at_any_time(place: Place, channel: Recorder) -> None:
    """While the cached ones are used, and while one is removed, which then applies at once."""
    hk = place.connect(channel, {**ROUTE, "applications": [APP]})

    class Interrupted(datetime):
        """A time at which another thread removes a route, when its age is computed."""

        def __sub__(self, other: Any) -> Any:
            hk.routes.delete("")
            return super().__sub__(other)

    hk.sessions.update(APP, "s", {"a": 1})
    place.clock.now = Interrupted.fromisoformat(place.clock.now.isoformat())
    hk.sessions.update(APP, "s", {"a": 2})
    place.clock.now = datetime.fromisoformat(place.clock.now.isoformat())
    hk.routes.put(Route(name="added", channel="team", events=[EventType.SESSION_UPDATED], applications=["shop"]))
    place.state.before = lambda name: name == "delete" and hk.sessions.update("shop", "s", {"a": 3})
    hk.routes.delete("added")
    assert hk.relay.run_due() == 3
    hk.sessions.update("shop", "s", {"a": 4})
    assert hk.relay.run_due() == 0


def test_merges_and_copies_are_not_sent(hk: Harken, place: Place, channel: Recorder) -> None:
    """Metadata that is brought from elsewhere is not a change of a session."""
    hk.sessions.merge(APP, "merged", {"a": 1})
    with harken.open_storage("memory://") as source:
        source.sessions.update(APP, "copied", {"b": 2})
        assert list(Copying(source, place.storage, print).batches())
    assert hk.sessions.get(APP, "copied") == {"b": 2}
    hk.relay.run_due()
    assert channel.tried == []


# --- Order and failures -----------------------------------------------------------------------------------------------


def test_nothing_is_sent_before_the_change_is_stored(hk: Harken, place: Place, channel: Recorder) -> None:
    """A relay that runs during the change does not send the earlier values; it sends the new ones afterwards."""
    hk.sessions.update(APP, "s", {"a": "old"})
    hk.relay.run_due()
    place.sessions.before = lambda name: name == "update" and hk.relay.run_due()
    hk.sessions.update(APP, "s", {"a": "new"})
    assert len(channel.arrived) == 1
    hk.relay.run_due()
    assert [one.metadata for one in sent(channel)] == [{"a": "old"}, {"a": "new"}]


SLOW_CHANGES: dict[str, Callable[[Harken], object]] = {
    "update": lambda hk: hk.sessions.update(APP, "s", {"a": "new"}),
    "update path": lambda hk: hk.sessions.update(APP, "s", {"b.c": "new"}, paths=True),
    "first update": lambda hk: hk.sessions.update(APP, "another", {"a": "new"}),
    "delete": lambda hk: hk.sessions.delete(APP, "s", "a"),
    "delete all": lambda hk: hk.sessions.delete(APP, "s"),
}


def slow_down(place: Place, meanwhile: Callable[[], object] = lambda: None, *, seconds: float = 62) -> None:
    """Let the next change of metadata take this long, and do something just before it is stored."""

    def before(name: str) -> None:
        if name in {"update", "change", "delete"}:
            place.sessions.before = lambda _: None
            place.clock.turn(seconds=seconds)
            meanwhile()

    place.sessions.before = before


@pytest.mark.parametrize("change", SLOW_CHANGES.values(), ids=SLOW_CHANGES)
def test_a_change_that_outlasts_its_lease_is_sent_afterwards(
    hk: Harken, place: Place, channel: Recorder, change: Callable[[Harken], object]
) -> None:
    """If its delivery was sent with the earlier values meanwhile, another one has the new values."""
    hk.sessions.update(APP, "s", {"a": "old", "b": {"c": "old"}})
    hk.relay.run_due()
    slow_down(place, hk.relay.run_due)
    change(hk)
    assert hk.relay.run_due() == 1
    last = sent(channel)[-1]
    assert last.current == hk.sessions.get(APP, last.session_id)
    assert set(last.metadata.values()) <= {"new", None}
    place.clock.turn(minutes=2)
    assert hk.relay.run_due() == 0
    assert len(set(channel.ids)) == len(channel.ids)


@pytest.mark.parametrize("seconds", [40, 55, 60, 3_600])
def test_a_slow_change_is_sent_once_if_no_relay_runs(
    hk: Harken, place: Place, channel: Recorder, seconds: float
) -> None:
    """Its first delivery is replaced, not duplicated."""
    slow_down(place, seconds=seconds)
    hk.sessions.update(APP, "s", {"a": 1})
    assert hk.relay.run_due() == 1
    place.clock.turn(minutes=2)
    assert hk.relay.run_due() == 0
    assert [one.metadata for one in sent(channel)] == [{"a": 1}]
    assert not hk.deliveries.find("pending")


def test_a_slow_change_that_may_be_stored_is_sent_later(hk: Harken, place: Place, channel: Recorder) -> None:
    """If the storage fails after a minute, another delivery has the values of a minute later."""
    hk.sessions.update(APP, "s", {"a": "old"})

    def send_and_fail() -> None:
        hk.relay.run_due()
        place.storage.sessions.update(APP, "s", {"a": "new"})
        raise StorageUnavailable("The connection was closed")

    slow_down(place, send_and_fail)
    with pytest.raises(StorageUnavailable):
        hk.sessions.update(APP, "s", {"a": "new"})
    assert hk.relay.run_due() == 0
    place.clock.turn(minutes=1)
    assert hk.relay.run_due() == 1
    assert sent(channel)[-1].metadata == {"a": "new"}


def test_a_slow_change_without_another_delivery_is_not_reported_as_failed(
    hk: Harken, place: Place, channel: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """If the storage fails after it, the log says that the earlier values may have been sent."""

    def send_and_break() -> None:
        hk.relay.run_due()
        place.outbox.before = fail("add")

    slow_down(place, send_and_break)
    with caplog.at_level(logging.WARNING):
        hk.sessions.update(APP, "s", {"a": 1})
    assert "may have earlier values: " in caplog.text
    assert hk.sessions.get(APP, "s") == {"a": 1}
    assert channel.arrived == []


def test_a_slow_change_that_changes_nothing_is_not_sent(hk: Harken, place: Place) -> None:
    """Its delivery is removed, whether it is refused or finds nothing to delete."""
    hk.sessions.update(APP, "s", {"a": 1})
    hk.relay.run_due()
    slow_down(place)
    with pytest.raises(InvalidMetadata):
        hk.sessions.update(APP, "s", {"a.b": 2}, paths=True)
    slow_down(place)
    assert hk.sessions.delete(APP, "s", "missing") == 0
    assert hk.relay.run_due() == 0
    assert not hk.deliveries.find("pending")


def test_a_change_is_refused_if_its_delivery_cannot_be_stored(hk: Harken, place: Place) -> None:
    """Then nothing is changed, and the error is raised."""
    hk.sessions.update(APP, "s", {"a": 1})
    place.outbox.before = fail("add")
    with pytest.raises(StorageUnavailable):
        hk.sessions.update(APP, "s", {"a": 2})
    with pytest.raises(StorageUnavailable):
        hk.sessions.delete(APP, "s")
    assert hk.sessions.get(APP, "s") == {"a": 1}


def test_a_delivery_survives_a_crash_during_the_change(hk: Harken, place: Place, channel: Recorder) -> None:
    """If it is unknown whether the change was stored, the current values are sent a minute later."""
    hk.sessions.update(APP, "s", {"a": 1})
    hk.relay.run_due()
    place.sessions.before = fail("update")
    with pytest.raises(StorageUnavailable):
        hk.sessions.update(APP, "s", {"a": 2})
    assert hk.relay.run_due() == 0
    place.clock.turn(minutes=1)
    assert hk.relay.run_due() == 1
    assert [one.metadata for one in sent(channel)] == [{"a": 1}, {"a": 1}]


def test_a_change_that_took_place_is_not_reported_as_failed(
    hk: Harken, place: Place, channel: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    """If the storage fails after the change, its delivery is a minute late, and the log says so."""
    place.outbox.before = fail("release")
    with caplog.at_level(logging.WARNING):
        hk.sessions.update(APP, "s", {"a": 1})
    assert "are sent within a minute: " in caplog.text
    assert hk.relay.run_due() == 0
    place.clock.turn(minutes=1)
    hk.relay.run_due()
    assert [one.metadata for one in sent(channel)] == [{"a": 1}]


def test_what_changes_nothing_is_not_sent(hk: Harken, place: Place, channel: Recorder) -> None:
    """Neither an update that the storage refuses nor a deletion of names that do not exist; no delivery remains."""
    hk.sessions.update(APP, "s", {"a": 1})
    hk.relay.run_due()
    for changes, paths in ({"a.b": 2}, True), ({f"n{number}": 1 for number in range(1_000)}, False):
        with pytest.raises(InvalidMetadata):
            hk.sessions.update(APP, "s", changes, paths=paths)
    assert hk.sessions.delete(APP, "s", ["b", "a.b"]) == 0
    assert hk.sessions.delete(APP, "s", "a.b", paths=True) == 0
    place.clock.turn(minutes=1)
    assert hk.relay.run_due() == 0
    assert not hk.deliveries.find("pending")
    assert [one.metadata for one in sent(channel)] == [{"a": 1}]


def test_a_change_without_all_its_deliveries_is_not_sent(place: Place, channel: Recorder) -> None:
    """If one of them cannot be stored, nothing is changed, and the others are removed."""
    routes = [ROUTE, {**ROUTE, "name": "other", "channel": "other"}]
    hk = place.connect(channel, *routes, channels={"team": channel, "other": channel})
    place.outbox.before = lambda name: fail("add")(name) if place.calls.count("add") == 2 else None
    with pytest.raises(StorageUnavailable):
        hk.sessions.update(APP, "s", {"a": 1})
    place.clock.turn(minutes=1)
    assert hk.relay.run_due() == 0
    assert hk.sessions.get(APP, "s") == {}


def test_a_refusal_is_raised_if_its_delivery_stays(hk: Harken, place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """If the storage fails after it has refused a change, the program learns why it was refused."""
    hk.sessions.update(APP, "s", {"a": 1})
    place.outbox.before = fail("discard")
    with caplog.at_level(logging.WARNING), pytest.raises(InvalidMetadata, match=r"metadata\.a is not a dictionary"):
        hk.sessions.update(APP, "s", {"a.b": 2}, paths=True)
    assert "are sent within a minute: " in caplog.text


def test_invalid_changes_are_not_sent(hk: Harken, place: Place) -> None:
    """Invalid metadata is refused before anything is stored."""
    with pytest.raises(InvalidMetadata):
        hk.sessions.update(APP, "", {"a": 1})
    with pytest.raises(InvalidMetadata):
        hk.sessions.update(APP, "s", {"a": float("nan")})
    assert place.calls == []


def test_a_running_relay_is_woken(place: Place, channel: Recorder) -> None:
    """A change is sent by a running relay of the same process."""
    hk = place.connect(channel, ROUTE)
    hk.start_relay()
    hk.sessions.update(APP, "s", {"a": 1})
    eventually(lambda: channel.arrived)
    hk.relay.stop()


# --- Replays ----------------------------------------------------------------------------------------------------------


def test_deliveries_can_be_found_and_replayed(hk: Harken, channel: Recorder) -> None:
    """They are listed by their type, and replayed by id, or by a route that takes them now."""
    hk.sessions.update(APP, "s", {"a": 1})
    hk.submit("s", "up")
    hk.relay.run_due()
    (delivered,) = hk.deliveries.find("delivered", type=EventType.SESSION_UPDATED, application=APP, channel="team")
    assert delivered.event.session_id == "s"
    hk.sessions.update(APP, "s", {"a": 2})
    hk.relay.run_due()
    hk.deliveries.replay(delivered.id)
    hk.relay.run_due()
    assert channel.ids.count(delivered.id) == 2
    assert hk.deliveries.replay_all("delivered", route="sessions") == 2
    hk.relay.run_due()
    assert [one.metadata for one in sent(channel)] == [{"a": 1}, *[{"a": 2}] * 4]
    hk.routes.put(Route(name="all", channel="team"))
    assert hk.deliveries.replay_all("delivered", route="all", type="session.metadata_updated") == 0


def test_the_words_of_receivers_are_not_stored(hk: Harken, channel: Recorder) -> None:
    """They may quote values, and an erasure of the session does not remove the deliveries."""
    failure = DeliveryFailed("refused: tier=pro", status="400", words="tier=pro", retryable=False)
    channel.refuse = lambda _: (_ for _ in ()).throw(failure)
    hk.sessions.update(APP, "s", {"tier": "pro"})
    hk.relay.run_due()
    (dead,) = hk.deliveries.find("dead")
    assert "pro" not in repr(dead)
    assert dead.cause == "400"
