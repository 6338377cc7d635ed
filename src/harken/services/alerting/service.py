"""Alerting: evaluates alert rules, raises alerts, and resolves them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

from attrs import evolve

from harken.domain.alerts.alert import Alert, pattern_alert, streak_alert
from harken.domain.alerts.patterns import AlertKind, Finding, Streak, Subject, next_streak
from harken.domain.alerts.rules import CHANNEL_RULE, AlertRule, RateRule, StreakRule
from harken.domain.errors import AlertNotFound, ConfigurationError
from harken.domain.feedback import Feedback, Rating
from harken.domain.instants import MICROSECOND
from harken.domain.moderation import ModerationStatus
from harken.domain.query import FeedbackQuery, check_limit
from harken.domain.rules import text_problem
from harken.ports.alerts import AlertRepository
from harken.ports.repository import FeedbackRepository
from harken.ports.state import StateRepository
from harken.ports.time import Clock
from harken.services.alerting.rule_states import RuleState, RuleStates
from harken.services.alerting.streaks import Group, StreakWatch
from harken.services.alerting.windows import WindowWatch
from harken.services.themes import ThemeService


class AlertingService:
    """Evaluates alert rules, and stores the alerts that they raise.

    Any number of processes may do this on the same storage: the result follows from the stored feedback, and a pattern
    has one alert. Feedback that is not counted does not raise alerts.
    """

    def __init__(
        self,
        repository: FeedbackRepository,
        alerts: AlertRepository,
        state: StateRepository,
        *,
        rules: Sequence[AlertRule],
        themes: ThemeService,
        clock: Clock,
    ) -> None:
        self._repository = repository
        self._alerts = alerts
        self._clock = clock
        self.rules = tuple(rules)
        self._streaks = StreakWatch(repository, alerts, clock)
        self._states = RuleStates(state)
        self._windows = WindowWatch(repository, alerts, self._states, themes)
        # An application without any feedback is not listed any more, but its alerts must be resolved.
        self._seen: set[str] = set()
        if len({rule.name for rule in rules}) < len(rules):
            raise ConfigurationError("Two alert rules have the same name; names must be unique")

    def on_feedback(self, feedback: Sequence[Feedback]) -> int:
        """Evaluate the streak rules on stored or changed feedback; returns how many alerts were raised or resolved.

        It may be called repeatedly with the same feedback, in any order, and by several threads at the same time.

        Args:
            feedback: the current feedback, including withdrawn feedback and feedback that is not counted.

        Raises:
            StorageError: the storage failed; call it again with the same feedback.
        """
        self._seen.update(one.application for one in feedback)
        return sum(self._evaluate_streaks(rule, feedback) for rule in self.rules if isinstance(rule, StreakRule))

    def evaluate_windows(self) -> int:
        """Evaluate the rules with time windows for all applications; returns how many alerts were raised or resolved.

        Also resolves alerts about streaks whose feedback was erased, and alerts of rules that no relay has had for two
        hours.

        Raises:
            StorageError: the storage failed; alerts that were raised or resolved before that stay so.
        """
        now, states = self._clock(), self._states.all()
        changed = 0
        self._seen.update(self._repository.applications(), (application for application, _ in states))
        for application in sorted(self._seen):
            for rule in self.rules:
                if rule.application in (None, application):
                    state = states.pop((application, rule.name), RuleState(application, rule.name))
                    changed += self._evaluate_windows(rule, application, now, state)
        # The remaining states are of rules that are not configured here, or not for that application.
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
            application: the application.
            limit: the maximum number of alerts, from 1 to 1,000.
            after: continue after this alert.
            open: only open alerts, or only resolved ones.
            rule: only alerts of this rule.
            since: only alerts that were raised at this time or later.

        Raises:
            InvalidQuery: the limit is not from 1 to 1,000.
        """
        check_limit(limit)
        return self._alerts.find(application, limit=limit, after=after, open=open, rule=rule, since=since)

    def get(self, application: str, alert_id: str) -> Alert:
        """The alert with that id.

        Raises:
            AlertNotFound: the alert does not exist in that application.
        """
        # Not every storage can be queried for an invalid id.
        invalid = text_problem("application", application) or text_problem("alert_id", alert_id)
        alert = None if invalid else self._alerts.get(application, alert_id)
        if alert is None:
            raise AlertNotFound(f"No alert {alert_id!r} in application {application!r}")
        return alert

    def selection(self, alert: Alert) -> FeedbackQuery | None:
        """The query for the feedback that an alert is about; ``None`` if it is not about feedback that can be selected.

        For a window of time, it selects the feedback that the alert counted. For a streak or silence, it goes on until
        the alert is resolved. The text of a theme is not part of it. If the rule is not configured here any more, what
        only the rule says is missing: its agent, and the rating of a rate.
        """
        if alert.kind is AlertKind.CHANNEL or not alert.subject.value:
            return None
        rule = next((one for one in self.rules if one.name == alert.rule and one.kind is alert.kind), None)
        by, value = alert.subject.by, alert.subject.value
        agent_id = alert.subject.agent or (rule.agent if rule else None)
        query = FeedbackQuery(
            application=alert.application, agent_id=agent_id, session_id=value if by == "session" else None
        )
        if alert.kind is AlertKind.QUEUE:
            return evolve(query, statuses=frozenset({ModerationStatus.PENDING}))
        if alert.kind in (AlertKind.STREAK, AlertKind.SILENCE):
            rating = Rating.DOWN if alert.kind is AlertKind.STREAK else None
            # A period must not be empty.
            until = alert.resolved_at and max(alert.resolved_at, alert.began_at + MICROSECOND)
            return evolve(query, rating=rating, since=alert.began_at, until=until)
        if alert.kind is AlertKind.CHANGE:
            # By days; the last one was not over.
            until = alert.raised_at.replace(hour=0, minute=0, second=0, microsecond=0)
            return evolve(query, since=alert.began_at, until=until)
        return evolve(
            query,
            rating=_rating_of(alert.kind, rule),
            # A window begins after its first instant, and contains its last one.
            since=alert.began_at + MICROSECOND,
            until=alert.raised_at + MICROSECOND,
        )

    def backtest(self, query: FeedbackQuery, rule: StreakRule) -> Iterator[Alert]:
        """The alerts that a rule would have raised about stored feedback, oldest first; raises none of them.

        Reads all matching feedback before it yields the first alert.
        """
        last: dict[Subject, datetime] = {}
        found = (_backtested_alert(rule, query.application, *found) for found in self._streaks_of(query, rule))
        for alert in sorted(found, key=lambda alert: (alert.raised_at, alert.id)):
            before = last.get(alert.subject)
            if before is None or alert.raised_at - before >= rule.cooldown:
                last[alert.subject] = alert.raised_at
                yield alert

    def channel_off(self, application: str, channel: str, reason: str) -> None:
        """Raise the alert about a channel that was switched off, unless it is open."""
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
        """Resolve the alert about a channel that was switched on again, if it is open."""
        latest = self._alerts.latest(application, CHANNEL_RULE, Subject("channel", channel))
        if latest and latest.is_open:
            resolved = latest.resolved(at=max(self._clock(), latest.raised_at))
            self._alerts.replace(resolved, resolved.event())

    # --- steps -------------------------------------------------------------------------------------------------------

    def _is_foreign(self, alert: Alert) -> bool:
        """Whether the rule of an alert is not configured here."""
        own = (rule for rule in self.rules if rule.application in (None, alert.application))
        return alert.rule != CHANNEL_RULE and alert.rule not in {rule.name for rule in own}

    def _evaluate_streaks(self, rule: StreakRule, feedback: Sequence[Feedback]) -> int:
        groups: defaultdict[Group, list[Feedback]] = defaultdict(list)
        for one in feedback:
            if subject := rule.subject(one):
                groups[Group(rule, one.application, subject)].append(one)
        return sum(self._streaks.evaluate(group, touched) for group, touched in groups.items())

    def _evaluate_windows(self, rule: AlertRule, application: str, now: datetime, state: RuleState) -> int:
        if not isinstance(rule, StreakRule):
            return self._windows.evaluate(rule, application, now, state)
        changed = self._streaks.revise(rule, application)
        some = self._alerts.find(application, limit=1, open=True, rule=rule.name)
        self._states.save(state, {}, has_open=bool(some))
        return changed

    def _streaks_of(self, query: FeedbackQuery, rule: StreakRule) -> Iterator[tuple[Subject, Streak]]:
        current: dict[Subject, Streak] = {}
        for one in self._repository.stream(query):
            if subject := rule.subject(one):
                ended, streak = next_streak(current.pop(subject, None), one, rule.length)
                if streak:
                    current[subject] = streak
                if ended:
                    yield subject, ended
        yield from ((subject, streak) for subject, streak in current.items() if streak.downs >= rule.length)


def _rating_of(kind: AlertKind, rule: AlertRule | None) -> Rating | None:
    """The rating of the feedback in the window of an alert; ``None`` for any."""
    if kind is AlertKind.THEME:
        return Rating.DOWN
    return rule.rating if isinstance(rule, RateRule) else None


def _backtested_alert(rule: StreakRule, application: str, subject: Subject, streak: Streak) -> Alert:
    alert = streak_alert(rule, application, subject, streak)
    return alert if streak.ended_at is None else alert.resolved(at=streak.ended_at)
