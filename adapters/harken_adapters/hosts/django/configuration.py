"""The Django setting ``HARKEN``, and the service that it configures."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from attrs import frozen
from django.conf import settings

from harken import ConfigurationError, Harken
from harken.domain.texts import unknown_names
from harken.services.forks import ForkSafeLock
from harken_adapters.hosts.http.serving.pages import PUBLIC_PAGES
from harken_adapters.hosts.http.serving.process_service import ProcessService
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.web.routes import PAGES

_KNOWN: Final = ("STORAGE", "SERVER", "PAGES", "HARKEN")


@frozen
class Configuration:
    """The values of the Django setting ``HARKEN``.

    Attributes:
        storage: the storage URL; by default that of the settings of Harken.
        server: the settings of the server.
        pages: whether to serve the dashboard, documentation, health and metrics too.
        harken: the Harken to serve. The project closes it and starts its relay.
    """

    storage: str | None
    server: ServerSettings
    pages: bool
    harken: Harken | None

    @classmethod
    def load(cls) -> Configuration:
        """Load the Django setting.

        Raises:
            ConfigurationError: a name is unknown, or a value is invalid.
        """
        table = getattr(settings, "HARKEN", {})
        if not isinstance(table, Mapping):
            raise ConfigurationError(f"HARKEN must be a table such as {{'STORAGE': 'sqlite:///f.db'}}, got {table!r}")
        if problem := unknown_names(table, _KNOWN, "setting"):
            raise ConfigurationError(f"HARKEN: {problem}")
        server = table.get("SERVER", {})
        if not isinstance(server, ServerSettings):
            server = ServerSettings.of_table(server, "HARKEN['SERVER']")
        return cls(
            storage=_get(table, "STORAGE", str),
            server=server,
            pages=_get(table, "PAGES", bool) is not False,
            harken=_get(table, "HARKEN", Harken),
        )


def _get(table: Mapping[str, Any], name: str, kind: type) -> Any:
    value = table.get(name)
    if value is not None and not isinstance(value, kind):
        raise ConfigurationError(f"HARKEN[{name!r}] must be a {kind.__name__}, got {value!r}")
    return value


_lock: Final = ForkSafeLock()
_services: Final[list[ProcessService]] = []


def current_service() -> ProcessService:
    """The service of the project, created on first use.

    Raises:
        ConfigurationError: a setting is invalid.
    """
    with _lock:
        if not _services:
            loaded = Configuration.load()
            _services.append(
                ProcessService(
                    loaded.server,
                    harken=loaded.harken,
                    storage=loaded.storage,
                    pages=PAGES if loaded.pages else PUBLIC_PAGES,
                )
            )
        return _services[0]


def current_harken() -> Harken:
    """The Harken of the project, connected on first use in each process.

    Raises:
        ConfigurationError: a setting is invalid.
        StorageError: the storage cannot be opened.
    """
    return current_service().harken


def reset() -> None:
    """Close the service. The next use loads the settings again."""
    with _lock:
        services, _services[:] = list(_services), []
    for service in services:
        service.close()
