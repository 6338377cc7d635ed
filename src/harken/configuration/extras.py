"""Imports that need an extra of Harken."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from harken.domain.errors import MissingExtra


@contextmanager
def requires(what: str, extra: str) -> Iterator[None]:
    """Name the extra to install if an import in the ``with`` block lacks a package.

    If blocks are nested, the outermost one names its extra, which installs what the others need too.

    Args:
        what: the name to use in the error for what is imported.
        extra: the extra of Harken that installs the packages.

    Raises:
        MissingExtra: a package is not installed.
    """
    try:
        yield
    except (ModuleNotFoundError, MissingExtra) as error:
        cause = error.__cause__ if isinstance(error, MissingExtra) else error
        package = (getattr(cause, "name", None) or "").partition(".")[0]
        if not package or package in sys.stdlib_module_names or package.startswith("harken"):
            raise
        raise MissingExtra(f'{what} needs the package {package!r}; try pip install "harken[{extra}]"') from error
