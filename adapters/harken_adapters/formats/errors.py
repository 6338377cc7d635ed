"""What can be wrong with a file, as a whole or in one row."""

from __future__ import annotations

from harken import HarkenError


class UnusableFile(HarkenError, ValueError):
    """Nothing in the file can be imported as things stand: a column is missing, or it is in no format that is known."""


class BadRow(HarkenError, ValueError):
    """One row cannot be understood; the message says why. The rows around it are none the worse."""
