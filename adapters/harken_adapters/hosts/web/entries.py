"""How feedback is shown in lists."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from attrs import frozen

from harken import Feedback

if TYPE_CHECKING:
    from harken_adapters.hosts.web.selection import Selection
    from harken_adapters.hosts.web.visit import Visit


@frozen(kw_only=True)
class EntryView:
    """An entry of a list.

    Attributes:
        feedback: the feedback.
        link: a link to its page.
        parts: its comment in parts, each with whether it is a hit of the search.
        time: the local time.
    """

    feedback: Feedback
    link: str
    parts: tuple[tuple[str, bool], ...]
    time: datetime


def entry_view(visit: Visit, selection: Selection, feedback: Feedback) -> EntryView:
    """An entry of a list of the selection."""
    return EntryView(
        feedback=feedback,
        link=selection.link(f"{visit.home}/feedback/{quote(feedback.id, safe='')}"),
        parts=((feedback.comment, False),),
        time=selection.local(feedback.created_at),
    )
