"""``python -m harken``: the command line."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points

if __name__ == "__main__":
    # By its entry point, because the core does not import adapters.
    (command,) = entry_points(group="console_scripts", name="harken")
    sys.exit(command.load()())
