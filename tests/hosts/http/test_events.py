"""Server-sent events over real sockets: ``GET /api/events``."""

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import harken
from harken import Cursor, Harken, ModerationStatus, Scope
from harken.services import feed
from harken.services.feed import MAX_LISTENERS, RESUMABLE, Place
from harken_adapters.hosts.fastapi import ServerSettings, create_app
from harken_adapters.hosts.http.streaming import EventStream
from hosts.events import Stream, listening, room
from hosts.serving import OPEN, Server, problem, served, serving, signed_in
from support import NOON, PATIENCE, ManualClock, counting_ids, eventually

APPLICATION = "default"
FORGED = "\n\nevent: feedback.withdrawn\ndata: {}\n\n"


def give(server: Server, comment: str = "", **options: Any) -> str:
    """Submit feedback; returns its id."""
    given = server.post("/api/sessions/s/feedback", {"rating": "up", "comment": comment}, **options)
    return str(given["feedback_id"])


def rate(server: Server, comment: str, rating: str, **parts: Any) -> None:
    """Submit feedback with a rating."""
    body = {"rating": rating, "comment": comment, **parts}
    assert server.ask("POST", "/api/sessions/s/feedback", json=body).ok


def comments(stream: Stream, count: int) -> list[str]:
    """The comments of the next events."""
    return [stream.event().feedback["comment"] for _ in range(count)]


def test_each_thing_that_happens_is_an_event(server: Server, hk: Harken, clock: ManualClock) -> None:
    """Submitting, changing, moderating and withdrawing feedback each send an event with the current feedback."""
    with listening(server.url) as stream:
        assert stream.answer.headers["content-type"] == "text/event-stream"
        assert stream.answer.headers["cache-control"] == "no-store"
        assert stream.answer.headers["x-accel-buffering"] == "no"
        feedback_id = give(server)
        path = f"/api/feedback/{feedback_id}"
        happened, shown = [stream.event()], [server.get(path)]
        for method, where, body in (
            ("PATCH", path, {"comment": "else"}),
            ("POST", f"{path}/moderation", {"status": "rejected"}),
            ("DELETE", path, None),
        ):
            clock.turn(seconds=1)
            assert server.ask(method, where, json=body).ok
            hk.feed.nudge()
            happened.append(stream.event())
            shown.append(server.get(path))
    types = ["feedback.created", "feedback.updated", "feedback.moderated", "feedback.withdrawn"]
    assert [one.event for one in happened] == [one.data["type"] for one in happened] == types
    assert [one.feedback for one in happened] == shown
    assert [one.data["timestamp"] for one in happened] == [one["updated_at"] for one in shown]
    assert len({one.id for one in happened}) == 4


def test_events_can_be_filtered(server: Server, hk: Harken, clock: ManualClock) -> None:
    """With filters, the stream has the events of feedback that matches them, in any state, and all alerts."""
    with listening(server.url, "/api/events?agent_id=a&agent_id=b&rating=down&context.tier=free") as stream:
        given = [
            hk.submit("s", rating, "x", agent_id=agent, context={"tier": tier}).feedback.id
            for rating, agent, tier in (
                ("up", "a", "free"),
                ("down", "a", "free"),
                ("down", "c", "free"),
                ("down", None, "free"),
                ("down", "b", "paid"),
                ("down", "b", "free"),
            )
        ]
        assert [stream.event().feedback["id"] for _ in range(2)] == [given[1], given[5]]
        clock.turn(seconds=1)
        hk.moderation.decide("default", given[1], ModerationStatus.REJECTED)
        hk.feed.nudge()
        assert stream.event().feedback["status"] == "rejected"
        clock.turn(seconds=1)
        hk.withdraw(given[0])
        hk.channels.switch_off("log", "by hand")
        hk.feed.nudge()
        assert stream.event().event == "alert.raised"


@pytest.mark.parametrize("filters", ["rating=sideways", "since=soon", "status=good", "agent=a", "has_comment=1"])
def test_invalid_filters_of_events(server: Server, filters: str) -> None:
    """An invalid or unknown filter is an error, not a stream of everything or nothing."""
    problem(server.ask("GET", f"/api/events?{filters}"), 422, "invalid")


def test_alerts_are_events_too(server: Server, hk: Harken, clock: ManualClock) -> None:
    """Raised and resolved alerts are sent as events, with the same record as elsewhere in the API."""
    with listening(server.url) as stream:
        for switch, kind in (
            (lambda: hk.channels.switch_off("log", "by hand"), "raised"),
            (lambda: hk.channels.switch_on("log"), "resolved"),
        ):
            clock.turn(seconds=1)
            switch()
            hk.feed.nudge()
            happened = stream.event()
            (shown,) = server.get("/api/alerts")["alerts"]
            assert happened.event == f"alert.{kind}"
            assert happened.data == {"type": happened.event, "timestamp": shown[f"{kind}_at"], "data": shown}
        last = happened.id
    clock.turn(seconds=1)
    give(server, "not heard")
    with listening(server.url, Last_Event_ID=last) as stream:
        assert comments(stream, 1) == ["not heard"]


@pytest.mark.parametrize("comment", [FORGED.strip(), "a\r\nb\rc\u0085d\u2028e\u2029f\x1b[2J\x0b\x0c!", "\U0001f600 ü"])
def test_a_comment_arrives_as_it_was_written(server: Server, comment: str) -> None:
    """Line breaks, control characters and anything else in a comment arrive unchanged."""
    with listening(server.url) as stream:
        give(server, comment)
        give(server, "the next one")
        assert comments(stream, 2) == [comment, "the next one"]


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=100))
@example(FORGED)
def test_no_comment_can_end_an_event_or_begin_one(comment: str) -> None:
    """For any comment, an event has an id, a name and one line of data."""
    with harken.connect("memory://") as hk:
        stream = EventStream(hk, APPLICATION, None)
        hk.submit("s", "up", comment)
        taken: list[bytes] = []

        def took_something() -> bool:
            taken.append(stream.take())
            return any(taken)

        eventually(took_something)
        stream.close()
    frames = b"".join(taken)
    first, second, third, *rest = frames.splitlines()
    assert (first[:4], second, third[:6], rest) == (b"id: ", b"event: feedback.created", b"data: ", [b""])
    assert frames.isascii()


def test_events_of_one_application(server: Server) -> None:
    """A listener receives only events of its application."""
    with listening(server.url, "/api/events?application=other") as other, listening(server.url) as mine:
        give(server, "mine")
        give(server, "other", params={"application": "other"})
        give(server, "mine too")
        assert comments(other, 1) == ["other"]
        assert comments(mine, 2) == ["mine", "mine too"]


# --- Resuming ---------------------------------------------------------------------------------------------------------


def test_last_event_id_resumes_the_stream(server: Server, clock: ManualClock) -> None:
    """A client that reconnects receives the events it has missed, once, by header or by parameter."""
    with listening(server.url) as stream:
        give(server, "heard")
        last = stream.event().id
    clock.turn(seconds=1)
    give(server, "not heard")
    with listening(server.url, Last_Event_ID=last) as stream:
        assert comments(stream, 1) == ["not heard"]
        give(server, "new")
        assert comments(stream, 1) == ["new"]
    with listening(server.url, f"/api/events?after={last}") as stream:
        assert comments(stream, 2) == ["not heard", "new"]


def test_missed_events_are_reported(server: Server) -> None:
    """After too long, the event ``missed`` says that data must be reloaded; then the stream continues."""
    long_ago = Place(Cursor(NOON - 2 * RESUMABLE, "x"))
    with listening(server.url, Last_Event_ID=str(long_ago)) as stream:
        missed = stream.event()
        assert missed.event == "missed"
        assert "id" not in missed.fields
        # Nothing was given yet.
        assert missed.data["count"] == 0
        give(server, "new")
        assert comments(stream, 1) == ["new"]


def test_missed_events_are_counted(server: Server) -> None:
    """The number is that of the feedback since then, under the filters of the stream."""
    for comment, rating in (("a", "up"), ("b", "down"), ("c", "down")):
        rate(server, comment, rating)
    long_ago = str(Place(Cursor(NOON - 2 * RESUMABLE, "x")))
    for query, count in (("", 3), ("?rating=down", 2), ("?rating=down&until=2020-01-01", 0), ("?status=pending", 0)):
        with listening(server.url, f"/api/events{query}", Last_Event_ID=long_ago) as stream:
            assert stream.event().data["count"] == count, query


# --- Filters ----------------------------------------------------------------------------------------------------------


def test_filters_select_events(server: Server, hk: Harken) -> None:
    """A page counts what is new under its filters: events of other feedback are not sent, those of alerts are."""
    path = "/api/events?rating=down&status=approved&withdrawn=false"
    with listening(server.url, path) as stream, listening(server.url, "/api/events?tag=a") as tagged:
        rate(server, "good", "up")
        rate(server, "bad", "down")
        rate(server, "marked", "up", tags=["a"])
        assert comments(stream, 1) == ["bad"]
        assert comments(tagged, 1) == ["marked"]
        hk.channels.switch_off("log", "by hand")
        hk.feed.nudge()
        assert stream.event().event == "alert.raised"
    problem(server.ask("GET", "/api/events?rating=sideways"), 422, "invalid")
    problem(server.ask("GET", "/api/events?colour=red"), 422, "invalid")


def test_filters_include_any_state_by_default(server: Server) -> None:
    """Without a filter on the state, withdrawn feedback is reported too."""
    with listening(server.url, "/api/events?rating=up") as stream:
        feedback_id = give(server, "taken back")
        assert server.ask("DELETE", f"/api/feedback/{feedback_id}").ok
        types = [stream.event().event]
        while types[-1] != "feedback.withdrawn":
            types.append(stream.event().event)
        assert set(types) <= {"feedback.created", "feedback.withdrawn"}


def test_a_signed_in_browser_listens_with_its_cookie(hk: Harken) -> None:
    """The cookie of the sign-in opens the stream and resumes it; a page of another origin gets nothing to read."""
    key = hk.keys.create(APPLICATION, [Scope.READ]).text
    with served(hk, access="keys") as server:
        cookie = signed_in(server, key)
        with listening(server.url, **cookie) as stream:
            hk.submit("s", "up", "heard")
            first = stream.event()
        assert first.feedback["comment"] == "heard"
        hk.submit("s", "up", "not heard")
        with listening(server.url, **cookie, Last_Event_ID=first.id) as stream:
            assert comments(stream, 1) == ["not heard"]
        problem(server.ask("GET", "/api/events", headers={"Cookie": f"{cookie['Cookie']}x"}), 401, "unauthorized")
        with listening(server.url, **cookie, Origin="https://evil.example") as stream:
            assert "access-control-allow-origin" not in stream.answer.headers


@pytest.mark.parametrize("token", ["nonsense", "AAAA.x", "-"])
def test_an_invalid_event_id_is_rejected(server: Server, token: str) -> None:
    """An invalid event id is rejected; it is not treated as one that is too old."""
    problem(server.ask("GET", "/api/events", headers={"Last-Event-ID": token}), 422, "invalid")


# --- Permissions ------------------------------------------------------------------------------------------------------


def test_listening_needs_the_scope_read(hk: Harken) -> None:
    """It needs a key with the scope ``read``, and has only events of the key's application."""
    secret = "a secret of thirty-two bytes or more"
    reading, giving = (hk.keys.create(APPLICATION, [scope]).text for scope in (Scope.READ, Scope.SUBMIT))
    with served(hk, access="keys", token_secrets=(secret,)) as server:
        problem(server.ask("GET", "/api/events"), 401, "unauthorized")
        problem(server.ask("GET", "/api/events", headers={"Authorization": f"Bearer {giving}"}), 403, "forbidden")
        elsewhere = server.ask("GET", "/api/events?application=other", headers={"Authorization": f"Bearer {reading}"})
        problem(elsewhere, 403, "forbidden")
        with listening(server.url, Authorization=f"Bearer {reading}") as stream:
            hk.submit("s", "up", "theirs", application="other")
            give(server, "mine", headers={"Authorization": f"Bearer {giving}"})
            assert comments(stream, 1) == ["mine"]
    assert room(hk) == MAX_LISTENERS


def test_two_hundred_may_listen(server: Server, hk: Harken) -> None:
    """Another listener is rejected with Retry-After, and accepted once one has left."""
    with ExitStack() as all_but_one:
        for _ in range(MAX_LISTENERS - 1):
            listener = hk.feed.listen(APPLICATION, int)
            all_but_one.callback(listener.close)
        with listening(server.url):
            refused = server.ask("GET", "/api/events")
            problem(refused, 503, "overloaded")
            assert refused.headers["retry-after"] == "1"
        eventually(lambda: room(hk) == 1)
        with listening(server.url) as stream:
            give(server, "heard")
            assert comments(stream, 1) == ["heard"]


def test_slots_are_shared_between_tenants(hk: Harken, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenant that uses all slots loses its newest listener to another tenant; its other streams continue."""
    monkeypatch.setattr(feed, "MAX_LISTENERS", 4)
    greedy, modest = (
        {"Authorization": f"Bearer {hk.keys.create(name, ['read', 'submit']).text}"} for name in ("greedy", "modest")
    )
    with served(hk, access="keys") as server, ExitStack() as opened:
        streams = [opened.enter_context(listening(server.url, **greedy)) for _ in range(4)]
        problem(server.ask("GET", "/api/events", headers=greedy), 503, "overloaded")
        theirs = [opened.enter_context(listening(server.url, **modest)) for _ in range(2)]
        assert [stream.rest() for stream in streams[2:]] == [b"", b""]
        for headers in (greedy, modest):
            problem(server.ask("GET", "/api/events", headers=headers), 503, "overloaded")
        for headers, left in ((greedy, streams[:2]), (modest, theirs)):
            give(server, "heard", headers=headers)
            assert [comments(stream, 1) for stream in left] == [["heard"]] * 2


def test_a_closed_connection_frees_its_slot(server: Server, hk: Harken) -> None:
    """A closed connection frees its slot, whether or not anything was sent over it."""
    with ExitStack() as streams:
        for _ in range(3):
            streams.enter_context(listening(server.url))
        assert room(hk) == MAX_LISTENERS - 3
    eventually(lambda: room(hk) == MAX_LISTENERS)
    for _ in range(10):
        # Disconnected before the response.
        server.send(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n", until_closed=False)
    eventually(lambda: room(hk) == MAX_LISTENERS)


# --- Keep-alive and shutdown ------------------------------------------------------------------------------------------


def test_a_silent_stream_shows_that_it_is_alive(hk: Harken, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without events, a comment is sent from time to time, and later events arrive as usual."""
    monkeypatch.setattr(EventStream, "heartbeat", 0.02)
    with served(hk) as server, listening(server.url) as stream:
        assert [stream.frame().fields for _ in range(3)] == [{"": "keep-alive"}] * 3
        give(server, "heard")
        assert comments(stream, 1) == ["heard"]


def test_a_blocking_host_can_iterate(hk: Harken, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread can iterate over an event stream until it is stopped; then no listener remains."""
    monkeypatch.setattr(EventStream, "heartbeat", 0.02)
    stream = EventStream(hk, APPLICATION, None)
    chunks = iter(stream)
    assert next(chunks).startswith(b"retry: 2000\nid: ")
    assert next(chunks) == b": keep-alive\n\n"
    hk.submit("s", "up")
    assert b"event: feedback.created" in next(chunk for chunk in chunks if b"event" in chunk)
    stream.stop()
    assert all(b"event" not in chunk for chunk in chunks)
    assert room(hk) == MAX_LISTENERS


def test_a_stream_ends_with_its_harken(monkeypatch: pytest.MonkeyPatch) -> None:
    """When Harken is closed, its event streams end."""
    with harken.connect("memory://") as hk:
        stream = EventStream(hk, APPLICATION, None)
        heard: list[bytes] = []
        thread = threading.Thread(target=lambda: heard.extend(stream), daemon=True)
        thread.start()
        eventually(lambda: heard)
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_server_ends_with_streams_open(hk: Harken) -> None:
    """When the application ends, event streams end and their responses are complete."""
    app = create_app(ServerSettings(**OPEN), harken=hk)
    with serving(app) as server, listening(server.url) as stream:
        give(server, "heard")
        assert comments(stream, 1) == ["heard"]
        app.state.harken_host.stop_streams()
        assert stream.rest() == b""
        with listening(server.url) as late:
            assert late.rest() == b""
    assert room(hk) == MAX_LISTENERS


# --- Other processes --------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("storage", ["sqlite", "mongodb"])
def test_events_of_another_server(
    storage: str, tmp_path: Path, clock: ManualClock, request: pytest.FixtureRequest
) -> None:
    """With two servers on one storage, listeners at both receive all events and can switch between them."""
    url = f"sqlite:///{tmp_path}/f.db" if storage == "sqlite" else request.getfixturevalue("mongodb_url")
    new_id = counting_ids()
    with ExitStack() as opened:
        harkens = [opened.enter_context(harken.connect(url, clock=clock, new_id=new_id)) for _ in range(2)]
        one, two = (opened.enter_context(served(hk)) for hk in harkens)
        with listening(one.url) as here, listening(two.url) as there:
            give(one, "from one")
            give(two, "from two")
            assert sorted(comments(here, 2)) == sorted(comments(there, 2)) == ["from one", "from two"]
            clock.turn(seconds=20)
            give(one, "the last received event")
            last = here.event()
            assert last.feedback["comment"] == comments(there, 1)[0] == "the last received event"
        clock.turn(seconds=1)
        give(one, "not heard")
        with listening(two.url, Last_Event_ID=last.id) as there:
            while (heard := comments(there, 1)[0]) != "not heard":
                assert heard == "the last received event"
