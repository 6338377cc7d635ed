"""All issues of a selection: the reasons that people chose, or the words of their comments."""

from __future__ import annotations

from typing import Final

from harken import Harken, Issues
from harken_adapters.charts.themes import downs_text, issues_sentence
from harken_adapters.hosts.http.wire.messages import Response
from harken_adapters.hosts.web.filter_bar import filter_bar
from harken_adapters.hosts.web.issues import rows_of
from harken_adapters.hosts.web.navigation import frame_of
from harken_adapters.hosts.web.selection import Selection
from harken_adapters.hosts.web.visit import Visit

PATH: Final = "/issues"
_MOST: Final = 50
#: What the overview shows of them.
_FEW: Final = 5


def ask(hk: Harken, selection: Selection, *, reasons: bool) -> Issues:
    """The issues. To find words can take seconds."""
    analytics = hk.analytics.page()
    if reasons:
        return analytics.reasons(selection.periods, limit=_MOST)
    # As many as for the overview, which shows them at once if they are known.
    return analytics.theme_issues(selection.periods)


def show(visit: Visit) -> Response:
    """The response with the page, or with what the overview shows of it."""
    selection = visit.selection(known=("issues", "fragment"))
    is_part = selection.parameters.truth("fragment") or False
    reasons = selection.choice("issues", ("reasons", "words")) == "reasons"
    found = ask(visit.harken, selection, reasons=reasons)
    here, path = selection.keeping(["issues"]), f"{visit.home}{PATH}"
    rows = rows_of(visit, found, selection, here=selection, reasons=reasons)
    return visit.show(
        "issues_part.html" if is_part else "issues.html",
        title="Common issues",
        sentence=issues_sentence(found, reasons=reasons),
        found=found,
        kind="reasons" if reasons else "words",
        downs=downs_text(found),
        rows=rows[:_FEW] if is_part else rows,
        bar=filter_bar(here, path, visit.home, "issues"),
        frame=frame_of(visit, "Overview", selection),
        selection=selection,
        here=here,
        path=path,
    )
