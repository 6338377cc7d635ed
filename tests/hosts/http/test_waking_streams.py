"""Event streams wake up for each event, in threads and in event loops, without losing a wake-up."""

import asyncio
from collections.abc import Callable, Iterator
from threading import Thread
from typing import Any

import pytest

from harken import Cursor
from harken.configuration.storage_urls import open_storage
from harken.services import feed
from harken.services.feed import Place
from harken_adapters.hosts.http.serving.async_chunks import events_in_loop
from harken_adapters.hosts.http.streaming import EventStream
from hosts.events import listening
from hosts.serving import served
from support import PATIENCE, a_submission, eventually, in_threads
from waking import HOUR, Unpolled, once, unpolled

Chunks = Callable[[EventStream], Iterator[bytes]]


def in_loop(stream: EventStream) -> Iterator[bytes]:
    """The chunks of a stream in an event loop, which runs while a chunk is awaited."""
    chunks = events_in_loop(stream)

    async def next_chunk() -> bytes:
        return await anext(chunks)

    with asyncio.Runner() as runner:
        try:
            while True:
                yield runner.run(next_chunk())
        except StopAsyncIteration:
            return
        finally:
            runner.run(chunks.aclose())
            stream.close()


@pytest.fixture(params=[iter, in_loop], ids=["in a thread", "in a loop"])
def chunks_of(request: pytest.FixtureRequest) -> Chunks:
    """The functions that return the chunks of a stream."""
    chunks: Chunks = request.param
    return chunks


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Iterator[Unpolled]:
    """A Harken that reads only when notified, whose streams have a heartbeat of an hour."""
    monkeypatch.setattr(EventStream, "heartbeat", HOUR)
    with open_storage("memory://") as storage, unpolled(storage) as connected:
        yield connected


def comments(chunks: Iterator[bytes], wanted: int) -> list[str]:
    """The comments of the next events."""
    found: list[str] = []
    while len(found) < wanted:
        # Fails if the stream is not woken.
        (chunk,) = in_threads([lambda: next(chunks)])
        assert isinstance(chunk, bytes)
        found += [part.split(b'"')[0].decode() for part in chunk.split(b'"comment":"')[1:]]
    return found


def test_events_during_a_read_are_sent(one: Unpolled, chunks_of: Chunks) -> None:
    """An event after the storage was read, and before the stream waits again, is sent at once."""
    stream = EventStream(one.hk, "default", None)

    def meanwhile() -> None:
        one.hk.submit("s", "up", "meanwhile")
        # The stream has been woken by now.
        eventually(lambda: stream._listener._watch.end == 2)

    one.feedback.after["get_many"] = once(meanwhile)
    chunks = chunks_of(stream)
    assert next(chunks).startswith(b"retry")
    one.hk.submit("s", "up", "first")
    assert comments(chunks, 2) == ["first", "meanwhile"]
    chunks.close()  # type: ignore[attr-defined]


def test_events_beyond_one_read_are_sent(one: Unpolled, chunks_of: Chunks, monkeypatch: pytest.MonkeyPatch) -> None:
    """If there are more events than one read returns, the rest follows without another event."""
    monkeypatch.setattr(feed, "MAX_TAKEN", 2)
    chunks = chunks_of(EventStream(one.hk, "default", None))
    assert next(chunks).startswith(b"retry")
    one.hk.collection.submit_many([a_submission(comment=f"{number}") for number in range(5)])
    assert sorted(comments(chunks, 5)) == ["0", "1", "2", "3", "4"]
    chunks.close()  # type: ignore[attr-defined]


def test_events_before_the_start_are_sent(one: Unpolled, chunks_of: Chunks) -> None:
    """Missed events, and those before the first chunk is requested, are sent at once."""
    missed = one.hk.submit("s", "up", "missed").feedback
    stream = EventStream(one.hk, "default", Place(Cursor(missed.created_at, "")))
    chunks = chunks_of(stream)
    assert next(chunks).startswith(b"retry")
    assert comments(chunks, 1) == ["missed"]
    chunks.close()  # type: ignore[attr-defined]
    stream = EventStream(one.hk, "default", None)
    one.hk.submit("s", "up", "early")
    eventually(lambda: stream._listener.waiting)
    chunks = chunks_of(stream)
    assert next(chunks).startswith(b"retry")
    assert comments(chunks, 1) == ["early"]
    chunks.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("end", [lambda one, stream: stream.stop(), lambda one, _: one.hk.close()], ids=["it", "all"])
def test_a_stream_that_waits_ends_at_once(
    one: Unpolled, chunks_of: Chunks, end: Callable[[Unpolled, Any], object]
) -> None:
    """A waiting stream wakes up when it is stopped or Harken is closed."""
    stream = EventStream(one.hk, "default", None)
    chunks, heard = chunks_of(stream), list[bytes]()
    thread = Thread(target=lambda: heard.extend(chunks), daemon=True)
    thread.start()
    eventually(lambda: heard)
    end(one, stream)
    thread.join(PATIENCE)
    assert not thread.is_alive(), "the stream was not woken"
    assert b"".join(heard) == heard[0]


def test_a_server_sends_events_at_once(one: Unpolled) -> None:
    """Over HTTP, an event is sent when it happens, not at the next poll."""
    with served(one.hk) as server, listening(server.url) as stream:
        for number in range(3):
            server.post("/api/sessions/s/feedback", {"rating": "up", "comment": str(number)})
            assert stream.frame().feedback["comment"] == str(number)
