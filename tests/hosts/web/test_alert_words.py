"""What alerts of each kind say on pages. The counts are those that the rules themselves find."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import pytest

from harken import Rating
from harken.domain.alerts.alert import Alert, pattern_alert
from harken.domain.alerts.patterns import AlertKind, Finding, Subject
from harken.domain.alerts.rules import (
    AlertRule,
    ChangeRule,
    QueueRule,
    RateRule,
    SatisfactionRule,
    SilenceRule,
    ThemeRule,
)
from harken.domain.insight.change_points import Alarm
from harken.domain.insight.comparison import Proportion, ProportionChange
from harken.domain.moderation import Backlog
from harken.domain.summary import Summary
from harken.domain.trend import TrendPoint
from harken_adapters.hosts.web.alert_words import alert_title, alert_values
from support import NOON

ANN: Final = Subject("agent", "Ann")
ALL: Final = Subject("application", "default")
HOURS: Final = timedelta(hours=3)
_LOW: Final = SatisfactionRule(name="r", by="agent", below=60, window=HOURS)
_RATE: Final = RateRule(name="r", window=HOURS)
_THEME: Final = ThemeRule(name="r", window=HOURS)
_KEYWORD: Final = ThemeRule(name="r", window=HOURS, keywords=("bag",))
_CHANGE: Final = ChangeRule(name="r")
_SILENCE: Final = SilenceRule(name="r")
_QUEUE: Final = QueueRule(name="r", longer_than=1)
_DAYS: Final = [
    TrendPoint(NOON + timedelta(days=day), NOON + timedelta(days=day + 1), Summary(positive=up, negative=100 - up))
    for day, up in enumerate((60, 60, 40, 40))
]
_MORE: Final = ProportionChange(Proportion(2, 200), Proportion(20, 40))


def raised(rule: AlertRule, subject: Subject, finding: Finding | None) -> Alert:
    """The alert of a rule with what it has found."""
    assert finding is not None
    return pattern_alert(
        rule.kind, "default", rule.name, subject, finding, previous=None, began_at=NOON - HOURS, at=NOON
    )


@pytest.mark.parametrize(
    ("rule", "subject", "finding", "title", "values"),
    [
        (
            _LOW,
            ANN,
            _LOW.finding(ANN, Summary(positive=28, negative=262)),
            "Ann is under 60%",
            "9.7% of 290 thumbs within 3 h (6.8 \N{EN DASH} 13.6, 95% confidence)",
        ),
        (
            _RATE,
            ANN,
            _RATE.finding(ANN, 50, 8, 4),
            "More thumbs-down ratings than usual for Ann",
            "50 within 3 h, 8 in the same hours of the 4 weeks before",
        ),
        (
            _RATE,
            ALL,
            _RATE.finding(ALL, 50, 2, 1),
            "More thumbs-down ratings than usual",
            "50 within 3 h, 2 in the same hours of the week before",
        ),
        (
            _KEYWORD,
            _KEYWORD.subject("bag", ANN),
            _KEYWORD.finding("bag", ANN, 50, 8, 4),
            "More about “bag” than usual for Ann",
            "50 within 3 h, 8 in the same hours of the 4 weeks before",
        ),
        (
            _THEME,
            _THEME.subject("lost bag", ALL),
            _THEME.theme_finding("lost bag", ALL, _MORE, 4, ()),
            "More about “lost bag” than usual",
            "20 of 40 thumbs-down comments within 3 h, 2 of 200 in the same hours of the 4 weeks before",
        ),
        (
            _CHANGE,
            ALL,
            _CHANGE.finding(ALL, Alarm(0, 2, 3, is_rise=False), _DAYS),
            "Satisfaction fell to 40.0%",
            "It was 60.0% before",
        ),
        (_SILENCE, ALL, _SILENCE.finding(ALL, NOON - HOURS * 3, NOON), "Nothing came in for 4 h", ""),
        (
            _QUEUE,
            ALL,
            _QUEUE.finding(ALL, Backlog(25, NOON - HOURS), NOON),
            "25 wait for review",
            "The oldest had waited for 3 h",
        ),
    ],
)
def test_each_kind(rule: AlertRule, subject: Subject, finding: Finding | None, title: str, values: str) -> None:
    """The title says what happened, the values prove it."""
    alert = raised(rule, subject, finding)
    now = NOON + timedelta(hours=1)
    assert (alert_title(alert, [rule], now), alert_values(alert)) == (title, values)
    assert alert_title(alert.emptied(at=NOON), [rule], now) == "Alert about erased feedback"


def test_rules_that_are_not_configured_here() -> None:
    """Without its rule, a title leaves out what only the rule knows; a rule of another kind is not taken for it."""
    low = raised(_LOW, ANN, _LOW.finding(ANN, Summary(negative=50)))
    more = raised(_RATE, ALL, _RATE.finding(ALL, 50, 2, 1))
    for rules in ([], [_QUEUE]):
        assert alert_title(low, rules, NOON) == "Satisfaction of Ann is low"
        assert alert_title(more, rules, NOON) == "More responses than usual"
    assert alert_title(more, [RateRule(name="r", rating=Rating.UP)], NOON) == "More thumbs-up ratings than usual"


def test_channels() -> None:
    """The alert about a channel says why it was switched off, and that it was, once it is on again."""
    finding = Finding("Channel support was switched off: it moves: soon", {})
    subject = Subject("channel", "support")
    alert = pattern_alert(
        AlertKind.CHANNEL, "default", "channel", subject, finding, previous=None, began_at=NOON, at=NOON
    )
    assert (alert_title(alert, [], NOON), alert_values(alert)) == ("Channel support is off", "it moves: soon")
    assert alert_title(alert.resolved(at=NOON), [], NOON) == "Channel support was off"
