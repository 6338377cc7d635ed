"""The style sheet of the dashboard."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from harken_adapters.hosts import frame


@cache
def style() -> bytes:
    """The style sheet, with what the dashboard shares with other pages."""
    return frame.STYLE + frame.CONTROLS + (files("harken_adapters.hosts.web") / "static" / "dashboard.css").read_bytes()
