"""uvicorn's HTTP protocol with limits on everything that a client sends before, between and after request bodies.

uvicorn calls the application once the request head is complete, so the application cannot limit a head that never ends,
or data that the client sends after the response.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, ClassVar, Final

from httptools import HttpParserError, HttpParserUpgrade
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from harken_adapters.hosts.fastapi.messages import raw_headers
from harken_adapters.hosts.http.wire.bodies import DRAIN_BYTES, DRAIN_SECONDS
from harken_adapters.hosts.http.wire.messages import Headers
from harken_adapters.hosts.http.wire.problems import Problem

#: How many bytes are parsed at a time. The parser processes a piece as a whole, even if it has many requests.
_PIECE: Final = 4096
_CLOSE: Final[Headers] = (("connection", "close"),)
_RETRY: Final[Headers] = (("retry-after", "1"),)
_MALFORMED: Final = "The request is not valid HTTP/1.1"


class GuardedProtocol(HttpToolsProtocol):
    """An HTTP/1.1 connection with limits on request heads, pipelined requests and idle times.

    A head that is too large is answered with 431, and one that is too slow with 408; then the connection is closed. If
    the client is still sending a rejected body, it is discarded for a while, as closing the connection at once could
    lose the response.
    """

    #: The maximum size of a head in bytes, from the request line to the empty line; the same for trailers.
    head_bytes: ClassVar = 64 * 1024
    #: The maximum number of fields of a head, including trailers.
    head_fields: ClassVar = 100
    #: The maximum time for a head to arrive, in seconds, from the start of the connection or from its first byte.
    head_seconds: ClassVar = 10.0
    #: How many bytes of a rejected body are discarded before the connection is aborted, and for how many seconds.
    drain_bytes: ClassVar = DRAIN_BYTES
    drain_seconds: ClassVar[float] = DRAIN_SECONDS
    #: For how many seconds a client may not read a response.
    write_seconds: ClassVar = 30.0
    #: The maximum number of pipelined requests that wait on one connection.
    most_pipelined: ClassVar = 16
    #: The maximum number of connections of a process.
    most_connections: ClassVar = 1_000

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        # Upgrades are disabled.
        self.ws_protocol_class = None
        #: The requests without a response, in order.
        self._unanswered: deque[RequestResponseCycle] = deque()
        #: The number of bytes that were parsed since the last call of the application.
        self._pending = 0
        self._in_head = False
        self._fields = 0
        #: Whether the last message has arrived completely.
        self._message_complete = True
        #: Whether received data is discarded.
        self._discarding = False
        self._drained = 0
        self._problem: Problem | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._write_deadline: asyncio.TimerHandle | None = None

    # --- The connection -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in the base
        """Accept the connection, unless there are too many."""
        super().connection_made(_LingeringTransport(transport, self._linger, self._set_write_deadline))
        if len(self.connections) <= self.most_connections:
            self._set_deadline(self.head_seconds, self._head_is_late)
            return
        self._discarding = True
        self._write(Problem("overloaded", "Too many connections are open; try again", headers=_CLOSE + _RETRY))
        transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Clean up after the connection."""
        self._discarding = True
        self._clear_deadline()
        super().connection_lost(exc)
        self._clear_write_deadline()
        # uvicorn notifies only the last request, so an event stream before it would never end.
        for cycle in self._unanswered:
            cycle.disconnected = True
            cycle.message_event.set()

    def shutdown(self) -> None:
        """Close the connection once the current response is complete."""
        if self._discarding or self._in_head or not (self._message_complete or self._answering()):
            self._cut()
        else:
            super().shutdown()

    def data_received(self, data: bytes) -> None:
        """Parse received data in small pieces, so that a limit takes effect in time."""
        start = 0
        while start < len(data) and not self._discarding:
            piece = data[start : start + min(_PIECE, self.head_bytes - self._pending)]
            start += len(piece)
            self._parse(piece)
        if self._discarding:
            self._unset_keepalive_if_required()
            self._discard(len(data) - start)
        else:
            self._watch()

    def eof_received(self) -> None:
        """Let asyncio close the connection after the client has read the written data."""
        self._set_write_deadline()

    def pause_writing(self) -> None:
        """Set a deadline for a client that does not read."""
        super().pause_writing()
        self._set_write_deadline()

    def resume_writing(self) -> None:
        """Clear the write deadline. If the connection is being closed, the client must still read the rest in time."""
        super().resume_writing()
        self._clear_write_deadline()
        if self.transport.is_closing():
            self._set_write_deadline()

    # --- Parser callbacks ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """See uvicorn."""
        self._in_head, self._message_complete, self._fields = True, False, 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Count a field of the head or trailers."""
        self._fields += 1
        if self._fields > self.head_fields:
            self._problem = _too_large(f"has more than {self.head_fields} fields")
            # The parser stops, and uvicorn rejects the request.
            raise self._problem
        # Trailers are ignored. As headers, they would be trusted like those that a proxy has checked.
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """See uvicorn."""
        if self._asks_for_upgrade():
            return
        self._pending, self._in_head = 0, False
        self._clear_deadline()
        super().on_headers_complete()
        self._unanswered.append(self.cycle)
        if self.parser.should_upgrade():
            # CONNECT: the data that follows would not be HTTP.
            self.cycle.keep_alive = False

    def on_chunk_header(self) -> None:
        """Reset the byte count."""
        self._pending = 0

    def on_body(self, body: bytes) -> None:
        """See uvicorn."""
        self._pending = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """See uvicorn."""
        if self._asks_for_upgrade():
            return
        self._pending, self._drained, self._message_complete = 0, 0, True
        if not self._answering():
            self._clear_deadline()
        super().on_message_complete()
        if len(self.pipeline) >= self.most_pipelined:
            self.cycle.keep_alive = False
            self._discarding = True

    def on_response_complete(self) -> None:
        """See uvicorn."""
        self._unanswered.popleft()
        super().on_response_complete()
        if not self._discarding:
            self._watch()

    # --- Helpers ------------------------------------------------------------------------------------------------------

    def _parse(self, piece: bytes) -> None:
        self._pending += len(piece)
        if not self._message_complete and not self._answering():
            self._drained += len(piece)
        self._unset_keepalive_if_required()
        try:
            self._feed(piece)
        except HttpParserError:
            self._refuse(self._problem or Problem("malformed-request", _MALFORMED, headers=_CLOSE))
        if self._pending >= self.head_bytes and not self._discarding:
            self._refuse(_too_large(f"has more than {self.head_bytes:,} bytes"))

    def _feed(self, data: bytes) -> None:
        """Pass data to the parser.

        A server may ignore an upgrade request. The parser, however, treats its body as the other protocol, so the head
        of such a request is parsed again without the field ``Upgrade``.

        Raises:
            HttpParserError: the data is not valid HTTP.
        """
        while True:
            try:
                self.parser.feed_data(data)
            except HttpParserUpgrade as upgrade:
                if not self._asks_for_upgrade():
                    self._discarding = True
                    return
                data = self._head_without_upgrade() + data[upgrade.args[0] :]
            else:
                return

    def _asks_for_upgrade(self) -> bool:
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _head_without_upgrade(self) -> bytes:
        version = self.parser.get_http_version().encode()
        fields = b"".join(b"%b: %b\r\n" % field for field in self.headers if field[0] != b"upgrade")
        return b"%b %b HTTP/%b\r\n%b\r\n" % (self.parser.get_method(), self.url, version, fields)

    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        """Set a deadline if the connection waits for the client, unless uvicorn's keep-alive timeout applies."""
        if self._drained > self.drain_bytes:
            self._cut()
        elif self._deadline is not None or (self._message_complete and self.timeout_keep_alive_task is not None):
            return
        elif self._in_head or (self._message_complete and not self._answering()):
            self._set_deadline(self.head_seconds, self._head_is_late)
        elif not self._answering():
            self._set_deadline(self.drain_seconds, self._cut)

    def _head_is_late(self) -> None:
        self._deadline = None
        if self._pending:
            late = f"The request head did not arrive within {self.head_seconds:g} seconds"
            self._refuse(Problem("request-timeout", late, headers=_CLOSE))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        """Respond with an error and stop reading. Earlier requests on the connection still get their responses."""
        self._discarding = True
        self._clear_deadline()
        if self._answering() and not self.cycle.more_body:
            self.cycle.keep_alive = False
            return
        readable = not self._answering() or not (self.cycle.response_started or self.pipeline)
        if self._answering():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if readable:
            self._write(problem)
        self.transport.close()

    def _write(self, problem: Problem) -> None:
        path = getattr(self, "url", b"").partition(b"?")[0].decode("latin-1")
        response = problem.response(path or "/")
        self.logger.info("Rejected an incomplete request with %d: %s", response.status, problem.detail)
        headers = [
            *self.server_state.default_headers,
            *raw_headers(response.headers + response.security),
            (b"content-type", (response.media_type or "").encode()),
            (b"content-length", b"%d" % len(response.body)),
        ]
        lines = b"".join(b"%b: %b\r\n" % pair for pair in headers)
        self.transport.write(STATUS_LINE[response.status] + lines + b"\r\n" + response.body)

    def _linger(self) -> bool:
        """Whether the connection must stay half-closed, as the client is still sending."""
        if self._message_complete and not self._in_head and not self._discarding:
            return False
        self._discarding = True
        self.flow.resume_reading()
        self._clear_deadline()
        self._set_deadline(self.drain_seconds, self._cut)
        return True

    def _discard(self, size: int) -> None:
        self._drained += size
        if self._drained > self.drain_bytes:
            self._cut()

    def _cut(self) -> None:
        self._discarding = True
        self._clear_deadline()
        self.transport.abort()

    def _set_deadline(self, seconds: float, call: Callable[[], object]) -> None:
        self._deadline = self.loop.call_later(seconds, call)

    def _clear_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _set_write_deadline(self) -> None:
        if self._write_deadline is None:
            self._write_deadline = self.loop.call_later(self.write_seconds, self._cut)

    def _clear_write_deadline(self) -> None:
        if self._write_deadline is not None:
            self._write_deadline.cancel()
            self._write_deadline = None


class _LingeringTransport(asyncio.Transport):
    """A transport that can half-close the connection first.

    Closing a socket with unread data resets the connection, and the client may lose a response that it has not read.

    Args:
        transport: the transport of the connection.
        linger: returns whether the connection must stay half-closed, as the client is still sending.
        flush: called before the connection is closed; asyncio then waits until the client has read the written data.
    """

    def __init__(self, transport: asyncio.Transport, linger: Callable[[], bool], flush: Callable[[], object]) -> None:
        super().__init__()
        self._transport = transport
        self._linger = linger
        self._flush = flush
        self._lingering = False

    def close(self) -> None:
        """Close or half-close the connection."""
        if self.is_closing():
            return
        if self._linger():
            self._lingering = True
            # TLS connections cannot be half-closed. There, the client finds the end of the response by its length.
            if self._transport.can_write_eof():
                self._transport.write_eof()
        else:
            self._flush()
            self._transport.close()

    def is_closing(self) -> bool:
        """Whether the connection is closed for writing."""
        return self._lingering or self._transport.is_closing()

    def abort(self) -> None:
        """Abort the connection."""
        self._transport.abort()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Write data, unless the connection is closed for writing."""
        if not self._lingering:
            self._transport.write(data)

    def pause_reading(self) -> None:
        """See asyncio."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """See asyncio."""
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio."""
        return self._transport.get_extra_info(name, default)


def _too_large(how: str) -> Problem:
    return Problem("head-too-large", f"The request head {how}", headers=_CLOSE)
