"""The main menu, with the number of things that wait on each page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen

from harken import FeedbackQuery, ModerationStatus, Scope
from harken_adapters.hosts.web.selection import Selection
from harken_adapters.hosts.web.wording import capped_text, count_markup

if TYPE_CHECKING:
    from harken_adapters.hosts.web.visit import Visit

#: More open alerts are not counted.
MOST_ALERTS: Final = 100


@frozen(kw_only=True)
class Entry:
    """An entry of the main menu.

    Attributes:
        name: the name of the page.
        path: its path.
        link: a link to it, with the same selection.
        is_current: whether it is the page that is shown.
        count: the number of things that wait there, as text; empty for none, and for other pages.
        counted: what is counted, for screen readers: ``waiting``.
        is_bad: whether the count is of failures.
    """

    name: str
    path: str
    link: str
    is_current: bool
    count: str = ""
    counted: str = ""
    is_bad: bool = False


@frozen
class Choice:
    """An application that the visitor can choose."""

    name: str
    link: str
    is_current: bool


def application_choices(visit: Visit, selection: Selection, entries: Sequence[Entry]) -> list[Choice]:
    """The applications, with links to the same page about each; empty if the visitor can choose none.

    The links keep the period, but no filters, as another application has other agents, sessions and reasons.
    """
    names = _applications(visit)
    if len(names) < 2:
        return []
    path = next((entry.path for entry in entries if entry.is_current), visit.home)
    filters = {name for name, _ in selection.filters}
    return [
        Choice(name, selection.link(path, ("application", name), without=filters), name == visit.application)
        for name in sorted(names)
    ]


def _applications(visit: Visit) -> set[str]:
    """The applications that the visitor may see."""
    if visit.principal.choices:
        return {choice.application for choice in visit.principal.choices}
    if visit.principal.application is not None:
        return {visit.principal.application}
    return {*visit.harken.moderation.applications(), visit.harken.application, visit.application}


def navigation(visit: Visit, current: str, selection: Selection) -> list[Entry]:
    """The entries that the visitor may use."""

    def entry(name: str, path: str, count: str = "", counted: str = "", *, is_bad: bool = False) -> Entry:
        return Entry(
            name=name,
            path=f"{visit.home}{path}",
            link=selection.link(f"{visit.home}{path}"),
            is_current=name == current,
            count=count,
            counted=counted,
            is_bad=is_bad,
        )

    entries = []
    if visit.may(Scope.READ):
        entries += [entry("Overview", ""), entry("Feedback", "/feedback")]
    if visit.may(Scope.MODERATE):
        waiting = _waiting(visit)
        entries.append(entry("Moderation", "/moderation", count_markup(waiting) if waiting else "", "waiting"))
    if visit.may(Scope.READ) and visit.principal.agents is None:
        count = capped_text(len(visit.open_alerts), MOST_ALERTS) if visit.open_alerts else ""
        entries.append(entry("Alerts", "/alerts", count, "open", is_bad=True))
    if visit.may(Scope.ADMIN):
        entries.append(entry("Settings", "/settings"))
    return entries


def _waiting(visit: Visit) -> int:
    """The number of entries that wait for a decision, of those that the visitor may see."""
    if visit.principal.agents is None:
        return visit.backlog.waiting
    pending = FeedbackQuery(application=visit.application, statuses=frozenset({ModerationStatus.PENDING}))
    return visit.harken.analytics.summary(visit.visible(pending)).total
