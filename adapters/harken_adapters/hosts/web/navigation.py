"""What surrounds a page: the main menu, with the number of things that wait on each page, and the visitor."""

from __future__ import annotations

from collections.abc import Sequence

from harken import Cursor, FeedbackQuery, ModerationStatus, Scope
from harken.domain.instants import stamp
from harken.services.feed import Place
from harken_adapters.hosts.web.frame import Choice, Entry, Frame, uses_letter_keys, who_text
from harken_adapters.hosts.web.selection import Selection
from harken_adapters.hosts.web.visit import MOST_ALERTS, Visit
from harken_adapters.hosts.web.wording import capped_text, count_markup


def frame_of(
    visit: Visit, current: str, selection: Selection, *, in_any_state: bool = False, listens: bool = True
) -> Frame:
    """What surrounds a page: the main menu, the theme and the visitor.

    Args:
        visit: the request.
        current: the name of the page in the main menu.
        selection: the selection that links keep.
        in_any_state: whether the page is about feedback in any state, of any time.
        listens: whether new feedback changes the page.
    """
    browser = visit.principal.browser
    entries = navigation(visit, current, selection)
    return Frame(
        root=visit.root,
        home=visit.home,
        overview=selection.link(visit.home),
        theme=visit.theme,
        letter_keys=uses_letter_keys(visit.request),
        application=visit.application,
        applications=application_choices(visit, selection, entries),
        entries=entries,
        preferences=selection.link(f"{visit.home}/preferences"),
        back=_address(visit, entries),
        who=who_text(visit.principal),
        signed_in=browser is not None,
        ends_at=browser.expires_at if browser and browser.can_extend else None,
        zone="" if visit.is_form else selection.zone.key,
        events=selection.events_link(f"{visit.root}/api/events", in_any_state=in_any_state) if listens else "",
        events_after=str(Place(Cursor(visit.now, ""))),
        made_at=stamp(visit.now),
    )


def _address(visit: Visit, entries: Sequence[Entry]) -> str:
    """The address of the page; for the response to a form, that of the page in the main menu."""
    if visit.is_form:
        return next((entry.link for entry in entries if entry.is_current), visit.home)
    return visit.request.target


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
