"""Malformed, oversized and slow requests, and data that is sent after the response."""

import json
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from select import select
from time import monotonic
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from tests.reliability.hostile_heads import FLOODS, MOST, flooded
from tests.reliability.http_processes import UNLIMITED, Service, serve

from harken import Harken
from harken.services.feed import MAX_LISTENERS
from harken_adapters.hosts.fastapi import ServerSettings, create_app
from harken_adapters.hosts.fastapi.protocol import GuardedProtocol
from harken_adapters.hosts.http.streaming import EventStream
from hosts.events import room
from hosts.serving import OPEN, RawAnswer, Server, problem, raw_request, served, serving, stored_feedback
from support import PATIENCE, eventually

#: Many small tests, which take too long for the fast subset.
pytestmark = pytest.mark.slow

PATH = "/api/sessions/s/feedback"
JSON = "Content-Type: application/json"
UP = b'{"rating":"up"}'
GET = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n"
MIB = 1024 * 1024


class Patient(GuardedProtocol):
    """A server without timeouts."""

    head_seconds = drain_seconds = write_seconds = 1_000.0


class Hasty(Patient):
    """A server with a short timeout for request heads."""

    head_seconds = 1.0


@contextmanager
def connected(server: Server) -> Iterator[socket.socket]:
    """A connection to the server."""
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield connection


def rest(connection: socket.socket) -> bytes:
    """Everything until the server closes the connection; fails if it is reset."""
    return b"".join(iter(lambda: connection.recv(65_536), b""))


def one_answer(connection: socket.socket) -> RawAnswer:
    """The next response on a persistent connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += connection.recv(1)
    answer = RawAnswer.parse(received)
    body = b""
    while len(body) < int(answer.headers.get("content-length", "0")):
        body += connection.recv(int(answer.headers["content-length"]) - len(body))
    return RawAnswer(answer.status, answer.headers, body)


def padded(size: int) -> bytes:
    """A request without a body, with a head of this many bytes."""
    start = GET + b"Connection: close\r\na: "
    return start + b"x" * (size - len(start) - 4) + b"\r\n\r\n"


def with_fields(number: int) -> bytes:
    """A request without a body, with a head of this many fields."""
    return GET + b"Connection: close\r\n" + b"a: b\r\n" * (number - 2) + b"\r\n"


# --- Heads ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("most", "more"),
    [(padded(65_536), padded(65_537)), (with_fields(100), with_fields(101))],
    ids=["bytes", "fields"],
)
def test_a_head_has_a_size(server: Server, most: bytes, more: bytes) -> None:
    """A head may have 64 KiB and 100 fields. A larger one is rejected, and the connection is closed."""
    assert RawAnswer.parse(server.send(most)).status == 200
    answer = RawAnswer.parse(server.send(more))
    assert "more than" in problem(answer, 431, "head-too-large")["detail"]
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "start", [b"GARBAGE\r\n\r\n", GET + b"no colon\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\x16\x03\x01\x02"]
)
def test_invalid_http(server: Server, start: bytes) -> None:
    """A request that cannot be parsed is answered with a problem, and the connection is closed."""
    answer = RawAnswer.parse(server.send(start))
    problem(answer, 400, "malformed-request")
    assert answer.headers["connection"] == "close"


def test_long_paths(server: Server) -> None:
    """An error response truncates a long path, whether or not the request was complete."""
    long = "/" + "a" * 3_000
    for sent in (raw_request("GET", long), f"GET {long} HTTP/1.1\r\nno colon\r\n\r\n".encode()):
        assert RawAnswer.parse(server.send(sent)).json()["instance"] == long[:1_000]


def test_small_packets(server: Server) -> None:
    """A head may arrive byte by byte."""
    with connected(server) as connection:
        for byte in padded(300):
            connection.sendall(bytes([byte]))
        assert RawAnswer.parse(rest(connection)).status == 200


@pytest.mark.parametrize("before", [b"", GET + b"\r\n"], ids=["the first", "the second"])
def test_a_head_has_a_deadline(hk: Harken, before: bytes) -> None:
    """An incomplete head is answered with 408, also after another request on the same connection."""
    with served(hk, Hasty) as server, connected(server) as connection:
        if before:
            connection.sendall(before)
            assert one_answer(connection).status == 200
        connection.sendall(GET)
        answer = RawAnswer.parse(rest(connection))
        problem(answer, 408, "request-timeout")
        assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("byte", [b"a", b"\r\n"], ids=["a field", "empty lines"])
def test_slow_bytes_do_not_extend_the_deadline(hk: Harken, byte: bytes) -> None:
    """Sending a byte now and then does not extend the deadline."""
    with served(hk, Hasty) as server, connected(server) as connection:
        if byte == b"a":
            connection.sendall(GET)
        give_up = monotonic() + PATIENCE
        while not select([connection], [], [], 0.01)[0]:
            connection.sendall(byte)
            assert monotonic() < give_up, "the deadline moved"
        problem(one_answer(connection), 408, "request-timeout")


def test_a_connection_that_says_nothing(hk: Harken) -> None:
    """A connection on which nothing is sent is closed without a response."""
    with served(hk, Hasty) as server, connected(server) as connection:
        assert rest(connection) == b""


def test_connections_are_counted(hk: Harken) -> None:
    """Too many connections are rejected with Retry-After, and accepted once another one is closed."""

    class Two(Patient):
        most_connections = 2

    with served(hk, Two) as server:
        with connected(server) as one, connected(server) as two:
            for connection in (one, two):
                connection.sendall(GET + b"\r\n")
                assert one_answer(connection).status == 200
            with connected(server) as three:
                answer = RawAnswer.parse(rest(three))
            problem(answer, 503, "overloaded")
            assert answer.headers["retry-after"] == "1"

        def answered() -> bool:
            with suppress(ConnectionError), connected(server) as again:
                again.sendall(GET + b"Connection: close\r\n\r\n")
                return RawAnswer.parse(rest(again)).status == 200
            return False

        eventually(answered)


# --- Data outside of requests ----------------------------------------------------------------------------------------


def test_trailers_are_not_headers(server: Server, hk: Harken) -> None:
    """Trailers are not treated as headers, where proxies check them."""
    body = b"%x\r\n%b\r\n0\r\nIdempotency-Key: k\r\nX-Request-Id: trailer\r\n\r\n" % (len(UP), UP)
    sent = raw_request("POST", PATH, JSON, "Transfer-Encoding: chunked", "X-Request-Id: before", body=body)
    answer = RawAnswer.parse(server.send(sent))
    assert (answer.status, answer.headers["x-request-id"]) == (201, "before")
    assert stored_feedback(hk)[0].idempotency_key is None


UPGRADES = {
    "websocket": "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a2V5\r\n",
    "h2c": "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABk\r\n",
}


@pytest.mark.parametrize("protocol", UPGRADES)
def test_upgrades_are_ignored(server: Server, protocol: str) -> None:
    """A request for a protocol upgrade is answered as HTTP/1.1, and so are later requests on the connection."""
    with connected(server) as connection:
        for _ in range(2):
            connection.sendall(GET + f"{UPGRADES[protocol]}\r\n".encode())
            assert one_answer(connection).status == 200
        # In one packet.
        connection.sendall((GET + f"{UPGRADES[protocol]}\r\n".encode()) * 3 + GET + b"Connection: close\r\n\r\n")
        received = rest(connection)
    assert received.count(b"HTTP/1.1 200") == received.count(b"HTTP/1.1") == 4


@pytest.mark.parametrize("size", [20, 20_000])
@pytest.mark.parametrize("apart", [False, True], ids=["in one packet", "in packets"])
@pytest.mark.parametrize("make", ["length", "chunked"])
def test_a_body_with_an_upgrade(server: Server, hk: Harken, make: str, size: int, apart: bool) -> None:
    """A body of a request for an upgrade is read, as Java's HttpClient sends such requests by default."""
    body = UP + b" " * size
    length = f"Content-Length: {len(body)}" if make == "length" else "Transfer-Encoding: chunked"
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\n{UPGRADES['h2c']}{length}\r\n\r\n".encode()
    sent = body if make == "length" else b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    with connected(server) as connection:
        for part in (head, sent) if apart else (head + sent,):
            connection.sendall(part)
        assert one_answer(connection).status == 201
    assert len(stored_feedback(hk)) == 1


def test_connect(server: Server) -> None:
    """The service is not a proxy: ``CONNECT`` is rejected, and data after it is not treated as a request."""
    received = server.send(b"CONNECT localhost:80 HTTP/1.1\r\nHost: localhost:80\r\n\r\n" + GET + b"\r\n")
    assert received.count(b"content-length") == 1
    problem(RawAnswer.parse(received), 400, "malformed-request")


# --- Several requests on one connection -------------------------------------------------------------------------------


def test_pipelined_requests(server: Server) -> None:
    """Pipelined requests are answered in order. If there are too many, the first ones are answered and the connection
    is closed.
    """
    with connected(server) as connection:
        for number in range(3):
            connection.sendall(GET + f"X-Request-Id: number-{number}\r\n\r\n".encode() if number else GET + b"\r\n")
        assert [one_answer(connection).status for _ in range(3)] == [200] * 3
        connection.sendall((GET + b"\r\n") * 5_000)
        received = rest(connection)
    answers = received.count(b"HTTP/1.1 200")
    assert GuardedProtocol.most_pipelined <= answers < 500
    assert received.count(b"connection: close") == 1
    assert received.rpartition(b"HTTP/1.1 ")[2].count(b"connection: close") == 1


def test_requests_before_a_bad_head_are_answered(server: Server) -> None:
    """Requests before a rejected head are still answered completely."""
    path = f"{PATH}?application=default"
    good = f"POST {path} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: {len(UP)}\r\n\r\n".encode() + UP
    received = server.send(good + GET + b"a: b\r\n" * 101 + b"\r\n")
    assert RawAnswer.parse(received).status == 201
    assert json.loads(received.partition(b"\r\n\r\n")[2])["status"] == "success"


@pytest.mark.parametrize("following", [b"", GET + b"\r\n", GET], ids=["nothing", "a request", "half a request"])
def test_a_listener_is_closed_after_another_request(
    hk: Harken, following: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The listener of a disconnected client is closed, also if the client had sent another request."""
    # Otherwise the keep-alive would detect it.
    monkeypatch.setattr(EventStream, "heartbeat", 1_000.0)
    with served(hk, Patient) as server:
        with connected(server) as connection:
            connection.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n" + following)
            eventually(lambda: room(hk) == MAX_LISTENERS - 1)
        eventually(lambda: room(hk) == MAX_LISTENERS)


# --- Rejected bodies --------------------------------------------------------------------------------------------------


def large(method: str, path: str, size: int) -> tuple[bytes, bytes]:
    """The head of a request with a body of this size, and the body."""
    return (
        f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nContent-Length: {size}\r\n\r\n".encode(),
        b"x" * size,
    )


def chunked(method: str, path: str, size: int) -> tuple[bytes, bytes]:
    """The same, with chunked encoding."""
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n{JSON}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    return head, b"%x\r\n%b\r\n" % (MIB, b"x" * MIB) * (size // MIB) + b"0\r\n\r\n"


REFUSED: list[tuple[dict[str, Any], tuple[str, str], int]] = [
    ({}, ("POST", PATH), 413),
    ({"access": "keys"}, ("POST", PATH), 401),
    ({}, ("POST", "/nothing"), 404),
    ({}, ("PATCH", PATH), 405),
    ({}, ("POST", f"{PATH}?raiting=up"), 422),
]


@pytest.mark.parametrize("make", [large, chunked])
@pytest.mark.parametrize(("settings", "asked", "status"), REFUSED)
def test_a_client_that_is_still_sending_gets_the_response(
    hk: Harken, make: Callable[..., tuple[bytes, bytes]], settings: dict[str, Any], asked: tuple[str, str], status: int
) -> None:
    """A request that is rejected before its body has arrived is answered to a client that sends the whole body
    first.
    """
    with served(hk, Patient, **settings) as server, connected(server) as connection:
        head, body = make(*asked, 20 * MIB)
        connection.sendall(head + body[:MIB])
        # The response is sent before the rest of the body, and must not be lost.
        assert select([connection], [], [], PATIENCE)[0]
        connection.sendall(body[MIB:])
        assert one_answer(connection).status == status
        if status == 413:
            assert rest(connection) == b""
        else:
            # The connection is still usable.
            connection.sendall(GET + b"\r\n")
            assert one_answer(connection).status == 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its private key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(signed.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


def test_rejections_over_tls(hk: Harken, certificate: tuple[Path, Path], caplog: pytest.LogCaptureFixture) -> None:
    """With TLS, which cannot be half-closed, a client that is still sending gets its response too."""
    app = create_app(ServerSettings(**OPEN), harken=hk)
    files = {"ssl_certfile": certificate[0], "ssl_keyfile": certificate[1]}
    trusting = ssl.create_default_context(cafile=certificate[0])
    with (
        serving(app, protocol=Patient, **files) as server,
        socket.create_connection((server.host, server.port), timeout=PATIENCE) as plain,
        trusting.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        head, body = large("POST", PATH, 20 * MIB)
        connection.sendall(head + body[:MIB])
        assert select([connection], [], [], PATIENCE)[0]
        connection.sendall(body[MIB:])
        problem(one_answer(connection), 413, "body-too-large")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.parametrize("path", [PATH, "/nothing"])
def test_discarding_is_limited(hk: Harken, path: str) -> None:
    """Of a rejected body, only a limited amount is read, whether or not the response closes the connection."""

    class Short(Patient):
        drain_bytes = MIB

    with served(hk, Short) as server, connected(server) as connection:
        head, body = chunked("POST", path, MIB)
        connection.sendall(head)
        endless = body.removesuffix(b"0\r\n\r\n") * 100
        with pytest.raises(OSError, match=r"reset|pipe"):
            connection.sendall(endless)


@pytest.mark.parametrize(("path", "status"), [(PATH, 413), ("/nothing", 404)])
def test_a_rejected_body_is_not_awaited(hk: Harken, path: str, status: int) -> None:
    """A rejected body that does not arrive is not awaited."""

    class Impatient(Patient):
        drain_seconds = 0.2

    class Lost(Impatient):
        gone: list[object] = []  # noqa: RUF012 - of this test only

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.gone.append(exc)

    with served(hk, Lost) as server, connected(server) as connection:
        connection.sendall(large("POST", path, MIB)[0])
        assert one_answer(connection).status == status
        eventually(lambda: Lost.gone)


def test_a_client_that_does_not_read(hk: Harken) -> None:
    """A client that does not read its response does not occupy the connection and its buffers for ever."""

    class Brief(Patient):
        write_seconds = 0.2
        gone: list[object] = []  # noqa: RUF012 - of this test only

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.gone.append(exc)

    for number in range(4_000):
        hk.submit_soon(f"s-{number}", "up", "x" * 1_000)
    eventually(lambda: hk.summary().total == 4_000)
    with served(hk, Brief) as server, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(PATIENCE)
        connection.connect((server.host, server.port))
        connection.sendall(b"GET /api/export HTTP/1.1\r\nHost: localhost\r\n\r\n")
        eventually(lambda: Brief.gone)


CLOSING = {
    "by the client": b"Connection: close\r\n",
    "by the keep-alive timer": b"",
    "half by the client": b"",
}


@pytest.mark.parametrize("closed", CLOSING)
def test_a_short_response_that_is_not_read(hk: Harken, closed: str) -> None:
    """A connection that is to be closed does not wait for ever for the client to read the response."""

    class Brief(Patient):
        write_seconds = 0.2
        gone: list[object] = []  # noqa: RUF012 - of this test only
        paused: list[object] = []  # noqa: RUF012

        def connection_made(self, transport: Any) -> None:
            self.timeout_keep_alive = 0.05 if closed == "by the keep-alive timer" else 1_000
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4_096)
            super().connection_made(transport)

        def pause_writing(self) -> None:
            self.paused.append(self)
            super().pause_writing()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            self.gone.append(exc)

    for number in range(40):
        hk.submit(f"s-{number}", "up", "x" * 1_000)
    with served(hk, Brief) as server, socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(PATIENCE)
        connection.connect((server.host, server.port))
        connection.sendall(b"GET /api/feedback?limit=40 HTTP/1.1\r\nHost: localhost\r\n" + CLOSING[closed] + b"\r\n")
        assert select([connection], [], [], PATIENCE)[0]
        if closed == "half by the client":
            connection.shutdown(socket.SHUT_WR)
        eventually(lambda: Brief.gone)
    assert not Brief.paused


@pytest.mark.parametrize(
    "sent", [b"", GET, large("POST", PATH, MIB)[0]], ids=["nothing", "half a head", "a refused body"]
)
def test_shutdown_does_not_wait_for_rejected_requests(hk: Harken, sent: bytes) -> None:
    """At shutdown, connections on which no response is due are closed at once."""
    connection = None
    try:
        with served(hk, Patient) as server:
            connection = socket.create_connection((server.host, server.port), timeout=PATIENCE)
            connection.sendall(sent)
            if sent.startswith(b"POST"):
                assert one_answer(connection).status == 413
            # The server has accepted this connection, and its data, before another one.
            assert server.ask("GET", "/healthz").ok
    finally:
        if connection is not None:
            connection.close()


# --- A separate process -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """``harken serve``, after its first requests."""
    with serve("memory://", Path(tmp_path_factory.mktemp("floods")), "--open", **UNLIMITED) as serving:
        assert serving.ask("POST", PATH, json={"rating": "up"}).ok
        yield serving


@pytest.mark.parametrize("name", FLOODS)
def test_floods(service: Service, name: str) -> None:
    """30 MiB on one connection without credentials are rejected, with little CPU and memory."""
    outcome = flooded(service, name)
    assert outcome.status == FLOODS[name][1]
    assert outcome.grown < MOST
