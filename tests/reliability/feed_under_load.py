"""Whether listeners hear of feedback while many others submit.

``python -m tests.reliability.feed_under_load [--seconds N] [--writers N] [--listeners N]`` serves an SQLite file, and
has so many clients submit for so long while others listen. It prints what each listener received of what was
acknowledged meanwhile, and ends with status 1 if a listener missed something.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Self
from urllib.parse import urlsplit

import httpx
from attrs import define, field
from tests.reliability.http_processes import PATIENCE, UNLIMITED, serve


@define
class Listener:
    """What one listener received, and when."""

    received: dict[str, float] = field(factory=dict)
    missed: int = 0

    async def run(self, url: str, ready: asyncio.Event) -> None:
        """Listen until this is cancelled."""
        async with (
            httpx.AsyncClient(timeout=None, trust_env=False) as client,
            client.stream("GET", f"{url}/api/events") as answer,
        ):
            answer.raise_for_status()
            ready.set()
            name = ""
            async for line in answer.aiter_lines():
                kind, _, value = line.partition(": ")
                if kind == "event":
                    name = value
                    self.missed += name == "missed"
                elif kind == "data" and name == "feedback.created":
                    self.received[json.loads(value)["data"]["id"]] = monotonic()


class Writer:
    """A connection that submits again and again; by hand, as a whole HTTP client would take longer than the service."""

    def __init__(self, url: str, number: int) -> None:
        self._address = urlsplit(url)
        body = b'{"rating": "up"}'
        head = (
            f"POST /api/sessions/session-{number}/feedback HTTP/1.1\r\nHost: {self._address.netloc}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._request = head.encode() + body

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()

    async def submit(self) -> str | None:
        """The id of what was acknowledged."""
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length, head
        answer = json.loads(await self._reader.readexactly(int(length[1])))
        return answer["feedback_id"] if head.startswith(b"HTTP/1.1 201 ") else None


@define
class Run:
    """What was acknowledged, and what each listener received of it."""

    acknowledged: dict[str, float] = field(factory=dict)
    listeners: list[Listener] = field(factory=list)
    #: How many events all listeners together had received when the last writer ended.
    meanwhile: int = 0

    @property
    def missing(self) -> int:
        """How many events were never received, over all listeners."""
        return sum(len(self.acknowledged.keys() - listener.received.keys()) for listener in self.listeners)

    def __str__(self) -> str:
        late = [at - self.acknowledged[one] for each in self.listeners for one, at in each.received.items()]
        asked_to_reload = sum(listener.missed for listener in self.listeners)
        return (
            f"acknowledged {len(self.acknowledged):,}; {len(self.listeners)} listeners received "
            f"{self.meanwhile:,} events meanwhile, missed {self.missing:,}, "
            f"were asked to load again {asked_to_reload} times; "
            f"received {median(late or [0]):.2f} s after the acknowledgement (median), {max(late or [0]):.2f} s at most"
        )


async def play(url: str, *, writers: int, listeners: int, seconds: float = 0, until_heard: bool = False) -> Run:
    """Let writers submit for so many seconds, or until each listener has heard of it; then wait for what is late."""
    run = Run(listeners=[Listener() for _ in range(listeners)])
    ready = [asyncio.Event() for _ in run.listeners]
    end = monotonic() + seconds

    def goes_on() -> bool:
        return monotonic() < end or (until_heard and not all(listener.received for listener in run.listeners))

    async def write(number: int) -> None:
        async with Writer(url, number) as writer:
            while goes_on():
                if (feedback_id := await writer.submit()) is not None:
                    run.acknowledged[feedback_id] = monotonic()

    async with asyncio.TaskGroup() as tasks:
        listening = [tasks.create_task(one.run(url, event)) for one, event in zip(run.listeners, ready, strict=True)]
        for event in ready:
            await event.wait()
        await asyncio.gather(*map(write, range(writers)))
        run.meanwhile = sum(len(listener.received) for listener in run.listeners)
        until = monotonic() + PATIENCE
        while run.missing and monotonic() < until:
            await asyncio.sleep(0.05)
        for task in listening:
            task.cancel()
    return run


def main(arguments: Sequence[str]) -> int:
    """Serve SQLite, submit and listen."""
    parser = ArgumentParser(prog="python -m tests.reliability.feed_under_load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=12, help="for how long (12)")
    parser.add_argument("--writers", type=int, default=400, help="how many clients submit (400)")
    parser.add_argument("--listeners", type=int, default=1, help="how many listen (1); 0 to compare")
    chosen = parser.parse_args(arguments)
    with TemporaryDirectory() as folder:
        path = Path(folder)
        with serve(f"sqlite:///{path}/feedback.db", path, "--open", **UNLIMITED) as service:
            run = asyncio.run(
                play(service.url, writers=chosen.writers, listeners=chosen.listeners, seconds=chosen.seconds)
            )
    print(f"{'MISS' if run.missing else 'ok  '} {run}")
    return int(run.missing > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
