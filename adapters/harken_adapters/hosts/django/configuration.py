"""What ``HARKEN`` of a project's settings says, and the service that comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock
from typing import Any, Final

from attrs import frozen
from django.conf import settings

from harken import ConfigurationError, Harken
from harken.domain.texts import unknown_names
from harken_adapters.hosts.http.serving.process_service import Service
from harken_adapters.hosts.http.settings import ServerSettings

_KNOWN: Final = ("STORAGE", "SERVER", "PAGES", "HARKEN")


@frozen
class Configuration:
    """What can be set.

    Attributes:
        storage: the URL of the storage; without one, the settings of Harken say.
        server: how it is served.
        pages: whether documentation, health and figures are there too.
        harken: what is served, which stays its owner's to close, and whose relay is its owner's to start.
    """

    storage: str | None
    server: ServerSettings
    pages: bool
    harken: Harken | None

    @classmethod
    def load(cls) -> Configuration:
        """What the project's settings say.

        Raises:
            ConfigurationError: an unknown name, or a value that makes no sense.
        """
        table = getattr(settings, "HARKEN", {})
        if not isinstance(table, Mapping):
            raise ConfigurationError(f"HARKEN must be a table such as {{'STORAGE': 'sqlite:///f.db'}}, got {table!r}")
        if problem := unknown_names(table, _KNOWN):
            raise ConfigurationError(f"HARKEN sets {problem}")
        server = table.get("SERVER", {})
        if not isinstance(server, ServerSettings):
            server = ServerSettings.of_table(server, "HARKEN['SERVER']")
        return cls(
            storage=_kind_of(table, "STORAGE", str),
            server=server,
            pages=_kind_of(table, "PAGES", bool) is not False,
            harken=_kind_of(table, "HARKEN", Harken),
        )


def _kind_of(table: Mapping[str, Any], name: str, kind: type) -> Any:
    value = table.get(name)
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"HARKEN[{name!r}] must be a {kind.__name__}, got {value!r}")
    return value


_lock: Final = Lock()
_services: Final[list[Service]] = []


def current_service() -> Service:
    """What answers for the project; made when it is first asked for.

    Raises:
        ConfigurationError: a setting makes no sense.
    """
    with _lock:
        if not _services:
            said = Configuration.load()
            _services.append(Service(said.server, harken=said.harken, storage=said.storage, pages=said.pages))
        return _services[0]


def current_harken() -> Harken:
    """The Harken of the project, for its views; connected when it is first asked for, in the process that asks.

    Raises:
        ConfigurationError: a setting makes no sense.
        StorageError: the storage cannot be opened.
    """
    return current_service().harken


def forget() -> None:
    """Close what was opened; whoever asks next reads the settings anew."""
    with _lock:
        services, _services[:] = list(_services), []
    for service in services:
        service.close()
