"""What can be set about serving HTTP: the table ``[server]`` of ``harken.toml``, and ``HARKEN_SERVER_*``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from attrs import field, frozen

from harken import ConfigurationError
from harken.configuration.settings import check_types, load
from harken.domain.texts import unknown_names
from harken_adapters.hosts.http.guards.addresses import trusted_networks
from harken_adapters.hosts.http.guards.origins import origin_problem
from harken_adapters.hosts.http.guards.rate_limits import Limit
from harken_adapters.hosts.http.logs import LEVELS

_ACCESS: Final = ("keys", "open")
_CLIENT: Final = ("no", "hashed", "plain")
_LAST_PORT: Final = 65_535


@frozen(kw_only=True)
class ServerSettings:
    """What can be set about serving HTTP.

    Attributes:
        host: the address to listen on; ``harken serve`` needs a key first for any but a loopback one.
        port: the port to listen on; 0 for any that is free.
        workers: how many processes serve.
        access: ``keys`` requires an API key or a session token on every request; ``open`` requires neither, for a host
            application that guards Harken's paths itself. ``harken serve`` is stricter where it is open, see
            ``LoopbackOnly``.
        token_secrets: what session tokens are signed with; the first signs, all are believed. 32 bytes or more each.
        allowed_origins: the web origins whose pages may call, such as ``https://example.com``.
        trusted_proxies: the addresses or networks whose ``X-Forwarded-For`` is believed.
        limit_by_key: how often one API key may call, such as ``6000/minute``; empty for no limit.
        limit_by_session: how often feedback may be given on one session.
        limit_by_address: how often one address may call, unless with an API key; and, counted apart from that, how
            often with invalid credentials.
        limit_production: how often one address may use ``POST /api/feedback``.
        limit_storage: where calls are counted, such as ``redis://localhost``. If empty, in each process; of several
            workers on MongoDB, which ``harken serve`` starts, together in that.
        max_body: how many bytes a body may have.
        body_timeout: how many seconds a body may take to arrive.
        listeners: how many event streams may be open at a time in each process of a server that answers in threads, as
            WSGI servers do; one less than it has threads leaves one for everything else. If it has only one, none is.
        keep_client: whether the address and the user agent of who gives feedback is kept with it: ``no``; ``hashed``,
            which keeps a digest of the address, under a salt that is forgotten each day; or ``plain``.
        sanitize: whether markup is taken out of comments.
        sentiment: who tells how comments sound: ``vader``, ``textblob`` or ``none``.
        relay: whether the processes that serve also send what happens to channels. An application that is given a
            Harken leaves that to whoever connected it.
        relay_concurrency: how many deliveries to one channel may be under way at a time, in each process.
        evaluation_events: whether each feedback is also told to OpenTelemetry as ``gen_ai.evaluation.result``.
        log_json: whether logs are JSON even on a terminal.
        log_level: the least that is logged; each request is ``info``.
    """

    host: str = field(default="127.0.0.1")
    port: int = field(default=8000)
    workers: int = field(default=1)
    access: str = field(default="keys")
    token_secrets: tuple[str, ...] = field(default=(), repr=False)
    allowed_origins: tuple[str, ...] = field(default=())
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
            raise ConfigurationError(f"port must be from 0 (any that is free) to {_LAST_PORT}, got {self.port}")
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

    def limits(self) -> dict[str, Limit]:
        """The limits that are set, by what they are by: ``key``, ``session``, ``address`` or ``production``.

        Raises:
            ConfigurationError: one of them is no limit.
        """
        texts = {
            "key": self.limit_by_key,
            "session": self.limit_by_session,
            "address": self.limit_by_address,
            "production": self.limit_production,
        }
        return {name: Limit.parse(text) for name, text in texts.items() if text}

    @classmethod
    def load(cls, **arguments: object) -> ServerSettings:
        """Arguments that are not ``None``, then ``HARKEN_SERVER_*``, then ``[server]`` in the file, then defaults.

        Raises:
            ConfigurationError: an unknown name, or a value that makes no sense.
        """
        return load(cls, os.environ, Path.cwd(), "server", **arguments)

    @classmethod
    def of_table(cls, table: object, name: str) -> ServerSettings:
        """As :meth:`load`, from a table of the host's configuration, which calls it by that name.

        Raises:
            ConfigurationError: it is no table, has an unknown name, or a value that makes no sense.
        """
        if not isinstance(table, Mapping):
            raise ConfigurationError(f"{name} must be a table such as {{'access': 'open'}}, got {table!r}")
        if problem := unknown_names(table, cls.__annotations__):
            raise ConfigurationError(f"{name} sets {problem}")
        return cls.load(**table)


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
