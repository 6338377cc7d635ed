"""``harken``, the command line: feedback, figures, imports and exports without writing a program."""

from __future__ import annotations

import sys
from collections.abc import Sequence

_NEEDED = frozenset({"typer", "rich"})


def main(arguments: Sequence[str] | None = None, *, storage: str | None = None) -> int:
    """Run a command, taken from the process' arguments if none are given, and return its exit code.

    Without ``--storage`` it works on the one that is given here, or else that of the settings.
    """
    try:
        from harken_adapters.hosts.cli.app import run  # noqa: PLC0415 - what it needs may be missing
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _NEEDED:
            raise
        remedy = 'try pip install "harken[cli]"'
        sys.stderr.write(f"The command line needs the package {error.name!r}, which is not installed; {remedy}\n")
        return 2
    return run(sys.argv[1:] if arguments is None else arguments, storage=storage)
