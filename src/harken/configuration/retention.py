"""The retention of applications, from the settings and the tables ``[applications.<name>]`` of ``harken.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harken.configuration.settings import tables
from harken.domain.errors import ConfigurationError
from harken.domain.retention import Retention
from harken.domain.texts import unknown_names

_NAMES = ("retention",)


def load_retention(default: str, environ: Mapping[str, str], directory: Path) -> Retention:
    """The retention of the applications that have a table in the file, and ``default`` for all others.

    The file is ``harken.toml`` in ``directory``, or what ``HARKEN_CONFIG`` names.

    Raises:
        ConfigurationError: a table or a value is invalid.
    """
    found = tables(environ, directory).get("applications", {})
    if not isinstance(found, dict) or not all(isinstance(table, dict) for table in found.values()):
        raise ConfigurationError("applications must be tables, such as [applications.shop]")
    for name, table in found.items():
        if problem := unknown_names(table, _NAMES, "setting"):
            raise ConfigurationError(f"[applications.{name}]: {problem}")
    return Retention.parse(default, {name: table.get("retention", default) for name, table in found.items()})
