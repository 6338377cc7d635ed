"""Finds and loads the plug-ins of installed packages, by the names of their entry points."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harken.domain.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint, EntryPoints


def find(group: str, name: str) -> EntryPoint | None:
    """The entry point of that name; the first one, if several packages have it."""
    return next(iter(_entry_points(group).select(name=name)), None)


def names(group: str) -> list[str]:
    """The names of all installed entry points of a group, sorted."""
    return sorted(_entry_points(group).names)


def load(entry_point: EntryPoint, what: str, extra: str) -> Any:
    """The object that an entry point refers to.

    Args:
        entry_point: the entry point.
        what: the name to use for it in an error.
        extra: the extra of Harken that installs its dependencies, if the entry point is Harken's.

    Raises:
        MissingExtra: a package that it needs is not installed.
        ConfigurationError: it cannot be imported.
    """
    try:
        return entry_point.load()
    except ModuleNotFoundError as error:
        message = f"{what} needs the package {error.name!r}, which is not installed; {_remedy(entry_point, extra)}"
        raise MissingExtra(message) from error
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"The package that serves {what} cannot be used: {error}") from error


def _entry_points(group: str) -> EntryPoints:
    # Not at the top: it would be a fifth of the time that importing harken takes.
    from importlib.metadata import entry_points  # noqa: PLC0415

    return entry_points(group=group)


def _remedy(entry_point: EntryPoint, extra: str) -> str:
    package = entry_point.dist.name if entry_point.dist else "harken"
    if package != "harken":
        return f"install the dependencies of {package}"
    return f'try pip install "harken[{extra}]"'
