"""What both clients are created with, checked."""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
from attrs import field, frozen

from harken import ConfigurationError, InvalidQuery, StorageClosed
from harken.domain.feedback import DEFAULT_APPLICATION
from harken_adapters.client.answers import application_in
from harken_adapters.client.calls import EVENT_STREAM, Call

#: How many times a call is sent again.
RETRIES: Final = 4
TIMEOUT: Final = 30.0
#: A server sends something every five seconds; after half a minute of silence, the connection must be broken.
_OF_EVENTS: Final = httpx.Timeout(TIMEOUT)


@frozen
class Connection:
    """The URL of the API, and the headers of all requests. The key is in no ``repr`` and no error message."""

    url: str
    headers: dict[str, str] = field(repr=False)
    process: int = field(factory=os.getpid, repr=False)

    @classmethod
    def to(cls, url: str, key: str | None) -> Connection:
        """Check the URL and the key.

        Raises:
            ConfigurationError: the URL is not one of an HTTP service, or the key cannot be sent.
        """
        headers = {"User-Agent": f"harken/{version('harken')}"}
        if key is not None:
            headers["Authorization"] = f"Bearer {_check_key(key)}"
        return cls(_check_url(url), headers)

    def request(self, call: Call[Any], http: httpx.Client | httpx.AsyncClient, *, is_closed: bool) -> httpx.Request:
        """The request of a call.

        Raises:
            StorageClosed: the client is closed, or belongs to the parent process.
            InvalidQuery: the values do not fit into a URL.
        """
        if is_closed:
            raise StorageClosed("The client is closed; create another one")
        if self.process != os.getpid():
            # Two processes on one connection would read each other's responses.
            raise StorageClosed("The client was created before the process was forked; create one in each process")
        headers = [(name, value.encode("latin-1")) for name, value in call.headers]
        if call.body is not None:
            headers.append(("Content-Type", b"application/json"))
        encoded = [(name.encode(), value) for name, value in headers]
        timeout = _OF_EVENTS if call.stream == EVENT_STREAM else http.timeout
        try:
            return http.build_request(
                call.method, f"{self.url}{call.target}", headers=encoded, content=call.body, timeout=timeout
            )
        except (httpx.InvalidURL, UnicodeEncodeError) as error:
            raise InvalidQuery(f"The values are too long for a URL, or not valid text: {error}") from error

    def application(self, call: Call[None], response: httpx.Response) -> str:
        """The application of a stream.

        Raises:
            ConfigurationError: the response is not the stream of the call, so it is not from Harken.
        """
        media_type = response.headers.get("content-type", "no type")
        if not media_type.startswith(call.stream):
            raise ConfigurationError(f"{self.url} is not the URL of a Harken service: it answers with {media_type}")
        return application_in(response.headers) or call.application or DEFAULT_APPLICATION


def _check_key(key: str) -> str:
    if not (isinstance(key, str) and key.isascii() and key.isprintable() and key and " " not in key):
        # The key may be a typo of a real one.
        raise ConfigurationError("The key must be an API key or a session token, without spaces and line breaks")
    return key


def _check_url(url: str) -> str:
    expected = "expected one such as https://feedback.example.com, with the path under which Harken is mounted, if any"
    try:
        # httpx accepts some hosts that the standard library does not.
        urlsplit(url)
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError, ValueError, AttributeError):
        raise ConfigurationError(f"The URL of the Harken service is not valid; {expected}") from None
    if parsed.userinfo:
        raise ConfigurationError("The URL of the Harken service must not have a user or password; use a key")
    if parsed.scheme not in ("http", "https") or not parsed.host or parsed.query or parsed.fragment:
        raise ConfigurationError(f"{url!r} is not the URL of a Harken service; {expected}")
    return str(parsed).rstrip("/")
