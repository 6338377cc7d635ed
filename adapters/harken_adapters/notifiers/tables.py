"""Reads the table of a channel in the settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from harken.domain.errors import ConfigurationError
from harken.domain.texts import unknown_names


def check_keys(table: Mapping[str, object], known: Collection[str]) -> None:
    """Check that a table has only known keys.

    Raises:
        ConfigurationError: the table has an unknown key.
    """
    if problem := unknown_names(table, known):
        raise ConfigurationError(problem)


def text_at(what: str, table: Mapping[str, object], key: str) -> str | None:
    """The text of a key; ``None`` if the key is absent.

    Raises:
        ConfigurationError: the value is not text, or is empty. The message does not show it, as it may be a secret.
    """
    value = table.get(key)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    got = "an empty string" if isinstance(value, str) else type(value).__name__
    raise ConfigurationError(f"{key} of {what} must be a string, got {got}")


def texts_at(what: str, table: Mapping[str, object], key: str, *, shown: bool = True) -> list[str]:
    """The texts of a key; none if the key is absent.

    Raises:
        ConfigurationError: the value is not a list of texts. The message shows it if ``shown``.
    """
    value = table.get(key, ())
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return list(value)
    got = f", got {value!r}" if shown else ""
    raise ConfigurationError(f"{key} of {what} must be a list of strings{got}")
