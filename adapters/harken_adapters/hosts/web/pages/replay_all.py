"""The page that asks before all dead deliveries to a channel are replayed, and its form."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from harken import Harken
from harken.domain.events import DeliveryState
from harken.domain.instants import stamp
from harken.services.notifications.channels import ChannelState
from harken.services.notifications.deliveries import DeliveryFilters
from harken_adapters.hosts.http.wire.messages import Response
from harken_adapters.hosts.http.wire.parameters import invalid
from harken_adapters.hosts.web.forms import form_of
from harken_adapters.hosts.web.navigation import frame_of
from harken_adapters.hosts.web.pages import alerts
from harken_adapters.hosts.web.selection import Selection
from harken_adapters.hosts.web.visit import Visit


@frozen(kw_only=True)
class Counted:
    """The dead deliveries that match.

    Attributes:
        count: their number.
        as_of: when they were counted.
        channel: the status of their channel; ``None`` if it is not configured.
    """

    count: int
    as_of: datetime
    channel: ChannelState | None


def ask(hk: Harken, filters: DeliveryFilters, channel: str) -> Counted:
    """Count the dead deliveries to a channel that match the filters."""
    summary = hk.deliveries.summary(**filters)
    return Counted(
        count=summary.dead.get(channel, 0),
        as_of=summary.as_of,
        channel=next((one for one in hk.channels.states() if one.name == channel), None),
    )


def show(visit: Visit) -> Response:
    """The response with the page, or after its form."""
    selection = _selection(visit)
    filters, path = alerts.filters_of(selection, visit.application), f"{visit.home}{alerts.PATH}"
    channel = filters.get("channel")
    if channel is None:
        raise invalid("channel", "missing", "channel must be the name of a channel")
    if visit.is_form:
        replayed = _replay(visit, filters)
        done = selection.link(path, ("channel", channel), ("done", "replayed"), ("count", str(replayed)))
        return visit.redirect(f"{done}#main")
    found = ask(visit.harken, filters, channel)
    given = [(name, value) for name in alerts.FILTERS if (value := selection.parameters.get(name))]
    return visit.show(
        "replay_all.html",
        title=f"Replay {found.count:,} to {channel}?",
        found=found,
        as_of=stamp(found.as_of),
        name=channel,
        filters=given,
        action=selection.link(f"{visit.home}{alerts.REPLAY_ALL_PATH}", *given),
        back=f"{selection.link(path, ('channel', channel))}#deliveries",
        frame=frame_of(visit, "Alerts", selection, listens=False),
    )


def _replay(visit: Visit, filters: DeliveryFilters) -> int:
    """Replay what was counted, and no more."""
    form = form_of(visit.request)
    as_of = form.moment("as_of")
    if as_of is None:
        raise invalid("as_of", "missing", "as_of must be the time of the count")
    return visit.harken.deliveries.replay_all(
        DeliveryState.DEAD, as_of=as_of, at_most=form.integer("at_most", 0), **filters
    )


def _selection(visit: Visit) -> Selection:
    return visit.unlimited_selection(alerts.FILTERS)
