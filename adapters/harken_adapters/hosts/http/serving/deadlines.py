"""Deadlines for what a thread reads from a socket, where the server hands the socket over."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from time import monotonic
from typing import Final

from attrs import define

from harken_adapters.hosts.http.wire.bodies import too_slow

#: A read ends at most so many seconds after its deadline.
_TICK: Final = 0.1


@define(eq=False)
class _Read:
    """What a thread reads."""

    connection: socket.socket
    deadline: float
    ended: bool = False

    def end(self) -> None:
        """Let the thread that waits find the end of what it reads."""
        self.ended = True
        with suppress(OSError):
            # As of any socket: that of a connection with TLS would forget how to write an answer.
            socket.socket.shutdown(self.connection, socket.SHUT_RD)


class _Reads:
    """The reads under way, and the thread that looks at them; it is there only while there are some."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._reads: set[_Read] = set()
        self._watching = False

    def begin(self, read: _Read) -> None:
        """Look at it too."""
        with self._lock:
            if not self._watching:
                Thread(target=self._watch, name="harken-deadlines", daemon=True).start()
                # Not before: if the thread cannot be started, the next read has to try it again.
                self._watching = True
            self._reads.add(read)

    def finish(self, read: _Read) -> None:
        """Leave it alone from now on."""
        with self._lock:
            self._reads.discard(read)

    def _watch(self) -> None:
        pause = Event()
        while True:
            pause.wait(_TICK)
            now = monotonic()
            with self._lock:
                for read in self._reads:
                    if read.deadline <= now and not read.ended:
                        read.end()
                if not self._reads:
                    self._watching = False
                    return


@contextmanager
def reading(connection: socket.socket | None, seconds: int) -> Iterator[None]:
    """Around reading from a connection in this thread; without a connection nothing is limited.

    A socket's own timeout is for each call that receives something, so a client that sends a byte now and then would
    never reach it.

    Raises:
        Problem: it took longer than that.
    """
    if connection is None:
        yield
        return
    read = _Read(connection, monotonic() + seconds)
    reads = _of_this_process[0]
    reads.begin(read)
    try:
        yield
    finally:
        reads.finish(read)
        if read.ended:
            # This replaces any error from the partial read.
            raise too_slow(seconds) from None


_of_this_process: Final = [_Reads()]


def _forked() -> None:
    """Those of the parent stay with the parent, as does the thread that looks at them."""
    _of_this_process[0] = _Reads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
