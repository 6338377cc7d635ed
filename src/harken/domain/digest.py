"""Digests: a week of feedback in a few sentences, sent to a channel."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import IntEnum
from hashlib import blake2b
from itertools import pairwise
from typing import Any, Final
from zoneinfo import ZoneInfo

from attrs import evolve, field, fields, frozen

from harken.domain.errors import ConfigurationError, InvalidQuery
from harken.domain.events import Event, EventType
from harken.domain.feedback import DEFAULT_APPLICATION, Feedback, FrozenMapping
from harken.domain.insight.headline import Headline
from harken.domain.insight.issues import Issues
from harken.domain.query import FeedbackQuery
from harken.domain.routes import name_problem
from harken.domain.rules import label_problem
from harken.domain.summary import Summary
from harken.domain.texts import unknown_names
from harken.domain.trend import TrendPoint, zone_named

_DAYS: Final = 7
_PREFIX: Final = "digest"
_DAY: Final = timedelta(days=1)


class Weekday(IntEnum):
    """A day of the week, with the number that dates have."""

    MONDAY = 0
    TUESDAY = 1
    WEDNESDAY = 2
    THURSDAY = 3
    FRIDAY = 4
    SATURDAY = 5
    SUNDAY = 6


def _weekday(value: Any) -> Weekday | None:
    if value is None or isinstance(value, Weekday):
        return value
    try:
        return Weekday[str(value).upper()]
    except KeyError:
        raise ConfigurationError(f"weekday of a digest must be a day such as 'monday', got {value!r}") from None


def _time(value: Any) -> time:
    try:
        found = value if isinstance(value, time) else time.fromisoformat(value)
    except (TypeError, ValueError):
        raise ConfigurationError(f"at of a digest must be a time such as '09:00', got {value!r}") from None
    if found.tzinfo is not None:
        raise ConfigurationError(f"at of a digest must be a local time such as '09:00'; set zone instead of {value!r}")
    return found


def _texts(value: Any) -> tuple[str, ...]:
    texts = (value,) if isinstance(value, str) else value
    if not isinstance(texts, list | tuple) or any(label_problem("each", one) for one in texts):
        raise ConfigurationError(f"agents of a digest must be a list of ids, got {value!r}")
    return tuple(texts)


def _context(value: Any) -> FrozenMapping[Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"context of a digest must be a table such as {{tier = 'premium'}}, got {value!r}")
    return FrozenMapping({name: tuple(one) if isinstance(one, list) else one for name, one in value.items()})


@frozen(kw_only=True)
class DigestRule:
    """What a digest is about, and when and where it is sent.

    Attributes:
        name: its name.
        channel: the channel that it is sent to.
        weekday: the day of the week on which relays send it; ``None`` if they do not, but a scheduler does.
        at: the local time at which relays send it.
        zone: the IANA time zone of ``at`` and of days.
        application: the application; ``None`` for the default one.
        agents: only feedback on these agents; all if empty.
        context: only feedback with these context values, by name.

    Raises:
        ConfigurationError: a value is invalid.
    """

    name: str
    channel: str
    weekday: Weekday | None = field(default=None, converter=_weekday)
    at: time = field(default=time(9), converter=_time)
    zone: str = "UTC"
    application: str | None = None
    agents: tuple[str, ...] = field(default=(), converter=_texts)
    context: FrozenMapping[Any] = field(factory=FrozenMapping, converter=_context)

    def __attrs_post_init__(self) -> None:
        problems = [name_problem("A digest's name", self.name), name_problem("A channel's name", self.channel)]
        if self.application is not None and (problem := label_problem("application", self.application)):
            problems.append(problem.message)
        if message := next(filter(None, problems), None):
            raise ConfigurationError(message)
        try:
            self.query(self.application or DEFAULT_APPLICATION, date(2000, 1, 8))
        except InvalidQuery as error:
            raise ConfigurationError(f"In the digest {self.name!r}: {error}") from error

    def latest_end(self, now: datetime) -> date:
        """The day after the latest period that is due.

        With a weekday, that is its last occurrence at which the time has come; otherwise it is today.
        """
        local = now.astimezone(self._zone)
        if self.weekday is None:
            return local.date()
        day = local.date() - (local.weekday() - self.weekday) % _DAYS * _DAY
        return day if datetime.combine(day, self.at, self._zone) <= local else day - _DAYS * _DAY

    def today(self, now: datetime) -> date:
        """The local day."""
        return now.astimezone(self._zone).date()

    @staticmethod
    def begin(end: date) -> date:
        """The first day of the period before a day."""
        return end - _DAYS * _DAY

    def query(self, application: str, end: date) -> FeedbackQuery:
        """What the digest of the seven local days before a day counts."""
        since, until = (datetime.combine(day, time(), self._zone).astimezone(UTC) for day in (self.begin(end), end))
        return FeedbackQuery(
            application=application,
            agent_id=self.agents or None,
            context=self.context,
            since=since,
            until=until,
        )

    def all_days(self, points: Iterable[TrendPoint], end: date) -> tuple[TrendPoint, ...]:
        """The points of a trend by day, with empty ones for days before the first and after the last."""
        known = {point.start.date(): point for point in points}
        midnights = [
            datetime.combine(self.begin(end) + number * _DAY, time(), self._zone) for number in range(_DAYS + 1)
        ]
        return tuple(
            known.get(start.date()) or TrendPoint(start, after, Summary()) for start, after in pairwise(midnights)
        )

    def event(self, application: str, end: date, *, at: datetime) -> Event:
        """The event of a digest, with an id that depends on its name, application and period only."""
        subject_id = f"{_PREFIX}:{self.name}:{end.isoformat()}"
        return Event(
            id=blake2b(f"{application}\0{subject_id}".encode(), digest_size=16).hexdigest(),
            type=EventType.DIGEST,
            application=application,
            subject_id=subject_id,
            version=1,
            occurred_at=at,
        )

    @property
    def _zone(self) -> ZoneInfo:
        return zone_named(self.zone)


def parse_digest(table: Mapping[str, Any]) -> DigestRule:
    """Build a rule from a settings table.

    Raises:
        ConfigurationError: a key is unknown or missing, or a value is invalid.
    """
    known = [attribute.name for attribute in fields(DigestRule)]
    if problem := unknown_names(table, known):
        raise ConfigurationError(f"Digest {table.get('name')!r}: {problem}")
    if missing := [name for name in ("name", "channel") if not isinstance(table.get(name), str)]:
        raise ConfigurationError(f"A digest needs {' and '.join(missing)} of type string; got {dict(table)!r}")
    return DigestRule(**table)


def name_and_end(event: Event) -> tuple[str, date]:
    """The name of the digest of an event, and the day after its period."""
    _, name, end = event.subject_id.split(":")
    return name, date.fromisoformat(end)


@frozen(kw_only=True)
class Digest:
    """A week of feedback.

    Attributes:
        name: the name of the rule.
        application: the application.
        zone: the time zone of its days.
        headline: what changed since the week before.
        days: the statistics of each day.
        issues: the most frequent issues of thumbs-down feedback, each with an example.
        link: the URL of the dashboard with the same selection; empty if unknown.
    """

    name: str
    application: str
    zone: str
    headline: Headline
    days: Sequence[TrendPoint]
    issues: Issues
    link: str = ""

    @property
    def quoted(self) -> Mapping[str, Feedback]:
        """The feedback that it quotes, by id."""
        return {one.example.id: one.example for one in self.issues.issues if one.example is not None}

    def without(self, feedback_ids: Collection[str]) -> Digest:
        """Return the digest without quotations of this feedback."""
        issues = (
            evolve(one, example=None) if one.example and one.example.id in feedback_ids else one
            for one in self.issues.issues
        )
        return evolve(self, issues=evolve(self.issues, issues=tuple(issues)))
