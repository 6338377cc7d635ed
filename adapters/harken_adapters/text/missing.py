"""The error for a missing package of the extra."""

from __future__ import annotations

from harken import MissingExtra


def missing(adapter: str, package: str) -> MissingExtra:
    """The error with the command that installs the package."""
    return MissingExtra(f'{adapter} needs the package {package!r}; try pip install "harken[text]"')
