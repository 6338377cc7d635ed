"""Alert rules: which patterns are worth waking someone for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from fractions import Fraction
from typing import ClassVar, Final

from attrs import field, frozen

from harken.domain.alerts.patterns import AlertKind, Finding, Subject, has_risen
from harken.domain.errors import ConfigurationError
from harken.domain.feedback import Feedback, Rating
from harken.domain.instants import format_duration
from harken.domain.moderation import Backlog
from harken.domain.rules import label_problem
from harken.domain.summary import Summary
from harken.domain.text_lists import as_texts
from harken.domain.themes import KEYWORDS

#: The name of the rule whose alerts tell of channels that were switched off; none that is configured may have it.
CHANNEL_RULE: Final = "channel"
WEEK: Final = timedelta(days=7)
_HOUR: Final = timedelta(hours=1)
_LONGEST: Final = timedelta(days=366)
_NONE: Final = timedelta()
_SECOND: Final = timedelta(seconds=1)
_MICROSECOND: Final = timedelta(microseconds=1)
#: What belongs to one application, agent or session, and how feedback says which.
GROUPS: Final = ("session", "agent", "application")
_LARGE_GROUPS: Final = ("agent", "application")


@frozen(kw_only=True)
class _Rule:
    """What all rules have.

    Attributes:
        name: what to call it; unique.
        by: what it looks at one by one: each ``session``, each ``agent`` or each ``application``.
        application: the only application that it looks at; all, if ``None``.
        agent: the only agent whose feedback it looks at; everybody's, if ``None``.
        cooldown: for so long after an alert it raises no other about the same subject.
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
            raise ConfigurationError(f"An alert rule needs a name: {problem.message}")
        self.require(self.name != CHANNEL_RULE, f"cannot be called {CHANNEL_RULE!r}, as Harken's own rule is")
        self.require(self.by in self.groups, f"looks by one of {', '.join(self.groups)}, not by {self.by!r}")
        for name, value in (("application", self.application), ("agent", self.agent)):
            if value is not None and (problem := label_problem(name, value)):
                self.require(False, f"cannot be kept to that {name}: {problem.message}")
        self._check_duration("cooldown", self.cooldown, _NONE, _LONGEST)
        self._check()

    def require(self, holds: bool, otherwise: str) -> None:
        """Refuse the rule with a sentence about it, unless something holds."""
        if not holds:
            raise ConfigurationError(f"Alert rule {self.name!r} {otherwise}")

    def _check(self) -> None:
        """Refuse what makes no sense in this kind of rule."""

    def _check_duration(self, name: str, value: timedelta, least: timedelta, most: timedelta) -> None:
        said = f"{format_duration(least)} to {format_duration(most)}"
        fits = isinstance(value, timedelta) and least <= value <= most and not value % _SECOND
        self.require(fits, f"needs {name} in whole seconds, from {said}; got {value!r}")

    def _check_whole(self, name: str, value: int, least: int, most: int) -> None:
        # Exactly this type: to Python, true is an integer too.
        fits = type(value) is int and least <= value <= most
        self.require(fits, f"needs a whole number from {least:,} to {most:,} as {name}, got {value!r}")

    def _check_number(self, name: str, value: float, least: float, most: float) -> None:
        fits = type(value) in (int, float) and least <= value <= most
        self.require(fits, f"needs a number from {least:g} to {most:g} as {name}, got {value!r}")


_MANY: Final = 1_000_000
#: The largest margin that is a share of a threshold, in percent: at 100 nothing would be under what is left of it.
_WIDEST: Final = 90.0


@frozen(kw_only=True)
class _SteadyRule(_Rule):
    """A rule whose figures go up and down, so that its alert ends only when the pattern is clearly over, and stays so.

    Attributes:
        margin: how far from the threshold the figures must be for the pattern to be over; see each rule for the unit.
        resolve_after: for how long the pattern must have been over before the alert is resolved.
    """

    margin: float = 20.0
    resolve_after: timedelta = _HOUR

    def _check(self) -> None:
        self._check_number("margin", self.margin, 0, _WIDEST)
        self._check_duration("resolve_after", self.resolve_after, _NONE, _LONGEST)

    def _eased(self, threshold: float) -> Fraction:
        """The threshold, lower by the margin in percent: the pattern is over when the figure is under it."""
        return Fraction(threshold) * (100 - Fraction(self.margin)) / 100


@frozen(kw_only=True)
class StreakRule(_Rule):
    """That many downs in a row; an up or a neutral ends it.

    Attributes:
        length: how many.
    """

    kind: ClassVar[AlertKind] = AlertKind.STREAK
    groups: ClassVar[tuple[str, ...]] = GROUPS

    by: str = "session"
    cooldown: timedelta = _NONE
    length: int = 3

    def _check(self) -> None:
        self._check_whole("length", self.length, 1, 100)

    def subject(self, feedback: Feedback) -> Subject | None:
        """Whose streak this feedback belongs to; ``None`` if the rule does not look at it."""
        if self.application not in (None, feedback.application) or self.agent not in (None, feedback.agent_id):
            return None
        values = {"session": feedback.session_id, "agent": feedback.agent_id, "application": feedback.application}
        value = values[self.by]
        return None if value is None else Subject(self.by, value)

    def message(self, subject: Subject, completed_at: datetime) -> str:
        """The pattern in a sentence."""
        downs = "1 down" if self.length == 1 else f"{self.length} downs in a row"
        return f"{downs} for {subject}, the last at {completed_at:%Y-%m-%d %H:%M} UTC"


@frozen(kw_only=True)
class SatisfactionRule(_SteadyRule):
    """Satisfaction in a window is surely under a bound: also the upper end of its 95% interval is.

    Attributes:
        below: the bound, in percent.
        window: how long the window is, which ends now.
        at_least: how many thumbs there must be in it.
        margin: in percentage points: the pattern is over when satisfaction is at ``below + margin`` or better (100 at
            most), or when fewer than half of ``at_least`` thumbs are left in the window.
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
        """What the figures of the window say."""
        bound = Fraction(self.below)
        if summary.decided < self.at_least or 100 * summary.positive >= bound * summary.decided:
            return None
        if summary.interval.high >= bound:
            return None
        message = (
            f"Satisfaction of {subject} is {summary.satisfaction:.1f}%, under {self.below:g}%: "
            f"{summary.positive} of {summary.decided} thumbs went up within {format_duration(self.window)}"
        )
        return Finding(message, {"positive": summary.positive, "negative": summary.negative})

    def goes_on(self, summary: Summary) -> bool:
        """Whether a pattern that was found is not clearly over yet, by the figures of the window."""
        # A few thumbs that are still as bad do not mean recovery; too few to judge are not a pattern.
        if not summary.decided or 2 * summary.decided < self.at_least:
            return False
        recovered = min(Fraction(self.below) + Fraction(self.margin), Fraction(100))
        return 100 * summary.positive < recovered * summary.decided


@frozen(kw_only=True)
class _RisingRule(_SteadyRule):
    """Something happens surely more often than in the same hours of the weeks before, see :func:`has_risen`.

    Attributes:
        window: how long the window is, which ends now.
        weeks: how many weeks back it is compared. Weeks without any feedback of the application do not count.
        factor: how many times as often it must happen.
        at_least: how often it must happen within the window.
        margin: in percent of ``at_least`` and ``factor``: the pattern is over when it would not be found with one of
            them lowered by that much (the factor to 1 at least).
    """

    window: timedelta = _HOUR
    weeks: int = 4
    factor: float = 2.0
    at_least: int = 10

    def _check(self) -> None:
        super()._check()
        # A longer window would be compared with a part of itself.
        self._check_duration("window", self.window, _SECOND, WEEK)
        self._check_whole("weeks", self.weeks, 1, 52)
        self._check_number("factor", self.factor, 1, 1_000)
        self._check_whole("at_least", self.at_least, 1, _MANY)

    def enough(self, count: int, *, is_open: bool) -> bool:
        """Whether it happens often enough to look further; less is enough while an alert is open."""
        return count >= (self._eased(self.at_least) if is_open else self.at_least)

    def goes_on(self, count: int, baseline: int, weeks: int) -> bool:
        """Whether a pattern that was found is not clearly over yet."""
        # An increase by chance does not keep an alert open, so the factor is not lowered under 1.
        factor = max(self._eased(self.factor), Fraction(1))
        return self.enough(count, is_open=True) and has_risen(count, baseline, weeks, factor)

    def _risen(self, what: str, subject: str, count: int, baseline: int, weeks: int) -> Finding | None:
        if count < self.at_least or not has_risen(count, baseline, weeks, self.factor):
            return None
        before = "the same hours of the week before" if weeks == 1 else f"the same hours of {weeks} weeks before"
        message = (
            f"{count} {what} for {subject} within {format_duration(self.window)}, "
            f"against {baseline} in {before}: more than {self.factor:g} times as many"
        )
        return Finding(message, {"count": count, "baseline": baseline, "weeks": weeks})


@frozen(kw_only=True)
class RateRule(_RisingRule):
    """A rating comes surely more often than in the same hours of the weeks before.

    Attributes:
        rating: which.
    """

    kind: ClassVar[AlertKind] = AlertKind.RATE

    rating: Rating = field(default=Rating.DOWN)

    def _check(self) -> None:
        super()._check()
        self.require(isinstance(self.rating, Rating), f"needs a Rating as rating, got {self.rating!r}")

    def count(self, summary: Summary) -> int:
        """How often the rating came."""
        return {Rating.UP: summary.positive, Rating.DOWN: summary.negative, Rating.NEUTRAL: summary.neutral}[
            self.rating
        ]

    def finding(self, subject: Subject, count: int, baseline: int, weeks: int) -> Finding | None:
        """What the count of the window, and that of the windows of so many weeks before, say."""
        return self._risen(_COUNTED[self.rating], str(subject), count, baseline, weeks)


_COUNTED: Final = {Rating.UP: "ups", Rating.DOWN: "downs", Rating.NEUTRAL: "neutrals"}


@frozen(kw_only=True)
class ThemeRule(_RisingRule):
    """The comments of downs mention a keyword surely more often than in the same hours of the weeks before.

    Each keyword has alerts of its own, whose subject is the theme.

    Attributes:
        keywords: which.
    """

    kind: ClassVar[AlertKind] = AlertKind.THEME

    keywords: tuple[str, ...] = field(default=KEYWORDS, converter=as_texts)

    def _check(self) -> None:
        super()._check()
        for keyword in self.keywords:
            if problem := label_problem("keyword", keyword):
                self.require(False, f"cannot look for one of its keywords: {problem.message}")
            # It stands between keyword and agent in a theme's name.
            self.require(":" not in keyword, f"cannot look for {keyword!r}, as a keyword has no ':'")
        self.require(bool(self.keywords), "needs at least one keyword")

    def subject(self, keyword: str, group: Subject) -> Subject:
        """The theme: the keyword, and whose comments mention it unless all of the application's do."""
        return Subject("theme", f"{keyword}: {group.value}" if group.by == "agent" else keyword)

    def finding(self, keyword: str, group: Subject, count: int, baseline: int, weeks: int) -> Finding | None:
        """What the mentions in the window, and those in the windows of so many weeks before, say."""
        return self._risen(f"downs that mention {keyword!r}", str(group), count, baseline, weeks)


@frozen(kw_only=True)
class SilenceRule(_Rule):
    """Nothing was received for too long, though there was something before.

    Attributes:
        after: how long is too long.
    """

    kind: ClassVar[AlertKind] = AlertKind.SILENCE

    after: timedelta = timedelta(hours=6)

    def _check(self) -> None:
        self._check_duration("after", self.after, _SECOND, _LONGEST)

    def finding(self, subject: Subject, last: datetime | None, now: datetime) -> Finding | None:
        """What the time of the last feedback says, if there ever was any."""
        if last is None or now - last < self.after:
            return None
        message = f"Nothing was received for {subject} since {last:%Y-%m-%d %H:%M} UTC"
        return Finding(message, {"seconds": (now - last) // _SECOND})


@frozen(kw_only=True)
class QueueRule(_SteadyRule):
    """Too much feedback of an application awaits moderation, or some of it for too long.

    Attributes:
        longer_than: how many entries are not too many yet.
        older_than: for how long an entry may wait.
        margin: in percent of both: the pattern is over when neither figure is above its threshold lowered by that much.
    """

    kind: ClassVar[AlertKind] = AlertKind.QUEUE
    groups: ClassVar[tuple[str, ...]] = ("application",)

    longer_than: int | None = None
    older_than: timedelta | None = None

    def _check(self) -> None:
        super()._check()
        limits = (self.longer_than, self.older_than)
        self.require(limits != (None, None), "needs longer_than, older_than, or both")
        if self.longer_than is not None:
            self._check_whole("longer_than", self.longer_than, 0, _MANY)
        if self.older_than is not None:
            self._check_duration("older_than", self.older_than, _SECOND, _LONGEST)
        self.require(
            self.agent is None, "looks at the moderation queue of an application; it cannot be kept to an agent"
        )

    def finding(self, subject: Subject, backlog: Backlog, now: datetime) -> Finding | None:
        """What the moderation queue says."""
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
        """Whether a queue that was too long or too old is not clearly shorter or younger yet."""
        long = self.longer_than is not None and backlog.waiting > self._eased(self.longer_than)
        # In microseconds, so that it is exact.
        old = self.older_than is not None and backlog.age(now) // _MICROSECOND > self._eased(
            self.older_than // _MICROSECOND
        )
        return long or old


WindowRule = SatisfactionRule | RateRule | ThemeRule | SilenceRule | QueueRule
AlertRule = StreakRule | WindowRule
RULES: Final[Mapping[str, type[AlertRule]]] = {
    kind.kind.value: kind for kind in (StreakRule, SatisfactionRule, RateRule, ThemeRule, SilenceRule, QueueRule)
}


def resolve_after(rule: AlertRule) -> timedelta:
    """For how long the pattern must have been over before an alert of that rule is resolved."""
    return rule.resolve_after if isinstance(rule, _SteadyRule) else _NONE
