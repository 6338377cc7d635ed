"""Subjects of alerts, and detection of patterns: streaks and rising rates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from enum import Enum
from fractions import Fraction

from attrs import evolve, field, frozen

from harken.domain.feedback import Feedback, Rating
from harken.domain.query import Cursor
from harken.domain.summary import Summary


class AlertKind(Enum):
    """The kind of pattern that an alert reports."""

    STREAK = "streak"
    SATISFACTION = "satisfaction"
    RATE = "rate"
    THEME = "theme"
    CHANGE = "change"
    SILENCE = "silence"
    QUEUE = "queue"
    CHANNEL = "channel"


@frozen
class Subject:
    """What an alert is about: ``by`` is ``application``, ``agent``, ``session``, ``theme`` or ``channel``.

    ``value`` is the name or id. For a theme it is the keyword or label, with the agent (``"<keyword>: <agent>"``) if
    the theme belongs to one.
    """

    by: str
    value: str

    @property
    def nameless(self) -> Subject:
        """The same without its value, for an alert that was emptied."""
        return Subject(self.by, "")

    @classmethod
    def theme(cls, label: str, agent: str | None = None) -> Subject:
        """The theme with this keyword or label; of one agent, if the theme belongs to one."""
        return cls("theme", label if agent is None else f"{label}: {agent}")

    @property
    def label(self) -> str:
        """The keyword or the label of a theme, without its agent; the value of other subjects."""
        return self.value.partition(": ")[0] if self.by == "theme" else self.value

    @property
    def agent(self) -> str | None:
        """The agent that it is, or to which the theme belongs; ``None`` for others."""
        if self.by == "theme":
            return self.value.partition(": ")[2] or None
        return self.value if self.by == "agent" else None

    def __str__(self) -> str:
        return f"{self.by} {self.value}"


def copy_counts(figures: Mapping[str, int]) -> Mapping[str, int]:
    """Return a copy, so that the caller cannot change the stored counts."""
    return dict(figures)


@frozen
class Finding:
    """The result of a rule that matched.

    Attributes:
        message: the pattern in one sentence.
        figures: the counts.
        feedback_ids: feedback whose words the message has, if it has any.
    """

    message: str
    figures: Mapping[str, int] = field(converter=copy_counts, hash=False)
    feedback_ids: tuple[str, ...] = ()


@frozen(kw_only=True)
class Streak:
    """Consecutive thumbs-down feedback.

    Attributes:
        feedback_ids: the first entries, at most as many as the required length.
        began: the position of the first entry.
        last: the position of the last entry.
        downs: the number of entries.
        completed_at: when the required length was reached; until then, when the last entry was given.
        ended_at: when a thumbs-up or a neutral rating ended the streak; ``None`` while it continues.
    """

    feedback_ids: tuple[str, ...]
    began: Cursor
    last: Cursor
    downs: int
    completed_at: datetime
    ended_at: datetime | None = None

    @classmethod
    def of(cls, down: Feedback) -> Streak:
        """Return the streak that begins with this thumbs-down entry."""
        place = Cursor.of(down)
        return cls(feedback_ids=(down.id,), began=place, last=place, downs=1, completed_at=down.created_at)

    def grown(self, down: Feedback, length: int) -> Streak:
        """Return the streak with one more thumbs-down entry."""
        grown = evolve(self, last=Cursor.of(down), downs=self.downs + 1)
        if self.downs >= length:
            return grown
        return evolve(grown, feedback_ids=(*self.feedback_ids, down.id), completed_at=down.created_at)


def next_streak(streak: Streak | None, feedback: Feedback, length: int) -> tuple[Streak | None, Streak | None]:
    """Return the streak that the next feedback ends and the streak that continues, each ``None`` if there is none.

    Feedback that is not counted is ignored. A streak shorter than ``length`` ends without being reported.
    """
    if not feedback.is_counted:
        return None, streak
    if feedback.rating is Rating.DOWN:
        return None, streak.grown(feedback, length) if streak else Streak.of(feedback)
    if streak is None or streak.downs < length:
        return None, None
    return evolve(streak, ended_at=feedback.created_at), None


def streaks(feedback: Iterable[Feedback], length: int) -> Iterator[Streak]:
    """Yield each maximal run of at least ``length`` thumbs-down entries.

    The feedback must be ordered by ``created_at``, then by ``id``. Feedback that is not counted is ignored. If the last
    streak continues, its ``ended_at`` is ``None``.
    """
    streak: Streak | None = None
    for one in feedback:
        ended, streak = next_streak(streak, one, length)
        if ended:
            yield ended
    if streak and streak.downs >= length:
        yield streak


def has_risen(count: int, baseline: int, weeks: int, factor: float | Fraction) -> bool:
    """Whether the rate is more than ``factor`` times the previous rate, with 95% confidence.

    ``count`` is from one window, ``baseline`` from ``weeks`` windows of the same length. If the counts are Poisson with
    the rates ``r`` and ``q`` a window, then of ``count + baseline`` in all, ``count`` is binomial with the share
    ``r / (r + weeks * q)``: the conditional test of J. Przyborowski and H. Wilenski, "Homogeneity of results in testing
    samples from Poisson series", Biometrika 31 (1940). That share is above ``factor / (factor + weeks)`` exactly if
    ``r`` is above ``factor * q``. The function requires that of the lower end of the share's 95% CI: the score interval
    of E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22 (1927).
    """
    # The interval of a summary is the interval of the share of one of two counts, in percent.
    low = Fraction(Summary(positive=count, negative=baseline).interval.low)
    times = Fraction(factor)
    return weeks > 0 and low * (times + weeks) > 100 * times
