"""Alerts about patterns within a window of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Final, TypeVar

from attrs import field, frozen

from harken.domain.alerts.alert import Alert, pattern_alert
from harken.domain.alerts.patterns import Finding, Subject
from harken.domain.alerts.rules import (
    WEEK,
    ChangeRule,
    QueueRule,
    RateRule,
    SatisfactionRule,
    SilenceRule,
    ThemeRule,
    WindowRule,
    resolve_after,
)
from harken.domain.feedback import Rating
from harken.domain.insight.change_points import Day, alarm
from harken.domain.insight.terms import words
from harken.domain.instants import MICROSECOND
from harken.domain.keywords import count_keywords
from harken.domain.query import Dimension, FeedbackQuery, GroupBy
from harken.domain.summary import Summary
from harken.domain.trend import Period, trend, zone_named
from harken.ports.alerts import AlertRepository
from harken.ports.repository import FeedbackRepository
from harken.services.alerting.rule_states import RuleState, RuleStates
from harken.services.feedback.backlog import backlog
from harken.services.themes import ThemeService

#: An agent that has had no feedback for this long is no longer expected to get feedback.
KNOWN: Final = timedelta(days=30)
_BY_AGENT: Final = GroupBy(Dimension.AGENT)
_BY_SLOT: Final = GroupBy(Dimension.SLOT)
_PAGE: Final = 500

T = TypeVar("T")

#: The alerts of a rule that was renamed or removed are resolved when no relay has had the rule for this long: long
#: enough to update relays one after another, and to restart one that has the rule.
RETIRED: Final = timedelta(hours=2)


@frozen
class Evaluation:
    """The result of an evaluation: the patterns and their beginnings by subject, and the subjects that stay open."""

    found: Mapping[Subject, tuple[Finding, datetime]] = field(factory=dict)
    going_on: Collection[Subject] = ()


@frozen
class Window:
    """An interval of time that ends at ``last``, inclusive; its beginning is exclusive."""

    last: datetime
    length: timedelta

    @property
    def began(self) -> datetime:
        """The beginning, exclusive."""
        return self.last - self.length

    def query(self, application: str, agent_id: str | None, rating: Rating | None = None) -> FeedbackQuery:
        """The query for the feedback in it."""
        since, until = self.began + MICROSECOND, self.last + MICROSECOND
        return FeedbackQuery(application=application, agent_id=agent_id, rating=rating, since=since, until=until)

    def weeks_before(self, weeks: int) -> Iterator[Window]:
        """The same hours of each of the weeks before."""
        return (Window(self.last - week * WEEK, self.length) for week in range(1, weeks + 1))


class WindowWatch:
    """Evaluates rules at a point in time; raises alerts about patterns, and resolves them when the patterns have ended.

    At most one alert of a rule is open for each subject. It is resolved when all evaluations for the time that the rule
    requires have found that its pattern has ended by the rule's margin. The storage has since when that is so, for all
    processes.
    """

    def __init__(
        self, repository: FeedbackRepository, alerts: AlertRepository, states: RuleStates, themes: ThemeService
    ) -> None:
        self._repository = repository
        self._themes = themes
        self._alerts = alerts
        self._states = states

    def evaluate(self, rule: WindowRule, application: str, now: datetime, state: RuleState) -> int:
        """Update the alerts of a rule in an application; returns how many were raised or resolved."""
        found = list(self.open_alerts(application, rule.name))
        alerts = {alert.subject: alert for alert in found if not self._empty_if_erased(alert, now)}
        evaluation = self._evaluate(rule, application, now, alerts)
        raised = sum(
            self._raise(rule, application, subject, *evaluation.found[subject], at=now)
            for subject in evaluation.found.keys() - alerts.keys()
        )
        # An alert of another kind is from an earlier rule with this name; its pattern is not evaluated any more.
        ended = [
            alert
            for alert in alerts.values()
            if alert.kind is not rule.kind or alert.subject not in evaluation.going_on
        ]
        resolved = self._settle(state, ended, resolve_after(rule), now, others=len(alerts) - len(ended) + raised)
        return len(found) - len(alerts) + raised + resolved

    def retire(self, state: RuleState, now: datetime) -> int:
        """Update the alerts of a rule that is not configured here; returns how many were resolved."""
        # A page is enough: the next evaluation resolves the rest.
        alerts = list(islice(self.open_alerts(state.application, state.rule), _PAGE))
        return self._settle(state, alerts, RETIRED, now, others=0)

    def _settle(self, state: RuleState, ended: Sequence[Alert], hold: timedelta, now: datetime, *, others: int) -> int:
        """Resolve the alerts whose pattern has ended long enough ago, and store since when the others have."""
        # A time that a fast clock has stored is not later than now.
        since = {alert.id: min(state.ended_since.get(alert.id, now), now) for alert in ended}
        due = [alert for alert in ended if now - since[alert.id] >= hold]
        resolved = sum(self._resolve(alert, now) for alert in due)
        for alert in due:
            del since[alert.id]
        self._states.save(state, since, has_open=bool(since or others))
        return resolved

    def _resolve(self, alert: Alert, now: datetime) -> int:
        resolved = alert.resolved(at=max(now, alert.raised_at))
        return int(self._alerts.replace(resolved, resolved.event()))

    def _raise(
        self,
        rule: WindowRule,
        application: str,
        subject: Subject,
        finding: Finding,
        began_at: datetime,
        *,
        at: datetime,
    ) -> int:
        latest = self._alerts.latest(application, rule.name, subject)
        # A fast clock must not suppress alerts for longer than the cooldown.
        if latest and (latest.is_open or abs(at - latest.raised_at) < rule.cooldown):
            return 0
        # An alert about the same theme may have lost its label since.
        nameless = self._alerts.latest(application, rule.name, subject.nameless)
        previous = max(filter(None, (latest, nameless)), key=lambda alert: alert.raised_at, default=None)
        alert = pattern_alert(
            rule.kind, application, rule.name, subject, finding, previous=previous, began_at=began_at, at=at
        )
        if not self._alerts.add(alert, alert.event()):
            return 0
        return 1 + self._empty_if_erased(alert, at)

    def _empty_if_erased(self, alert: Alert, at: datetime) -> int:
        """Empty an alert whose feedback was erased while the alert was being raised."""
        existing = self._repository.get_many(alert.application, alert.feedback_ids)
        if len(existing) == len(alert.feedback_ids):
            return 0
        emptied = alert.emptied(at=at)
        return int(self._alerts.replace(emptied, emptied.event()))

    def open_alerts(self, application: str, rule: str | None = None) -> Iterator[Alert]:
        """The open alerts of all rules, or of one."""
        after: Alert | None = None
        while page := self._alerts.find(application, limit=_PAGE, after=after, open=True, rule=rule):
            yield from page
            after = page[-1]

    def _evaluate(
        self, rule: WindowRule, application: str, now: datetime, alerts: Mapping[Subject, Alert]
    ) -> Evaluation:
        """Evaluate the pattern of a rule; ``alerts`` are the open ones."""
        match rule:
            case SatisfactionRule():
                return self._evaluate_satisfaction(rule, application, now)
            case RateRule():
                return self._evaluate_rate(rule, application, now, alerts)
            case ThemeRule():
                return self._evaluate_theme(rule, application, now, alerts)
            case ChangeRule():
                return self._evaluate_change(rule, application, now)
            case SilenceRule():
                return self._evaluate_silence(rule, application, now, alerts)
            case QueueRule():
                return self._evaluate_queue(rule, application, now)

    # --- kinds of rules ----------------------------------------------------------------------------------------------

    def _evaluate_satisfaction(self, rule: SatisfactionRule, application: str, now: datetime) -> Evaluation:
        window = Window(now, rule.window)
        groups = self._groups(rule, application, window)
        return _evaluation(
            window,
            {subject: rule.finding(subject, summary) for subject, summary in groups.items()},
            {subject for subject, summary in groups.items() if rule.goes_on(summary)},
        )

    def _evaluate_rate(
        self, rule: RateRule, application: str, now: datetime, alerts: Mapping[Subject, Alert]
    ) -> Evaluation:
        window = Window(now, rule.window)
        counts = self._ratings(rule, application, window)
        if not _any_enough(rule, counts, alerts):
            return Evaluation()
        baseline: Counter[Subject] = Counter()
        weeks = self._weeks_with_feedback(application, window, rule.weeks)
        for week in weeks:
            baseline += self._ratings(rule, application, week)
        return _evaluation(
            window,
            {subject: rule.finding(subject, n, baseline[subject], len(weeks)) for subject, n in counts.items()},
            {subject for subject, n in counts.items() if rule.goes_on(n, baseline[subject], len(weeks))},
        )

    def _evaluate_theme(
        self, rule: ThemeRule, application: str, now: datetime, alerts: Mapping[Subject, Alert]
    ) -> Evaluation:
        if rule.keywords is None:
            return self._evaluate_discovered(rule, application, now, alerts)
        window = Window(now, rule.window)
        counts = self._mentions(rule, application, window)
        if not _any_enough(rule, counts, alerts):
            return Evaluation()
        baseline: Counter[tuple[str, Subject]] = Counter()
        weeks = self._weeks_with_feedback(application, window, rule.weeks)
        for week in weeks:
            baseline += self._mentions(rule, application, week)
        return _evaluation(
            window,
            {rule.subject(*theme): rule.finding(*theme, n, baseline[theme], len(weeks)) for theme, n in counts.items()},
            {rule.subject(*theme) for theme, n in counts.items() if rule.goes_on(n, baseline[theme], len(weeks))},
        )

    def _evaluate_discovered(
        self, rule: ThemeRule, application: str, now: datetime, alerts: Collection[Subject]
    ) -> Evaluation:
        window = Window(now, rule.window)
        groups = {
            group: summary.negative
            for group, summary in self._groups(rule, application, window).items()
            if rule.enough(summary.negative, is_open=bool(alerts))
        }
        if not groups:
            return Evaluation()
        weeks = self._weeks_with_feedback(application, window, rule.weeks)
        found: dict[Subject, tuple[Finding, datetime]] = {}
        going_on: set[Subject] = set()
        for group in groups:
            agent_id = group.value if group.by == "agent" else rule.agent
            earlier = (week.query(application, agent_id) for week in weeks)
            themes = self._themes.compare_windows(window.query(application, agent_id), earlier)
            labels = {label: subject for subject in alerts if (label := rule.label(subject, group)) is not None}
            going_on |= {subject for label, subject in labels.items() if rule.theme_goes_on(themes.change_of(label))}
            known = {word for label in labels for word in words(label)}
            for theme, change in themes.themes:
                examples = themes.examples_of(theme.label)
                finding = rule.theme_finding(theme.label, group, change, len(weeks), examples)
                # A theme that has an alert may have another label by now.
                if finding and known.isdisjoint(theme.words):
                    found[rule.subject(theme.label, group)] = finding, window.began
        return Evaluation(found, going_on | found.keys())

    def _evaluate_change(self, rule: ChangeRule, application: str, now: datetime) -> Evaluation:
        today = now.replace(hour=0, minute=0, second=0, microsecond=0)
        window = Window(today - MICROSECOND, timedelta(days=rule.days))
        found: dict[Subject, tuple[Finding, datetime]] = {}
        for subject in self._groups(rule, application, window):
            query = window.query(application, subject.value if subject.by == "agent" else rule.agent)
            groups = self._repository.summarize(query, _BY_SLOT)
            slots = {slot: summary for slot, summary in groups.items() if isinstance(slot, datetime)}
            points = trend(slots, Period.DAY, zone_named("UTC"))
            days = [Day(one.summary.positive, one.summary.decided, one.start.weekday()) for one in points]
            if (change := alarm(days)) and (finding := rule.finding(subject, change, points)):
                found[subject] = finding, points[change.began].start
        return Evaluation(found, found.keys())

    def _evaluate_silence(
        self, rule: SilenceRule, application: str, now: datetime, alerts: Mapping[Subject, Alert]
    ) -> Evaluation:
        found: dict[Subject, tuple[Finding, datetime]] = {}
        for subject in self._expected(rule, application, now) | alerts.keys():
            agent_id = subject.value if subject.by == "agent" else rule.agent
            newest = self._repository.find(FeedbackQuery(application=application, agent_id=agent_id), limit=1).items
            last = newest[0].created_at if newest else None
            finding = rule.finding(subject, last, now)
            if finding and last:
                found[subject] = finding, last
        return Evaluation(found, found.keys())

    def _evaluate_queue(self, rule: QueueRule, application: str, now: datetime) -> Evaluation:
        subject, waiting = Subject("application", application), backlog(self._repository, application)
        finding = rule.finding(subject, waiting, now)
        return Evaluation(
            {subject: (finding, waiting.since or now)} if finding else {},
            {subject} if rule.goes_on(waiting, now) else (),
        )

    def _expected(self, rule: SilenceRule, application: str, now: datetime) -> set[Subject]:
        """The subjects that may have been silent for too long: those without recent feedback."""
        if rule.by == "application":
            return {Subject("application", application)}
        known = self._groups(rule, application, Window(now, max(KNOWN, 2 * rule.after)))
        return known.keys() - self._groups(rule, application, Window(now, rule.after)).keys()

    # --- statistics --------------------------------------------------------------------------------------------------

    def _groups(self, rule: WindowRule, application: str, window: Window) -> Mapping[Subject, Summary]:
        """The statistics of a window, by the subjects of the rule."""
        query = window.query(application, rule.agent)
        if rule.by == "application":
            whole = self._repository.summarize(query)
            return {Subject("application", application): summary for summary in whole.values()}
        groups = self._repository.summarize(query, _BY_AGENT)
        return {Subject("agent", agent): summary for agent, summary in groups.items() if isinstance(agent, str)}

    def _ratings(self, rule: RateRule, application: str, window: Window) -> Counter[Subject]:
        groups = self._groups(rule, application, window)
        return Counter({subject: rule.count(summary) for subject, summary in groups.items()})

    def _mentions(self, rule: ThemeRule, application: str, window: Window) -> Counter[tuple[str, Subject]]:
        """How many negative comments in a window mention each keyword, by the subjects of the rule."""
        mentions: Counter[tuple[str, Subject]] = Counter()
        for down in self._repository.stream(window.query(application, rule.agent, Rating.DOWN)):
            value = application if rule.by == "application" else down.agent_id
            if value is not None:
                group = Subject(rule.by, value)
                found = count_keywords([down.comment], rule.keywords or ())
                mentions.update((one.keyword, group) for one in found)
        return mentions

    def _weeks_with_feedback(self, application: str, window: Window, weeks: int) -> list[Window]:
        """The same hours of each of the weeks before in which the application had any feedback."""
        before = window.weeks_before(weeks)
        return [week for week in before if self._has_any(Window(week.last, WEEK).query(application, None))]

    def _has_any(self, query: FeedbackQuery) -> bool:
        return bool(self._repository.find(query, limit=1).items)


def _any_enough(rule: RateRule | ThemeRule, counts: Counter[T], alerts: Collection[Subject]) -> bool:
    return any(rule.enough(count, is_open=bool(alerts)) for count in counts.values())


def _evaluation(
    window: Window, findings: Mapping[Subject, Finding | None], going_on: Collection[Subject]
) -> Evaluation:
    """The evaluation with these findings, which begin with the window."""
    found = {subject: (finding, window.began) for subject, finding in findings.items() if finding}
    return Evaluation(found, going_on)
