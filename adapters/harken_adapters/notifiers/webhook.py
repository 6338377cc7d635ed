"""Webhooks, signed as specified by Standard Webhooks (https://www.standardwebhooks.com)."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Final

try:
    from standardwebhooks import Webhook

    from harken_adapters.notifiers.endpoint import LIMIT, Endpoint, pause, status_of
except ModuleNotFoundError as error:
    from harken_adapters.notifiers.missing import missing

    raise missing("A webhook", str(error.name), "webhooks") from error

from attrs import evolve

from harken.domain.errors import ConfigurationError, DeliveryFailed
from harken.domain.texts import as_texts
from harken.ports.notifier import Notification, Notifier, ReceiverAnswer
from harken_adapters.formats.notification import body
from harken_adapters.notifiers.addresses import LookUp, look_up
from harken_adapters.notifiers.digest_text import digest_lines
from harken_adapters.notifiers.tables import check_keys, texts_at
from harken_adapters.notifiers.transport import Answer

_KEYS: Final = ("url", "secret", "secrets", "allow")
_PREFIX: Final = "whsec_"
_BASE64: Final = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_GONE: Final = 410
_EXPECTED: Final = "expected 'whsec_' followed by base64, as in the settings of the receiver"


def open_notifier(table: Mapping[str, object]) -> Notifier:
    """Open the channel that a table of the settings describes: ``url``, ``secret`` or ``secrets``, and ``allow``.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value is invalid. The message never contains a secret.
    """
    check_keys(table, _KEYS)
    url = table.get("url")
    if not isinstance(url, str):
        raise ConfigurationError("A webhook needs a url, such as 'https://example.com/hooks'")
    return WebhookNotifier(url, _secrets(table), allow=texts_at("a webhook", table, "allow"))


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
        self._endpoint = Endpoint(
            url,
            channel="a webhook",
            receiver="The receiver",
            example="https://example.com/hooks",
            credentials="a receiver verifies the signature instead",
            allow=allow,
            secrets=[secret.removeprefix(_PREFIX) for secret in as_texts(secrets)],
            limit=limit,
            look_up=look_up,
        )
        if not secrets:
            raise ConfigurationError(f"A webhook needs a secret to sign with; {_EXPECTED}")
        self._signers = [_signer(secret) for secret in as_texts(secrets)]
        self._headers = (
            (b"user-agent", f"Harken/{version('harken')}".encode()),
            (b"content-type", b"application/json"),
        )

    def __repr__(self) -> str:
        return f"<WebhookNotifier to {self._endpoint.where}>"

    def deliver(self, notification: Notification) -> ReceiverAnswer:
        """Post the notification. A status from 200 to 299 means that it was accepted."""
        if notification.digest is not None:
            notification = evolve(notification, text="\n".join(digest_lines(notification.digest)))
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
        answer = self._endpoint.request("POST", self._endpoint.target, headers, content)
        if not 200 <= answer.status < 300:
            raise self._failure(answer, sent_at)
        return self._endpoint.accepted(answer)

    def close(self) -> None:
        """Close the connections."""
        self._endpoint.close()

    def _failure(self, answer: Answer, sent_at: datetime) -> DeliveryFailed:
        message, status = self._endpoint.describe(answer), status_of(answer.status)
        words = self._endpoint.words_of(answer)
        if answer.status == _GONE:
            message += ": it no longer accepts deliveries"
            return DeliveryFailed(message, gone=True, status=status, words=words)
        return DeliveryFailed(message, retry_after=pause(answer, sent_at), status=status, words=words)


# --- configuration ----------------------------------------------------------------------------------------------------


def _secrets(table: Mapping[str, object]) -> list[str]:
    if "secret" in table and "secrets" in table:
        raise ConfigurationError("A webhook must have either secret or secrets, not both")
    if "secrets" in table:
        return texts_at("a webhook", table, "secrets", shown=False)
    secret = table.get("secret")
    if secret is not None and not isinstance(secret, str):
        raise ConfigurationError("secret of a webhook must be a string")
    return [] if secret is None else [secret]


def _signer(secret: str) -> Webhook:
    key = secret.removeprefix(_PREFIX)
    usable = False
    # The library skips invalid characters, and would sign with another key than the receiver.
    with suppress(ValueError):
        usable = key != secret and bool(_BASE64.fullmatch(key) and b64decode(key + "=="))
    if not usable:
        raise ConfigurationError(f"A secret of the webhook is invalid; {_EXPECTED}")
    return Webhook(secret)
