"""The error for a missing package of an extra."""

from __future__ import annotations

from harken.domain.errors import MissingExtra


def missing(what: str, package: str, extra: str) -> MissingExtra:
    """The error with the command that installs the package."""
    return MissingExtra(f'{what} needs the package {package!r}; try pip install "harken[{extra}]"')
