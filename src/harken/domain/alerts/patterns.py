"""What alerts are about, and how patterns are found: streaks, and rates that rise."""

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
    """What kind of pattern it is."""

    STREAK = "streak"
    SATISFACTION = "satisfaction"
    RATE = "rate"
    THEME = "theme"
    SILENCE = "silence"
    QUEUE = "queue"
    CHANNEL = "channel"


@frozen
class Subject:
    """Whom or what an alert is about: ``by`` is ``application``, ``agent``, ``session``, ``theme`` or ``channel``.

    For an application ``value`` is its name. For a theme it is the keyword, or where the theme is one agent's, the
    keyword and the agent as ``"<keyword>: <agent>"``.
    """

    by: str
    value: str

    def __str__(self) -> str:
        return f"{self.by} {self.value}"


def copied(figures: Mapping[str, int]) -> Mapping[str, int]:
    """The same figures, which nobody else can change."""
    return dict(figures)


@frozen
class Finding:
    """What a rule found: the pattern in a sentence, and what was counted."""

    message: str
    figures: Mapping[str, int] = field(converter=copied, hash=False)


@frozen(kw_only=True)
class Streak:
    """Downs in a row.

    Attributes:
        feedback_ids: the first of them, as many as were asked for.
        began: the place of the first.
        last: the place of the last.
        downs: how many they are.
        completed_at: when there were as many as were asked for; before that, when the last was given.
        ended_at: when the up or the neutral was given that ended it; ``None`` while it goes on.
    """

    feedback_ids: tuple[str, ...]
    began: Cursor
    last: Cursor
    downs: int
    completed_at: datetime
    ended_at: datetime | None = None

    @classmethod
    def of(cls, down: Feedback) -> Streak:
        """The streak that a first down makes."""
        place = Cursor.of(down)
        return cls(feedback_ids=(down.id,), began=place, last=place, downs=1, completed_at=down.created_at)

    def grown(self, down: Feedback, length: int) -> Streak:
        """This streak with one down more."""
        grown = evolve(self, last=Cursor.of(down), downs=self.downs + 1)
        if self.downs >= length:
            return grown
        return evolve(grown, feedback_ids=(*self.feedback_ids, down.id), completed_at=down.created_at)


def next_streak(streak: Streak | None, feedback: Feedback, length: int) -> tuple[Streak | None, Streak | None]:
    """What becomes of a streak, if there is one, with the next feedback: what it ends, and what goes on.

    Only what counts is counted, and only what has ``length`` downs ends as a streak.
    """
    if not feedback.is_counted:
        return None, streak
    if feedback.rating is Rating.DOWN:
        return None, streak.grown(feedback, length) if streak else Streak.of(feedback)
    if streak is None or streak.downs < length:
        return None, None
    return evolve(streak, ended_at=feedback.created_at), None


def streaks(feedback: Iterable[Feedback], length: int) -> Iterator[Streak]:
    """Every longest row of at least ``length`` downs, in feedback that comes by ``created_at``, then by ``id``.

    What does not count is passed over. The last streak may go on: it has no end then.
    """
    streak: Streak | None = None
    for one in feedback:
        ended, streak = next_streak(streak, one, length)
        if ended:
            yield ended
    if streak and streak.downs >= length:
        yield streak


def has_risen(count: int, baseline: int, weeks: int, factor: float | Fraction) -> bool:
    """Whether something that was counted happens surely more than ``factor`` times as often as before.

    ``count`` is from one window, ``baseline`` from ``weeks`` windows that are as long. If the counts are Poisson with
    the rates ``r`` and ``q`` a window, then of ``count + baseline`` in all, ``count`` is binomial with the share
    ``r / (r + weeks * q)``: the conditional test of J. Przyborowski and H. Wilenski, "Homogeneity of results in testing
    samples from Poisson series", Biometrika 31 (1940). That share is above ``factor / (factor + weeks)`` exactly if
    ``r`` is above ``factor * q``. It surely is, if the lower end of the share's 95% interval is: the score interval of
    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22 (1927).
    """
    # A summary's interval is that of a share of two counts, in percent.
    low = Fraction(Summary(positive=count, negative=baseline).interval.low)
    times = Fraction(factor)
    return weeks > 0 and low * (times + weeks) > 100 * times
