"""The settings that all channels to tracing products have in common."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Final

from attrs import frozen

from harken.domain.errors import ConfigurationError
from harken.domain.rules import label_problem
from harken_adapters.notifiers.endpoint import Endpoint
from harken_adapters.notifiers.tables import check_keys, text_at, texts_at
from harken_adapters.notifiers.tracing.ids import TraceSource
from harken_adapters.notifiers.transport import Headers
from harken_adapters.telemetry.evaluation import NAME

_KEYS: Final = ("url", "trace", "name", "allow")
_LONGEST_NAME: Final = 100


@frozen
class Table:
    """The table of a channel in the settings.

    Attributes:
        product: the name of the product, such as ``"Langfuse"``.
        values: the values by key.
    """

    product: str
    values: Mapping[str, object]

    @property
    def channel(self) -> str:
        """The kind of channel, for messages."""
        return f"{'an' if self.product in {'MLflow', 'OTLP'} else 'a'} {self.product} channel"

    def check_keys(self, *more: str) -> None:
        """Check that all keys are common ones or one of these.

        Raises:
            ConfigurationError: a key is unknown.
        """
        check_keys(self.values, (*_KEYS, *more))

    def text(self, key: str) -> str | None:
        """The text of a key, without surrounding white space; ``None`` if the key is absent.

        Raises:
            ConfigurationError: the value is not a text, or is empty.
        """
        text = text_at(self.channel, self.values, key)
        return None if text is None else text.strip()

    def endpoint(self, *, example: str, credentials: str, headers: Headers, default: str | None = None) -> Endpoint:
        """The server at ``url``, which gets these headers.

        Raises:
            ConfigurationError: the URL is missing or invalid, or its address is neither public nor allowed.
        """
        url = self.text("url") or default
        if url is None:
            raise ConfigurationError(f"url of {self.channel} is missing; expected one such as {example!r}")
        return Endpoint(
            url,
            channel=self.channel,
            receiver=self.product,
            example=example,
            credentials=credentials,
            allow=texts_at(self.channel, self.values, "allow"),
            secrets=_secrets_in(headers),
        )

    def source(self) -> TraceSource:
        """Where feedback has the id of its trace: ``trace``.

        Raises:
            ConfigurationError: the value is invalid.
        """
        return TraceSource(self.text("trace") or "message_id", self.channel)

    def name(self) -> str:
        """The name of the scores: ``name``.

        Raises:
            ConfigurationError: the value is invalid.
        """
        name = self.text("name") or NAME
        if problem := label_problem(f"name of {self.channel}", name, _LONGEST_NAME):
            raise ConfigurationError(str(problem))
        return name

    def bearer(self, key: str) -> Headers:
        """The headers for a token; none if there is no token.

        Raises:
            ConfigurationError: the token cannot be sent in a header. The message does not show it.
        """
        token = self.text(key)
        return headers() if token is None else headers(authorization=self.header_value(key, f"Bearer {token}"))

    def basic(self, user_key: str, password_key: str) -> Headers:
        """The headers for a user and a password; none if there is neither.

        Raises:
            ConfigurationError: there is only one of them.
        """
        user, password = self.text(user_key), self.text(password_key)
        if user is None and password is None:
            return headers()
        if user is None or password is None:
            missing = user_key if user is None else password_key
            raise ConfigurationError(
                f"{missing} of {self.channel} is missing: {user_key} and {password_key} are a pair"
            )
        return headers(authorization=f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}")

    def header_value(self, key: str, value: str) -> str:
        """The value of a header.

        Raises:
            ConfigurationError: it has characters that a header cannot have. The message does not show it.
        """
        if not value.isascii() or not value.isprintable():
            raise ConfigurationError(f"{key} of {self.channel} may only have printable ASCII characters")
        return value


def headers(**more: str) -> Headers:
    """The headers of every request."""
    known = {"user-agent": f"Harken/{version('harken')}", "accept": "application/json", **more}
    return tuple((name.encode(), value.encode()) for name, value in known.items())


def _secrets_in(headers: Headers) -> Iterator[str]:
    """The credentials in headers, and the password in these."""
    for name, value in headers:
        if name in {b"user-agent", b"accept"}:
            continue
        scheme, _, credentials = value.decode().rpartition(" ")
        yield credentials
        if scheme == "Basic":
            pair = b64decode(credentials).decode()
            yield pair
            yield pair.partition(":")[2]
