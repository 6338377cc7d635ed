"""What to say where a package of an extra is not installed."""

from __future__ import annotations

from harken.domain.errors import MissingExtra


def missing(what: str, package: str, extra: str) -> MissingExtra:
    """The error that says which ``pip install`` mends it."""
    return MissingExtra(f'{what} needs the package {package!r}; try pip install "harken[{extra}]"')
