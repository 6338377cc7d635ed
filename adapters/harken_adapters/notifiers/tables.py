"""Reading the table of a channel in the settings."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from harken.domain.errors import ConfigurationError
from harken.domain.texts import unknown_names


def check_keys(what: str, table: Mapping[str, object], known: Collection[str]) -> None:
    """See that a table has only keys that are known.

    Raises:
        ConfigurationError: it has others.
    """
    if problem := unknown_names(table, known):
        raise ConfigurationError(f"{what} sets {problem}")


def text_at(what: str, table: Mapping[str, object], key: str) -> str | None:
    """The text under a key; ``None`` if there is none.

    Raises:
        ConfigurationError: it is no text, or an empty one. What it is instead is not told: it may be a secret.
    """
    value = table.get(key)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    got = "an empty one" if isinstance(value, str) else f"a {type(value).__name__}"
    raise ConfigurationError(f"{key} of {what} must be a text, got {got}")
