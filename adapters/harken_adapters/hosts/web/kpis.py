"""The headline of the overview and its main statistics, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen
from markupsafe import Markup

from harken import Finding, Headline, Rating
from harken.domain.insight.comparison import Comparison, Estimate
from harken.domain.summary import Summary
from harken_adapters.charts import headline_details, headline_title
from harken_adapters.charts.headline import growth_text, mix_text, more_or_fewer
from harken_adapters.charts.labels import (
    DASH,
    amount,
    count_text,
    interval_text,
    isolated,
    satisfaction_text,
    share_text,
)
from harken_adapters.hosts.web.selection import Selection
from harken_adapters.hosts.web.wording import points_text

#: A part of a sentence, and where it links to; empty for nowhere.
Part = tuple[str, str]
_NOUNS: Final = {Rating.UP: "thumbs-up rating", Rating.DOWN: "thumbs-down rating", Rating.NEUTRAL: "neutral rating"}
#: A smaller change of a number rounds to 0%.
_VISIBLE: Final = 0.005
#: Without a comparison, these say what there is instead of what changed.
_UNCOMPARED: Final = (Finding.SILENT, Finding.EMPTY)


def title_of(found: Headline, selection: Selection) -> str:
    """The title of the page."""
    summary = found.comparison.after
    if found.finding is Finding.COUNT:
        more = f", {more_or_fewer(found.comparison.total_change)}" if selection.is_compared else ""
        return f"{amount(summary.total, noun_of(selection))}{more}"
    if selection.is_compared or found.finding in _UNCOMPARED:
        return headline_title(found)
    return f"Satisfaction is {satisfaction_text(summary)}" if summary.decided else "No thumbs in this period"


def noun_of(selection: Selection) -> str:
    """What entries with the ratings of the selection are called."""
    ratings = selection.query.rating or ()
    return _NOUNS[next(iter(ratings))] if len(ratings) == 1 else "response"


def lead_of(found: Headline, selection: Selection, path: str) -> Sequence[Sequence[Part]]:
    """The sentences below the title. Names of issues and agents are links that select them."""
    if not selection.is_compared and found.finding not in _UNCOMPARED:
        return ()
    return [list(_linked(sentence, found, selection, path)) for sentence in headline_details(found)]


def _linked(sentence: str, found: Headline, selection: Selection, path: str) -> Iterator[Part]:
    name, link = "", ""
    if found.growth and found.growth.is_reason and sentence == growth_text(found):
        name, link = found.growth.name, selection.link(path, ("tag", found.growth.name), without=["tag"])
    elif found.mix and sentence == mix_text(found):
        agents = [*found.mix.new, *found.mix.gone]
        if len(agents) == 1 and isinstance(agents[0], str):
            name, link = agents[0], selection.link(path, ("agent_id", agents[0]), without=["agent_id"])
    name = isolated(name)
    if name:
        yield name, link
    yield sentence.removeprefix(name), ""


@frozen
class Kpi:
    """One of the main statistics.

    Attributes:
        name: what it is.
        value: the number.
        unit: its unit, such as ``%``; may be empty.
        detail: what it was before, or what it is based on.
        change: the change, as a badge; may be empty.
        meaning: how it is computed; may be empty.
    """

    name: str
    value: str
    unit: str = ""
    detail: str | Markup = ""
    change: str | Markup = ""
    meaning: str = ""


def kpis_of(comparison: Comparison, selection: Selection, *, of_any_rating: Summary) -> Sequence[Kpi]:
    """The main statistics. With a filter on the rating, satisfaction would have another meaning, so it is left out.

    Args:
        comparison: of the previous period with this one.
        selection: what is selected.
        of_any_rating: the statistics without a filter on the rating.
    """
    before = comparison.before if selection.is_compared else Summary()
    after = comparison.after
    comments = Kpi("With a comment", *_percent(after.comments, after.total), _comments_before(before, after))
    if selection.query.rating is None:
        return [_satisfaction(comparison, selection), _count("Responses", before, after, selection), comments]
    noun = noun_of(selection)
    share = Kpi(
        "Of all responses", *_percent(after.total, of_any_rating.total), f"of {amount(of_any_rating.total, 'response')}"
    )
    name = "Responses" if noun == "response" else f"{noun[0].upper()}{noun[1:]}s"
    return [_count(name, before, after, selection), share, comments]


def _satisfaction(comparison: Comparison, selection: Selection) -> Kpi:
    before, after = comparison.before, comparison.after
    if not after.decided:
        return Kpi("Satisfaction", DASH, "", "no thumbs yet")
    interval = interval_text(Estimate(after, comparison.after_effect).interval, after.decided)
    basis = [f"{interval}, 95% confidence", f"from {amount(after.decided, 'thumb')}"]
    if selection.is_compared and before.decided:
        basis.append(f"was {satisfaction_text(before)}")
    change = _change(comparison) if selection.is_compared and before.decided else ""
    value = satisfaction_text(after).removesuffix("%")
    return Kpi("Satisfaction", value, "%", " · ".join(basis), change, _meaning(after))


def _meaning(summary: Summary) -> str:
    return (
        f"The share of thumbs up among all thumbs: {summary.positive:,} of {summary.decided:,}. "
        "Neutral responses do not count. "
        "The interval contains the true share with 95% confidence; it is wider if authors gave several thumbs."
    )


def _change(comparison: Comparison) -> Markup:
    # As sure as the headline, which is read every day.
    if not comparison.direction:
        return Markup('<span class="chg box neu">no clear change</span>')
    kind = "up" if comparison.direction > 0 else "down"
    return Markup('<span class="chg box {}">{}</span>').format(kind, points_text(comparison.difference))


def _count(name: str, before: Summary, after: Summary, selection: Selection) -> Kpi:
    value = count_text(after.total)
    if not selection.is_compared:
        return Kpi(name, value)
    if not before.total:
        return Kpi(name, value, detail="none before")
    change = after.total / before.total - 1
    if abs(change) < _VISIBLE:
        return Kpi(name, value, detail=f"was {before.total:,}")
    text = f"{'▲' if change > 0 else '▼'} {abs(change):,.0%}"
    return Kpi(name, value, detail=Markup('<span class="chg neu">{}</span> from {}').format(text, f"{before.total:,}"))


def _percent(part: int, whole: int) -> tuple[str, str]:
    return (share_text(part / whole).removesuffix("%"), "%") if whole else (DASH, "")


def _comments_before(before: Summary, after: Summary) -> str:
    if not before.total or not after.total:
        return ""
    was, now = (share_text(side.comments / side.total) for side in (before, after))
    return "same as before" if was == now else f"was {was}"
