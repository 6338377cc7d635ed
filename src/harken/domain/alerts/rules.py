"""Alert rules: which patterns raise alerts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from fractions import Fraction
from typing import ClassVar, Final

from attrs import field, frozen
from attrs.converters import optional

from harken.domain.alerts.patterns import AlertKind, Finding, Subject, has_risen
from harken.domain.errors import ConfigurationError
from harken.domain.feedback import Feedback, Rating
from harken.domain.insight.change_points import Alarm
from harken.domain.insight.comparison import ProportionChange
from harken.domain.instants import MICROSECOND, format_duration
from harken.domain.moderation import Backlog
from harken.domain.rules import label_problem
from harken.domain.summary import Summary
from harken.domain.texts import as_texts
from harken.domain.trend import TrendPoint

#: The reserved rule name of alerts about channels that were switched off. No configured rule may use it.
CHANNEL_RULE: Final = "channel"
WEEK: Final = timedelta(days=7)
_HOUR: Final = timedelta(hours=1)
_LONGEST: Final = timedelta(days=366)
_NONE: Final = timedelta()
_SECOND: Final = timedelta(seconds=1)
#: The groups that a streak can be counted for.
GROUPS: Final = ("session", "agent", "application")
_LARGE_GROUPS: Final = ("agent", "application")


@frozen(kw_only=True)
class _Rule:
    """The settings that all rules share.

    Attributes:
        name: the unique name of the rule.
        by: the group that the rule evaluates separately: each ``session``, each ``agent`` or each ``application``.
        application: the only application that the rule evaluates; ``None`` for all.
        agent: the only agent whose feedback the rule evaluates; ``None`` for all feedback.
        cooldown: the minimum time between two alerts about the same subject.
    """

    kind: ClassVar[AlertKind]
    groups: ClassVar[tuple[str, ...]] = _LARGE_GROUPS

    name: str
    by: str = "application"
    application: str | None = None
    agent: str | None = None
    cooldown: timedelta = _HOUR

    def __attrs_post_init__(self) -> None:
        if problem := label_problem("name", self.name):
            raise ConfigurationError(f"An alert rule has an invalid name: {problem.message}")
        self.require(self.name != CHANNEL_RULE, f"the name {CHANNEL_RULE!r} is reserved")
        self.require(self.by in self.groups, f"by must be one of {', '.join(self.groups)}; got {self.by!r}")
        for name, value in (("application", self.application), ("agent", self.agent)):
            if value is not None and (problem := label_problem(name, value)):
                self.require(False, problem.message)
        self._check_duration("cooldown", self.cooldown, _NONE, _LONGEST)
        self._check()

    def require(self, holds: bool, otherwise: str) -> None:
        """Raise ``ConfigurationError`` with a clause about the rule unless the condition holds."""
        if not holds:
            raise ConfigurationError(f"Alert rule {self.name!r}: {otherwise}")

    def _check(self) -> None:
        """Check the settings of this kind of rule."""

    def _check_duration(self, name: str, value: timedelta, least: timedelta, most: timedelta) -> None:
        limits = f"{format_duration(least)} to {format_duration(most)}"
        fits = isinstance(value, timedelta) and least <= value <= most and not value % _SECOND
        self.require(fits, f"{name} must be in whole seconds, from {limits}; got {value!r}")

    def _check_whole(self, name: str, value: int, least: int, most: int) -> None:
        # Not isinstance: bool is a subclass of int.
        fits = type(value) is int and least <= value <= most
        self.require(fits, f"{name} must be an integer from {least:,} to {most:,}, got {value!r}")

    def _check_number(self, name: str, value: float, least: float, most: float) -> None:
        fits = type(value) in (int, float) and least <= value <= most
        self.require(fits, f"{name} must be a number from {least:g} to {most:g}, got {value!r}")


_MANY: Final = 1_000_000
#: The largest margin in percent. With 100 the threshold would be 0, and no count could fall below it.
_WIDEST: Final = 90.0


@frozen(kw_only=True)
class _SteadyRule(_Rule):
    """A rule over fluctuating values: hysteresis keeps its alert open until the pattern has clearly ended.

    Attributes:
        margin: how far the values must be from the threshold for the pattern to have ended; each rule defines the unit.
        resolve_after: how long the pattern must have ended before the alert is resolved.
    """

    margin: float = 20.0
    resolve_after: timedelta = _HOUR

    def _check(self) -> None:
        self._check_number("margin", self.margin, 0, _WIDEST)
        self._check_duration("resolve_after", self.resolve_after, _NONE, _LONGEST)

    def _lower(self, threshold: float) -> Fraction:
        """Return the threshold lowered by the margin in percent. The pattern has ended when the value is below it."""
        return Fraction(threshold) * (100 - Fraction(self.margin)) / 100


@frozen(kw_only=True)
class StreakRule(_Rule):
    """Several thumbs-down ratings in a row. A thumbs-up or a neutral rating ends the streak.

    Attributes:
        length: how many ratings raise the alert, 1 to 100.
    """

    kind: ClassVar[AlertKind] = AlertKind.STREAK
    groups: ClassVar[tuple[str, ...]] = GROUPS

    by: str = "session"
    cooldown: timedelta = _NONE
    length: int = 3

    def _check(self) -> None:
        self._check_whole("length", self.length, 1, 100)

    def subject(self, feedback: Feedback) -> Subject | None:
        """Return the subject whose streak this feedback belongs to; ``None`` if the rule does not evaluate it."""
        if self.application not in (None, feedback.application) or self.agent not in (None, feedback.agent_id):
            return None
        values = {"session": feedback.session_id, "agent": feedback.agent_id, "application": feedback.application}
        value = values[self.by]
        return None if value is None else Subject(self.by, value)

    def message(self, subject: Subject, completed_at: datetime) -> str:
        """Return one sentence that describes the streak."""
        ratings = "1 thumbs-down rating" if self.length == 1 else f"{self.length} thumbs-down ratings in a row"
        return f"{ratings} for {subject}, the last at {completed_at:%Y-%m-%d %H:%M} UTC"


@frozen(kw_only=True)
class SatisfactionRule(_SteadyRule):
    """Satisfaction in a window is below a threshold, and so is the upper end of its 95% CI.

    Attributes:
        below: the threshold, in percent.
        window: the length of the window, which ends now.
        at_least: the minimum number of thumbs in the window.
        margin: in percentage points. The pattern has ended when satisfaction is ``below + margin`` or higher (at most
            100), or when the window contains fewer than half of ``at_least`` thumbs.
    """

    kind: ClassVar[AlertKind] = AlertKind.SATISFACTION

    below: float = 60.0
    window: timedelta = _HOUR
    at_least: int = 20
    margin: float = 5.0

    def _check(self) -> None:
        super()._check()
        self._check_number("below", self.below, 0.1, 100)
        self._check_duration("window", self.window, _SECOND, _LONGEST)
        self._check_whole("at_least", self.at_least, 1, _MANY)

    def finding(self, subject: Subject, summary: Summary) -> Finding | None:
        """Return the finding if the statistics of the window match the rule."""
        bound = Fraction(self.below)
        if summary.decided < self.at_least or 100 * summary.positive >= bound * summary.decided:
            return None
        if summary.interval.high >= bound:
            return None
        message = (
            f"Satisfaction of {subject} is {summary.satisfaction:.1f}%, below {self.below:g}%: "
            f"{summary.positive} of {summary.decided} thumbs within {format_duration(self.window)} were up"
        )
        return Finding(message, {"positive": summary.positive, "negative": summary.negative})

    def goes_on(self, summary: Summary) -> bool:
        """Whether an open alert stays open, given the statistics of the window."""
        # A few thumbs that are still negative are not a recovery; too few thumbs are not a pattern.
        if not summary.decided or 2 * summary.decided < self.at_least:
            return False
        recovered = min(Fraction(self.below) + Fraction(self.margin), Fraction(100))
        return 100 * summary.positive < recovered * summary.decided


@frozen(kw_only=True)
class _RisingRule(_SteadyRule):
    """A count is significantly higher than in the same hours of previous weeks; see :func:`has_risen`.

    Attributes:
        window: the length of the window, which ends now, at most one week.
        weeks: the number of previous weeks to compare with. Weeks without any feedback of the application do not count.
        factor: how many times the previous rate the current rate must exceed.
        at_least: the minimum count within the window.
        margin: in percent of ``at_least`` and of ``factor``. The pattern has ended when it would not be found with
            either of them lowered by the margin (the factor not below 1).
    """

    window: timedelta = _HOUR
    weeks: int = 4
    factor: float = 2.0
    at_least: int = 10

    def _check(self) -> None:
        super()._check()
        # A longer window would overlap the weeks that it is compared with.
        self._check_duration("window", self.window, _SECOND, WEEK)
        self._check_whole("weeks", self.weeks, 1, 52)
        self._check_number("factor", self.factor, 1, 1_000)
        self._check_whole("at_least", self.at_least, 1, _MANY)

    def enough(self, count: int, *, is_open: bool) -> bool:
        """Whether the count reaches the minimum, which is lower while an alert is open."""
        return count >= (self._lower(self.at_least) if is_open else self.at_least)

    def goes_on(self, count: int, baseline: int, weeks: int) -> bool:
        """Whether an open alert stays open."""
        # A random increase must not keep an alert open, so the factor is never lowered below 1.
        factor = max(self._lower(self.factor), Fraction(1))
        return self.enough(count, is_open=True) and has_risen(count, baseline, weeks, factor)

    def _find_rise(self, what: str, subject: str, count: int, baseline: int, weeks: int) -> Finding | None:
        if count < self.at_least or not has_risen(count, baseline, weeks, self.factor):
            return None
        message = (
            f"{count} {what} for {subject} within {format_duration(self.window)}, "
            f"compared with {baseline} in {_same_hours(weeks)}: more than {self.factor:g} times as many"
        )
        return Finding(message, {"count": count, "baseline": baseline, "weeks": weeks})


def _same_hours(weeks: int) -> str:
    return "the same hours of the previous week" if weeks == 1 else f"the same hours of {weeks} previous weeks"


@frozen(kw_only=True)
class RateRule(_RisingRule):
    """A rating is significantly more frequent than in the same hours of previous weeks.

    Attributes:
        rating: the rating that is counted.
    """

    kind: ClassVar[AlertKind] = AlertKind.RATE

    rating: Rating = field(default=Rating.DOWN)

    def _check(self) -> None:
        super()._check()
        self.require(isinstance(self.rating, Rating), f"rating must be a Rating, got {self.rating!r}")

    def count(self, summary: Summary) -> int:
        """Return how many entries have the rating."""
        return {Rating.UP: summary.positive, Rating.DOWN: summary.negative, Rating.NEUTRAL: summary.neutral}[
            self.rating
        ]

    def finding(self, subject: Subject, count: int, baseline: int, weeks: int) -> Finding | None:
        """Return the finding if the count matches the rule.

        Args:
            subject: the application or agent.
            count: the count of the window.
            baseline: the count of the same windows in the previous weeks together.
            weeks: the number of those weeks that count.
        """
        return self._find_rise(_COUNTED[self.rating], str(subject), count, baseline, weeks)


_COUNTED: Final = {
    Rating.UP: "thumbs-up ratings",
    Rating.DOWN: "thumbs-down ratings",
    Rating.NEUTRAL: "neutral ratings",
}


@frozen(kw_only=True)
class ThemeRule(_RisingRule):
    """Thumbs-down comments are about a theme more often than in the same hours of previous weeks.

    With keywords, each of them is a theme, and its number of mentions must rise significantly. Without keywords, themes
    are discovered in the comments of the window, and the share of the comments that are about a theme must rise by more
    than chance; ``factor`` is not used then. A single evaluation is hardly ever wrong, but as the window moves, some
    alerts are false over months of evaluations. Each theme has its own alerts.

    Attributes:
        keywords: the keywords to search for, in any case and also inside longer words; at least one. ``None``: themes
            are discovered.
    """

    kind: ClassVar[AlertKind] = AlertKind.THEME

    keywords: tuple[str, ...] | None = field(default=None, converter=optional(as_texts))

    def _check(self) -> None:
        super()._check()
        self.require(self.keywords != (), "keywords must not be empty; without keywords, themes are discovered")
        for keyword in self.keywords or ():
            if problem := label_problem("keyword", keyword):
                self.require(False, problem.message)
            # The colon separates the keyword and the agent in a theme's name.
            self.require(":" not in keyword, f"keyword {keyword!r} must not contain ':'")

    def subject(self, keyword: str, group: Subject) -> Subject:
        """Return the theme: the keyword, with the agent if the rule evaluates each agent."""
        return Subject.theme(keyword, group.agent)

    def label(self, subject: Subject, group: Subject) -> str | None:
        """Return the keyword or label of a theme, or ``None`` if it belongs to another group; see :meth:`subject`."""
        if group.by != "agent":
            return subject.value
        return subject.label if subject.agent == group.value else None

    def finding(self, keyword: str, group: Subject, count: int, baseline: int, weeks: int) -> Finding | None:
        """Return the finding if the number of mentions matches the rule; see :meth:`RateRule.finding`."""
        return self._find_rise(f"thumbs-down comments that mention {keyword!r}", str(group), count, baseline, weeks)

    def theme_finding(
        self, label: str, group: Subject, change: ProportionChange, weeks: int, examples: tuple[str, ...]
    ) -> Finding | None:
        """Return the finding if a discovered theme matches the rule.

        Args:
            label: the label of the theme.
            group: the application or agent.
            change: the comments about the theme among all, in the previous weeks and in the window.
            weeks: the number of those weeks that count.
            examples: the ids of feedback with all words of the label.
        """
        before, now = change.before, change.after
        if now.count < self.at_least or change.direction <= 0:
            return None
        message = (
            f"{now.count} of {now.total} thumbs-down comments for {group} within {format_duration(self.window)} "
            f"are about {label!r}, compared with {before.count} of {before.total} in {_same_hours(weeks)}"
        )
        figures = {"count": now.count, "comments": now.total, "baseline": before.count}
        return Finding(message, {**figures, "baseline_comments": before.total, "weeks": weeks}, examples)

    def theme_goes_on(self, change: ProportionChange) -> bool:
        """Whether an open alert about a discovered theme stays open: it has enough comments, and a larger share."""
        return self.enough(change.after.count, is_open=True) and change.difference > 0


@frozen(kw_only=True)
class ChangeRule(_Rule):
    """Satisfaction has risen or fallen for good, by days in UTC; see :func:`harken.domain.insight.change_points.alarm`.

    The first 28 days, beginning with the first that has feedback, are compared with those after them; after a change,
    the next 28 days are. Today does not count yet. The alert is raised when the change is certain, and resolved when it
    is no longer new.

    Attributes:
        days: how many days are evaluated, 35 to 365.
        new_for: for how many days a change is new, 1 to 28.
    """

    kind: ClassVar[AlertKind] = AlertKind.CHANGE

    days: int = 90
    new_for: int = 7

    def _check(self) -> None:
        self._check_whole("days", self.days, 35, 365)
        self._check_whole("new_for", self.new_for, 1, 28)

    def finding(self, subject: Subject, alarm: Alarm, points: Sequence[TrendPoint]) -> Finding | None:
        """Return the finding if the alarm of these days is new."""
        if alarm.index < len(points) - self.new_for:
            return None
        before, after = (
            sum((point.summary for point in part), Summary())
            for part in (points[alarm.baseline : alarm.began], points[alarm.began :])
        )
        message = (
            f"Satisfaction of {subject} has {'risen' if alarm.is_rise else 'fallen'} since "
            f"{points[alarm.began].start:%Y-%m-%d}: from {before.satisfaction:.1f}% to {after.satisfaction:.1f}%"
        )
        return Finding(
            message,
            {
                "positive": after.positive,
                "negative": after.negative,
                "positive_before": before.positive,
                "negative_before": before.negative,
            },
        )


@frozen(kw_only=True)
class SilenceRule(_Rule):
    """No feedback was received for too long, although there was some before.

    Attributes:
        after: the time without feedback that raises the alert.
    """

    kind: ClassVar[AlertKind] = AlertKind.SILENCE

    after: timedelta = timedelta(hours=6)

    def _check(self) -> None:
        self._check_duration("after", self.after, _SECOND, _LONGEST)

    def finding(self, subject: Subject, last: datetime | None, now: datetime) -> Finding | None:
        """Return the finding if the last feedback is too old; ``None`` if there never was any."""
        if last is None or now - last < self.after:
            return None
        message = f"No feedback was received for {subject} since {last:%Y-%m-%d %H:%M} UTC"
        return Finding(message, {"seconds": (now - last) // _SECOND})


@frozen(kw_only=True)
class QueueRule(_SteadyRule):
    """The moderation queue of an application is too long, or its oldest entry is too old.

    Attributes:
        longer_than: the largest number of waiting entries that raises no alert; ``None`` for no limit.
        older_than: the longest time that an entry may wait without an alert; ``None`` for no limit.
        margin: in percent of both limits. The pattern has ended when neither value exceeds its lowered limit.
    """

    kind: ClassVar[AlertKind] = AlertKind.QUEUE
    groups: ClassVar[tuple[str, ...]] = ("application",)

    longer_than: int | None = None
    older_than: timedelta | None = None

    def _check(self) -> None:
        super()._check()
        limits = (self.longer_than, self.older_than)
        self.require(limits != (None, None), "longer_than or older_than must be set, or both")
        if self.longer_than is not None:
            self._check_whole("longer_than", self.longer_than, 0, _MANY)
        if self.older_than is not None:
            self._check_duration("older_than", self.older_than, _SECOND, _LONGEST)
        self.require(self.agent is None, "agent cannot be set: the moderation queue is that of an application")

    def finding(self, subject: Subject, backlog: Backlog, now: datetime) -> Finding | None:
        """Return the finding if the moderation queue matches the rule."""
        waiting, age = backlog.waiting, backlog.age(now)
        long = self.longer_than is not None and waiting > self.longer_than
        old = self.older_than is not None and age > self.older_than
        if not long and not old:
            return None
        entries = "1 entry awaits" if waiting == 1 else f"{waiting:,} entries await"
        reasons = [
            f"more than {self.longer_than:,}" if long else "",
            f"longer than {format_duration(self.older_than)}" if old and self.older_than else "",
        ]
        waited = format_duration(timedelta(seconds=age // _SECOND))
        message = f"{entries} moderation for {subject}, the oldest for {waited}: {' and '.join(filter(None, reasons))}"
        return Finding(message, {"waiting": waiting, "seconds": age // _SECOND})

    def goes_on(self, backlog: Backlog, now: datetime) -> bool:
        """Whether an open alert stays open, given the current queue."""
        long = self.longer_than is not None and backlog.waiting > self._lower(self.longer_than)
        # In microseconds, so that it is exact.
        old = self.older_than is not None and backlog.age(now) // MICROSECOND > self._lower(
            self.older_than // MICROSECOND
        )
        return long or old


WindowRule = SatisfactionRule | RateRule | ThemeRule | ChangeRule | SilenceRule | QueueRule
AlertRule = StreakRule | WindowRule
RULES: Final[Mapping[str, type[AlertRule]]] = {
    kind.kind.value: kind
    for kind in (StreakRule, SatisfactionRule, RateRule, ThemeRule, ChangeRule, SilenceRule, QueueRule)
}


def resolve_after(rule: AlertRule) -> timedelta:
    """Return how long the pattern must have ended before an alert of this rule is resolved."""
    return rule.resolve_after if isinstance(rule, _SteadyRule) else _NONE
