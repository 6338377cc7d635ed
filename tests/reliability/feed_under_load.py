"""Tests that listeners receive events while many clients submit.

``python -m tests.reliability.feed_under_load [--seconds N] [--writers N] [--listeners N]`` serves an SQLite file.
Clients submit for the given time while others listen. It prints how many of the acknowledged events the listeners
received, and exits with 1 if a listener missed an event.
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
    """Receives events, with the time of each."""

    received: dict[str, float] = field(factory=dict)
    missed: int = 0

    async def run(self, url: str, ready: asyncio.Event) -> None:
        """Listen until the task is cancelled."""
        async with (
            httpx.AsyncClient(timeout=None, trust_env=False) as client,
            client.stream("GET", f"{url}/api/events") as response,
        ):
            response.raise_for_status()
            ready.set()
            name = ""
            async for line in response.aiter_lines():
                kind, _, value = line.partition(": ")
                if kind == "event":
                    name = value
                    self.missed += name == "missed"
                elif kind == "data" and name == "feedback.created":
                    self.received[json.loads(value)["data"]["id"]] = monotonic()


class Writer:
    """A connection that submits repeatedly, in raw HTTP: an HTTP client would be slower than the service."""

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
        """Submit once; returns the id of the feedback if it was acknowledged."""
        self._writer.write(self._request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        assert length, head
        content = json.loads(await self._reader.readexactly(int(length[1])))
        return content["feedback_id"] if head.startswith(b"HTTP/1.1 201 ") else None


@define
class Run:
    """The acknowledged submissions, and the listeners."""

    acknowledged: dict[str, float] = field(factory=dict)
    listeners: list[Listener] = field(factory=list)
    #: The number of events that all listeners had received when the last writer ended.
    received_early: int = 0

    @property
    def missing(self) -> int:
        """The number of events that were not received, over all listeners."""
        return sum(len(self.acknowledged.keys() - listener.received.keys()) for listener in self.listeners)

    def __str__(self) -> str:
        delays = [at - self.acknowledged[one] for each in self.listeners for one, at in each.received.items()]
        reloads = sum(listener.missed for listener in self.listeners)
        return (
            f"acknowledged {len(self.acknowledged):,}; {len(self.listeners)} listeners received "
            f"{self.received_early:,} events during the writes, missed {self.missing:,}, "
            f"were asked to reload {reloads} times; "
            f"delay after the acknowledgement: median {median(delays or [0]):.2f} s, maximum {max(delays or [0]):.2f} s"
        )


async def play(url: str, *, writers: int, listeners: int, seconds: float = 0, until_received: bool = False) -> Run:
    """Submit for the given time, or until each listener has received an event; then wait for late events."""
    run = Run(listeners=[Listener() for _ in range(listeners)])
    ready = [asyncio.Event() for _ in run.listeners]
    end = monotonic() + seconds

    def continues() -> bool:
        return monotonic() < end or (until_received and not all(listener.received for listener in run.listeners))

    async def write(number: int) -> None:
        async with Writer(url, number) as writer:
            while continues():
                if (feedback_id := await writer.submit()) is not None:
                    run.acknowledged[feedback_id] = monotonic()

    async with asyncio.TaskGroup() as tasks:
        listening = [tasks.create_task(one.run(url, event)) for one, event in zip(run.listeners, ready, strict=True)]
        for event in ready:
            await event.wait()
        await asyncio.gather(*map(write, range(writers)))
        run.received_early = sum(len(listener.received) for listener in run.listeners)
        until = monotonic() + PATIENCE
        while run.missing and monotonic() < until:
            await asyncio.sleep(0.05)
        for task in listening:
            task.cancel()
    return run


def main(arguments: Sequence[str]) -> int:
    """Serve SQLite, submit and listen; returns the exit code."""
    parser = ArgumentParser(prog="python -m tests.reliability.feed_under_load", description=__doc__)
    parser.add_argument("--seconds", type=float, default=12, help="duration in seconds (default: 12)")
    parser.add_argument("--writers", type=int, default=400, help="number of submitting clients (default: 400)")
    parser.add_argument("--listeners", type=int, default=1, help="number of listeners (default: 1); 0 to compare")
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
