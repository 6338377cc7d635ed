"""Webhooks, signed as specified by Standard Webhooks (https://www.standardwebhooks.com)."""

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

try:
    import httpcore
    import httpx
    from standardwebhooks import Webhook
except ModuleNotFoundError as error:
    from harken_adapters.notifiers.missing import missing

    raise missing("A webhook", str(error.name), "webhooks") from error

from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.domain.text_lists import as_texts
from harken.ports.notifier import Notification, Notifier
from harken_adapters.formats.notification import body
from harken_adapters.notifiers.addresses import Guard, LookUp, UnsafeAddress, look_up
from harken_adapters.notifiers.tables import check_keys
from harken_adapters.notifiers.transport import Answer, Connections, within

#: Seconds that a delivery may take, including resolving the host.
LIMIT: Final = 15.0

_KEYS: Final = ("url", "secret", "secrets", "allow")
_PREFIX: Final = "whsec_"
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_HOST: Final = re.compile(rb"(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?|[0-9a-f.]*:[0-9a-f:.]*(?:%[a-z0-9_.-]+)?")
_LAST_PORT: Final = 65_535
_GONE: Final = 410
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
#: A longer Retry-After is ignored.
_MAX_PAUSE: Final = timedelta(days=365)
_EXPECTED: Final = "expected 'whsec_' followed by base64, as in the settings of the receiver"
#: Seconds to wait for a name server when the channel is opened.
_LOOKUP_TIMEOUT: Final = 5.0


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """Open the channel that a table of the settings describes: ``url``, ``secret`` or ``secrets``, and ``allow``.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value is invalid. The message never contains a secret.
    """
    check_keys(table, _KEYS)
    url = table.get("url")
    if not isinstance(url, str):
        raise ConfigurationError("A webhook needs a url, such as 'https://example.com/hooks'")
    return WebhookNotifier(url, _secrets(table), allow=_texts("allow", table.get("allow", ())))


class WebhookNotifier(Notifier):
    """Posts notifications as signed JSON to one URL.

    Args:
        url: an ``http`` or ``https`` URL.
        secrets: the signing secrets, each ``whsec_...``. Bodies are signed with all of them, so that a receiver can
            rotate its secret.
        allow: host names, addresses and networks that are allowed although they are not public.
        limit: the seconds that a delivery may take.
        look_up: resolves a host.

    Raises:
        ConfigurationError: the URL is invalid, or its address is neither public nor allowed; or a secret or an entry
            of ``allow`` is invalid.
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
        """Post the notification. A status from 200 to 299 means that it was accepted."""
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
        # Without the path, which may contain a secret.
        return f"{self._url.scheme}://{self._url.netloc.decode()}"

    def _post(self, headers: Sequence[tuple[bytes, bytes]], content: bytes) -> Answer:
        try:
            return self._connections.post(headers, content)
        except UnsafeAddress as error:
            problem = f"must not be connected to: {error}, and is not in allow"
            raise DeliveryFailed(f"The receiver at {self._where} {problem}") from error
        except httpcore.TimeoutException as error:
            problem = f"took longer than {self._limit:g} seconds"
            raise DeliveryFailed(f"The receiver at {self._where} {problem}") from error
        except httpcore.ConnectError as error:
            problem = f"cannot be reached: {_reason(error)}"
            raise DeliveryFailed(f"The receiver at {self._where} {problem}") from error
        except httpcore.NetworkError as error:
            problem = "closed the connection before responding"
            raise DeliveryFailed(f"The receiver at {self._where} {problem}") from error
        except httpcore.ProtocolError as error:
            problem = "closed the connection without a response, or did not respond with HTTP"
            raise DeliveryFailed(f"The receiver at {self._where} {problem}") from error

    def _failure(self, answer: Answer, sent_at: datetime) -> DeliveryFailed:
        message = f"The receiver at {self._where} responded with {answer.status}"
        if answer.status == _GONE:
            return DeliveryFailed(f"{message}: it no longer accepts deliveries", gone=True)
        if 300 <= answer.status < 400:
            message += f", a redirect{self._redirect(answer)}, which is not followed"
        return DeliveryFailed(message, retry_after=_pause(answer.header(b"retry-after"), sent_at))

    def _redirect(self, answer: Answer) -> str:
        """The target of a redirect, without its path, which may contain a secret."""
        if not (location := answer.header(b"location")):
            return ""
        try:
            target = self._url.join(location)
        except (httpx.InvalidURL, ValueError):
            return ""
        origin = f"{target.scheme}://{target.netloc.decode()}"
        return " to another path there" if origin == self._where else f" to {origin[:200]}"


# --- configuration ----------------------------------------------------------------------------------------------------


def _secrets(table: Mapping[str, object]) -> list[str]:
    if "secret" in table and "secrets" in table:
        raise ConfigurationError("A webhook must have either secret or secrets, not both")
    if "secrets" in table:
        return _texts("secrets", table["secrets"], shown=False)
    return _texts("secret", [table["secret"]], shown=False) if "secret" in table else []


def _texts(key: str, value: object, *, shown: bool = True) -> list[str]:
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return list(value)
    got = f", got {value!r}" if shown else ""
    expected = "a string" if key == "secret" else "a list of strings"
    raise ConfigurationError(f"{key} of a webhook must be {expected}{got}")


def _url(text: str) -> httpx.URL:
    # Errors do not contain the URL, which may have a password.
    try:
        url = httpx.URL(text.strip())
    except (httpx.InvalidURL, ValueError):
        raise ConfigurationError(
            "The url of a webhook is invalid; expected one such as 'https://example.com/hooks'"
        ) from None
    if url.scheme not in ("http", "https"):
        raise ConfigurationError("The url of a webhook must begin with https:// or http://")
    if url.userinfo:
        raise ConfigurationError(
            "The url of a webhook must not have a user or password, which would be logged; "
            "a receiver verifies the signature instead"
        )
    if not _HOST.fullmatch(url.raw_host) or not 1 <= _port(url) <= _LAST_PORT:
        raise ConfigurationError("The url of a webhook has no host, or an invalid host or port")
    return url


def _port(url: httpx.URL) -> int:
    if url.port is not None:
        return url.port
    return 443 if url.scheme == "https" else 80


def _check_host(url: httpx.URL, guard: Guard) -> None:
    """Reject an unsafe host. One that cannot be resolved yet is checked for each delivery."""
    host = url.raw_host.decode()
    try:
        guard.check_name(host)
        with suppress(OSError):
            within(_LOOKUP_TIMEOUT, lambda: guard.addresses(host, _port(url)))
    except UnsafeAddress as error:
        raise ConfigurationError(
            f"The url of a webhook must have a public address: {error}; "
            f"if this is intended, add {host!r} or its network to allow"
        ) from error


def _signer(secret: str) -> Webhook:
    key = secret.removeprefix(_PREFIX)
    usable = False
    # The library skips invalid characters, and would sign with another key than the receiver.
    with suppress(ValueError):
        usable = key != secret and bool(_BASE64.fullmatch(key) and b64decode(key + "=="))
    if not usable:
        raise ConfigurationError(f"A secret of the webhook is invalid; {_EXPECTED}")
    return Webhook(secret)


# --- responses --------------------------------------------------------------------------------------------------------


def _pause(value: str, sent_at: datetime) -> timedelta | None:
    """The time to wait, by a ``Retry-After`` in seconds or as a date."""
    pause = timedelta(seconds=int(value)) if _SECONDS.fullmatch(value) else _until(value, sent_at)
    return pause if pause is not None and timedelta() <= pause <= _MAX_PAUSE else None


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
        return f"the TLS handshake failed ({cause.reason})"
    if isinstance(cause, ConnectionError) and cause.strerror:
        return cause.strerror.lower()
    return str(error)
