"""The headline of the overview and its main statistics, in words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from attrs import frozen
from markupsafe import Markup

from harken import Finding, Headline, Rating
from harken.domain.insight.comparison import Comparison, Estimate
from harken.domain.summary import Summary
from harken.domain.texts import amount
from harken_adapters.charts import headline_details, headline_title
from harken_adapters.charts.headline import growth_text, mix_text, more_or_fewer
from harken_adapters.charts.labels import (
    DASH,
    count_text,
    interval_text,
    isolated,
    satisfaction_text,
    share_text,
)
from harken_adapters.hosts.web.selection import Selection
from harken_adapters.hosts.web.wording import join_words, points_text, quoted

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
        tags = selection.values("tag")
        about = f" about {join_words([quoted(tag) for tag in tags], 'or')}" if tags else ""
        return f"{amount(summary.total, noun_of(selection, summary))}{about}{more}"
    if selection.is_compared or found.finding in _UNCOMPARED:
        return headline_title(found)
    return f"Satisfaction is {satisfaction_text(summary)}" if summary.decided else "No thumbs in this period"


def noun_of(selection: Selection, found: Summary | None = None) -> str:
    """What entries are called: by the rating of the selection, or the one that all that was found has."""
    ratings = selection.query.rating or ()
    if len(ratings) == 1:
        return _NOUNS[next(iter(ratings))]
    if found is not None and found.total:
        for rating in (Rating.UP, Rating.DOWN):
            if _count_of(found, rating) == found.total:
                return _NOUNS[rating]
    return "response"


def part_of(selection: Selection, found: Summary, whole: Summary) -> int:
    """Of how many entries those of a selection are a part.

    Reasons are a part of the entries with the same rating, and ratings a part of all.

    Args:
        selection: what is selected, by rating or by reasons of one rating.
        found: its statistics.
        whole: the statistics without filters on the rating and the reason.
    """
    noun = noun_of(selection, found)
    rating = next((rating for rating, name in _NOUNS.items() if name == noun), None)
    return whole.total if rating is None or selection.query.tag is None else _count_of(whole, rating)


def whole_noun_of(selection: Selection, found: Summary) -> str:
    """What the entries of :func:`part_of` are called."""
    return "response" if selection.query.tag is None else noun_of(selection, found)


def _count_of(summary: Summary, rating: Rating) -> int:
    counts = {Rating.UP: summary.positive, Rating.NEUTRAL: summary.neutral, Rating.DOWN: summary.negative}
    return counts[rating]


def lead_of(found: Headline, selection: Selection, path: str) -> Sequence[Sequence[Part]]:
    """The sentences below the title. Names of issues and agents are links that select them."""
    if not selection.is_compared and found.finding not in _UNCOMPARED:
        return ()
    return [list(_linked(sentence, found, selection, path)) for sentence in headline_details(found)]


def _linked(sentence: str, found: Headline, selection: Selection, path: str) -> Iterator[Part]:
    name, link = "", ""
    if found.growth and found.growth.is_reason and sentence == growth_text(found):
        name, link = found.growth.name, selection.link(path, ("tag", found.growth.name), without=["tag"])
        # The link marks the name as one.
        sentence = sentence.removeprefix(quoted(name))
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


def kpis_of(comparison: Comparison, selection: Selection, *, whole: tuple[Summary, Summary] | None) -> Sequence[Kpi]:
    """The main statistics.

    Args:
        comparison: of the previous period with this one.
        selection: what is selected.
        whole: if the selection is one of ratings, or of reasons of one rating: the statistics of both periods without
            these filters. Then the numbers take the place of satisfaction, which would have another meaning.
    """
    before = comparison.before if selection.is_compared else Summary()
    after = comparison.after
    comments = Kpi("With a comment", *_percent(after.comments, after.total), _comments_before(before, after))
    if whole is None:
        return [_satisfaction(comparison, selection), _count("Responses", before, after, selection), comments]
    noun, of = noun_of(selection, after), whole_noun_of(selection, after)
    whole_before, whole_after = (part_of(selection, after, one) for one in whole)
    share = _percent(after.total, whole_after)
    details = [f"of {amount(whole_after, of)}"]
    if before.total and whole_before:
        details.append(f"was {share_text(before.total / whole_before)}")
    name = f"{noun[0].upper()}{noun[1:]}s"
    return [
        _count(name, before, after, selection),
        Kpi(f"Of all {of}s", *share, " · ".join(details)),
        comments,
    ]


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
