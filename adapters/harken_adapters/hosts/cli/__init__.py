"""The ``harken`` command line."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_NEEDED = frozenset({"typer", "rich"})


def main(arguments: Sequence[str] | None = None, *, storage: str | None = None) -> int:
    """Run a command and return its exit code.

    Args:
        arguments: the command and its options; ``sys.argv[1:]`` by default.
        storage: the storage URL to use if ``arguments`` have no ``--storage``; by default that of the settings.
    """
    try:
        from harken_adapters.hosts.cli.app import run  # noqa: PLC0415 - a package may be missing
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDED:
            raise
        remedy = 'try pip install "harken[cli]"'
        sys.stderr.write(f"The command line needs the package {error.name!r}; {remedy}\n")
        return 2
    return run(sys.argv[1:] if arguments is None else arguments, storage=storage)
