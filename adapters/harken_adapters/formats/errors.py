"""Errors of imported files and rows."""

from __future__ import annotations

from harken import HarkenError, StaleFeedback


class UnusableFile(HarkenError, ValueError):
    """The file cannot be imported: a column is missing, or its format is unknown."""


class BadRow(HarkenError, ValueError):
    """A row is invalid; the message says why. Other rows are not affected."""


class ChangedMeanwhile(StaleFeedback):
    """The feedback changed while it was exported, so that the file would be incomplete."""
