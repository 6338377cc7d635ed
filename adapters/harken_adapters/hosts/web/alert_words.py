"""What alerts say on pages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from harken import Rating
from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import AlertKind
from harken.domain.alerts.rules import AlertRule, RateRule, SatisfactionRule
from harken.domain.summary import Summary
from harken.domain.texts import amount
from harken_adapters.charts.labels import interval_text, isolated, satisfaction_text
from harken_adapters.hosts.web.wording import duration_text

_RATINGS: Final = {
    Rating.UP: "thumbs-up ratings",
    Rating.DOWN: "thumbs-down ratings",
    Rating.NEUTRAL: "neutral ratings",
}


def alert_title(alert: Alert, rules: Sequence[AlertRule], now: datetime) -> str:
    """What happened, in a few words: ``American is under 15%``.

    Args:
        alert: the alert.
        rules: the rules of this process, one of which may have raised it.
        now: the current time.
    """
    if alert.is_empty:
        return "Alert about erased feedback"
    rule = next((one for one in rules if one.name == alert.rule and one.kind is alert.kind), None)
    if alert.kind is AlertKind.SILENCE:
        silence = duration_text((alert.resolved_at or now) - alert.began_at)
        return f"Nothing came in for {silence}{_agent(alert, ', from ')}"
    return _TITLES[alert.kind](alert, rule)


def alert_values(alert: Alert) -> str:
    """The values that raised the alert, empty if its title has them: ``9.7% of 290 thumbs within 3 h``."""
    if alert.is_empty:
        return "It was emptied when the feedback was erased"
    return _VALUES[alert.kind](alert)


# --- Titles -----------------------------------------------------------------------------------------------------------


def _satisfaction_title(alert: Alert, rule: AlertRule | None) -> str:
    if isinstance(rule, SatisfactionRule):
        return f"{_agent(alert) or 'Satisfaction'} is under {rule.below:g}%"
    return f"Satisfaction{_agent(alert, ' of ')} is low"


def _streak_title(alert: Alert, _: AlertRule | None) -> str:
    whose = " from one session" if alert.subject.by == "session" else _agent(alert, " for ")
    return f"{amount(alert.figures['downs'], 'thumbs-down rating')} in a row{whose}"


def _rate_title(alert: Alert, rule: AlertRule | None) -> str:
    what = _RATINGS[rule.rating] if isinstance(rule, RateRule) else "responses"
    return f"More {what} than usual{_agent(alert, ' for ')}"


def _theme_title(alert: Alert, _: AlertRule | None) -> str:
    return f"More about “{isolated(alert.subject.label)}” than usual{_agent(alert, ' for ')}"


def _change_title(alert: Alert, _: AlertRule | None) -> str:
    before, after = _before(alert), alert.summary or Summary()
    verb = "rose" if after.satisfaction > before.satisfaction else "fell"
    return f"Satisfaction{_agent(alert, ' of ')} {verb} to {satisfaction_text(after)}"


def _queue_title(alert: Alert, _: AlertRule | None) -> str:
    waiting = alert.figures["waiting"]
    return f"{waiting:,} {'waits' if waiting == 1 else 'wait'} for review"


def _channel_title(alert: Alert, _: AlertRule | None) -> str:
    return f"Channel {alert.subject.value} {'is' if alert.is_open else 'was'} off"


_TITLES: Final[Mapping[AlertKind, Callable[[Alert, AlertRule | None], str]]] = {
    AlertKind.SATISFACTION: _satisfaction_title,
    AlertKind.STREAK: _streak_title,
    AlertKind.RATE: _rate_title,
    AlertKind.THEME: _theme_title,
    AlertKind.CHANGE: _change_title,
    AlertKind.QUEUE: _queue_title,
    AlertKind.CHANNEL: _channel_title,
}


# --- Values -----------------------------------------------------------------------------------------------------------


def _thumbs(alert: Alert) -> str:
    summary = alert.summary or Summary()
    interval = interval_text(summary.interval, summary.decided)
    of_all = f"{satisfaction_text(summary)} of {amount(summary.decided, 'thumb')}"
    return f"{of_all} within {_window(alert)} ({interval}, 95% confidence)"


def _rise(alert: Alert) -> str:
    counts = alert.figures
    weeks = "week" if counts["weeks"] == 1 else f"{counts['weeks']} weeks"
    now, before = f"{counts['count']:,}", f"{counts['baseline']:,}"
    if "comments" in counts:
        now += f" of {amount(counts['comments'], 'thumbs-down comment')}"
        before += f" of {counts['baseline_comments']:,}"
    return f"{now} within {_window(alert)}, {before} in the same hours of the {weeks} before"


def _waited(alert: Alert) -> str:
    return f"The oldest had waited for {duration_text(timedelta(seconds=alert.figures['seconds']))}"


def _reason(alert: Alert) -> str:
    return alert.message.partition(": ")[2] or alert.message


_VALUES: Final[Mapping[AlertKind, Callable[[Alert], str]]] = {
    AlertKind.SATISFACTION: _thumbs,
    AlertKind.STREAK: lambda _: "",
    AlertKind.RATE: _rise,
    AlertKind.THEME: _rise,
    AlertKind.CHANGE: lambda alert: f"It was {satisfaction_text(_before(alert))} before",
    AlertKind.SILENCE: lambda _: "",
    AlertKind.QUEUE: _waited,
    AlertKind.CHANNEL: _reason,
}


def _before(alert: Alert) -> Summary:
    counts = alert.figures
    return Summary(positive=counts["positive_before"], negative=counts["negative_before"])


def _agent(alert: Alert, preposition: str = "") -> str:
    return f"{preposition}{isolated(alert.subject.agent)}" if alert.subject.agent else ""


def _window(alert: Alert) -> str:
    return duration_text(alert.raised_at - alert.began_at)
