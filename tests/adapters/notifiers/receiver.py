"""Webhook receivers on localhost with configurable responses, and a record of all connections of this process."""

from __future__ import annotations

import ipaddress
import ssl
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.client import parse_headers
from pathlib import Path
from socket import AF_INET, AF_INET6, socket
from socketserver import StreamRequestHandler, ThreadingTCPServer
from threading import Event, Thread
from typing import Any

from attrs import define, field, frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from harken.domain.events import EventType
from harken.ports.notifier import Notification
from support import a_feedback

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_QWxsIHRoYXQgZ2xpdHRlcnMgaXMgbm90IGdvbGQ="
TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"


@frozen
class Received:
    """A received request."""

    path: str
    headers: dict[str, str]
    body: bytes


#: Returns the parts of a response.
AnswerTo = Callable[[Received], Iterable[bytes]]


def taking(_: Received) -> Iterable[bytes]:
    """Accept every request."""
    yield TAKEN


def hanging_up(answer: bytes) -> AnswerTo:
    """Send this response, and close the connection without announcing it."""

    def hang_up(_: Received) -> Iterator[bytes]:
        yield answer
        raise ConnectionAbortedError

    return hang_up


def answering(status: str, *headers: str, body: bytes = b"") -> AnswerTo:
    """Always send the same response."""
    lines = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}"))
    return lambda _: [f"{lines}\r\n".encode() + body]


def dripping(*, after: bytes = b"", drop: bytes = b"x") -> AnswerTo:
    """Send ``after``, and then ``drop`` again and again."""

    def answer(_: Received) -> Iterator[bytes]:
        never = Event()
        yield after
        while not never.wait(0.01):
            yield drop

    return answer


@define
class Receiver:
    """The requests and connections of a receiver."""

    url: str
    port: int
    connections: int = 0
    closed: int = 0
    received: list[Received] = field(factory=list)


class _Handler(StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        while (request := self._request()) is not None:
            self.server.receiver.received.append(request)
            for part in self.server.answer(request):
                self.connection.sendall(part)

    def _request(self) -> Received | None:
        line = self.rfile.readline()
        if not line:
            return None
        headers = {name.lower(): value for name, value in parse_headers(self.rfile).items()}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        return Received(line.split()[1].decode(), headers, body)


class _Server(ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, host: str, answer: AnswerTo, tls: ssl.SSLContext | None) -> None:
        self.address_family = AF_INET6 if ":" in host else AF_INET
        super().__init__((host, 0), _Handler)
        self.answer = answer
        self.tls = tls
        port = self.server_address[1]
        shown = f"[{host}]" if ":" in host else host
        self.receiver = Receiver(f"{'https' if tls else 'http'}://{shown}:{port}/hook", port)

    def get_request(self) -> tuple[socket, Any]:
        accepted = super().get_request()
        self.receiver.connections += 1
        return accepted

    def finish_request(self, request: Any, client_address: Any) -> None:
        # Errors of closed and reset connections are expected.
        with suppress(OSError):
            if self.tls is not None:
                request = self.tls.wrap_socket(request, server_side=True)
            _Handler(request, client_address, self)
        request.close()
        self.receiver.closed += 1


@contextmanager
def receiving(
    answer: AnswerTo = taking, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> Iterator[Receiver]:
    """Start a receiver on localhost."""
    with _Server(host, answer, tls) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        try:
            yield server.receiver
        finally:
            server.shutdown()


def certified(folder: Path, name: str) -> tuple[ssl.SSLContext, Path]:
    """The TLS context of a server called ``name``, and the file of its self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    today = datetime.now(UTC)
    alternative = x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
    signed = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(today - timedelta(days=1))
        .not_valid_after(today + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([alternative]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate, secret = folder / "certificate.pem", folder / "key.pem"
    certificate.write_bytes(signed.public_bytes(Encoding.PEM))
    secret.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, secret)
    return context, certificate


def a_notification(**parts: Any) -> Notification:
    """A notification of new feedback, sent now; ``parts`` overrides fields."""
    now = datetime.now(UTC)
    known = {"id": "0a1b:crm", "type": EventType.CREATED, "application": "default", "occurred_at": now, "sent_at": now}
    return Notification(**{**known, "feedback": a_feedback(comment="Too slow"), **parts})


_watching: list[list[object]] = []


@sys.addaudithook
def _record_connection(event: str, arguments: tuple[Any, ...]) -> None:
    if event == "socket.connect":
        for seen in _watching:
            seen.append(arguments[1])


@contextmanager
def connecting() -> Iterator[list[object]]:
    """The addresses that sockets of this process connect to, or try to, in this context."""
    seen: list[object] = []
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.remove(seen)
