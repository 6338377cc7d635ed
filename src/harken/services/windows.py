"""Alerts about what happens, or does not happen, within a window of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from harken.domain.alert_rules import WEEK
from harken.domain.alerts import (
    Alert,
    Finding,
    RateRule,
    SatisfactionRule,
    SilenceRule,
    Subject,
    ThemeRule,
    WindowRule,
    pattern_alert,
)
from harken.domain.feedback import Rating
from harken.domain.instants import MICROSECOND
from harken.domain.query import Dimension, FeedbackQuery, GroupBy
from harken.domain.summary import Summary
from harken.domain.themes import themes
from harken.ports.alerts import AlertRepository
from harken.ports.repository import FeedbackRepository

#: An agent that has given nothing to judge for so long is no longer expected to.
KNOWN: Final = timedelta(days=30)
_BY_AGENT: Final = GroupBy(Dimension.AGENT)
_PAGE: Final = 500

#: What a rule found, by the subject, and when each pattern began.
Found = Mapping[Subject, tuple[Finding, datetime]]


@frozen
class Window:
    """A stretch of time that ends at ``last``, which is in it; the beginning is not."""

    last: datetime
    length: timedelta

    @property
    def began(self) -> datetime:
        """Where it begins."""
        return self.last - self.length

    def query(self, application: str, agent_id: str | None, rating: Rating | None = None) -> FeedbackQuery:
        """The feedback in it."""
        since, until = self.began + MICROSECOND, self.last + MICROSECOND
        return FeedbackQuery(application=application, agent_id=agent_id, rating=rating, since=since, until=until)

    def weeks_before(self, weeks: int) -> Iterator[Window]:
        """The same hours of so many weeks before."""
        return (Window(self.last - week * WEEK, self.length) for week in range(1, weeks + 1))


class WindowWatch:
    """Evaluates rules at a point in time; raises an alert where there is a pattern, and resolves where there is none.

    At most one alert of a rule stands for each subject.
    """

    def __init__(self, repository: FeedbackRepository, alerts: AlertRepository) -> None:
        self._repository = repository
        self._alerts = alerts

    def look(self, rule: WindowRule, application: str, now: datetime) -> int:
        """See to the alerts of a rule in an application; how many were raised or resolved."""
        standing = {alert.subject: alert for alert in self._standing(rule, application)}
        found = self._found(rule, application, now, standing)
        changed = 0
        for subject in found.keys() - standing.keys():
            changed += self._raise(rule, application, subject, *found[subject], at=now)
        for subject, alert in standing.items():
            if subject not in found:
                resolved = alert.resolved(at=max(now, alert.raised_at))
                changed += self._alerts.replace(resolved, resolved.event())
        return changed

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
        if latest and (latest.stands or at - latest.raised_at < rule.cooldown):
            return 0
        alert = pattern_alert(
            rule.kind, application, rule.name, subject, finding, previous=latest, began_at=began_at, at=at
        )
        return int(self._alerts.add(alert, alert.event()))

    def _standing(self, rule: WindowRule, application: str) -> Iterator[Alert]:
        after: Alert | None = None
        while page := self._alerts.find(application, limit=_PAGE, after=after, standing=True, rule=rule.name):
            yield from page
            after = page[-1]

    def _found(self, rule: WindowRule, application: str, now: datetime, standing: Mapping[Subject, Alert]) -> Found:
        match rule:
            case SatisfactionRule():
                return self._unsatisfied(rule, application, now)
            case RateRule():
                return self._rising(rule, application, now)
            case ThemeRule():
                return self._surging(rule, application, now)
            case SilenceRule():
                return self._silent(rule, application, now, standing)

    # --- each kind -------------------------------------------------------------------------------------------------

    def _unsatisfied(self, rule: SatisfactionRule, application: str, now: datetime) -> Found:
        window = Window(now, rule.window)
        groups = self._groups(rule, application, window)
        findings = ((subject, rule.finding(subject, summary)) for subject, summary in groups.items())
        return {subject: (finding, window.began) for subject, finding in findings if finding}

    def _rising(self, rule: RateRule, application: str, now: datetime) -> Found:
        window = Window(now, rule.window)
        counts = self._ratings(rule, application, window)
        if not _any_enough(counts, rule.at_least):
            return {}
        baseline: Counter[Subject] = Counter()
        weeks = self._lived(application, window, rule.weeks)
        for week in weeks:
            baseline += self._ratings(rule, application, week)
        findings = (
            (subject, rule.finding(subject, count, baseline[subject], len(weeks))) for subject, count in counts.items()
        )
        return {subject: (finding, window.began) for subject, finding in findings if finding}

    def _surging(self, rule: ThemeRule, application: str, now: datetime) -> Found:
        window = Window(now, rule.window)
        counts = self._mentions(rule, application, window)
        if not _any_enough(counts, rule.at_least):
            return {}
        baseline: Counter[tuple[str, Subject]] = Counter()
        weeks = self._lived(application, window, rule.weeks)
        for week in weeks:
            baseline += self._mentions(rule, application, week)
        findings = (
            (rule.subject(*theme), rule.finding(*theme, count, baseline[theme], len(weeks)))
            for theme, count in counts.items()
        )
        return {subject: (finding, window.began) for subject, finding in findings if finding}

    def _silent(self, rule: SilenceRule, application: str, now: datetime, standing: Mapping[Subject, Alert]) -> Found:
        found: dict[Subject, tuple[Finding, datetime]] = {}
        for subject in self._expected(rule, application, now) | standing.keys():
            agent_id = subject.value if subject.by == "agent" else rule.agent
            newest = self._repository.find(FeedbackQuery(application=application, agent_id=agent_id), limit=1).items
            last = newest[0].created_at if newest else None
            finding = rule.finding(subject, last, now)
            if finding and last:
                found[subject] = finding, last
        return found

    def _expected(self, rule: SilenceRule, application: str, now: datetime) -> set[Subject]:
        """Who may have been silent for too long: not those from whom something came since."""
        if rule.by == "application":
            return {Subject("application", application)}
        known = self._groups(rule, application, Window(now, max(KNOWN, 2 * rule.after)))
        return known.keys() - self._groups(rule, application, Window(now, rule.after)).keys()

    # --- what they count -------------------------------------------------------------------------------------------

    def _groups(self, rule: WindowRule, application: str, window: Window) -> Mapping[Subject, Summary]:
        """The figures of a window, by the subjects that the rule looks at."""
        query = window.query(application, rule.agent)
        if rule.by == "application":
            whole = self._repository.summarize(query)
            return {Subject("application", application): figures for figures in whole.values()}
        groups = self._repository.summarize(query, _BY_AGENT)
        return {Subject("agent", agent): figures for agent, figures in groups.items() if isinstance(agent, str)}

    def _ratings(self, rule: RateRule, application: str, window: Window) -> Counter[Subject]:
        groups = self._groups(rule, application, window)
        return Counter({subject: rule.count(figures) for subject, figures in groups.items()})

    def _mentions(self, rule: ThemeRule, application: str, window: Window) -> Counter[tuple[str, Subject]]:
        """How many downs of a window mention each keyword, by the subjects that the rule looks at."""
        mentions: Counter[tuple[str, Subject]] = Counter()
        for down in self._repository.stream(window.query(application, rule.agent, Rating.DOWN)):
            value = application if rule.by == "application" else down.agent_id
            if value is not None:
                group = Subject(rule.by, value)
                mentions.update((theme.keyword, group) for theme in themes([down.comment], rule.keywords))
        return mentions

    def _lived(self, application: str, window: Window, weeks: int) -> list[Window]:
        """The same hours of those weeks before in which the application had any feedback at all."""
        before = window.weeks_before(weeks)
        return [week for week in before if self._has_any(Window(week.last, WEEK).query(application, None))]

    def _has_any(self, query: FeedbackQuery) -> bool:
        return bool(self._repository.find(query, limit=1).items)


def _any_enough(counts: Counter[Subject] | Counter[tuple[str, Subject]], at_least: int) -> bool:
    return any(count >= at_least for count in counts.values())
