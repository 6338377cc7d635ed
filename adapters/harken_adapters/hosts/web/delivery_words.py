"""What deliveries and channels say on pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final, Unpack

from attrs import frozen
from markupsafe import Markup

from harken import Feedback, Harken
from harken.domain.alerts.alert import Alert
from harken.domain.alerts.rules import AlertRule
from harken.domain.digest import name_and_end
from harken.domain.events import Attempt, AttemptOutcome, CauseCount, Delivery, DeliveryState, EventType, is_answer
from harken.domain.session_change import operation_and_names
from harken.domain.texts import excerpt
from harken.services.notifications.channels import ChannelState, ChannelStatus
from harken.services.notifications.deliveries import DeliveryFilters
from harken_adapters.charts.labels import isolated
from harken_adapters.hosts.web.alert_words import alert_title
from harken_adapters.hosts.web.wording import at_markup, duration_text, when_markup

Local = Callable[[datetime], datetime]
Subjects = Mapping[tuple[str, str], Feedback | Alert]
#: The CSS classes of marks, and the words of outcomes.
_MARKS: Final = {AttemptOutcome.ARRIVED: "u", AttemptOutcome.ACCEPTED: "a", AttemptOutcome.FAILED: "e"}
_OUTCOMES: Final = {
    AttemptOutcome.ARRIVED: "arrived",
    AttemptOutcome.ACCEPTED: "accepted, to be sent once more",
    AttemptOutcome.FAILED: "failed",
    AttemptOutcome.CHANNEL_OFF: "not sent",
    AttemptOutcome.NOT_SENT: "not sent",
}
#: The number of deliveries about one thing that are read.
_NEWEST: Final = 100
#: How many characters of the names of metadata are shown.
_MOST_OF_NAMES: Final = 100
#: The states of deliveries, for people.
STATES: Final = {DeliveryState.DEAD: "dead", DeliveryState.PENDING: "waiting", DeliveryState.DELIVERED: "arrived"}


@frozen(kw_only=True)
class Outcome:
    """Where a delivery stands, and why.

    Attributes:
        name: in a few words: ``410 Gone``, ``waiting``.
        kind: the CSS class of its tag.
        details: the receiver's own words, or what happens next.
    """

    name: str
    kind: str
    details: str = ""


@frozen(kw_only=True)
class Step:
    """An attempt to send a delivery.

    Attributes:
        at: when it began, in local time.
        text: how it ended.
        words: the receiver's own words.
        kind: the CSS class of its mark.
    """

    at: datetime
    text: str
    words: str
    kind: str


def last_deliveries(hk: Harken, **filters: Unpack[DeliveryFilters]) -> dict[str, Delivery]:
    """The last delivery to each channel of those that match, which says how the channel stands.

    Those to channels that only older deliveries went to are left out.
    """
    newest = hk.deliveries.find(None, limit=_NEWEST, newest_first=True, **filters)
    return {one.channel: one for one in reversed(newest)}


def what_of(delivery: Delivery, subjects: Subjects, rules: Sequence[AlertRule], now: datetime) -> str:
    """What a delivery is about: ``down · US Airways · da33a9ab7b18``."""
    event = delivery.event
    if event.type is EventType.DIGEST:
        name, _ = name_and_end(event)
        return f"digest {name}"
    if event.type is EventType.SESSION_UPDATED:
        operation, names = operation_and_names(event)
        changed = excerpt(", ".join(names), _MOST_OF_NAMES)
        return " · ".join(map(isolated, (f"metadata {operation}", changed, event.session_id or "")))
    subject = subjects.get((event.application, event.subject_id))
    if isinstance(subject, Alert):
        return alert_title(subject, rules, now)
    if subject is None:
        return "an alert" if event.type.about_alert else "erased feedback"
    return " · ".join(map(isolated, filter(None, (subject.rating.word, subject.agent_id, subject.session_id))))


def outcome_of(delivery: Delivery, now: datetime) -> Outcome:
    """Where a delivery stands, and why."""
    last = delivery.last_attempt
    words = "" if last is None else f"“{last.words}”" if last.words else last.error
    if delivery.state is DeliveryState.DELIVERED:
        return Outcome(name="arrived", kind="u", details=last.status if last else "")
    if delivery.state is DeliveryState.DEAD:
        if last and not last.outcome.was_sent:
            was_off = last.outcome is AttemptOutcome.CHANNEL_OFF
            return Outcome(name="not attempted", kind="e", details=f"{delivery.channel} was off" if was_off else words)
        return Outcome(name=delivery.cause or "failed", kind="e", details=words)
    if delivery.leased_until is not None and delivery.leased_until > now:
        return Outcome(name="waiting", kind="w", details="being sent now")
    if delivery.due_at <= now:
        return Outcome(name="waiting", kind="w", details="sent as soon as possible")
    details = f"next attempt in {duration_text(delivery.due_at - now)}"
    status = last.status or _OUTCOMES[last.outcome] if last else ""
    return Outcome(name="waiting", kind="w", details=f"{status}, {details}" if status else details)


def steps_of(delivery: Delivery, local: Local) -> list[Step]:
    """The attempts of a delivery that are stored, the oldest first."""
    return [
        Step(at=local(one.at), text=_attempt_text(one), words=one.words, kind=_MARKS.get(one.outcome, ""))
        for one in delivery.history
    ]


def _attempt_text(attempt: Attempt) -> str:
    if not attempt.outcome.was_sent:
        return f"not sent: {attempt.error or attempt.status}"
    text = attempt.status or attempt.error or _OUTCOMES[attempt.outcome]
    return f"{text} in {attempt.duration.total_seconds():.2f} s"


def channel_mark(status: ChannelStatus) -> str:
    """The CSS class of the dot of a channel."""
    if not status.state.on:
        return "e"
    if not status.is_configured or status.retried or status.dead:
        return "w"
    return "u" if status.last_delivered_at else ""


def channel_text(status: ChannelStatus, local: Local, now: datetime) -> Markup | str:
    """The status of a channel in words: ``off since 16:19: the receiver answered 410 Gone``."""
    state = status.state
    if state.off_since is not None:
        reason = f"the receiver answered {state.cause}" if is_answer(state.cause) else state.reason
        return Markup("off since {}: {}").format(when_markup(local(state.off_since), now), reason)
    if not status.is_configured:
        return "removed from the settings: nothing is sent"
    if status.retried is not None:
        return _slow_text(status.retried, now)
    if status.dead:
        return "on; what is dead waits until you replay it"
    return _quiet_text(status, now)


def _slow_text(retried: Delivery, now: datetime) -> str:
    last = retried.last_attempt
    why = (last and last.status) or "no answer"
    wait = f"in {duration_text(retried.due_at - now)}" if retried.due_at > now else "now"
    return f"slow: {why} at attempt {retried.tries}, the next one {wait}"


def _quiet_text(status: ChannelStatus, now: datetime) -> str:
    if status.pending:
        return "on; sending"
    if status.last_delivered_at is None:
        return "on; nothing was sent in the last week"
    return f"all arrived, the last one {duration_text(now - status.last_delivered_at)} ago"


def channel_count(status: ChannelStatus) -> str:
    """The numbers of a channel that matter most: ``23 dead``, ``4 waiting``, ``1,204 today``."""
    counts = [f"{number:,} {word}" for number, word in ((status.dead, "dead"), (status.pending, "waiting")) if number]
    return ", ".join(counts) or f"{status.delivered:,} today"


def cause_text(cause: CauseCount, channel: ChannelState | None, at: datetime, now: datetime) -> Markup:
    """Why deliveries are dead: ``support answered 410 Gone at 16:19 and is off``.

    Args:
        cause: the cause.
        channel: its channel; ``None`` if it is not configured.
        at: when the first of them died, in local time.
        now: the current time.
    """
    is_off = " and is off" if channel is not None and not channel.on else ""
    if is_answer(cause.cause):
        return Markup("{} answered {} {}{}").format(cause.channel, cause.cause, at_markup(at, now), is_off)
    return Markup("{}: {}, {}{}").format(cause.channel, cause.cause, when_markup(at, now), is_off)
