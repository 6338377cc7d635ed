"""Webhooks, signed as Standard Webhooks has it (https://www.standardwebhooks.com)."""

from __future__ import annotations

import re
import ssl
from base64 import b64decode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Final

import httpcore
import httpx
from standardwebhooks import Webhook

from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.domain.text_lists import as_texts
from harken.ports.notifier import Notification, Notifier
from harken_adapters.formats.notification import body
from harken_adapters.notifiers.addresses import Guard, LookUp, UnsafeAddress, look_up
from harken_adapters.notifiers.tables import check_keys
from harken_adapters.notifiers.transport import Answer, Connections, within

#: How many seconds looking a host up, connecting, sending and receiving may take together.
LIMIT: Final = 15.0

_KEYS: Final = ("url", "secret", "secrets", "allow")
_PREFIX: Final = "whsec_"
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_HOST: Final = re.compile(rb"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?|[0-9a-f.]*:[0-9a-f:.]*(?:%[a-z0-9_.-]+)?")
_LAST_PORT: Final = 65_535
_GONE: Final = 410
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
#: What wants to be left alone for longer does not mean it.
_LONGEST_PAUSE: Final = timedelta(days=365)
_EXPECTED: Final = "expected 'whsec_' and then base64, as in the settings of the receiver"
#: Settings are read by whoever starts Harken: nobody should wait long for a name server to say nothing.
_SECONDS_TO_CONFIGURE: Final = 5.0


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """The channel that a table of the settings describes: ``url``, ``secret`` or ``secrets``, and ``allow``.

    Raises:
        ConfigurationError: a key is unknown or absent, or a value makes no sense; it never tells a secret.
    """
    check_keys("A webhook", table, _KEYS)
    url = table.get("url")
    if not isinstance(url, str):
        raise ConfigurationError("A webhook needs a url: where to post to, such as 'https://example.com/hooks'")
    return WebhookNotifier(url, _secrets(table), allow=_texts("allow", table.get("allow", ())))


class WebhookNotifier(Notifier):
    """Posts notifications as JSON, signed, to one URL.

    Args:
        url: where to post to, with ``http`` or ``https``.
        secrets: what to sign with, each a ``whsec_...``; each body is signed with all, so that a receiver may know
            either of two while they are changed.
        allow: hosts, addresses and networks that may be posted to although they are not public.
        limit: how many seconds one delivery may take.
        look_up: finds the addresses of a host.

    Raises:
        ConfigurationError: the URL is none to post to, or leads to an address that is neither public nor allowed; a
            secret is none; or what is allowed makes no sense.
    """

    def __init__(
        self,
        url: str,
        secrets: str | Sequence[str],
        *,
        allow: str | Sequence[str] = (),
        limit: float = LIMIT,
        look_up: LookUp = look_up,
    ) -> None:
        parsed = _url(url)
        guard = Guard(as_texts(allow), look_up)
        _check_host(parsed, guard)
        if not secrets:
            raise ConfigurationError(f"A webhook needs a secret to sign with; {_EXPECTED}")
        self._url = parsed
        self._signers = [_signer(secret) for secret in as_texts(secrets)]
        self._limit = limit
        self._connections = Connections(parsed, guard, limit=limit)
        self._headers = (
            (b"user-agent", f"Harken/{version('harken')}".encode()),
            (b"content-type", b"application/json"),
        )

    def __repr__(self) -> str:
        return f"<WebhookNotifier to {self._where}>"

    def deliver(self, notification: Notification) -> None:
        """Post it; any answer from 200 to 299 means that it was taken."""
        content = body(notification)
        sent_at = notification.sent_at.astimezone(UTC)
        text = content.decode()
        signatures = " ".join(signer.sign(notification.id, sent_at, text) for signer in self._signers)
        headers = (
            *self._headers,
            (b"webhook-id", notification.id.encode()),
            (b"webhook-timestamp", b"%d" % sent_at.timestamp()),
            (b"webhook-signature", signatures.encode()),
        )
        answer = self._post(headers, content)
        if not 200 <= answer.status < 300:
            raise self._failure(answer, sent_at)

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    @property
    def _where(self) -> str:
        # The path may be as good as a password.
        return f"{self._url.scheme}://{self._url.netloc.decode()}"

    def _post(self, headers: Sequence[tuple[bytes, bytes]], content: bytes) -> Answer:
        try:
            return self._connections.post(headers, content)
        except UnsafeAddress as error:
            problem = f"was not connected to: {error}, and is not in allow"
            raise DeliveryFailed(f"The receiver at {self._where} {problem}") from error
        except httpcore.TimeoutException as error:
            problem = f"took longer than {self._limit:g} seconds"
            raise DeliveryFailed(f"The receiver at {self._where} {problem}") from error
        except httpcore.ConnectError as error:
            problem = f"cannot be connected to: {_reason(error)}"
            raise DeliveryFailed(f"The receiver at {self._where} {problem}") from error
        except httpcore.NetworkError as error:
            problem = "broke the connection off without an answer"
            raise DeliveryFailed(f"The receiver at {self._where} {problem}") from error
        except httpcore.ProtocolError as error:
            problem = "closed the connection without an answer, or answered with what is no HTTP"
            raise DeliveryFailed(f"The receiver at {self._where} {problem}") from error

    def _failure(self, answer: Answer, sent_at: datetime) -> DeliveryFailed:
        message = f"The receiver at {self._where} answered {answer.status}"
        if answer.status == _GONE:
            return DeliveryFailed(f"{message}: it wants nothing any more", gone=True)
        if 300 <= answer.status < 400:
            message += f", a redirect{self._redirect(answer)}, which is not followed"
        return DeliveryFailed(message, retry_after=_pause(answer.header(b"retry-after"), sent_at))

    def _redirect(self, answer: Answer) -> str:
        """Where to; without a path, as that may be the one that was asked for."""
        if not (location := answer.header(b"location")):
            return ""
        try:
            target = self._url.join(location)
        except (httpx.InvalidURL, ValueError):
            return ""
        origin = f"{target.scheme}://{target.netloc.decode()}"
        return " to another path there" if origin == self._where else f" to {origin[:200]}"


# --- what the settings mean -------------------------------------------------------------------------------------------


def _secrets(table: Mapping[str, object]) -> list[str]:
    if "secret" in table and "secrets" in table:
        raise ConfigurationError("A webhook has either a secret or secrets, not both")
    if "secrets" in table:
        return _texts("secrets", table["secrets"], shown=False)
    return _texts("secret", [table["secret"]], shown=False) if "secret" in table else []


def _texts(key: str, value: object, *, shown: bool = True) -> list[str]:
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return list(value)
    got = f", got {value!r}" if shown else ""
    raise ConfigurationError(f"{key} of a webhook must be text{'' if key == 'secret' else 's in a list'}{got}")


def _url(text: str) -> httpx.URL:
    # What is wrong is told without the URL: somebody may have put a password into it.
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, ValueError):
        raise ConfigurationError("The url of a webhook is none; expected one like 'https://example.com/hook'") from None
    if url.scheme not in ("http", "https"):
        raise ConfigurationError("The url of a webhook must begin with https:// or http://")
    if url.userinfo:
        raise ConfigurationError(
            "The url of a webhook must have no user and no password, which would be in logs; "
            "a receiver knows Harken by the signature"
        )
    if not _HOST.fullmatch(url.raw_host) or not 1 <= _port(url) <= _LAST_PORT:
        raise ConfigurationError("The url of a webhook has no host, or a host or port that nothing can have")
    return url


def _port(url: httpx.URL) -> int:
    if url.port is not None:
        return url.port
    return 443 if url.scheme == "https" else 80


def _check_host(url: httpx.URL, guard: Guard) -> None:
    """Refuse what is known to be unsafe. What cannot be looked up may come to be: it is checked again when sending."""
    host = url.raw_host.decode()
    try:
        guard.check_name(host)
        with suppress(OSError):
            within(_SECONDS_TO_CONFIGURE, lambda: guard.addresses(host, _port(url)))
    except UnsafeAddress as error:
        raise ConfigurationError(
            f"The url of a webhook must lead to a public address: {error}; "
            f"if that is meant, add {host!r} or its network to allow"
        ) from error


def _signer(secret: str) -> Webhook:
    key = secret.removeprefix(_PREFIX)
    usable = False
    # The library skips what is not base64, and would sign with something else than the receiver.
    with suppress(ValueError):
        usable = key != secret and bool(_BASE64.fullmatch(key) and b64decode(key + "=="))
    if not usable:
        raise ConfigurationError(f"A secret of the webhook cannot be used; {_EXPECTED}")
    return Webhook(secret)


# --- what an answer means ---------------------------------------------------------------------------------------------


def _pause(value: str, sent_at: datetime) -> timedelta | None:
    """For how long the receiver wants to be left alone, by its ``Retry-After``: seconds, or a date."""
    pause = timedelta(seconds=int(value)) if _SECONDS.fullmatch(value) else _until(value, sent_at)
    return pause if pause is not None and timedelta() <= pause <= _LONGEST_PAUSE else None


def _until(value: str, sent_at: datetime) -> timedelta | None:
    try:
        moment = parsedate_to_datetime(value)
        return (moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment) - sent_at
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def _reason(error: httpcore.ConnectError) -> str:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted ({cause.verify_message})"
    if isinstance(cause, ssl.SSLError):
        return f"it speaks no TLS that can be trusted ({cause.reason})"
    if isinstance(cause, ConnectionError) and cause.strerror:
        return cause.strerror.lower()
    return str(error)
