"""What to say where a package of the extra is not installed."""

from __future__ import annotations

from harken import MissingExtra


def missing(adapter: str, package: str) -> MissingExtra:
    """The error that says which ``pip install`` mends it."""
    return MissingExtra(f'{adapter} needs the package {package!r}; try pip install "harken[text]"')
