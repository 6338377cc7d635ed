"""Finding what other packages add, by the names of their entry points."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points
from typing import Any

from harken.domain.errors import ConfigurationError, MissingExtra


def find(group: str, name: str) -> EntryPoint | None:
    """The entry point of that name; the first one, if several packages have it."""
    return next(iter(entry_points(group=group).select(name=name)), None)


def names(group: str) -> list[str]:
    """What is installed, sorted."""
    return sorted(entry_points(group=group).names)


def load(entry_point: EntryPoint, what: str, extra: str) -> Any:
    """What an entry point names.

    Args:
        entry_point: where it is.
        what: what to call it in an error.
        extra: what brings what it needs, if it is ours.

    Raises:
        MissingExtra: a package that it needs is not installed.
        ConfigurationError: it cannot be used.
    """
    try:
        return entry_point.load()
    except ModuleNotFoundError as error:
        message = f"{what} needs the package {error.name!r}, which is not installed; {_mend(entry_point, extra)}"
        raise MissingExtra(message) from error
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"The package that serves {what} cannot be used: {error}") from error


def _mend(entry_point: EntryPoint, extra: str) -> str:
    package = entry_point.dist.name if entry_point.dist else "harken"
    if package != "harken":
        return f"install what {package} needs"
    return f'try pip install "harken[{extra}]"'
