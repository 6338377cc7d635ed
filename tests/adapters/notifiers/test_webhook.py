"""Webhooks, verified with the library that receivers use."""

from __future__ import annotations

import html
import json
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from pathlib import Path
from threading import Event
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, quote, unquote, unquote_plus

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from adapters.notifiers.receiver import (
    OLD_SECRET,
    SECRET,
    TAKEN,
    AnswerTo,
    Received,
    Receiver,
    a_notification,
    answering,
    certified,
    dripping,
    hanging_up,
    receiving,
)
from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.ports.notifier import Notification, Notifier, ReceiverAnswer
from harken_adapters.notifiers.webhook import WebhookNotifier, open_notifier
from support import PATIENCE, eventually, in_threads

pytestmark = pytest.mark.slow

OTHER_SECRET = "whsec_c29tZWJvZHkgZWxzZSBhbHRvZ2V0aGVy"
SHORT = 0.3


@contextmanager
def notifier_to(receiver: Receiver, **table: object) -> Iterator[Notifier]:
    """A channel to a receiver on localhost."""
    known = {} if "secrets" in table else {"secret": SECRET}
    with closing(open_notifier({"url": receiver.url, "allow": ["127.0.0.1"], **known, **table})) as notifier:
        yield notifier


def a_notifier(url: str, *, limit: float = PATIENCE, **options: Any) -> closing[WebhookNotifier]:
    """A channel with a given limit or resolver."""
    return closing(WebhookNotifier(url, [SECRET], allow=["127.0.0.0/8"], limit=limit, **options))


def sent(notification: Notification, **table: object) -> Received:
    """The request of a notification."""
    with receiving() as receiver, notifier_to(receiver, **table) as notifier:
        notifier.deliver(notification)
    return receiver.received[0]


def failure(answer: AnswerTo, notification: Notification | None = None, *, limit: float = PATIENCE) -> DeliveryFailed:
    """The error of a delivery with this response."""
    with (
        receiving(answer) as receiver,
        a_notifier(receiver.url, limit=limit) as notifier,
        pytest.raises(DeliveryFailed) as failed,
    ):
        notifier.deliver(notification or a_notification())
    return failed.value


def outcome(call: Callable[[], object]) -> str:
    """The message of the error; empty if there is none."""
    try:
        call()
    except DeliveryFailed as error:
        return str(error)
    return ""


def refusal(table: Mapping[str, Any]) -> str:
    """The error of an invalid table, with everything that a traceback would show."""
    with pytest.raises(ConfigurationError) as refused:
        open_notifier(table)
    return "".join(traceback.format_exception_only(refused.value)) + repr(refused.value.__cause__)


# --- requests ---------------------------------------------------------------------------------------------------------


def test_the_library_verifies_a_webhook() -> None:
    """Any implementation of Standard Webhooks can verify a request, whose JSON has type, timestamp and data."""
    received = sent(a_notification(id="0a1b:crm", occurred_at=datetime(2026, 3, 4, 12, tzinfo=UTC)))
    content = Webhook(SECRET).verify(received.body, received.headers)
    assert content["type"] == "feedback.created"
    assert content["timestamp"] == "2026-03-04T12:00:00.000000Z"
    assert content["data"]["comment"] == "Too slow"
    assert received.path == "/hook"
    assert received.headers["webhook-id"] == "0a1b:crm"
    assert received.headers["content-type"] == "application/json"
    assert received.headers["user-agent"].startswith("Harken/")


@pytest.mark.parametrize("zone", [timezone(timedelta(hours=5, minutes=45)), UTC])
def test_the_time_of_sending_is_signed(zone: timezone) -> None:
    """The timestamp is the time of sending in seconds, for a clock in any zone."""
    # Two minutes ago, to distinguish it from the time of arrival.
    sent_at = datetime.now(zone) - timedelta(minutes=2)
    received = sent(a_notification(sent_at=sent_at))
    Webhook(SECRET).verify(received.body, received.headers)
    assert received.headers["webhook-timestamp"] == str(int(sent_at.timestamp()))


@pytest.mark.parametrize(
    "forged",
    [
        lambda received: {"body": b'{"type":"feedback.created","data":{}}'},
        lambda received: {"webhook-id": "0a1b:other"},
        lambda received: {"webhook-timestamp": str(int(received.headers["webhook-timestamp"]) + 1)},
        lambda received: {"webhook-signature": "v1,AAAA"},
    ],
    ids=["body", "id", "time", "signature"],
)
def test_a_changed_request_fails(forged: Callable[[Received], dict[str, Any]]) -> None:
    """A changed body, id, timestamp or signature is not verified."""
    received = sent(a_notification(sent_at=datetime.now(UTC)))
    headers = dict(received.headers)
    Webhook(SECRET).verify(received.body, headers)
    changed = forged(received)
    body = changed.pop("body", received.body)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(SECRET).verify(body, headers | changed)


def test_an_old_request_fails() -> None:
    """A request that is replayed after ten minutes is not verified."""
    received = sent(a_notification(sent_at=datetime.now(UTC) - timedelta(minutes=10)))
    with pytest.raises(WebhookVerificationError, match="too old"):
        Webhook(SECRET).verify(received.body, received.headers)


def test_another_secret_fails() -> None:
    """A request signed with another secret is not verified."""
    received = sent(a_notification(sent_at=datetime.now(UTC)), secret=OTHER_SECRET)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(SECRET).verify(received.body, received.headers)


def test_secrets_can_be_rotated() -> None:
    """With two secrets a request can be verified with either, and with no other."""
    received = sent(a_notification(), secrets=[SECRET, OLD_SECRET])
    for known in (SECRET, OLD_SECRET):
        Webhook(known).verify(received.body, received.headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER_SECRET).verify(received.body, received.headers)


def test_one_connection_serves_many_deliveries() -> None:
    """Deliveries to a receiver that keeps connections open share one."""
    with receiving() as receiver, notifier_to(receiver) as notifier:
        for number in range(5):
            notifier.deliver(a_notification(id=f"{number}:crm"))
        notifier.close()
    assert (len(receiver.received), receiver.connections) == (5, 1)


def test_a_connection_that_the_receiver_closed_is_not_used_again() -> None:
    """If the receiver closes a connection after a response, the next delivery uses a new one."""
    with receiving(answering("200 OK", "connection: close")) as receiver, notifier_to(receiver) as notifier:
        for _ in range(3):
            notifier.deliver(a_notification())
    assert (len(receiver.received), receiver.connections) == (3, 3)


def test_a_connection_that_was_closed_meanwhile_is_not_used_again() -> None:
    """If the receiver closes an idle connection without notice, the next delivery is not lost."""
    with receiving(hanging_up(TAKEN)) as receiver, notifier_to(receiver) as notifier:
        for number in range(3):
            notifier.deliver(a_notification())
            eventually(lambda number=number: receiver.closed > number)
    assert (len(receiver.received), receiver.connections) == (3, 3)


def test_many_threads_deliver_at_once() -> None:
    """Concurrent deliveries arrive once each, complete and signed."""
    with receiving() as receiver, notifier_to(receiver) as notifier:

        def deliver(worker: int) -> None:
            for number in range(25):
                notifier.deliver(a_notification(id=f"{worker}-{number}:crm"))

        assert in_threads([lambda worker=worker: deliver(worker) for worker in range(4)]) == [None] * 4
    assert len({received.headers["webhook-id"] for received in receiver.received}) == len(receiver.received) == 100
    for received in receiver.received:
        Webhook(SECRET).verify(received.body, received.headers)


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Proxies and passwords of the environment are ignored."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login ann password secret")
    with receiving() as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.setenv("NETRC", str(netrc))
        received = sent(a_notification())
    assert "authorization" not in received.headers
    assert proxy.connections == 0


# --- responses --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 Accepted", "204 No Content", "299 Fine"])
def test_success(status: str) -> None:
    """Every status from 200 to 299 means that the webhook was accepted."""
    with receiving(answering(status)) as receiver, notifier_to(receiver) as notifier:
        notifier.deliver(a_notification())
    assert len(receiver.received) == 1


@pytest.mark.parametrize("status", ["400 Bad Request", "401 No", "404 Not Found", "429 Later", "500 Oh", "503 Later"])
def test_other_statuses_are_retried(status: str) -> None:
    """Other statuses are retried, and the error has the status."""
    failed = failure(answering(status))
    assert failed.retryable
    assert not failed.gone
    assert status[:3] in str(failed)


def test_gone_is_permanent() -> None:
    """Status 410 means that the receiver no longer accepts deliveries."""
    failed = failure(answering("410 Gone"))
    assert failed.gone
    assert not failed.retryable


SENT_AT = datetime(2026, 3, 4, 12, tzinfo=UTC)


@pytest.mark.parametrize("status", ["429 Later", "503 Later", "302 Found", "400 Bad Request"])
@pytest.mark.parametrize(
    ("value", "pause"),
    [
        ("120", timedelta(minutes=2)),
        ("0", timedelta()),
        (format_datetime(SENT_AT + timedelta(hours=1), usegmt=True), timedelta(hours=1)),
        ("Wednesday, 04-Mar-26 13:00:00 GMT", timedelta(hours=1)),
        (format_datetime(SENT_AT - timedelta(hours=1), usegmt=True), None),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("9" * 400, None),
        ("999999999", None),
        ("Fri, 31 Dec 9999 23:59:59 GMT", None),
        ("", None),
    ],
)
def test_retry_after(status: str, value: str, pause: timedelta | None) -> None:
    """Seconds and dates are respected; invalid values, the past and the far future are ignored."""
    failed = failure(answering(status, f"retry-after: {value}"), a_notification(sent_at=SENT_AT))
    assert failed.retry_after == pause
    assert failed.retryable


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 There", "308 There"])
def test_redirects_are_not_followed(status: str) -> None:
    """A redirect is an error with the target; nothing is sent there."""
    with receiving() as elsewhere:
        failed = failure(answering(status, f"location: {elsewhere.url}?token=hidden"))
    assert failed.retryable
    assert f"127.0.0.1:{elsewhere.port}" in str(failed)
    assert "hidden" not in str(failed)
    assert (elsewhere.connections, elsewhere.received) == (0, [])


@pytest.mark.parametrize("location", ["/hook/", "http://[", "", "//", "\x80\xff"])
def test_a_redirect_without_a_valid_target(location: str) -> None:
    """A redirect with any location is reported and retried."""
    failed = failure(lambda _: [b"HTTP/1.1 302 x\r\nlocation: ", location.encode("latin-1"), b"\r\n\r\n"], limit=SHORT)
    assert failed.retryable
    assert "redirect" in str(failed)


@pytest.mark.parametrize(
    "answer",
    [
        dripping(after=b"HTTP/1.1 204 No Content\r\n"),
        dripping(after=b"HTTP/1.1 204 No Content\r\nx: "),
        dripping(drop=b"HTTP/1.1 103 Early Hints\r\n\r\n"),
        dripping(after=b"HTTP/1.1 500 Oh\r\ncontent-length: 60000\r\n\r\n"),
        dripping(after=b"HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\n", drop=b"1\r\nx\r\n"),
        dripping(drop=b""),
    ],
    ids=["headers", "header", "hints", "body", "chunks", "silence"],
)
def test_a_slow_response_ends_at_the_limit(answer: AnswerTo) -> None:
    """The limit applies to the whole response, also if it arrives byte by byte."""
    started = monotonic()
    assert failure(answer, limit=SHORT).retryable
    assert SHORT * 0.9 <= monotonic() - started < PATIENCE


def test_a_success_with_a_slow_body() -> None:
    """The delivery succeeds when the status has arrived, and the limit applies to the body."""
    started = monotonic()
    endless = dripping(after=b"HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n")
    with receiving(endless) as receiver, a_notifier(receiver.url, limit=SHORT) as notifier:
        notifier.deliver(a_notification())
    assert monotonic() - started < PATIENCE


def test_a_slow_name_server_ends_at_the_limit() -> None:
    """The limit includes resolving the host."""
    asked, over = iter([True]), Event()

    def look_up(host: str, port: int) -> list[str]:
        if not next(asked, False):
            over.wait(PATIENCE)
        return ["127.0.0.1"]

    with a_notifier("http://hooks.test/", limit=SHORT, look_up=look_up) as notifier:
        started = monotonic()
        with pytest.raises(DeliveryFailed, match="took longer") as failed:
            notifier.deliver(a_notification())
        took = monotonic() - started
        over.set()
    assert failed.value.retryable
    assert took < PATIENCE


def test_a_huge_response_is_not_read() -> None:
    """The connection is closed, and the delivery succeeds."""
    block, sent_blocks = b"x" * 65_536, 0

    def endless(_: Received) -> Any:
        nonlocal sent_blocks
        yield b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n"
        while True:
            yield block
            sent_blocks += 1

    with receiving(endless) as receiver, notifier_to(receiver) as notifier:
        started = monotonic()
        for _ in range(2):
            notifier.deliver(a_notification())
        took = monotonic() - started
    assert receiver.connections == 2
    assert took < PATIENCE
    # The size of the buffers of the system.
    assert sent_blocks < 500


@pytest.mark.parametrize(("size", "connections"), [(60_000, 1), (200_000, 2)])
def test_a_short_response_is_read(size: int, connections: int) -> None:
    """Its connection is used again. A longer one is not read to its end, as it is not needed."""
    with receiving(answering("200 OK", body=b"x" * size)) as receiver, notifier_to(receiver) as notifier:
        for _ in range(2):
            notifier.deliver(a_notification())
    assert receiver.connections == connections


@pytest.mark.parametrize(
    "answer",
    [b"", b"SSH-2.0-OpenSSH_9.6\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nx: " + b"y" * 200_000, b"\0" * 50],
    ids=["nothing", "ssh", "status", "header", "zeros"],
)
def test_a_response_that_is_not_http_is_retried(answer: bytes) -> None:
    """The receiver may just be starting."""
    failed = failure(hanging_up(answer))
    assert failed.retryable
    assert "did not respond with HTTP" in str(failed)


def test_a_refused_connection_is_retried() -> None:
    """The error has the reason."""
    with receiving() as receiver:
        pass
    with notifier_to(receiver) as notifier, pytest.raises(DeliveryFailed, match="connection refused") as failed:
        notifier.deliver(a_notification())
    assert failed.value.retryable


# --- TLS --------------------------------------------------------------------------------------------------------------


def test_a_self_signed_certificate_is_not_trusted(tmp_path: Path) -> None:
    """Nothing is sent, and the error has the reason."""
    context, _ = certified(tmp_path, "127.0.0.1")
    with receiving(tls=context) as receiver, notifier_to(receiver) as notifier:
        problem = outcome(lambda: notifier.deliver(a_notification()))
    assert "certificate is not trusted" in problem
    assert receiver.received == []


@pytest.mark.parametrize(("named", "trusted"), [("hooks.test", True), ("other.test", False)])
def test_the_certificate_must_match_the_name(
    named: str, trusted: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate must have the name in the URL, although the connection is made to an address."""
    context, authority = certified(tmp_path, named)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    with receiving(tls=context) as receiver:
        url = f"https://hooks.test:{receiver.port}/hook"
        with a_notifier(url, look_up=lambda host, port: ["127.0.0.1"]) as notifier:
            problem = outcome(lambda: notifier.deliver(a_notification()))
    hosts = [received.headers["host"] for received in receiver.received]
    assert hosts == ([f"hooks.test:{receiver.port}"] if trusted else [])
    assert ("certificate is not trusted" in problem) is not trusted


@pytest.mark.parametrize("answer", [answering("400 Bad Request"), dripping(drop=b"")], ids=["http", "silence"])
def test_tls_to_a_receiver_without_tls(answer: AnswerTo) -> None:
    """The failed handshake is retried, and ends at the limit if the receiver does not respond."""
    started = monotonic()
    with receiving(answer) as receiver:
        url = receiver.url.replace("http://", "https://")
        with a_notifier(url, limit=SHORT) as notifier, pytest.raises(DeliveryFailed) as failed:
            notifier.deliver(a_notification())
    assert failed.value.retryable
    assert monotonic() - started < PATIENCE


# --- configuration ----------------------------------------------------------------------------------------------------

URL = "https://93.184.216.34/hook"


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "needs a url"),
        ({"url": 5, "secret": SECRET}, "needs a url"),
        ({"url": URL}, "needs a secret"),
        ({"url": URL, "secrets": []}, "needs a secret"),
        ({"url": URL, "secret": SECRET, "secrets": [SECRET]}, "not both"),
        ({"url": URL, "secret": [SECRET]}, "must be a string"),
        ({"url": URL, "secrets": SECRET}, "must be a list of strings"),
        ({"url": URL, "secrets": [SECRET, 5]}, "must be a list of strings"),
        ({"url": URL, "secret": SECRET, "timeout": 3}, "unknown key 'timeout'"),
        ({"url": URL, "secret": SECRET, "allow": "10.0.0.0/8"}, "must be a list of strings"),
        ({"url": URL, "secret": SECRET, "allow": ["10.1.2.3/8"]}, "'10.1.2.3/8' cannot be allowed"),
        ({"url": URL, "secret": SECRET, "allow": ["http://a"]}, "cannot be allowed"),
        ({"url": URL, "secret": SECRET, "allow": ["*.internal"]}, "cannot be allowed"),
        ({"url": URL, "secret": SECRET, "allow": [""]}, "cannot be allowed"),
        ({"url": URL, "secret": SECRET, "allow": ["127.1"]}, "cannot be allowed"),
        ({"url": "ftp://93.184.216.34/", "secret": SECRET}, "http://"),
        ({"url": "/hook", "secret": SECRET}, "http://"),
        ({"url": "https:///hook", "secret": SECRET}, "no host"),
        ({"url": "https://a..b/hook", "secret": SECRET}, "no host"),
        ({"url": "https://a%20b/hook", "secret": SECRET}, "no host"),
        ({"url": "https://93.184.216.34:0/", "secret": SECRET}, "host or port"),
        ({"url": "https://93.184.216.34:65536/", "secret": SECRET}, "host or port"),
        ({"url": "https://93.184.216.34:x/", "secret": SECRET}, "is invalid"),
        ({"url": "https://93.184.216.34/\n", "secret": "whsec_"}, "secret"),
    ],
)
def test_invalid_tables(table: dict[str, Any], message: str) -> None:
    """The error names the problem, and never contains a secret."""
    error = refusal(table)
    assert message in error
    assert SECRET not in error


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_abcde",
        "whsec_not base64!",
        "whsec_Mf-Q9r8GKY_r",
        "hidden",
    ],
)
def test_invalid_secrets(secret: str) -> None:
    """A secret that receivers would decode differently is refused, and the error does not contain it."""
    message = refusal({"url": URL, "secrets": [SECRET, secret]})
    assert "secret" in message
    assert SECRET not in message
    assert not secret.removeprefix("whsec_") or secret.removeprefix("whsec_") not in message


@pytest.mark.parametrize("url", ["https://ann:hidden@93.184.216.34/", "https://hidden@a/", "https://h\\:hidden@b/"])
def test_a_url_with_a_password_is_refused(url: str) -> None:
    """The error does not contain the password."""
    message = refusal({"url": url, "secret": SECRET})
    assert "password" in message
    assert "hidden" not in message


def test_a_channel_does_not_show_its_secrets() -> None:
    """The ``repr`` and errors have the host of the receiver, without secrets and the path of the URL."""
    with receiving(answering("500 Oh")) as receiver, notifier_to(receiver, secrets=[SECRET, OLD_SECRET]) as notifier:
        problem = outcome(lambda: notifier.deliver(a_notification()))
    shown = repr(notifier) + str(notifier) + problem
    assert f"127.0.0.1:{receiver.port}" in shown
    for secret in (SECRET, OLD_SECRET, "/hook"):
        assert secret.removeprefix("whsec_") not in shown


def test_the_text_of_a_template_is_sent() -> None:
    """``data.text`` is the text that the template of the route rendered."""
    received = sent(a_notification(text="Bad news from “s”"))
    assert json.loads(received.body)["data"]["text"] == "Bad news from “s”"


# --- What people see of the answer ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (answering("410 Gone", body=b"endpoint retired, see /v2"), "410 Gone", "endpoint retired, see /v2"),
        (answering("410 Other", "content-type: text/html", body=b"<h1>Gone</h1>"), "410 Gone", ""),
        (
            answering("400 Bad Request", body=b'{"error": "no\\u0000\\u202esuch field"}'),
            "400 Bad Request",
            "no such field",
        ),
        (answering("499 Odd", body=b"\xff\xfe\nline 2"), "499", "line 2"),
        (answering("503 Later", body=b"x" * 100_000), "503 Service Unavailable", "x" * 300),
    ],
)
def test_a_failure_has_the_status_and_words_of_the_receiver(answer: AnswerTo, status: str, words: str) -> None:
    """The status has its standard phrase; the words are those of the body, unless it is a page."""
    with receiving(answer) as receiver, notifier_to(receiver) as notifier, pytest.raises(DeliveryFailed) as caught:
        notifier.deliver(a_notification())
    assert (caught.value.status, caught.value.words) == (status, words)


def test_a_success_has_the_status_and_words_of_the_receiver() -> None:
    """A receiver that accepts a notification may say something, too."""
    with (
        receiving(answering("202 Accepted", body=b'{"message": "queued"}')) as receiver,
        notifier_to(receiver) as notifier,
    ):
        answer = notifier.deliver(a_notification())
    assert answer == ReceiverAnswer("202 Accepted", "queued")


def test_a_failure_without_an_answer_says_so_in_a_few_words() -> None:
    """The same for all failures with the same cause, so that they can be grouped."""
    with (
        receiving(dripping()) as receiver,
        a_notifier(receiver.url, limit=SHORT) as notifier,
        pytest.raises(DeliveryFailed) as slow,
    ):
        notifier.deliver(a_notification())
    with a_notifier(receiver.url) as notifier, pytest.raises(DeliveryFailed) as closed:
        notifier.deliver(a_notification())
    assert (slow.value.status, closed.value.status) == ("timed out", "unreachable")


SECRET_PATH = "/services/T0/p%C3%A4th-WORD/a%20b"
SECRET_QUERY = "token=query+VALUE%2Fx&pin=42&FLAGVALUE"
QUOTATIONS: dict[str, Callable[[Received], str]] = {
    "Fastify": lambda sent: json.dumps({"message": f"Route POST:{sent.path} not found", "statusCode": 404}),
    "Express": lambda sent: f"Cannot POST {html.escape(sent.path)}",
    "PHP": lambda sent: json.dumps({"error": sent.path}).replace("/", "\\/"),
    "decoded": lambda sent: json.dumps({"detail": {"path": unquote_plus(sent.path)}}),
    "decoded, as text": lambda sent: f"no such path: {unquote(sent.path)}",
    "encoded": lambda sent: f"login?next={quote(sent.path, safe='')}",
    "nested JSON": lambda sent: json.dumps({"message": json.dumps({"input": json.dumps(sent.path)})}),
    "in lower case": lambda sent: sent.path.lower(),
    "without a prefix": lambda sent: sent.path.removeprefix("/services/T0"),
    "values": lambda sent: json.dumps({"message": parse_qs(sent.path.partition("?")[2], keep_blank_values=True)}),
    "cut off later": lambda sent: f"{'x' * 290} {sent.path}",
    "the signing secret": lambda _: f"expected a signature by {SECRET} ({SECRET.removeprefix('whsec_')})",
}


@pytest.mark.parametrize("quotation", QUOTATIONS.values(), ids=QUOTATIONS)
@pytest.mark.parametrize("status", ["404 Not Found", "200 OK"])
def test_the_words_of_a_receiver_have_no_secrets(quotation: Callable[[Received], str], status: str) -> None:
    """A receiver may quote the request: path, query and signing secrets are hidden in any spelling."""

    def quoting(sent: Received) -> Iterable[bytes]:
        return answering(status, body=quotation(sent).encode())(sent)

    with receiving(quoting) as receiver:
        url = receiver.url.replace("/hook", f"{SECRET_PATH}?{SECRET_QUERY}")
        with notifier_to(receiver, url=url) as notifier:
            try:
                answer = notifier.deliver(a_notification())
                assert answer is not None
                words = shown = answer.words
            except DeliveryFailed as error:
                words, shown = error.words, f"{error.words} {error}"
    assert "***" in words
    for secret in ("p%c3%a4th", "päth", "u00e4th", "word", "value", "flag", SECRET.lower()[6:], "pin=42"):
        assert secret not in shown.lower()


@pytest.mark.parametrize(
    "words", ["services are busy", "no token", "retry with pin 7", "the hooks of T0", "value missing"]
)
def test_other_words_are_kept(words: str) -> None:
    """Common words are shown although they are in the URL."""
    with receiving(answering("503 Later", body=words.encode())) as receiver:
        url = receiver.url.replace("/hook", f"{SECRET_PATH}/hooks/?{SECRET_QUERY}")
        with notifier_to(receiver, url=url) as notifier, pytest.raises(DeliveryFailed) as caught:
            notifier.deliver(a_notification())
    assert caught.value.words == words
