"""Deadlines for blocking reads from a socket, if the server provides the socket."""

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

#: A read ends at most this many seconds after its deadline.
_TICK: Final = 0.1


@define(eq=False)
class _Read:
    """A blocking read with a deadline."""

    connection: socket.socket
    deadline: float
    ended: bool = False

    def end(self) -> None:
        """End the read: the reading thread sees the end of the input."""
        self.ended = True
        with suppress(OSError):
            # The method of the base class: that of a TLS socket would also end its encryption.
            socket.socket.shutdown(self.connection, socket.SHUT_RD)


class _Reads:
    """The reads in progress, and the thread that monitors them. It runs only while there are reads."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._reads: set[_Read] = set()
        self._watching = False

    def begin(self, read: _Read) -> None:
        """Monitor a read."""
        with self._lock:
            if not self._watching:
                Thread(target=self._watch, name="harken-deadlines", daemon=True).start()
                # Set after the start: if it fails, the next read tries again.
                self._watching = True
            self._reads.add(read)

    def finish(self, read: _Read) -> None:
        """Stop monitoring a read."""
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
def read_deadline(connection: socket.socket | None, seconds: int) -> Iterator[None]:
    """Limit the total time that this thread reads from a connection. Without a connection, there is no limit.

    The timeout of a socket applies to each single call, so a client that sends a byte now and then never reaches it.

    Raises:
        Problem: reading took longer than ``seconds``.
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


def _reset_after_fork() -> None:
    """Start without the reads and the thread of the parent process."""
    _of_this_process[0] = _Reads()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_after_fork)
