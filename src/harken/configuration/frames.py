"""Feedback as a table of a library for data analysis."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

from harken.configuration import plugins
from harken.domain.errors import ConfigurationError
from harken.domain.feedback import Feedback

ENTRY_POINTS: Final = "harken.frames"
#: The libraries whose tables Harken makes.
Library = Literal["arrow", "pandas", "polars"]
_EXTRAS: Final[Mapping[Library, str]] = {"arrow": "files", "pandas": "pandas", "polars": "polars"}


def to_frame(library: Library, feedback: Iterable[Feedback]) -> Any:
    """The table, with a row for each entry.

    Raises:
        MissingExtra: the library is not installed.
        ConfigurationError: no installed package makes such tables.
    """
    found = plugins.find(ENTRY_POINTS, library)
    if found is None:
        raise ConfigurationError(f"No installed package makes tables for {library}")
    make: Callable[[Iterable[Feedback]], Any] = plugins.load(found, f"to_{library}", _EXTRAS[library])
    return make(feedback)
