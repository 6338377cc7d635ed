"""The HTTP server that a channel sends to: its URL, the requests to it, and what its failures mean."""

from __future__ import annotations

import json
import re
import ssl
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Final

import httpcore
import httpx

from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.domain.texts import as_texts
from harken.ports.notifier import ReceiverAnswer
from harken_adapters.notifiers.addresses import Guard, LookUp, UnsafeAddress, look_up
from harken_adapters.notifiers.secrets import Secrets, secrets_of
from harken_adapters.notifiers.transport import SHORT, Answer, Connections, Headers, within
from harken_adapters.notifiers.wording import one_line

#: Seconds that a delivery may take, including resolving the host.
LIMIT: Final = 15.0

_HOST: Final = re.compile(rb"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?|[0-9a-f.]*:[0-9a-f:.]*(?:%[a-z0-9_.-]+)?")
#: The keys of a JSON response that say what is wrong.
_MESSAGES: Final = ("message", "detail", "error")
_LONGEST_WORDS: Final = 300
#: How many bytes of a response are searched for words.
_MAX_READ: Final = 65_536
_LAST_PORT: Final = 65_535
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
#: A longer Retry-After is ignored.
_MAX_PAUSE: Final = timedelta(days=365)
#: Seconds to wait for a name server when the channel is opened.
_LOOKUP_TIMEOUT: Final = 5.0


class Endpoint:
    """The HTTP server at a URL. Thread-safe.

    Args:
        url: an ``http`` or ``https`` URL.
        channel: the kind of channel in messages, such as ``"a webhook"``.
        receiver: the server in messages, such as ``"The receiver"``.
        example: a valid URL for messages.
        credentials: what authenticates requests, as the URL must not have a password.
        allow: host names, addresses and networks that are allowed although they are not public.
        secrets: what must not be shown in the receiver's words, in addition to the path and query of the URL.
        limit: the seconds that an exchange may take.
        look_up: resolves a host.

    Raises:
        ConfigurationError: the URL is invalid, or its address is neither public nor allowed; or an entry of ``allow``
            is invalid.
    """

    def __init__(
        self,
        url: str,
        *,
        channel: str,
        receiver: str,
        example: str,
        credentials: str,
        allow: str | Sequence[str] = (),
        secrets: Iterable[str] = (),
        limit: float = LIMIT,
        look_up: LookUp = look_up,
    ) -> None:
        parsed = _url(url, channel, example, credentials)
        guard = Guard(as_texts(allow), look_up)
        _check_host(parsed, guard, channel)
        self._url = parsed
        self._receiver = receiver
        self._secrets = Secrets([*secrets_of(parsed.raw_path.decode("ascii")), *secrets])
        self._limit = limit
        self._connections = Connections(parsed, guard, limit=limit)

    @property
    def where(self) -> str:
        """The origin, without the path, which may contain a secret."""
        return f"{self._url.scheme}://{self._url.netloc.decode()}"

    @property
    def target(self) -> bytes:
        """The path and query of the URL."""
        return self._url.raw_path

    def request(
        self,
        method: str,
        target: bytes,
        headers: Headers,
        content: bytes,
        *,
        deadline: float | None = None,
        max_content: int = SHORT,
    ) -> Answer:
        """Send a request, and return the response with any status. See :meth:`Connections.request`.

        Raises:
            DeliveryFailed: there was no response in time: before ``deadline``, a time of ``time.monotonic``, or within
                the limit.
        """
        try:
            return self._connections.request(
                method, target, headers, content, deadline=deadline, max_content=max_content
            )
        except UnsafeAddress as error:
            problem = f"must not be connected to: {error}, and is not in allow"
            raise self._failed(problem, "address not allowed") from error
        except httpcore.TimeoutException as error:
            raise self._failed(f"took longer than {self._limit:g} seconds", "timed out") from error
        except httpcore.ConnectError as error:
            raise self._failed(f"cannot be reached: {_reason(error)}", "unreachable") from error
        except httpcore.NetworkError as error:
            raise self._failed("closed the connection before responding", "no answer") from error
        except httpcore.ProtocolError as error:
            problem = "closed the connection without a response, or did not respond with HTTP"
            raise self._failed(problem, "no answer") from error

    def describe(self, answer: Answer) -> str:
        """A response that is not a success, for messages."""
        message = f"{self._receiver} at {self.where} responded with {answer.status}"
        if 300 <= answer.status < 400:
            message += f", a redirect{self._redirect(answer)}, which is not followed"
        return message

    def words_of(self, answer: Answer) -> str:
        """What the receiver says in a response: the message of a JSON object, or the text; empty for a page.

        The secrets of the channel are hidden, as a receiver may quote the request.
        """
        if b"html" in answer.header(b"content-type").encode():
            return ""
        text = answer.content[:_MAX_READ].decode(errors="ignore")
        try:
            parsed = json.loads(text)
        except (ValueError, RecursionError):
            parsed = None
        if isinstance(parsed, dict):
            parts = [parsed[name] for name in _MESSAGES if parsed.get(name)]
            text = ": ".join(part if isinstance(part, str) else json.dumps(part) for part in parts) or text
        return self.quote(text)

    def quote(self, text: str) -> str:
        """The beginning of a text of the receiver, in one line and without the secrets of the channel."""
        # Hidden first: a secret that is cut off would not be recognised.
        return self._secrets.hide(one_line(text))[:_LONGEST_WORDS]

    def accepted(self, answer: Answer) -> ReceiverAnswer:
        """The answer of a receiver that accepted a notification."""
        return ReceiverAnswer(status_of(answer.status), self.words_of(answer))

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def _failed(self, problem: str, status: str) -> DeliveryFailed:
        return DeliveryFailed(f"{self._receiver} at {self.where} {problem}", status=status)

    def _redirect(self, answer: Answer) -> str:
        """The target of a redirect, without its path, which may contain a secret."""
        if not (location := answer.header(b"location")):
            return ""
        try:
            target = self._url.join(location)
        except (httpx.InvalidURL, ValueError):
            return ""
        origin = f"{target.scheme}://{target.netloc.decode()}"
        return " to another path there" if origin == self.where else f" to {self._secrets.hide(origin)[:200]}"


def status_of(code: int) -> str:
    """A status code with its standard phrase, such as ``410 Gone``."""
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def pause(answer: Answer, sent_at: datetime) -> timedelta | None:
    """The time to wait, by a ``Retry-After`` in seconds or as a date."""
    value = answer.header(b"retry-after")
    asked = timedelta(seconds=int(value)) if _SECONDS.fullmatch(value) else _until(value, sent_at)
    return asked if asked is not None and timedelta() <= asked <= _MAX_PAUSE else None


def _until(value: str, sent_at: datetime) -> timedelta | None:
    try:
        moment = parsedate_to_datetime(value)
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment) - sent_at
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _url(text: str, channel: str, example: str, credentials: str) -> httpx.URL:
    # Errors do not contain the URL, which may have a password.
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, ValueError):
        raise ConfigurationError(f"The url of {channel} is invalid; expected one such as {example!r}") from None
    if url.scheme not in ("http", "https"):
        raise ConfigurationError(f"The url of {channel} must begin with https:// or http://")
    if url.userinfo:
        raise ConfigurationError(
            f"The url of {channel} must not have a user or password, which would be logged; {credentials}"
        )
    if not _HOST.fullmatch(url.raw_host) or not 1 <= _port(url) <= _LAST_PORT:
        raise ConfigurationError(f"The url of {channel} has no host, or an invalid host or port")
    return url


def _port(url: httpx.URL) -> int:
    if url.port is not None:
        return url.port
    return 443 if url.scheme == "https" else 80


def _check_host(url: httpx.URL, guard: Guard, channel: str) -> None:
    """Reject an unsafe host. One that cannot be resolved yet is checked for each delivery."""
    host = url.raw_host.decode()
    try:
        guard.check_name(host)
        with suppress(OSError):
            within(_LOOKUP_TIMEOUT, lambda: guard.addresses(host, _port(url)))
    except UnsafeAddress as error:
        raise ConfigurationError(
            f"The url of {channel} must have a public address: {error}; "
            f"if this is intended, add {host!r} or its network to allow"
        ) from error


def _reason(error: httpcore.ConnectError) -> str:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return f"the TLS handshake failed ({cause.reason})"
    if isinstance(cause, ConnectionError) and cause.strerror:
        return cause.strerror.lower()
    return str(error)
