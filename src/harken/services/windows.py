"""Alerts about what happens, or does not happen, within a window of time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from typing import Final, TypeVar

from attrs import field, frozen

from harken.domain.alert_rules import WEEK, resolve_after
from harken.domain.alerts import (
    Alert,
    Finding,
    QueueRule,
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
from harken.services.backlog import backlog
from harken.services.calm import Calm, CalmNotes

#: An agent that has given nothing to judge for so long is no longer expected to.
KNOWN: Final = timedelta(days=30)
_BY_AGENT: Final = GroupBy(Dimension.AGENT)
_PAGE: Final = 500

T = TypeVar("T")

#: For how long no relay may have known a rule before its alerts are resolved: a rule that was renamed or removed. Long
#: enough for relays to be updated one after the other, and for one that knows the rule to be restarted.
RETIRED: Final = timedelta(hours=2)


@frozen
class Seen:
    """What a rule saw: each pattern with when it began, by the subject; and which patterns, once found, go on."""

    found: Mapping[Subject, tuple[Finding, datetime]] = field(factory=dict)
    going_on: Collection[Subject] = ()


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
    """Evaluates rules at a point in time; raises an alert where there is a pattern, and resolves where it is over.

    At most one alert of a rule stands for each subject. It is resolved when every look has found its pattern over, by
    the rule's margin, for as long as the rule says; since when is noted in the storage, for all who look.
    """

    def __init__(self, repository: FeedbackRepository, alerts: AlertRepository, notes: CalmNotes) -> None:
        self._repository = repository
        self._alerts = alerts
        self._notes = notes

    def look(self, rule: WindowRule, application: str, now: datetime, note: Calm) -> int:
        """See to the alerts of a rule in an application; how many were raised or resolved."""
        standing = {alert.subject: alert for alert in self._standing(rule.name, application)}
        seen = self._see(rule, application, now, standing)
        raised = sum(
            self._raise(rule, application, subject, *seen.found[subject], at=now)
            for subject in seen.found.keys() - standing.keys()
        )
        # An alert of another kind is left from an earlier rule of this name; nobody looks for its pattern any more.
        calm = [
            alert for alert in standing.values() if alert.kind is not rule.kind or alert.subject not in seen.going_on
        ]
        resolved = self._settle(note, calm, resolve_after(rule), now, others=len(standing) - len(calm) + raised)
        return raised + resolved

    def retire(self, note: Calm, now: datetime) -> int:
        """See to the alerts of a rule that is not configured here; how many were resolved."""
        # A page is enough: what is left is resolved at the next look.
        standing = list(islice(self._standing(note.rule, note.application), _PAGE))
        return self._settle(note, standing, RETIRED, now, others=0)

    def _settle(self, note: Calm, calm: Sequence[Alert], hold: timedelta, now: datetime, *, others: int) -> int:
        """Resolve alerts whose pattern has been over for as long as it takes, and note down the rest."""
        # What was noted by a clock that was ahead begins now.
        since = {alert.id: min(note.since.get(alert.id, now), now) for alert in calm}
        over = [alert for alert in calm if now - since[alert.id] >= hold]
        resolved = sum(map(partial(self._resolve, now=now), over))
        for alert in over:
            del since[alert.id]
        self._notes.keep(note, since, standing=bool(since or others))
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
        # A clock that was ahead must not keep alerts back for longer than the cooldown.
        if latest and (latest.stands or abs(at - latest.raised_at) < rule.cooldown):
            return 0
        alert = pattern_alert(
            rule.kind, application, rule.name, subject, finding, previous=latest, began_at=began_at, at=at
        )
        return int(self._alerts.add(alert, alert.event()))

    def _standing(self, rule: str, application: str) -> Iterator[Alert]:
        after: Alert | None = None
        while page := self._alerts.find(application, limit=_PAGE, after=after, standing=True, rule=rule):
            yield from page
            after = page[-1]

    def _see(self, rule: WindowRule, application: str, now: datetime, standing: Mapping[Subject, Alert]) -> Seen:
        match rule:
            case SatisfactionRule():
                return self._unsatisfied(rule, application, now)
            case RateRule():
                return self._rising(rule, application, now, standing)
            case ThemeRule():
                return self._surging(rule, application, now, standing)
            case SilenceRule():
                return self._silent(rule, application, now, standing)
            case QueueRule():
                return self._queueing(rule, application, now)

    # --- each kind -------------------------------------------------------------------------------------------------

    def _unsatisfied(self, rule: SatisfactionRule, application: str, now: datetime) -> Seen:
        window = Window(now, rule.window)
        groups = self._groups(rule, application, window)
        findings = ((subject, rule.finding(subject, summary)) for subject, summary in groups.items())
        return Seen(
            {subject: (finding, window.began) for subject, finding in findings if finding},
            {subject for subject, summary in groups.items() if rule.goes_on(summary)},
        )

    def _rising(self, rule: RateRule, application: str, now: datetime, standing: Mapping[Subject, Alert]) -> Seen:
        window = Window(now, rule.window)
        counts = self._ratings(rule, application, window)
        if not _any_enough(rule, counts, standing):
            return Seen()
        baseline: Counter[Subject] = Counter()
        weeks = self._lived(application, window, rule.weeks)
        for week in weeks:
            baseline += self._ratings(rule, application, week)
        findings = (
            (subject, rule.finding(subject, count, baseline[subject], len(weeks))) for subject, count in counts.items()
        )
        return Seen(
            {subject: (finding, window.began) for subject, finding in findings if finding},
            {subject for subject, count in counts.items() if rule.goes_on(count, baseline[subject], len(weeks))},
        )

    def _surging(self, rule: ThemeRule, application: str, now: datetime, standing: Mapping[Subject, Alert]) -> Seen:
        window = Window(now, rule.window)
        counts = self._mentions(rule, application, window)
        if not _any_enough(rule, counts, standing):
            return Seen()
        baseline: Counter[tuple[str, Subject]] = Counter()
        weeks = self._lived(application, window, rule.weeks)
        for week in weeks:
            baseline += self._mentions(rule, application, week)
        findings = (
            (rule.subject(*theme), rule.finding(*theme, count, baseline[theme], len(weeks)))
            for theme, count in counts.items()
        )
        return Seen(
            {subject: (finding, window.began) for subject, finding in findings if finding},
            {rule.subject(*theme) for theme, n in counts.items() if rule.goes_on(n, baseline[theme], len(weeks))},
        )

    def _silent(self, rule: SilenceRule, application: str, now: datetime, standing: Mapping[Subject, Alert]) -> Seen:
        found: dict[Subject, tuple[Finding, datetime]] = {}
        for subject in self._expected(rule, application, now) | standing.keys():
            agent_id = subject.value if subject.by == "agent" else rule.agent
            newest = self._repository.find(FeedbackQuery(application=application, agent_id=agent_id), limit=1).items
            last = newest[0].created_at if newest else None
            finding = rule.finding(subject, last, now)
            if finding and last:
                found[subject] = finding, last
        return Seen(found, found.keys())

    def _queueing(self, rule: QueueRule, application: str, now: datetime) -> Seen:
        subject, waiting = Subject("application", application), backlog(self._repository, application)
        finding = rule.finding(subject, waiting, now)
        return Seen(
            {subject: (finding, waiting.since or now)} if finding else {},
            {subject} if rule.goes_on(waiting, now) else (),
        )

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


def _any_enough(rule: RateRule | ThemeRule, counts: Counter[T], standing: Collection[Subject]) -> bool:
    return any(rule.enough(count, standing=bool(standing)) for count in counts.values())
