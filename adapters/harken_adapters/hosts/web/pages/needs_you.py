"""What needs the visitor: open alerts, dead deliveries, and what waits for review."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final

from attrs import frozen
from markupsafe import Markup

from harken import Scope
from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import AlertKind
from harken.domain.texts import amount
from harken.services.notifications.deliveries import Cause
from harken_adapters.hosts.web.alert_words import alert_title, alert_values
from harken_adapters.hosts.web.delivery_words import cause_text
from harken_adapters.hosts.web.pages.alerts import PATH, may_see_deliveries
from harken_adapters.hosts.web.selection import Selection
from harken_adapters.hosts.web.visit import Visit
from harken_adapters.hosts.web.wording import duration_text, when_markup

_ALERTS: Final = 3


@frozen(kw_only=True)
class Need:
    """Something that needs the visitor.

    Attributes:
        icon: the name of its icon.
        kind: the CSS class of the icon: ``bad`` for failures.
        title: what.
        text: details.
        link: a link to the page where it can be dealt with.
    """

    icon: str
    kind: str
    title: str
    text: Markup | str
    link: str


def needs_you(visit: Visit, selection: Selection) -> list[Need]:
    """What needs the visitor, the most urgent first; empty if nothing does."""
    causes: Sequence[Cause] = ()
    if may_see_deliveries(visit):
        causes = visit.harken.deliveries.summary(application=visit.application).causes
    queue = [*_queue(visit, selection)]

    def is_said(alert: Alert) -> bool:
        """Whether another entry says the same, with present numbers."""
        if alert.kind is AlertKind.QUEUE:
            return bool(queue)
        return alert.kind is AlertKind.CHANNEL and alert.subject.value in [one.counted.channel for one in causes[:1]]

    return [*_alerts(visit, selection, is_said), *_deliveries(visit, selection, causes), *queue]


def _alerts(visit: Visit, selection: Selection, is_said: Callable[[Alert], bool]) -> Iterator[Need]:
    if visit.principal.agents is not None:
        return
    hk, link = visit.harken, f"{selection.link(f'{visit.home}{PATH}')}#alerts"
    found = [alert for alert in visit.open_alerts if not is_said(alert)]
    for alert in found[:_ALERTS]:
        since = when_markup(selection.local(alert.raised_at), visit.now)
        text = Markup(" · ").join(filter(None, (Markup("alert · open since {}").format(since), alert_values(alert))))
        yield Need(icon="bell", kind="bad", title=alert_title(alert, hk.alerts.rules, visit.now), text=text, link=link)
    if len(found) > _ALERTS:
        yield Need(icon="bell", kind="bad", title="More alerts are open", text="", link=link)


def _deliveries(visit: Visit, selection: Selection, causes: Sequence[Cause]) -> Iterator[Need]:
    if not causes:
        return
    hk = visit.harken
    total, first = sum(one.counted.count for one in causes), causes[0].counted
    states = {state.name: state for state in hk.channels.states()}
    text = cause_text(first, states.get(first.channel), selection.local(first.first_at), visit.now)
    title = f"{amount(total, 'delivery', 'deliveries')} {'is' if total == 1 else 'are'} dead"
    link = f"{selection.link(f'{visit.home}{PATH}')}#deliveries"
    yield Need(icon="replay", kind="bad", title=title, text=text, link=link)


def _queue(visit: Visit, selection: Selection) -> Iterator[Need]:
    if not visit.may(Scope.MODERATE) or visit.principal.agents is not None:
        return
    backlog = visit.backlog
    if backlog.waiting:
        yield Need(
            icon="clock",
            kind="warnt",
            title=f"{backlog.waiting:,} {'waits' if backlog.waiting == 1 else 'wait'} for review",
            text=f"oldest {duration_text(backlog.age(visit.now))} · not counted yet",
            link=selection.link(f"{visit.home}/moderation"),
        )
