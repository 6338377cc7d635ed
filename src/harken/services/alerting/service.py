"""Alerting: looks for the patterns that alert rules describe, raises alerts, and resolves them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

from harken.domain.alerts.alert import (
    CHANNEL_RULE,
    Alert,
    AlertKind,
    AlertRule,
    Finding,
    Streak,
    StreakRule,
    Subject,
    pattern_alert,
    streak_alert,
)
from harken.domain.alerts.patterns import next_streak
from harken.domain.errors import AlertNotFound, ConfigurationError
from harken.domain.feedback import Feedback
from harken.domain.query import FeedbackQuery, check_limit
from harken.domain.rules import text_problem
from harken.ports.alerts import AlertRepository
from harken.ports.repository import FeedbackRepository
from harken.ports.state import StateRepository
from harken.ports.time import Clock
from harken.services.alerting.rule_states import RuleState, RuleStates
from harken.services.alerting.streaks import Group, StreakWatch
from harken.services.alerting.windows import WindowWatch


class AlertingService:
    """Lets alert rules look at feedback, and keeps the alerts that they raise.

    Any number may look at the same storage at once: what they find follows from what is stored, and one pattern is one
    alert. Feedback that does not count triggers nothing.
    """

    def __init__(
        self,
        repository: FeedbackRepository,
        alerts: AlertRepository,
        state: StateRepository,
        *,
        rules: Sequence[AlertRule],
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._alerts = alerts
        self._clock = clock
        self.rules = tuple(rules)
        self._streaks = StreakWatch(repository, alerts, clock)
        self._states = RuleStates(state)
        self._windows = WindowWatch(repository, alerts, self._states)
        # An application whose feedback was erased to the last is not listed any more, but its alerts must end.
        self._seen: set[str] = set()
        if len({rule.name for rule in rules}) < len(rules):
            raise ConfigurationError("Two alert rules have the same name; each needs one of its own")

    def on_feedback(self, feedback: Sequence[Feedback]) -> int:
        """Let the rules about streaks look at what was stored or changed; how many alerts were raised or resolved.

        It may be called again with the same feedback, in any order, and by several at once.

        Args:
            feedback: as it reads now, also what is withdrawn or does not count.

        Raises:
            StorageError: the storage failed; call it again with the same feedback.
        """
        self._seen.update(one.application for one in feedback)
        return sum(self._look_for_streaks(rule, feedback) for rule in self.rules if isinstance(rule, StreakRule))

    def evaluate_windows(self) -> int:
        """Let the rules that go by time look at all applications now; how many alerts were raised or resolved.

        Alerts about streaks whose feedback was erased are resolved as well, and so are those of rules that have not
        been configured in any relay for two hours.

        Raises:
            StorageError: the storage failed; what was raised or resolved before stays so.
        """
        now, states = self._clock(), self._states.all()
        changed = 0
        self._seen.update(self._repository.applications(), (application for application, _ in states))
        for application in sorted(self._seen):
            for rule in self.rules:
                if rule.application in (None, application):
                    state = states.pop((application, rule.name), RuleState(application, rule.name))
                    changed += self._evaluate_windows(rule, application, now, state)
        # What is left is about rules that are not configured here, at least not for that application.
        for application in sorted(self._seen):
            for alert in self._windows.open_alerts(application):
                if self._is_foreign(alert):
                    states.setdefault((application, alert.rule), RuleState(application, alert.rule))
        return changed + sum(self._windows.retire(state, now) for state in states.values())

    def find(
        self,
        application: str,
        *,
        limit: int = 100,
        after: Alert | None = None,
        open: bool | None = None,
        rule: str | None = None,
        since: datetime | None = None,
    ) -> Sequence[Alert]:
        """Alerts, the last raised first.

        Args:
            application: whose.
            limit: how many at most, from 1 to 1,000.
            after: goes on behind that one.
            open: only open alerts, or only resolved ones.
            rule: only of that rule.
            since: only those raised not before then.

        Raises:
            InvalidQuery: the limit is not from 1 to 1,000.
        """
        check_limit(limit)
        return self._alerts.find(application, limit=limit, after=after, open=open, rule=rule, since=since)

    def get(self, application: str, alert_id: str) -> Alert:
        """That alert.

        Raises:
            AlertNotFound: there is none in that application.
        """
        # What no storage could keep, none has.
        unfit = text_problem("application", application) or text_problem("alert_id", alert_id)
        alert = None if unfit else self._alerts.get(application, alert_id)
        if alert is None:
            raise AlertNotFound(f"No alert {alert_id!r} in application {application!r}")
        return alert

    def backtest(self, query: FeedbackQuery, rule: StreakRule) -> Iterator[Alert]:
        """The alerts that a rule would have raised about stored feedback, oldest first; none is raised.

        All of what the query finds is read before the first is given.
        """
        last: dict[Subject, datetime] = {}
        found = (_as_it_ended(rule, query.application, *found) for found in self._rehearsed(query, rule))
        for alert in sorted(found, key=lambda alert: (alert.raised_at, alert.id)):
            before = last.get(alert.subject)
            if before is None or alert.raised_at - before >= rule.cooldown:
                last[alert.subject] = alert.raised_at
                yield alert

    def channel_off(self, application: str, channel: str, reason: str) -> None:
        """Raise the alert about a channel that was switched off, unless it stands already."""
        subject = Subject("channel", channel)
        latest = self._alerts.latest(application, CHANNEL_RULE, subject)
        if latest and latest.is_open:
            return
        now, finding = self._clock(), Finding(f"Channel {channel} was switched off: {reason}", {})
        alert = pattern_alert(
            AlertKind.CHANNEL, application, CHANNEL_RULE, subject, finding, previous=latest, began_at=now, at=now
        )
        self._alerts.add(alert, alert.event())

    def channel_on(self, application: str, channel: str) -> None:
        """Resolve the alert about a channel that was switched on again, if it stands."""
        latest = self._alerts.latest(application, CHANNEL_RULE, Subject("channel", channel))
        if latest and latest.is_open:
            resolved = latest.resolved(at=max(self._clock(), latest.raised_at))
            self._alerts.replace(resolved, resolved.event())

    # --- how -------------------------------------------------------------------------------------------------------

    def _is_foreign(self, alert: Alert) -> bool:
        """Whether no rule that is configured here looks after an alert."""
        own = (rule for rule in self.rules if rule.application in (None, alert.application))
        return alert.rule != CHANNEL_RULE and alert.rule not in {rule.name for rule in own}

    def _look_for_streaks(self, rule: StreakRule, feedback: Sequence[Feedback]) -> int:
        groups: defaultdict[Group, list[Feedback]] = defaultdict(list)
        for one in feedback:
            if subject := rule.subject(one):
                groups[Group(rule, one.application, subject)].append(one)
        return sum(self._streaks.look(group, touched) for group, touched in groups.items())

    def _evaluate_windows(self, rule: AlertRule, application: str, now: datetime, state: RuleState) -> int:
        if not isinstance(rule, StreakRule):
            return self._windows.look(rule, application, now, state)
        changed = self._streaks.revise(rule, application)
        some = self._alerts.find(application, limit=1, open=True, rule=rule.name)
        self._states.save(state, {}, has_open=bool(some))
        return changed

    def _rehearsed(self, query: FeedbackQuery, rule: StreakRule) -> Iterator[tuple[Subject, Streak]]:
        going: dict[Subject, Streak] = {}
        for one in self._repository.stream(query):
            if subject := rule.subject(one):
                ended, streak = next_streak(going.pop(subject, None), one, rule.length)
                if streak:
                    going[subject] = streak
                if ended:
                    yield subject, ended
        yield from ((subject, streak) for subject, streak in going.items() if streak.downs >= rule.length)


def _as_it_ended(rule: StreakRule, application: str, subject: Subject, streak: Streak) -> Alert:
    alert = streak_alert(rule, application, subject, streak)
    return alert if streak.ended_at is None else alert.resolved(at=streak.ended_at)
