"""The selection of a page: period, time zone, comparison and filters, all in the query string.

The filters have the names of the HTTP API. The period is ``period`` (one of :data:`PERIODS`, until now), or ``since``
and ``until``, in which dates without a time are local dates. ``zone`` is an IANA time zone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from attrs import evolve, frozen

from harken import FeedbackQuery
from harken.domain.trend import zone_named
from harken_adapters.charts.labels import DASH, MONTHS, day_text
from harken_adapters.hosts.http.wire.parameters import FILTERS, Parameters, invalid, moment

#: The number of local days of each period that ends now. All but the first are whole weeks, so that the previous period
#: has the same weekdays.
PERIODS: Final = {"today": 1, "week": 7, "month": 28, "year": 364}
_DEFAULT: Final = "month"
_DATE: Final = len("2026-01-31")
_OWN: Final = ("period", "zone", "compare")
_TIMES: Final = ("since", "until")
Pair = tuple[str, str]


@frozen
class Span:
    """A period of local time.

    Attributes:
        start: its start.
        end: its end, which is now if it is running.
        length: its whole length on the wall clock.
        is_running: whether it is not over.
    """

    start: datetime
    end: datetime
    length: timedelta
    is_running: bool

    def shifted(self, times: int) -> Span:
        """The same part of a period before (-1) or after (1), on the wall clock."""
        move = self.length * times
        return evolve(self, start=_on_wall_clock(self.start, move), end=_on_wall_clock(self.end, move), is_running=False)

    @property
    def whole(self) -> Span:
        """The period including what is to come."""
        return evolve(self, end=_on_wall_clock(self.start, self.length))

    @property
    def label(self) -> str:
        """Its first and last day: ``20 – 22 Feb``; or its times, if it does not consist of days."""
        start, end = self.start.replace(tzinfo=None), self.whole.end.replace(tzinfo=None)
        if start.time() != time() or end.time() != time():
            same_day = start.date() == end.date()
            return f"{day_text(start)} {start:%H:%M} {DASH} {'' if same_day else day_text(end) + ' '}{end:%H:%M}"
        last = end - timedelta(days=1)
        year = "" if last.year == self.start.year == datetime.now(UTC).year else f" {last.year}"
        if start.date() == last.date():
            return f"{day_text(start)}{year}"
        first = str(start.day) if (start.month, start.year) == (last.month, last.year) else day_text(start)
        return f"{first} {DASH} {last.day} {MONTHS[last.month - 1]}{year}"


@frozen(kw_only=True)
class Selection:
    """What a page shows.

    Attributes:
        zone: the time zone.
        span: the period.
        query: selects the feedback of the period.
        previous: selects the feedback of the previous period; ``None`` if nothing is compared.
        pairs: the parameters as they were given, in order, without those of single pages.
        parameters: all parameters of the page.
    """

    zone: ZoneInfo
    span: Span
    query: FeedbackQuery
    previous: FeedbackQuery | None
    pairs: tuple[Pair, ...]
    parameters: Parameters

    @classmethod
    def parse(cls, text: str, application: str, now: datetime, *, known: Iterable[str] = ()) -> Selection:
        """The selection in a query string.

        Args:
            text: the query string.
            application: the application of the feedback.
            now: the current time.
            known: the names of further parameters of the page.

        Raises:
            Problem: a parameter is unknown or invalid.
            InvalidQuery: a filter or the time zone is invalid.
        """
        parameters = Parameters.parse(text, (*_OWN, *known), filters=FILTERS)
        zone = zone_named(parameters.get("zone", "UTC"))
        try:
            span = _span(parameters, zone, now)
            before = evolve(span, end=_slot_start(span.end)).shifted(-1)
        except OverflowError:
            raise invalid("since", "range", "since and until must be in the years 1 to 9999, with the period before") from None
        base = Parameters({name: values for name, values in parameters.values.items() if name not in _TIMES})
        query = evolve(base.query(application), since=span.start, until=None if span.is_running else span.end)
        if parameters.get("compare", "previous") not in ("previous", "none"):
            raise invalid("compare", "unknown", "compare must be previous or none")
        compared = parameters.get("compare") != "none"
        return cls(
            zone=zone,
            span=span,
            query=query,
            previous=evolve(query, since=before.start, until=before.end) if compared else None,
            pairs=tuple(_pairs(parameters, known)),
            parameters=parameters,
        )

    def values(self, name: str) -> list[str]:
        """The values of a parameter."""
        return [value for key, value in self.pairs if key == name]

    def link(self, path: str, *more: Pair, without: Iterable[Pair | str] = ()) -> str:
        """A link to a page with the same selection.

        Args:
            path: the path of the page, with the prefix.
            more: further parameters. They replace those of the same name, except filters, to which they are added.
            without: parameters to leave out: pairs, or all of a name.
        """
        left_out = set(without)
        replaced = {name for name, _ in more if name not in FILTERS or name in _TIMES}
        kept = [
            pair for pair in self.pairs if pair not in left_out and pair[0] not in left_out and pair[0] not in replaced
        ]
        pairs = [*kept, *(pair for pair in more if pair not in kept)]
        return f"{path}?{urlencode(pairs)}" if pairs else path

    def choice(self, name: str, values: Sequence[str]) -> str:
        """The value of a parameter of the page that has these values, the default first.

        Raises:
            Problem: it has another value.
        """
        value = self.parameters.get(name, values[0])
        if value not in values:
            raise invalid(name, "unknown", f"{name} must be one of {', '.join(values)}; got {value[:100]!a}")
        return value

    def view(self, path: str, name: str, value: str | None) -> str:
        """A link to the same page with another value of one of its own parameters; ``None`` for the default."""
        own = {key: values[0] for key, values in self.parameters.values.items() if key not in dict(self.pairs)}
        own.pop(name, None)
        return self.link(path, *own.items(), *([] if value is None else [(name, value)]))

    def moved(self, path: str, times: int) -> str:
        """A link to the period before (-1) or after (1)."""
        span = self.span.shifted(times).whole
        return self.link(path, ("since", _format(span.start)), ("until", _format(span.end)), without=("period",))

    def local(self, moment: datetime) -> datetime:
        """A time in the zone of the selection."""
        return moment.astimezone(self.zone)

    def query_without(self, name: str) -> FeedbackQuery:
        """The query of the same period without one filter."""
        values = {key: all_of for key, all_of in self.parameters.values.items() if key not in (name, *_TIMES)}
        query = Parameters(values).query(self.query.application)
        return evolve(query, since=self.query.since, until=self.query.until)

    @property
    def filters(self) -> list[Pair]:
        """The filters in use."""
        return [pair for pair in self.pairs if pair[0] not in ("application", *_OWN, *_TIMES)]


def _span(parameters: Parameters, zone: ZoneInfo, now: datetime) -> Span:
    local = now.astimezone(zone)
    since, until = (_moment(name, parameters.get(name), zone) for name in _TIMES)
    if since is None:
        name = parameters.get("period", _DEFAULT)
        if name not in PERIODS:
            raise invalid("period", "unknown", f"period must be one of {', '.join(PERIODS)}; got {name[:100]!a}")
        days = timedelta(days=PERIODS[name])
        midnight = datetime.combine(local.date(), time(), zone)
        if until is None or until > local:
            start = _on_wall_clock(midnight, timedelta(days=1) - days)
            return Span(start, local, days, is_running=True)
        return Span(_on_wall_clock(until, -days), until, days, is_running=False)
    end = until or local
    if end <= since:
        raise invalid("until", "range", f"until must be after since, got {end.isoformat()}")
    length = end.replace(tzinfo=None) - since.replace(tzinfo=None)
    is_running = since < local <= end
    return Span(since, local if is_running else end, length, is_running)


def _moment(name: str, text: str | None, zone: ZoneInfo) -> datetime | None:
    """The local time of a parameter; a date is its first midnight."""
    found = moment(name, text)
    if found is None:
        return None
    if text is not None and len(text) == _DATE:
        return datetime.combine(found.date(), time(), zone)
    return found.astimezone(zone)


def _on_wall_clock(moment: datetime, move: timedelta) -> datetime:
    """The time a distance away on the wall clock, which clock changes do not affect."""
    return (moment.replace(tzinfo=None) + move).replace(tzinfo=moment.tzinfo)


def _slot_start(moment: datetime) -> datetime:
    """The start of the quarter of an hour, by which statistics are stored: they are read faster, and again as they are."""
    return moment.replace(minute=moment.minute // 15 * 15, second=0, microsecond=0)


def _format(moment: datetime) -> str:
    """A time as a parameter: a date, if it is midnight."""
    if moment.time() == time():
        return moment.date().isoformat()
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _pairs(parameters: Parameters, known: Iterable[str]) -> Iterator[Pair]:
    own = set(known)
    for name, values in parameters.values.items():
        if name not in own:
            yield from ((name, value) for value in values)
