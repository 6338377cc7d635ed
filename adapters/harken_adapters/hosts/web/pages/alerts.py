"""Alerts, and for those who may see them channels and deliveries; the forms that switch channels and replay."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Final
from urllib.parse import quote

from attrs import frozen

from harken import DeliveryNotFound, Harken, Scope
from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import AlertKind
from harken.domain.events import Delivery, DeliveryState, EventType
from harken.domain.texts import amount
from harken.services.notifications.channels import MAX_REASON, ChannelStatus
from harken.services.notifications.deliveries import DeliveryFilters, DeliverySummary
from harken_adapters.formats.notification import alert_details
from harken_adapters.hosts.http.guards.permissions import check_operator
from harken_adapters.hosts.http.wire.messages import Response
from harken_adapters.hosts.http.wire.parameters import invalid
from harken_adapters.hosts.web.alert_words import alert_title, alert_values
from harken_adapters.hosts.web.delivery_words import (
    STATES,
    Outcome,
    Step,
    Subjects,
    cause_text,
    channel_count,
    channel_mark,
    channel_text,
    last_deliveries,
    outcome_of,
    steps_of,
    what_of,
)
from harken_adapters.hosts.web.forms import form_of
from harken_adapters.hosts.web.navigation import frame_of
from harken_adapters.hosts.web.selection import Pair, Selection
from harken_adapters.hosts.web.visit import MOST_ALERTS, Visit
from harken_adapters.hosts.web.wording import capped_text, join_words

PATH: Final = "/alerts"
REPLAY_PATH: Final = f"{PATH}/replay"
REPLAY_ALL_PATH: Final = f"{PATH}/replay-all"
CHANNEL_ON_PATH: Final = f"{PATH}/channels/{{channel}}/on"
CHANNEL_OFF_PATH: Final = f"{PATH}/channels/{{channel}}/off"
_ALERTS: Final = 10
_DELIVERIES: Final = 25
#: A row is read again if it is due within this time, as the clocks of two processes may differ a little.
_SOON: Final = timedelta(seconds=30)
#: The filters of deliveries, with the names of the HTTP API.
FILTERS: Final = ("channel", "type", "cause", "feedback_id", "alert_id")
_ABOUT_ONE: Final = ("feedback_id", "alert_id")
_TABS: Final = {"dead": DeliveryState.DEAD, "waiting": DeliveryState.PENDING, "arrived": DeliveryState.DELIVERED}
_ANY: Final = "any"
#: The marks of channels, in the order in which they are listed.
_BY_MARK: Final = ("e", "w", "u", "")
_OWN: Final = ("alerts", "alerts_after", "state", *FILTERS, "after", "open", "done", "count")
#: What the page that asks before many are replayed does not know.
_NOT_ASKED: Final = ("alerts", "alerts_after", "state")
_DONE: Final = {
    "replayed": "Sent again under the same id. Its row shows what becomes of it.",
    "enabled": "The channel is on. Its dead deliveries stay dead until you replay them.",
    "disabled": "The channel is off. Nothing is sent to it until it is enabled.",
}


@frozen(kw_only=True)
class Outbound:
    """The channels and deliveries of an application.

    Attributes:
        channels: the status of each channel, with its numbers of all deliveries.
        summary: the numbers and causes of the deliveries that match the filters.
        deliveries: a page of them in one state.
        opened: the delivery whose attempts are shown; it may be in another state.
        next: the id of the last delivery of the page, if there are more.
        subjects: what they are about.
    """

    channels: Sequence[ChannelStatus]
    summary: DeliverySummary
    deliveries: Sequence[Delivery]
    opened: Delivery | None
    next: str | None
    subjects: Subjects

    @property
    def now(self) -> datetime:
        """The time of the clock by which deliveries are due; that of the visit may differ."""
        return self.summary.as_of


@frozen(kw_only=True)
class AlertView:
    """An alert as it is shown.

    Attributes:
        alert: the alert.
        title: what happened.
        values: the values that raised it.
        see: a link to the feedback that it is about.
        sent: the channels that it was sent to, each with what became of that.
        deliveries: a link to these deliveries.
    """

    alert: Alert
    title: str
    values: str
    see: str | None
    sent: Sequence[tuple[str, str]]
    deliveries: str


@frozen(kw_only=True)
class DeliveryView:
    """A delivery as it is shown.

    Attributes:
        delivery: the delivery.
        what: what it is about.
        outcome: where it stands, and why.
        last: when the last attempt was, or when it was due, in local time.
        is_open: whether its attempts are shown.
        toggle: a link that shows or hides them.
        steps: its attempts.
        about: a link to the feedback that it is about.
        locked: why it cannot be replayed; empty if it can.
        is_changing: whether it is sent now or soon, so that the row is worth reading again.
    """

    delivery: Delivery
    what: str
    outcome: Outcome
    last: datetime
    is_open: bool
    toggle: str
    steps: Sequence[Step]
    about: str | None
    locked: str
    is_changing: bool


def ask_alerts(hk: Harken, application: str, *, is_open: bool, after: str | None) -> Sequence[Alert]:
    """A page of alerts, the last raised first, and one more if there are more."""
    place = hk.alerts.get(application, after) if after else None
    return hk.alerts.find(application, open=is_open, limit=_ALERTS + 1, after=place)


def ask_outbound(
    hk: Harken,
    filters: DeliveryFilters,
    state: DeliveryState | None,
    *,
    after: str | None,
    opened: str | None,
    midnight: datetime,
) -> Outbound:
    """The channels and a page of deliveries.

    Args:
        hk: the services.
        filters: the filters of deliveries, with their application.
        state: their state; ``None`` for any.
        after: the id of a delivery, to continue after it. If it was erased, the page is the first.
        opened: the id of the delivery whose attempts are shown.
        midnight: those that arrived since then are counted.
    """
    application = filters.get("application")
    # What waits begins with what is due first, everything else with the latest.
    newest_first = state is not DeliveryState.PENDING
    if after is not None and _find(hk, after, application) is None:
        after = None
    found = hk.deliveries.find(state, limit=_DELIVERIES + 1, after=after, newest_first=newest_first, **filters)
    shown, chosen = found[:_DELIVERIES], _find(hk, opened, application) if opened else None
    return Outbound(
        channels=hk.channels.statuses(application, since=midnight),
        summary=hk.deliveries.summary(since=midnight, **filters),
        deliveries=shown,
        opened=chosen,
        next=shown[-1].id if len(found) > _DELIVERIES else None,
        subjects=hk.deliveries.subjects([*shown, *([chosen] if chosen else [])]),
    )


def _find(hk: Harken, delivery_id: str, application: str | None) -> Delivery | None:
    try:
        return hk.deliveries.get(delivery_id, application=application)
    except DeliveryNotFound:
        return None


def may_see_deliveries(visit: Visit) -> bool:
    """Whether the visitor may see channels and deliveries, which concern all agents."""
    return visit.may(Scope.ADMIN) and visit.principal.agents is None


def may_switch(visit: Visit) -> bool:
    """Whether the visitor may switch channels, which all applications share."""
    return may_see_deliveries(visit) and visit.principal.application in (None, visit.harken.application)


def show(visit: Visit) -> Response:
    """The response with the page."""
    hk, selection, path = visit.harken, _selection(visit), f"{visit.home}{PATH}"
    tab = selection.choice("alerts", ("open", "resolved"))
    found = ask_alerts(hk, visit.application, is_open=tab == "open", after=selection.parameters.get("alerts_after"))
    state, outbound = "", None
    if may_see_deliveries(visit):
        state, outbound = _outbound(visit, selection)
    # Nothing counts alerts, which are few; those that are resolved are read for their number alone.
    resolved = hk.alerts.find(visit.application, open=False, limit=MOST_ALERTS + 1)
    title, lead = headline(len(visit.open_alerts), outbound.channels if outbound else ())
    return visit.show(
        "alerts.html",
        title=title,
        lead=lead,
        tab_name=tab,
        open_count=capped_text(len(visit.open_alerts), MOST_ALERTS),
        resolved_count=capped_text(len(resolved), MOST_ALERTS),
        alerts=[_alert_view(visit, selection, one) for one in found[:_ALERTS]],
        older_alerts=found[_ALERTS - 1].id if len(found) > _ALERTS else None,
        outbound=outbound,
        state=state,
        filters={name: selection.parameters.get(name) for name in FILTERS},
        kept=[*selection.pairs, *_own(selection, without=("channel", "type")).items()],
        total=_total(outbound.summary, state) if outbound else None,
        rows=_rows(visit, selection, outbound) if outbound else [],
        channels=_channels(selection, outbound) if outbound else [],
        cause=_cause(selection, outbound) if outbound else None,
        done=_done(selection),
        may_switch=may_switch(visit),
        types=[type_.value for type_ in EventType],
        longest_reason=MAX_REASON,
        frame=frame_of(visit, "Alerts", selection, listens=False),
        selection=selection,
        path=path,
        link=partial(_link, selection, path),
        replay_link=partial(_link, selection, f"{visit.home}{REPLAY_PATH}"),
        replay_all_link=partial(_link, selection, f"{visit.home}{REPLAY_ALL_PATH}", without=_NOT_ASKED),
    )


def switch_on(visit: Visit) -> Response:
    """Switch a channel on."""
    check_operator(visit.principal, visit.harken.application)
    visit.harken.channels.switch_on(visit.request.parts["channel"])
    return _back(visit, ("done", "enabled"))


def switch_off(visit: Visit) -> Response:
    """Switch a channel off, with a reason."""
    check_operator(visit.principal, visit.harken.application)
    reason = form_of(visit.request).get("reason", "").strip()
    visit.harken.channels.switch_off(visit.request.parts["channel"], reason)
    return _back(visit, ("done", "disabled"))


def replay(visit: Visit) -> Response:
    """Replay one delivery, and show its row."""
    delivery_id = form_of(visit.request).get("id", "")
    visit.harken.deliveries.replay(delivery_id, application=visit.application)
    return _back(visit, ("open", delivery_id), ("done", "replayed"), anchor=anchor_of(delivery_id))


# --- What the query string selects ------------------------------------------------------------------------------------


def _selection(visit: Visit) -> Selection:
    """The selection that links keep."""
    return visit.unlimited_selection(_OWN)


def filters_of(selection: Selection, application: str) -> DeliveryFilters:
    """The filters of deliveries in a query string."""
    given = {name: selection.parameters.get(name) or None for name in FILTERS}
    if given["type"] is not None and given["type"] not in (known := [one.value for one in EventType]):
        raise invalid("type", "unknown", f"type must be one of {', '.join(known)}; got {given['type'][:100]!a}")
    return {"application": application, **given}  # type: ignore[typeddict-item] # the names are those of the filters


def _outbound(visit: Visit, selection: Selection) -> tuple[str, Outbound]:
    parameters = selection.parameters
    about_one = any(parameters.get(name) for name in _ABOUT_ONE)
    states = (_ANY, *_TABS) if about_one else (*_TABS, _ANY)
    state = selection.choice("state", states)
    return state, ask_outbound(
        visit.harken,
        filters_of(selection, visit.application),
        _TABS.get(state),
        after=parameters.get("after"),
        opened=parameters.get("open"),
        midnight=selection.local(visit.now).replace(hour=0, minute=0, second=0, microsecond=0),
    )


def _own(selection: Selection, *, without: Sequence[str] = ()) -> dict[str, str]:
    """The own parameters of the page that links keep. A choice begins again with its first page."""
    left_out = {*without, "after", "open", "done", "count"}
    values = selection.parameters.values
    return {name: values[name][0] for name in _OWN if values.get(name, [""])[0] and name not in left_out}


def _link(selection: Selection, path: str, *more: Pair, without: Sequence[str] = ()) -> str:
    """A link to the same page with other parameters of its own."""
    return selection.link(path, *(_own(selection, without=without) | dict(more)).items())


def _back(visit: Visit, *more: Pair, anchor: str = "main") -> Response:
    # Without a fragment of its own, browsers would keep that of the form.
    return visit.redirect(f"{_link(_selection(visit), f'{visit.home}{PATH}', *more)}#{quote(anchor, safe='')}")


def anchor_of(delivery_id: str) -> str:
    """The id of the row of a delivery."""
    return f"delivery-{delivery_id}"


# --- What is shown ----------------------------------------------------------------------------------------------------


def headline(open_alerts: int, channels: Sequence[ChannelStatus]) -> tuple[str, str]:
    """The title of the page and the sentence below it: ``2 open alerts, 1 channel is off``."""
    off = sum(not one.state.on for one in channels)
    dead = {one.state.name: one.dead for one in channels if one.dead}
    count = capped_text(open_alerts, MOST_ALERTS) if open_alerts else "No"
    title = f"{count} open alert{'' if open_alerts == 1 else 's'}"
    if off:
        title += f", {amount(off, 'channel')} {'is' if off == 1 else 'are'} off"
    if not dead:
        return title, _arrived_text(channels) if channels and not off else ""
    total = sum(dead.values())
    names = join_words([f"“{name}”" for name in dead]) if len(dead) < 3 else amount(len(dead), "channel")
    kept = "It is kept until you replay it." if total == 1 else "They are kept until you replay them."
    return title, f"{amount(total, 'delivery', 'deliveries')} to {names} did not arrive. {kept}"


def _arrived_text(channels: Sequence[ChannelStatus]) -> str:
    if waiting := sum(one.pending for one in channels):
        return f"{amount(waiting, 'delivery', 'deliveries')} {'waits' if waiting == 1 else 'wait'} to be sent."
    return "Everything that was sent has arrived."


def _alert_view(visit: Visit, selection: Selection, alert: Alert) -> AlertView:
    hk = visit.harken
    sent = []
    if may_see_deliveries(visit):
        # The resolution comes after the alert, so the last state of each channel counts.
        last = last_deliveries(hk, alert_id=alert.id, application=alert.application)
        sent = [(channel, STATES[one.state]) for channel, one in last.items()]
    return AlertView(
        alert=alert,
        title=alert_title(alert, hk.alerts.rules, visit.now),
        values=_values(hk, alert),
        see=see_alert(visit, selection, alert),
        sent=sent,
        deliveries=f"{selection.link(f'{visit.home}{PATH}', ('alert_id', alert.id))}#deliveries",
    )


def _values(hk: Harken, alert: Alert) -> str:
    selected = hk.alerts.selection(alert) if alert.kind is AlertKind.STREAK and not alert.is_empty else None
    if selected is None:
        return alert_values(alert)
    ratings = amount(hk.analytics.summary(selected).total, "thumbs-down rating")
    return f"{ratings} {'so far' if alert.is_open else 'in all'}"


def see_alert(visit: Visit, selection: Selection, alert: Alert) -> str | None:
    """A link to the feedback that an alert is about; ``None`` if there is none."""
    if alert.kind is AlertKind.QUEUE and visit.may(Scope.MODERATE):
        return selection.link(f"{visit.home}/moderation", without=_names(selection))
    selected = alert_details(alert, visit.harken.alerts.selection(alert))["selection"]
    if selected is None:
        return None
    if alert.kind is AlertKind.THEME:
        selected = selected | {"text": alert.subject.label}
    # What waits may be older than the default period.
    pairs = selected.items() if "since" in selected else (selected | {"period": "year"}).items()
    return selection.link(f"{visit.home}/feedback", *pairs, without=_names(selection))


def _names(selection: Selection) -> set[str]:
    """The filters and times of a selection, which another selection replaces."""
    return {name for name, _ in selection.filters} | {"since", "until", "period", "compare"}


def _channels(selection: Selection, outbound: Outbound) -> list[dict[str, object]]:
    """The channels, those with failures first."""
    views = [_channel(selection, outbound.now, one) for one in outbound.channels]
    return sorted(views, key=lambda one: _BY_MARK.index(str(one["mark"])))


def _channel(selection: Selection, now: datetime, status: ChannelStatus) -> dict[str, object]:
    kind = " · ".join(filter(None, (status.kind.kind, status.kind.destination)))
    return {
        "status": status,
        "name": status.state.name,
        "kind": kind,
        "mark": channel_mark(status),
        "text": channel_text(status, selection.local, now),
        "count": channel_count(status),
    }


def _rows(visit: Visit, selection: Selection, outbound: Outbound) -> list[DeliveryView]:
    opened, listed = outbound.opened, list(outbound.deliveries)
    if opened is not None and opened.id not in {one.id for one in listed}:
        listed.insert(0, opened)
    channels = {one.state.name: one for one in outbound.channels}
    return [_row(visit, selection, outbound, channels.get(one.channel), one) for one in listed]


def _row(
    visit: Visit, selection: Selection, outbound: Outbound, channel: ChannelStatus | None, delivery: Delivery
) -> DeliveryView:
    event, last = delivery.event, delivery.last_attempt
    is_open = outbound.opened is not None and outbound.opened.id == delivery.id
    after = selection.parameters.get("after")
    toggle = _link(
        selection,
        f"{visit.home}{PATH}",
        *([("after", after)] if after else []),
        *([] if is_open else [("open", delivery.id)]),
    )
    is_stored = (event.application, event.subject_id) in outbound.subjects
    can_be_sent = delivery.state is DeliveryState.PENDING and channel is not None and channel.is_configured
    about = f"{visit.home}/feedback/{quote(event.subject_id, safe='')}"
    return DeliveryView(
        delivery=delivery,
        what=what_of(delivery, outbound.subjects, visit.harken.alerts.rules, visit.now),
        outcome=outcome_of(delivery, outbound.now),
        last=selection.local(last.at if last else delivery.due_at),
        is_open=is_open,
        toggle=f"{toggle}#{quote(anchor_of(delivery.id), safe='')}",
        steps=steps_of(delivery, selection.local),
        about=selection.link(about) if is_stored and event.type.about_feedback else None,
        locked=_locked(channel, delivery, outbound.now),
        is_changing=is_open and can_be_sent and delivery.due_at <= outbound.now + _SOON,
    )


def _locked(channel: ChannelStatus | None, delivery: Delivery, now: datetime) -> str:
    if channel is not None and not channel.state.on:
        return f"{delivery.channel} is off"
    if channel is None or not channel.is_configured:
        return f"{delivery.channel} was removed"
    if delivery.state is DeliveryState.PENDING and delivery.due_at <= now:
        return "it is sent as soon as possible"
    return ""


def _cause(selection: Selection, outbound: Outbound) -> dict[str, object] | None:
    """The commonest cause of dead deliveries, and what can be done."""
    summary = outbound.summary
    if not summary.causes:
        return None
    first = summary.causes[0].counted
    total, of_channel = sum(summary.dead.values()), summary.dead.get(first.channel, first.count)
    channel = next((one for one in outbound.channels if one.state.name == first.channel), None)
    return {
        "total": total,
        "count": first.count,
        "text": cause_text(first, channel.state if channel else None, selection.local(first.first_at), outbound.now),
        "channel": first.channel,
        "of_channel": of_channel,
        "is_off": channel is not None and not channel.state.on,
        "is_removed": channel is None or not channel.is_configured,
        "others": [one.counted for one in summary.causes[1:5]],
    }


def _total(summary: DeliverySummary, state: str) -> int | None:
    """The number of deliveries in a state; ``None`` if they are not counted, as only those of today are."""
    counts = {"dead": summary.dead, "waiting": summary.pending}.get(state)
    return None if counts is None else sum(counts.values())


def _done(selection: Selection) -> str:
    done, count = selection.parameters.get("done", ""), selection.parameters.integer("count", 0)
    if done == "replayed" and not selection.parameters.get("open"):
        under = " under the same id" if count == 1 else ", each under its own id"
        replayed = f"{amount(count, 'delivery', 'deliveries')} will be sent again{under}."
        return replayed if count else "Nothing was left to replay."
    return _DONE.get(done, "")
