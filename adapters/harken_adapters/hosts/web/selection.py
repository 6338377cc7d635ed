"""The selection of a page: period, time zone, comparison and filters, all in the query string.

The filters have the names of the HTTP API. The period is ``period`` (one of :data:`PERIODS`, until now), or ``since``
and ``until``, in which dates without a time are local dates. ``zone`` is an IANA time zone; by default, it is that of
the browser.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from attrs import evolve, frozen

from harken import FeedbackQuery
from harken.domain.insight.periods import ComparedPeriods, compared_periods
from harken.domain.instants import stamp
from harken.domain.trend import zone_named
from harken_adapters.charts.labels import DASH, day_text, days_text
from harken_adapters.hosts.http.wire.parameters import FILTERS, Parameters, invalid, moment

#: The number of local days of each period that ends now. All but the first are whole weeks, so that the previous period
#: has the same weekdays.
PERIODS: Final = {"today": 1, "week": 7, "month": 28, "year": 364}
_DEFAULT: Final = "month"
_DAY: Final = timedelta(days=1)
_OWN: Final = ("period", "zone", "compare")
_TIMES: Final = ("since", "until")
CONTEXT: Final = "context."
#: The filters that can have several values, besides those on context.
_SEVERAL: Final = ("agent_id", "rating", "tag")
Pair = tuple[str, str]
#: What pages list without filters on the state. The event stream has events of feedback in any state.
_LISTED: Final = (("status", "approved"), ("withdrawn", "false"))


@frozen
class Span:
    """A period of local time, including what is to come.

    Attributes:
        start: its start.
        end: its end.
    """

    start: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        """Its length on the wall clock."""
        return _on_clock(self.end) - _on_clock(self.start)

    @property
    def dates(self) -> tuple[date, date]:
        """Its first day, and the day after its last one."""
        last = (_on_clock(self.end) - timedelta.resolution).date()
        return self.start.date(), last if last == date.max else last + _DAY

    def shifted(self, times: int) -> Span:
        """The period before (-1) or after (1), on the wall clock."""
        move = self.length * times
        return Span(self.start + move, self.end + move)

    def label(self, this_year: int) -> str:
        """Its first and last day; or its times, if it does not consist of days."""
        start, end = _on_clock(self.start), _on_clock(self.end)
        if start.time() == time() and end.time() == time():
            last = end - _DAY
            return days_text(start.date(), last.date(), with_year=last.year != this_year)
        same_day = start.date() == end.date()
        first, last_day = (
            day_text(one) if start.year == end.year == this_year else f"{day_text(one)} {one.year}"
            for one in (start, end)
        )
        return f"{first} {start:%H:%M} {DASH} {'' if same_day else last_day + ' '}{end:%H:%M}"


@frozen(kw_only=True)
class Selection:
    """What a page shows.

    Attributes:
        periods: selects the feedback of the period, and of the one before.
        is_compared: whether they are compared.
        now: the current time.
        pairs: the parameters as they were given, in order, without those of single pages.
        parameters: all parameters of the page.
        agents: the agents that the visitor may see; ``None`` for all.
    """

    periods: ComparedPeriods
    is_compared: bool
    now: datetime
    pairs: tuple[Pair, ...]
    parameters: Parameters
    agents: frozenset[str] | None = None

    @classmethod
    def parse(
        cls, text: str, application: str, now: datetime, *, known: Iterable[str] = (), zone: str = "UTC"
    ) -> Selection:
        """The selection in a query string.

        A period of a day or less is compared with the same weekday a week earlier, a longer one with the one before.

        Args:
            text: the query string.
            application: the application of the feedback.
            now: the current time.
            known: the names of further parameters of the page.
            zone: the time zone, unless the query string has one.

        Raises:
            Problem: a parameter is unknown or invalid.
            InvalidQuery: a filter, the period or the time zone is invalid.
        """
        parameters = _without_empty_search(Parameters.parse(text, (*_OWN, *known), filters=FILTERS))
        local = zone_named(parameters.get("zone", zone))
        if parameters.get("compare", "previous") not in ("previous", "none"):
            raise invalid("compare", "unknown", "compare must be previous or none")
        base = Parameters({name: values for name, values in parameters.values.items() if name not in _TIMES})
        try:
            since, until = _bounds(parameters, local, now)
            query = evolve(base.query(application), since=since, until=until)
        except OverflowError:
            raise invalid("since", "range", "since and until must be in the years 1 to 9999") from None
        is_short = _on_clock(until or now.astimezone(local)) - _on_clock(since) <= _DAY
        return cls(
            periods=compared_periods(query, now, local, same_weekdays=is_short),
            is_compared=parameters.get("compare") != "none",
            now=now,
            pairs=tuple(_pairs(parameters, known)),
            parameters=parameters,
        )

    @property
    def zone(self) -> ZoneInfo:
        """The time zone."""
        return self.periods.zone

    @property
    def query(self) -> FeedbackQuery:
        """Selects the feedback of the period."""
        return self.periods.after

    @property
    def span(self) -> Span:
        """The period."""
        return Span(*self.periods.span)

    @property
    def label(self) -> str:
        """The name of the period."""
        return self._label_of(self.span)

    @property
    def label_before(self) -> str:
        """The name of the period before."""
        start = self.periods.before_span[0]
        return self._label_of(Span(start, start + self.span.length))

    def label_moved(self, times: int) -> str:
        """The name of the period that :meth:`moved` leads to."""
        return self._label_of(self.span.shifted(times))

    def _label_of(self, span: Span) -> str:
        return span.label(self.local(self.now).year)

    def limited(self, agents: frozenset[str] | None) -> Selection:
        """The same selection of the agents that the visitor may see; ``None`` for all.

        The agents that it names must be among them.
        """
        named = self.query.agent_id or agents
        before, after = (evolve(one, agent_id=named) for one in (self.periods.before, self.periods.after))
        return evolve(self, periods=evolve(self.periods, before=before, after=after), agents=agents)

    def keeping(self, names: Iterable[str]) -> Selection:
        """The same selection, whose links keep these parameters of the page as well."""
        own = [(name, value) for name in names for value in self.parameters.all(name)]
        return evolve(self, pairs=(*self.pairs, *own))

    def values(self, name: str) -> list[str]:
        """The values of a parameter."""
        return [value for key, value in self.pairs if key == name]

    def link(self, path: str, *more: Pair, without: Iterable[Pair | str] = ()) -> str:
        """A link to a page with the same selection.

        Args:
            path: the path of the page, with the prefix.
            more: further parameters. They replace those of the same name, but are added to filters with several values.
            without: parameters to leave out: pairs, or all of a name.
        """
        left_out = set(without)
        replaced = {name for name, _ in more if name not in _SEVERAL and not name.startswith(CONTEXT)}
        kept = [
            pair for pair in self.pairs if pair not in left_out and pair[0] not in left_out and pair[0] not in replaced
        ]
        pairs = [*kept, *(pair for pair in more if pair not in kept)]
        return f"{path}?{urlencode(pairs)}" if pairs else path

    def export_link(self, path: str) -> str:
        """A link to the export of the same feedback, as CSV for spreadsheets.

        Args:
            path: the path of the export, with the prefix. The HTTP API knows no periods, only times.
        """
        start, end = self.periods.span
        times = (("since", stamp(start)), ("until", stamp(end)))
        return self.link(path, *times, ("format", "csv"), ("for", "spreadsheet"), without=_OWN)

    def events_link(self, path: str, *, in_any_state: bool = False) -> str:
        """A link to the events of the feedback that the page lists, or would list if it were loaded again.

        Args:
            path: the path of the event stream, with the prefix.
            in_any_state: whether the page lists feedback of any time, and needs the events of feedback in any state.
        """
        if in_any_state:
            return self.link(path, without=(*_OWN, *_TIMES, "status", "withdrawn"))
        states = [pair for pair in _LISTED if not self.values(pair[0])]
        start, end = self.periods.span
        # A period that has not ended goes on.
        times = [("since", stamp(start)), *([] if self.periods.is_running else [("until", stamp(end))])]
        return self.link(path, *states, *times, without=(*_OWN, *_TIMES))

    def choice(self, name: str, values: Sequence[str]) -> str:
        """The value of a parameter of the page that has these values, the default first.

        Raises:
            Problem: it has another value.
        """
        value = self.parameters.get(name, values[0])
        if value not in values:
            raise invalid(name, "unknown", f"{name} must be one of {', '.join(values)}; got {value[:100]!a}")
        return value

    def moved(self, path: str, times: int) -> str:
        """A link to the period before (-1) or after (1)."""
        span = self.span.shifted(times)
        return self.link(path, ("since", _format(span.start)), ("until", _format(span.end)), without=("period",))

    def local(self, moment: datetime) -> datetime:
        """A time in the zone of the selection; at the edges of the calendar, the nearest time that the zone has."""
        try:
            return moment.astimezone(self.zone)
        except OverflowError:
            if moment.year == 1:
                return datetime.min.replace(tzinfo=self.zone)
            return datetime.max.replace(tzinfo=self.zone)

    def without(self, name: str) -> FeedbackQuery:
        """The query of the same period without one filter."""
        values = {key: all_of for key, all_of in self.parameters.values.items() if key not in (name, *_TIMES)}
        query = Parameters(values).query(self.query.application)
        return evolve(query, since=self.query.since, until=self.query.until, agent_id=query.agent_id or self.agents)

    @property
    def filters(self) -> list[Pair]:
        """The filters in use."""
        return [pair for pair in self.pairs if pair[0] not in _TIMES and is_filter(pair[0])]


def _without_empty_search(parameters: Parameters) -> Parameters:
    """The parameters without a search for nothing, which an empty field sends."""
    if any(one.strip() for one in parameters.all("text")):
        return parameters
    return Parameters({name: values for name, values in parameters.values.items() if name != "text"})


def is_filter(name: str) -> bool:
    """Whether a parameter is a filter."""
    return name in FILTERS or name.startswith(CONTEXT)


def _bounds(parameters: Parameters, zone: ZoneInfo, now: datetime) -> tuple[datetime, datetime | None]:
    """The beginning and the end of the period; without the latter, it has not ended."""
    since, until = (_moment(name, parameters.get(name), zone) for name in _TIMES)
    if since is not None:
        return since, until
    name = parameters.get("period", _DEFAULT)
    if name not in PERIODS:
        raise invalid("period", "unknown", f"period must be one of {', '.join(PERIODS)}; got {name[:100]!a}")
    midnight = datetime.combine(now.astimezone(zone).date(), time(), zone) + _DAY
    end = min(until or midnight, midnight)
    return end - timedelta(days=PERIODS[name]), end


def _moment(name: str, text: str | None, zone: ZoneInfo) -> datetime | None:
    """The local time of a parameter; a date is its first instant."""
    found = moment(name, text, zone)
    return found and found.astimezone(zone)


def _on_clock(moment: datetime) -> datetime:
    """The time on the wall clock, which clock changes do not affect."""
    return moment.replace(tzinfo=None)


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
