"""The headline of a period in words."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from harken import Finding, Headline
from harken.domain.insight.best_groups import ENOUGH_THUMBS
from harken.domain.insight.comparison import round_up
from harken.domain.query import GroupKey
from harken.domain.texts import amount
from harken_adapters.charts.labels import dated_text, isolated, quoted, satisfaction_text, share_text, zone_text

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_WEEK = timedelta(weeks=1)


def headline_title(headline: Headline) -> str:
    """What can be said, in one sentence without a full stop: "Satisfaction fell 9.1 points, to 17.6%"."""
    after = headline.comparison.after
    match headline.finding:
        case Finding.SILENT:
            return f"Nothing came in for {_silence_text(headline)}"
        case Finding.EMPTY:
            return "No feedback in this period"
        case Finding.COUNT:
            return f"{amount(after.total, 'entry', 'entries')}, {more_or_fewer(headline.comparison.total_change)}"
        case Finding.NO_COMPARISON:
            return f"There is nothing before {_date_in(headline, headline.after[0])} to compare with"
        case _:
            return _satisfaction_title(headline)


def _satisfaction_title(headline: Headline) -> str:
    before, after = headline.comparison.before, headline.comparison.after
    if headline.finding is Finding.SAME:
        return f"Satisfaction is about the same: {satisfaction_text(after)}"
    if headline.finding is Finding.TOO_FEW:
        is_after = after.decided < ENOUGH_THUMBS or after.decided <= before.decided
        fewest = f"{amount(after.decided, 'thumb')} so far" if is_after else f"{amount(before.decided, 'thumb')} before"
        return f"Too little to tell: {fewest}"
    points = abs(headline.comparison.difference)
    return f"Satisfaction {headline.finding.value} {points:.1f} points, to {satisfaction_text(after)}"


def headline_details(headline: Headline) -> tuple[str, ...]:
    """Further sentences: how sure it is, since when, what grew most, and what would mislead."""
    found = (certainty_text(headline), began_text(headline), growth_text(headline), mix_text(headline))
    return tuple(sentence for sentence in found if sentence)


def certainty_text(headline: Headline) -> str:
    """How sure the title is, or how sure it can be."""
    comparison = headline.comparison
    interval = comparison.always_valid_interval
    match headline.finding:
        case Finding.FELL | Finding.ROSE:
            low, high = sorted((abs(interval.low), abs(interval.high)))
            return (
                f"By {low:.1f} to {high:.1f} points, 95% confidence; {amount(comparison.after.decided, 'thumb')} now, "
                f"{comparison.before.decided:,} before."
            )
        case Finding.SAME:
            points = f"{abs(comparison.difference):.1f} points {'less' if comparison.difference < 0 else 'more'}"
            return f"{points}, within {_signed(interval.low)} to {_signed(interval.high)}."
        case Finding.TOO_FEW:
            return _too_few_text(headline)
        case Finding.NO_COMPARISON:
            return (
                f"Satisfaction is {satisfaction_text(comparison.after)} of {amount(comparison.after.decided, 'thumb')}."
            )
        case Finding.SILENT if headline.silence:
            last, usual = headline.silence.since, headline.silence.usual
            when = f"{last:%H:%M} {zone_text(last)}"
            if headline.silence.length >= timedelta(hours=20):
                when = f"{_date_in(headline, last)} at {when}"
            return f"The last feedback came {'on' if ' at ' in when else 'at'} {when}; usually {usual:,.0f} an hour."
        case _:
            return ""


def _too_few_text(headline: Headline) -> str:
    comparison = headline.comparison
    after = comparison.after
    if not after.decided:
        return "There are no thumbs yet."
    interval = headline.estimate.interval
    sentence = (
        f"The true value lies anywhere from {interval.low:.0f} to {interval.high:.0f}%."
        if after.decided < ENOUGH_THUMBS
        else f"Satisfaction is {satisfaction_text(after)} of {amount(after.decided, 'thumb')}."
    )
    return f"{sentence} {_needed_text(comparison.needed)}".strip()


def _needed_text(needed: int | None) -> str:
    return f"About {round_up(needed):,} more thumbs would decide the comparison." if needed else ""


def began_text(headline: Headline) -> str:
    """When the fall or rise began: "The fall began on Saturday at 18:00 UTC: 23.1% before, 13.3% since.".

    If satisfaction changed again, until when: "79.5% before, 63.1% until 23 Nov, then 76.6%.".
    """
    began = headline.began
    if began is None:
        return ""
    what = "fall" if began.after.satisfaction < began.before.satisfaction else "rise"
    next_change = headline.next_change
    since = satisfaction_text(began.after)
    since += (
        " since"
        if next_change is None
        else f" until {_when(headline, next_change.at)}, then {satisfaction_text(next_change.after)}"
    )
    return f"The {what} began on {_when(headline, began.at)}: {satisfaction_text(began.before)} before, {since}."


def _when(headline: Headline, at: datetime) -> str:
    day = _day_of(headline, at)
    return f"{day} at {at:%H:%M} {zone_text(at)}" if headline.began_to_the_hour else day


def growth_text(headline: Headline) -> str:
    """What grew most: "“Cancelled Flight” grew from 7% to 11% of thumbs-down ratings."."""
    growth = headline.growth
    if growth is None:
        return ""
    before, after = (share_text(side.percent / 100) for side in growth.change.proportions)
    of = "thumbs-down ratings" if growth.is_reason else "thumbs-down comments"
    return f"{quoted(growth.name)} grew from {before} to {after} of {of}."


def mix_text(headline: Headline) -> str:
    """What would mislead: "American is new in this period: without it, satisfaction fell 7.8 points."."""
    mix = headline.mix
    if mix is None:
        return ""
    parts = [
        f"{_names(keys)} {one if len(keys) == 1 else several}"
        for keys, one, several in (
            (mix.new, "is new in this period", "are new in this period"),
            (mix.gone, "has hardly any feedback in this period", "have hardly any feedback in this period"),
        )
        if keys
    ]
    pronoun = "it" if len(mix.new) + len(mix.gone) == 1 else "them"
    if mix.without.direction:
        result = f"{'fell' if mix.without.direction < 0 else 'rose'} {abs(mix.without.difference):.1f} points"
    else:
        result = f"shows no clear change ({_signed(mix.without.difference)} points)"
    return f"{', and '.join(parts)}: without {pronoun}, satisfaction {result}."


def _names(keys: Sequence[GroupKey]) -> str:
    """At most two names."""
    names = ["(no agent)" if key is None else isolated(str(key)) for key in keys]
    if len(names) <= 2:
        return " and ".join(names)
    return f"{names[0]} and {len(names) - 1} other agents"


def _day_of(headline: Headline, moment: datetime) -> str:
    """The weekday of the last week, unless the period is over and may be read about later; or else the date."""
    is_recent = headline.is_running and headline.after[1] - moment <= _WEEK
    return _DAYS[moment.weekday()] if is_recent else _date_in(headline, moment)


def _date_in(headline: Headline, moment: datetime) -> str:
    """A date of the period, with its year if the period ends in another one."""
    return dated_text(moment, headline.after[1].replace(tzinfo=None) - timedelta.resolution)


def _silence_text(headline: Headline) -> str:
    hours = 0 if headline.silence is None else headline.silence.length // timedelta(hours=1)
    return amount(hours, "hour") if hours < 48 else amount(hours // 24, "day")


def _signed(points: float) -> str:
    return f"{points:+.1f}".replace("-", "\N{MINUS SIGN}")


def more_or_fewer(change: int) -> str:
    """A change of a number: ``12 more than before``."""
    return f"{abs(change):,} {'fewer' if change < 0 else 'more'} than before" if change else "as many as before"
