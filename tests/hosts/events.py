"""A minimal client of server-sent events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen

from harken import Harken, Overloaded
from harken.services.feed import Listener
from support import PATIENCE


@frozen
class Frame:
    """A frame: the value of each field by name; comments have an empty name."""

    fields: dict[str, str]

    @property
    def id(self) -> str:
        """The id, with which to resume the stream."""
        return self.fields["id"]

    @property
    def event(self) -> str:
        """The name of the event."""
        return self.fields["event"]

    @property
    def data(self) -> Any:
        """The parsed data."""
        return json.loads(self.fields["data"])

    @property
    def feedback(self) -> Any:
        """The feedback in the data."""
        return self.data["data"]


@frozen
class Stream:
    """A streaming response."""

    answer: HTTPResponse

    def frame(self) -> Frame:
        """The next frame."""
        fields = {}
        while line := self.answer.readline().decode().rstrip("\n"):
            name, separator, value = line.partition(": ")
            assert separator, f"a line that is not a field: {line!r}"
            assert name not in fields, f"a field that comes twice: {line!r}"
            fields[name] = value
        assert fields, "the stream ended"
        return Frame(fields)

    def event(self) -> Frame:
        """The next frame that is not a comment."""
        while "event" not in (frame := self.frame()).fields:
            pass
        return frame

    def rest(self) -> bytes:
        """All remaining frames, until the stream ends."""
        return self.answer.read()


def room(hk: Harken) -> int:
    """The maximum number of listeners."""
    found: list[Listener] = []
    try:
        while True:
            found.append(hk.feed.listen("default", int))
    except Overloaded:
        return len(found)
    finally:
        for listener in found:
            listener.close()


@contextmanager
def listening(url: str, path: str = "/api/events", **headers: str) -> Iterator[Stream]:
    """Listen to a server. Returns once the server has registered the listener."""
    connection = HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE)
    stream = None
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        connection.request("GET", path, headers=sent)
        stream = Stream(connection.getresponse())
        assert stream.answer.status == 200, stream.answer.read()
        assert stream.frame().fields["retry"] == "2000"
        yield stream
    finally:
        # Without Content-Length, the response owns the connection.
        if stream is not None:
            stream.answer.close()
        connection.close()
