"""Exit codes of the command line."""

from __future__ import annotations

from typing import Final

FAILED: Final = 1
WRONG_USAGE: Final = 2
#: Also for what was done only in part: some rows were rejected, or a copy left differences.
REFUSED: Final = 3
NOT_FOUND: Final = 4
STORAGE_FAILED: Final = 5
# What a shell reports for a program ended by SIGINT or SIGPIPE: 128 plus the number of the signal.
INTERRUPTED: Final = 130
PIPE_CLOSED: Final = 141
