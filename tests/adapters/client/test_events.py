"""Events as iterators: on the facade, and through clients whose connections break."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from datetime import timedelta
from random import Random
from time import monotonic
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

import harken
from clients import KINDS, InThread, Sleeps, opened, proxied, without_keys
from driving import Driven, Driver
from harken import (
    AsyncHarken,
    Change,
    Harken,
    InvalidCredentials,
    InvalidQuery,
    Overloaded,
    Scope,
    StorageClosed,
    StorageError,
    StorageUnavailable,
)
from harken.domain.events import EventType
from harken.services import feed
from harken.services.feed import MAX_LISTENERS, Missed, News
from harken.testing import Faults
from harken.testing.strategies import alerts
from harken_adapters.client import AsyncClient, Client
from harken_adapters.client.calls import Calls
from harken_adapters.client.event_reader import EventReader
from harken_adapters.formats.notification import alert_from, alert_record
from harken_adapters.hosts.http.guards import access
from harken_adapters.hosts.http.streaming import EventStream
from harken_adapters.storage.memory import open_storage
from hosts.serving import Server, served
from support import PATIENCE, ManualClock, counting_ids, eventually

CLIENTS = KINDS[1:]


@pytest.fixture
def server(hk: Harken) -> Iterator[Server]:
    """The Harken of the test, served with open access."""
    with served(hk) as serving:
        yield serving


@pytest.fixture(params=(*KINDS, "async facade"))
def one(request: pytest.FixtureRequest, hk: Harken) -> Iterator[Any]:
    """The facade, the one for asyncio, or a client of it."""
    if request.param == "facade":
        yield hk
        return
    if request.param == "async facade":
        driver, wrapped = Driver(asyncio.new_event_loop), AsyncHarken(hk)
        yield Driven(wrapped, driver)
        driver(wrapped.close())
        driver.close()
        return
    with opened(request.param, request.getfixturevalue("server").url) as client:
        yield client


def test_each_thing_that_happens_is_an_event(one: Any, hk: Harken, clock: ManualClock) -> None:
    """Submitting, changing, moderating and withdrawing feedback are events, and so are alerts, as they are now."""
    events = one.events()
    known = hk.submit("s", "up", "ü \u2028").feedback
    happened, shown = [next(events)], [hk.get(known.id)]
    for step in (
        lambda: hk.change(known.id, Change(comment="else")),
        lambda: hk.moderation.decide("default", known.id, harken.ModerationStatus.REJECTED),
        lambda: hk.withdraw(known.id),
    ):
        clock.turn(seconds=1)
        step()
        hk.feed.nudge()
        happened.append(next(events))
        shown.append(hk.get(known.id))
    assert [each.type.value for each in happened] == [
        "feedback.created",
        "feedback.updated",
        "feedback.moderated",
        "feedback.withdrawn",
    ]
    assert [without_keys(each.feedback) for each in happened] == [without_keys(each) for each in shown]
    for switch, kind in (
        (lambda: hk.channels.switch_off("log", "by hand"), EventType.ALERT_RAISED),
        (lambda: hk.channels.switch_on("log"), EventType.ALERT_RESOLVED),
    ):
        clock.turn(seconds=1)
        switch()
        hk.feed.nudge()
        event = next(events)
        (alert,) = hk.alerts.find("default")
        assert (event.type, event.feedback, event.alert) == (kind, None, alert)
    events.close()


@given(alerts())
def test_alerts_survive_the_record(alert: Any) -> None:
    """An alert is equal after it was sent."""
    assert alert_from(alert_record(alert)) == alert
    assert alert_from(alert_record(evolve(alert, resolved_at=alert.raised_at, version=2))).version == 2


def test_events_of_one_application(one: Any, hk: Harken) -> None:
    """Only events of the application are reported, and nothing from before."""
    hk.submit("before", "up", application="shop")
    events = one.events(application="shop")
    hk.submit("mine", "up")
    hk.submit("shop", "up", application="shop")
    event = next(events)
    assert (event.feedback.session_id, event.feedback.application) == ("shop", "shop")
    events.close()


def test_events_of_some_feedback(one: Any, hk: Harken, clock: ManualClock) -> None:
    """With filters, only events of matching feedback are reported, in any state, and all alerts."""
    events = one.events(agent_id=["a", "b"], rating=["down", None], has_comment=True)
    given = [
        hk.submit("s", rating, comment, agent_id=agent).feedback.id
        for rating, comment, agent in (
            ("up", "fine", "a"),
            ("down", "slow", "a"),
            ("down", "slow", "c"),
            (None, "", "b"),
            (None, "so so", "b"),
        )
    ]
    assert [next(events).feedback.id for _ in range(2)] == [given[1], given[4]]
    clock.turn(seconds=1)
    hk.withdraw(given[0])
    hk.withdraw(given[4])
    hk.feed.nudge()
    assert next(events).feedback.id == given[4]
    clock.turn(seconds=1)
    hk.channels.switch_off("log", "by hand")
    hk.feed.nudge()
    assert next(events).type is EventType.ALERT_RAISED
    events.close()
    with pytest.raises(InvalidQuery, match="agent_id must have at least one value"):
        one.events(agent_id=[])


@pytest.mark.parametrize("as_text", [False, True])
def test_resuming(one: Any, hk: Harken, clock: ManualClock, *, as_text: bool) -> None:
    """With the place of the last event, an iterator continues after it."""
    events = one.events()
    hk.submit("heard", "up")
    place = next(events).place
    events.close()
    clock.turn(seconds=1)
    hk.submit("missed", "up")
    again = one.events(str(place) if as_text else place)
    assert next(again).feedback.session_id == "missed"
    again.close()


def test_events_that_are_too_old_are_reported_as_missed(one: Any, hk: Harken, clock: ManualClock) -> None:
    """After more than an hour, or for an unknown reason, the loss of events is an item of its own."""
    with harken.connect("memory://") as other:
        foreign = other.events()
        other.submit("s", "up")
        place = next(foreign).place
        foreign.close()
    old = evolve(place, at=place.at._replace(created_at=clock() - timedelta(hours=2)))
    events = one.events(old)
    hk.submit("s", "up")
    # Only clients learn how much was created meanwhile.
    assert next(events) in (Missed(), Missed(count=0))
    assert isinstance(next(events), News)
    events.close()


def test_too_many_events_are_reported_as_missed(hk: Harken, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a program does not keep up, the iterator says that events were lost, and continues."""
    monkeypatch.setattr(feed, "MAX_WAITING", 10)
    monkeypatch.setattr(feed, "MAX_TAKEN", 5)
    with hk.events() as events:
        for number in range(40):
            hk.submit(f"s{number}", "up")
            hk.feed.nudge()
        found = [next(events)]
        while not (isinstance(found[-1], News) and found[-1].feedback and found[-1].feedback.session_id == "s39"):
            found.append(next(events))
    assert Missed() in found


# --- Ending -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("how", ["itself", "owner"])
def test_it_ends_when_it_is_closed(kind: str, how: str, hk: Harken, server: Server) -> None:
    """Another thread that waits for the next event ends at once if the iterator, or what it belongs to, is closed."""
    with opened("client", server.url) as client:
        owner = hk if kind == "facade" else client
        events = owner.events()
        hk.submit("s", "up")
        next(events)
        waiting = InThread.start(lambda: list(events))
        assert not waiting.done.wait(0.05)
        began = monotonic()
        (events if how == "itself" else owner).close()
        assert waiting.wait() == []
        # Long before the next sign of life of the server, after five seconds.
        assert monotonic() - began < 4
        assert list(events) == []
        events.close()


def test_a_closed_listener_leaves_its_place(hk: Harken) -> None:
    """All places can be used again and again; without a free one, the iterator is refused."""
    for _ in range(2):
        opened_events = [hk.events() for _ in range(MAX_LISTENERS)]
        with pytest.raises(Overloaded):
            hk.events()
        for events in opened_events:
            events.close()
    hk.close()
    with pytest.raises(StorageClosed):
        hk.events()


def test_a_storage_that_fails_for_a_moment() -> None:
    """The error is raised, and the next call continues without a loss."""
    faults = Faults()
    with open_storage("memory://") as storage, harken.connect(faults.around(storage)) as hk, hk.events() as events:
        hk.submit("s1", "up")
        assert isinstance(next(events), News)
        hk.submit("s2", "up")
        listener = events._listener
        eventually(lambda: listener.waiting)
        faults.arm(at=1)
        with pytest.raises(StorageError):
            next(events)
        faults.disarm()
        event = next(events)
        assert isinstance(event, News)
        assert event.feedback is not None
        assert event.feedback.session_id == "s2"


# --- Reconnecting -----------------------------------------------------------------------------------------------------


def fast(kind: str) -> Any:
    """Does not sleep."""
    sleeps = Sleeps()
    return sleeps if kind == "client" else sleeps.asynchronously


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_cut_connection_resumes_without_loss(kind: str, hk: Harken, clock: ManualClock, server: Server) -> None:
    """The stream is cut at any byte, again and again, and every event arrives."""
    random = Random(3)
    cuts = iter(lambda: random.randrange(400, 4_000), None)
    with proxied(server.port, cuts) as proxy, opened(kind, proxy.url, sleep=fast(kind)) as client:
        events = client.events()
        found: list[str] = []
        for number in range(60):
            clock.turn(milliseconds=1)
            hk.submit(f"s{number}", "up", "x" * random.randrange(300))
            if number % 7 == 6:
                found += _sessions(events, until=f"s{number}")
        found += _sessions(events, until="s59") if found[-1] != "s59" else []
        assert proxy.connections > 5
        events.close()
    assert list(dict.fromkeys(found)) == [f"s{number}" for number in range(60)]


def _sessions(events: Any, *, until: str) -> list[str]:
    found: list[str] = []
    while not found or found[-1] != until:
        event = next(events)
        assert isinstance(event, News)
        assert event.feedback is not None
        found.append(event.feedback.session_id)
    return found


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_cut_before_the_first_event(kind: str, hk: Harken, server: Server) -> None:
    """A stream that is cut before anything happened resumes at its beginning: nothing is lost, and nothing is added."""
    hk.submit("before", "up")
    with proxied(server.port) as proxy, opened(kind, proxy.url, sleep=fast(kind)) as client:
        events = client.events()
        hk.submit("first", "up")
        # Not yet read by the client: the bytes of the event may or may not be on their way.
        proxy.cut_all()
        hk.submit("second", "up")
        assert list(dict.fromkeys(_sessions(events, until="second"))) == ["first", "second"]
        events.close()


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_service_that_is_down_for_a_while(kind: str, hk: Harken, server: Server) -> None:
    """The client waits longer and longer, up to a minute, and resumes when the service is back."""
    with proxied(server.port) as proxy:
        sleeps = Sleeps()
        upstream = proxy.upstream

        def sleep(seconds: float) -> None:
            sleeps.append(seconds)
            if len(sleeps) == 9:
                proxy.upstream = upstream

        async def asynchronously(seconds: float) -> None:
            sleep(seconds)

        with opened(kind, proxy.url, sleep=sleep if kind == "client" else asynchronously) as client:
            events = client.events()
            hk.submit("s1", "up")
            assert _sessions(events, until="s1") == ["s1"]
            proxy.upstream = 1
            proxy.cut_all()
            hk.submit("s2", "up")
            assert _sessions(events, until="s2") == ["s2"]
            events.close()
    assert len(sleeps) == 9
    assert all(1 <= seconds <= 60 for seconds in sleeps)
    assert sleeps[0] <= 2
    assert sleeps[-1] >= 30


@pytest.mark.parametrize("kind", CLIENTS)
def test_a_key_that_is_revoked(kind: str, hk: Harken, monkeypatch: pytest.MonkeyPatch) -> None:
    """A reason that does not pass is raised instead of reconnecting."""
    for module in (access, EventStream):
        monkeypatch.setattr(module, "TRUSTED_FOR" if module is access else "heartbeat", 0.05)
    key = hk.keys.create("default", scopes=[Scope.READ])
    with served(hk, access="keys") as server, opened(kind, server.url, key=key.text, sleep=fast(kind)) as client:
        events = client.events()
        hk.keys.revoke(key.key.id)
        with pytest.raises(InvalidCredentials):
            next(events)


def test_a_url_of_something_else(hk: Harken, server: Server) -> None:
    """What is not a stream of Harken is refused at once, and so is a service that is not there."""
    with Client(f"{server.url}/docs") as client, pytest.raises(harken.ConfigurationError):
        client.events()
    with Client("http://127.0.0.1:1", sleep=Sleeps()) as client, pytest.raises(StorageUnavailable):
        client.events()


def test_waiting_can_be_cancelled(hk: Harken) -> None:
    """In an event loop, a timeout while waiting loses no event, however often it happens."""

    async def listen(server: Server) -> list[str]:
        found = []
        async with AsyncClient(server.url) as client, client.events() as events:
            for number in range(5):
                for _ in range(3):
                    with pytest.raises(TimeoutError):
                        await asyncio.wait_for(anext(events), 0.01)
                await client.submit(f"s{number}", "up")
                event = await asyncio.wait_for(anext(events), PATIENCE)
                assert isinstance(event, News)
                assert event.feedback is not None
                found.append(event.feedback.session_id)
        return found

    with served(hk) as server:
        assert asyncio.run(listen(server)) == [f"s{number}" for number in range(5)]


def test_closing_in_an_event_loop(hk: Harken) -> None:
    """Another task that waits for the next event ends if the client is closed."""

    async def listen(server: Server) -> list[Any]:
        client = AsyncClient(server.url)
        events = client.events()
        await client.submit("s", "up")
        await asyncio.wait_for(events.__aenter__(), PATIENCE)

        async def collect() -> list[Any]:
            return [event async for event in events]

        waiting = asyncio.create_task(collect())
        await asyncio.sleep(0)
        await client.close()
        await client.close()
        return await asyncio.wait_for(waiting, PATIENCE)

    with served(hk) as server:
        asyncio.run(listen(server))


def test_several_tasks_share_a_stream(hk: Harken) -> None:
    """Tasks that begin together use one connection, each event reaches one of them, and closing ends all."""

    async def listen(server: Server) -> list[str]:
        client = AsyncClient(server.url)
        events = client.events()

        found: list[str] = []
        complete = asyncio.Event()

        async def collect() -> None:
            async for event in events:
                assert isinstance(event, News)
                assert event.feedback is not None
                found.append(event.feedback.session_id)
                if len(found) == 5:
                    complete.set()

        tasks = [asyncio.create_task(collect()) for _ in range(3)]
        await asyncio.wait_for(events.__aenter__(), PATIENCE)
        for number in range(5):
            await client.submit(f"s{number}", "up")
        await asyncio.wait_for(complete.wait(), PATIENCE)
        await client.close()
        await asyncio.wait_for(asyncio.gather(*tasks), PATIENCE)
        return sorted(found)

    with served(hk) as server:
        assert asyncio.run(listen(server)) == [f"s{number}" for number in range(5)]


# --- The format -------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 2_000), max_size=8), st.text(max_size=40).map(lambda text: text.replace("\0", "")))
def test_any_division_into_chunks(cuts: list[int], comment: str) -> None:
    """However a stream is divided, it has the same events."""
    comment = comment.encode(errors="replace").decode()
    with harken.connect("memory://", clock=ManualClock(), new_id=counting_ids()) as hk:
        stream = EventStream(hk, "default", None)
        parts = [stream.begin()]
        for session_id in ("s", "t"):
            hk.submit(session_id, "up", comment if session_id == "s" else "")

        def has_both() -> bool:
            parts.append(stream.take())
            return b"".join(parts).count(b"event: feedback.created") == 2

        eventually(has_both)
        stream.close()
    data = b"".join(parts) + b": keep-alive\r\n\r\nevent: missed\ndata: {}\n\nevent: feedback.invented\ndata: {}\n\n"
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    reader = EventReader(Calls().events(None, {}))
    reader.connected("shop")
    found: list[Any] = []
    logging.disable()
    try:
        for start, end in zip(places, places[1:], strict=False):  # noqa: RUF007
            found += reader.feed(data[start:end])
    finally:
        logging.disable(logging.NOTSET)
    first, second, third = found
    assert (first.feedback.comment, first.feedback.application) == (comment.strip(), "shop")
    assert (second.feedback.session_id, third) == ("t", Missed())
    assert reader.call.headers == (("Last-Event-ID", str(second.place)),)
