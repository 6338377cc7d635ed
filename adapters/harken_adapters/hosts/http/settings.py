"""The settings of the HTTP server: the table ``[server]`` of ``harken.toml``, and ``HARKEN_SERVER_*``."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import field, frozen

from harken import ConfigurationError
from harken.configuration.settings import check_types, load
from harken.domain.texts import unknown_names
from harken_adapters.hosts.http.guards.addresses import is_loopback, trusted_networks
from harken_adapters.hosts.http.guards.groups import GroupGrant, GroupGrants
from harken_adapters.hosts.http.guards.rate_limits import Limit
from harken_adapters.hosts.http.logs import LEVELS
from harken_adapters.tokens.origins import origin_problem

_ACCESS: Final = ("keys", "open")
_CLIENT: Final = ("no", "hashed", "plain")
_LAST_PORT: Final = 65_535
_PUBLIC_URL: Final = re.compile(r"https?://[A-Za-z0-9.\-_\[\]:]+(?:/[A-Za-z0-9._~%\-]+)*")


@frozen(kw_only=True)
class ServerSettings:
    """The settings of the HTTP server.

    Attributes:
        host: the address to listen on. ``harken serve`` requires an API key for any address other than loopback.
        port: the port to listen on; 0 selects a free port.
        workers: the number of processes.
        access: ``keys`` requires an API key or a session token on every request. ``open`` requires neither, for a host
            application that controls access to Harken's paths itself; ``harken serve`` then accepts only direct
            requests from localhost, see ``LoopbackOnly``.
        token_secrets: the secrets of session tokens, 32 bytes or more each. The first one signs, all verify.
        allowed_origins: the web origins whose pages may call the API, such as ``https://example.com`` (CORS).
        public_url: the URL at which browsers reach the service, such as ``https://example.com/feedback``, without a
            trailing slash. OpenID Connect needs it.
        oidc_issuer: the URL of the OpenID Connect provider with which people sign in; empty for none.
        oidc_client_id: the id of this service at the provider.
        oidc_client_secret: the secret of this service at the provider; empty for a public client.
        oidc_name: the name of the provider on the sign-in page.
        oidc_scopes: the OAuth scopes that are requested, separated by spaces.
        oidc_groups_claim: the claim that has the groups of a person, in the ID token or the user info.
        oidc_groups: what the members of each group may do, such as ``support: read moderate``, which applies to the
            application of the service, or ``shop-team: read in shop``.
        trusted_proxies: the addresses or networks of proxies whose ``X-Forwarded-For`` is trusted.
        limit_by_key: the rate limit of one API key, such as ``6000/minute``; empty for none.
        limit_by_session: the rate limit of feedback on one session.
        limit_by_address: the rate limit of one client address without an API key; invalid credentials are counted
            separately, with the same limit.
        limit_production: the rate limit of ``POST /api/feedback`` for one client address.
        limit_storage: the URL of the storage of rate limits, such as ``redis://localhost``. If it is empty, each
            process counts separately, except that several workers of ``harken serve`` on MongoDB share their counts
            there.
        max_body: the maximum size of a request body, in bytes.
        body_timeout: the maximum time for a request body to arrive, in seconds.
        listeners: the maximum number of open event streams in each process of a threaded (WSGI) server. Use at most
            one less than the number of threads. A server with a single thread accepts none.
        keep_client: whether the client address and user agent are stored with feedback: ``no``; ``hashed``, which
            stores a digest of the address with a salt that is discarded each day; or ``plain``.
        sanitize: whether markup is removed from comments.
        sentiment: the sentiment analyser: ``vader``, ``textblob`` or ``none``.
        relay: whether the server processes also run the relay, which delivers notifications. If the application passes
            a Harken, starting the relay is up to the application.
        relay_concurrency: the maximum number of concurrent deliveries to one channel in each process.
        evaluation_events: whether each entry is also emitted to OpenTelemetry as ``gen_ai.evaluation.result``.
        log_json: whether logs are JSON even on a terminal.
        log_level: the minimum log level; requests are logged as ``info``.
    """

    host: str = field(default="127.0.0.1")
    port: int = field(default=8000)
    workers: int = field(default=1)
    access: str = field(default="keys")
    token_secrets: tuple[str, ...] = field(default=(), repr=False)
    allowed_origins: tuple[str, ...] = field(default=())
    public_url: str = field(default="")
    oidc_issuer: str = field(default="")
    oidc_client_id: str = field(default="")
    oidc_client_secret: str = field(default="", repr=False)
    oidc_name: str = field(default="single sign-on")
    oidc_scopes: str = field(default="openid profile")
    oidc_groups_claim: str = field(default="groups")
    oidc_groups: tuple[str, ...] = field(default=())
    trusted_proxies: tuple[str, ...] = field(default=())
    limit_by_key: str = field(default="6000/minute")
    limit_by_session: str = field(default="60/minute")
    limit_by_address: str = field(default="600/minute")
    limit_production: str = field(default="5/minute")
    limit_storage: str = field(default="", repr=False)
    max_body: int = field(default=64 * 1024)
    body_timeout: int = field(default=10)
    listeners: int = field(default=1)
    keep_client: str = field(default="no")
    sanitize: bool = field(default=True)
    sentiment: str = field(default="vader")
    relay: bool = field(default=True)
    relay_concurrency: int = field(default=4)
    evaluation_events: bool = field(default=False)
    log_json: bool = field(default=False)
    log_level: str = field(default="info")

    def __attrs_post_init__(self) -> None:
        check_types(self)
        if not 0 <= self.port <= _LAST_PORT:
            raise ConfigurationError(f"port must be from 0 (a free port) to {_LAST_PORT}, got {self.port}")
        for name in ("workers", "max_body", "body_timeout", "relay_concurrency"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.listeners < 0:
            raise ConfigurationError(f"listeners must be at least 0, got {self.listeners}")
        _check_word("access", self.access, _ACCESS)
        _check_word("keep_client", self.keep_client, _CLIENT)
        _check_word("log_level", self.log_level, LEVELS)
        for origin in self.allowed_origins:
            _check_origin(origin)
        self.limits()
        trusted_networks(self.trusted_proxies)
        _check_public_url(self.public_url)
        self.groups("")
        if self.oidc_issuer:
            self._check_openid()

    def limits(self) -> dict[str, Limit]:
        """The rate limits that are set, by name: ``key``, ``session``, ``address`` or ``production``.

        Raises:
            ConfigurationError: a setting is not a valid rate limit.
        """
        texts = {
            "key": self.limit_by_key,
            "session": self.limit_by_session,
            "address": self.limit_by_address,
            "production": self.limit_production,
        }
        return {name: Limit.parse(text) for name, text in texts.items() if text}

    def groups(self, application: str) -> GroupGrants:
        """What the members of each group may do.

        Args:
            application: the application of the service.

        Raises:
            ConfigurationError: a grant is malformed.
        """
        return GroupGrants(tuple(map(GroupGrant.parse, self.oidc_groups)), application, self.oidc_issuer)

    def _check_openid(self) -> None:
        for name in ("public_url", "oidc_client_id", "oidc_groups", "oidc_name", "oidc_groups_claim"):
            if not getattr(self, name):
                raise ConfigurationError(f"{name} must be set, as oidc_issuer is")
        if "openid" not in self.oidc_scopes.split():
            raise ConfigurationError(f"oidc_scopes must contain 'openid', got {self.oidc_scopes!r}")
        if not is_secure_url(self.oidc_issuer):
            raise ConfigurationError(f"oidc_issuer must be an https URL, got {self.oidc_issuer!r}")

    @classmethod
    def load(cls, **arguments: Any) -> ServerSettings:
        """Load the settings: arguments that are not ``None``, then ``HARKEN_SERVER_*``, then ``[server]`` in the file.

        Raises:
            ConfigurationError: a name is unknown, or a value is invalid.
        """
        return load(cls, os.environ, Path.cwd(), "server", **arguments)

    @classmethod
    def of_table(cls, table: object, name: str) -> ServerSettings:
        """Like :meth:`load`, with arguments from a mapping in the host's configuration; ``name`` is for messages.

        Raises:
            ConfigurationError: it is not a mapping, a name is unknown, or a value is invalid.
        """
        if not isinstance(table, Mapping):
            raise ConfigurationError(f"{name} must be a table such as {{'access': 'open'}}, got {table!r}")
        if problem := unknown_names(table, cls.__annotations__, "setting"):
            raise ConfigurationError(f"{name}: {problem}")
        return cls.load(**table)


def is_secure_url(url: str) -> bool:
    """Whether a URL is one with ``https``, or with ``http`` on the local machine."""
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        return False
    if not host or not url.isascii() or not url.isprintable():
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and (host == "localhost" or is_loopback(host)))


def _check_public_url(url: str) -> None:
    if url and not _PUBLIC_URL.fullmatch(url):
        raise ConfigurationError(
            f"public_url must be a URL such as 'https://example.com/feedback', without a trailing slash; got {url!r}"
        )


def _check_word(name: str, word: str, known: Sequence[str]) -> None:
    if word not in known:
        raise ConfigurationError(f"{name} must be one of {', '.join(known)}; got {word!r}")


def _check_origin(origin: str) -> None:
    if origin == "*":
        return
    problem = origin_problem(origin)
    if problem is None and not origin.startswith(("http://", "https://")):
        problem = "expected an origin such as 'https://shop.example'"
    if problem:
        raise ConfigurationError(f"allowed_origins has {origin!r}; {problem}")
