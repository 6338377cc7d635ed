"""Records of statistics: a client gets the values back from JSON, equal bit for bit."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from harken import (
    Cell,
    Comparison,
    Estimate,
    Facets,
    Feedback,
    Finding,
    FoundTheme,
    Growth,
    Headline,
    Issue,
    Issues,
    Keyword,
    Mix,
    Page,
    Period,
    Proportion,
    ProportionChange,
    SatisfactionChange,
    Silence,
    Summary,
    Theme,
    Themes,
    Trend,
    TrendPoint,
    Verdict,
)
from harken.domain.insight.ranking import rank
from harken.domain.instants import stamp
from harken.domain.query import Cursor
from harken.testing.strategies import feedback_entries, later_versions
from harken_adapters.formats.record import from_record, page_from
from harken_adapters.formats.statistics import (
    changes_from,
    changes_record,
    compared_groups_record,
    comparison_from,
    estimate_from,
    facets_from,
    facets_record,
    groups_from,
    headline_from,
    headline_record,
    heat_map_from,
    heat_map_record,
    issues_from,
    issues_record,
    keywords_from,
    keywords_record,
    ranking_from,
    ranking_record,
    summary_from,
    themes_from,
    themes_record,
    trend_from,
)

COUNTS = st.integers(0, 2**63)
EFFECTS = st.floats(1, 1e9)
ALPHAS = st.floats(1e-12, 0.05)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
ZONES = st.sampled_from(["UTC", "Asia/Kathmandu", "America/Sao_Paulo", "Europe/Berlin", "Africa/Casablanca"])
INSTANTS = st.datetimes(datetime(1971, 1, 1), datetime(2090, 1, 1)).map(lambda at: at.replace(tzinfo=UTC))  # noqa: DTZ001
SUMMARIES = st.builds(
    Summary,
    positive=COUNTS,
    negative=COUNTS,
    neutral=COUNTS,
    comments=COUNTS,
    comment_characters=COUNTS,
    sentiments=COUNTS,
    polarity_millionths=st.integers(-(2**63), 2**63),
    subjectivity_millionths=COUNTS,
    by_hour=st.lists(COUNTS, min_size=24, max_size=24).map(tuple),
)
#: Within the limits of what the p-value of a comparison is computed for.
SMALL = st.builds(Summary, positive=st.integers(0, 10_000), negative=st.integers(0, 10_000), comments=COUNTS)
COMPARISONS = st.builds(
    Comparison, SMALL, SMALL, st.just(1.0) | st.floats(1, 50), st.just(1.0) | st.floats(1, 50), alpha=ALPHAS
)
KEYS = st.none() | TEXTS


def sent(document: Any) -> Any:
    """A document after it was sent."""
    return json.loads(json.dumps(document))


@st.composite
def entries(draw: st.DrawFn) -> Feedback:
    """Feedback in any version, without the fields that only exports have."""
    feedback = draw(feedback_entries())
    feedback = draw(st.just(feedback) | later_versions(feedback))
    return evolve(feedback, application="shop", idempotency_key=None, fingerprint="", later_keys=())


@given(SUMMARIES, EFFECTS)
def test_an_estimate(summary: Summary, effect: float) -> None:
    """Its summary, design effect and interval are equal."""
    estimate = Estimate(summary, effect)
    found = estimate_from(sent(estimate.to_dict()))
    assert found == estimate
    assert found.interval == estimate.interval
    assert summary_from(sent(estimate.to_dict())) == summary


@given(COMPARISONS)
def test_a_comparison(comparison: Comparison) -> None:
    """It is equal, and so is what it says."""
    found = comparison_from(sent(comparison.to_dict()))
    assert found == comparison
    assert (found.sentence, found.p_value, found.needed) == (
        comparison.sentence,
        comparison.p_value,
        comparison.needed,
    )


@given(st.dictionaries(KEYS, COMPARISONS, max_size=4))
def test_groups(groups: dict[Any, Comparison]) -> None:
    """Groups have their keys and their order."""
    found = groups_from(sent(compared_groups_record("agent", groups)), comparison_from)
    assert list(found.items()) == list(groups.items())


@given(ZONES, st.lists(st.tuples(INSTANTS, SUMMARIES, EFFECTS), max_size=4))
def test_a_trend(zone: str, points: list[Any]) -> None:
    """Its points have the same instants and the same local times, also where the clocks change."""
    local = ZoneInfo(zone)
    trend = Trend(
        [
            TrendPoint(at.astimezone(local), (at + timedelta(hours=1)).astimezone(local), summary, effect)
            for at, summary, effect in points
        ],
        Period.HOUR,
        zone,
    )
    found = trend_from(sent(trend.to_dict()))
    assert (found, found.period, found.zone) == (trend, Period.HOUR, zone)
    assert [(one.start.fold, one.start.tzinfo) for one in found] == [(one.start.fold, local) for one in trend]


@given(ZONES, st.lists(st.tuples(INSTANTS, SUMMARIES, SUMMARIES), max_size=4))
def test_changes(zone: str, changes: list[Any]) -> None:
    """Changes have their summaries."""
    expected = [SatisfactionChange(at.astimezone(ZoneInfo(zone)), *summaries) for at, *summaries in changes]
    assert changes_from(sent(changes_record(zone, expected))) == expected


@given(
    st.lists(
        st.builds(
            Cell,
            st.integers(0, 6),
            st.integers(0, 23),
            SUMMARIES,
            st.sampled_from(Verdict),
            st.none() | st.dates(date(1971, 1, 1)),
            EFFECTS,
        ),
        max_size=4,
    )
)
def test_a_heat_map(cells: list[Cell]) -> None:
    """Cells are equal, with a date or without."""
    assert heat_map_from(sent(heat_map_record("UTC", cells))) == cells


SMALL_PROPORTIONS = st.integers(0, 1000).flatmap(
    lambda total: st.builds(Proportion, st.integers(0, total), st.just(total), EFFECTS)
)
SHARE_CHANGES = st.builds(ProportionChange, SMALL_PROPORTIONS, SMALL_PROPORTIONS, alpha=ALPHAS)
MIXES = st.builds(Mix, st.lists(KEYS).map(tuple), st.just(("gone",)), COMPARISONS)


@given(st.data(), ZONES)
def test_a_headline(data: st.DataObject, zone: str) -> None:
    """It is equal, with or without its parts."""
    moments = INSTANTS.map(lambda at: at.astimezone(ZoneInfo(zone)))
    seconds = st.integers(0, 10**7).map(lambda number: timedelta(seconds=number))
    headline = data.draw(
        st.builds(
            Headline,
            finding=st.sampled_from(Finding),
            before=st.tuples(moments, moments),
            after=st.tuples(moments, moments),
            is_running=st.booleans(),
            comparison=COMPARISONS,
            began=st.none() | st.builds(SatisfactionChange, moments, SUMMARIES, SUMMARIES),
            began_to_the_hour=st.booleans(),
            growth=st.none() | st.builds(Growth, TEXTS, st.booleans(), SHARE_CHANGES),
            mix=st.none() | MIXES,
            silence=st.none() | st.builds(Silence, moments, seconds, st.floats(0, 1e6)),
        )
    )
    assert headline_from(sent(headline_record(headline))) == headline


@given(st.data())
def test_issues(data: st.DataObject) -> None:
    """They have their shares, changes and examples."""
    downs = data.draw(st.integers(0, 100))
    shares = st.builds(Proportion, st.integers(0, downs), st.just(downs), EFFECTS)
    words = st.lists(TEXTS, max_size=2).map(tuple)
    directions = st.sampled_from([1, 0, -1])
    issue = st.builds(Issue, TEXTS, shares, st.none() | SHARE_CHANGES, directions, st.none() | entries(), words)
    issues = Issues(tuple(data.draw(st.lists(issue, max_size=3))), data.draw(COUNTS), downs, data.draw(st.booleans()))
    record = issues_record(issues, Feedback.to_dict)
    assert issues_from(sent(record), lambda one: from_record(one, "shop")) == issues


@given(st.dictionaries(KEYS, st.tuples(st.builds(Estimate, SMALL, EFFECTS), st.builds(Estimate, SMALL, EFFECTS))))
def test_a_ranking(groups: dict[Any, Any]) -> None:
    """It has its order, its changes and its pairs."""
    after, before = ({key: pair[side] for key, pair in groups.items()} for side in (0, 1))
    for earlier in (before, None):
        ranking = rank(after, earlier, Estimate(Summary(), 1.0))
        assert ranking_from(sent(ranking_record("agent", ranking))) == ranking


@given(st.lists(st.tuples(TEXTS, COUNTS)).map(tuple), st.booleans())
def test_facets(counts: Any, is_complete: bool) -> None:
    """They have their values, in order."""
    facets = Facets(counts, counts[:1], {"tier": counts}, len(counts), is_complete)
    assert facets_from(sent(facets_record(facets))) == facets


@given(st.lists(st.builds(Keyword, TEXTS, COUNTS), max_size=4).map(tuple))
def test_keywords(keywords: tuple[Keyword, ...]) -> None:
    """Keywords are equal."""
    assert keywords_from(sent(keywords_record(keywords))) == keywords


@st.composite
def found_themes(draw: st.DrawFn, total: int) -> FoundTheme:
    """A theme among that number of comments, without their ids."""
    examples = tuple(draw(st.lists(entries(), max_size=2)))
    count = draw(st.integers(0, total))
    theme = Theme(
        label=draw(TEXTS),
        ngram=draw(st.none() | TEXTS),
        words=tuple(draw(st.lists(TEXTS, min_size=1, max_size=3))),
        count=count,
        share=count / total,
        excess=draw(st.floats(0, 1e6)),
        examples=tuple(one.id for one in examples),
        comments=frozenset(),
    )
    sides = st.integers(1, 5_000).flatmap(
        lambda all_: st.builds(Proportion, st.integers(0, all_), st.just(all_), st.floats(1, 50))
    )
    change = draw(st.none() | st.builds(ProportionChange, sides, sides, alpha=ALPHAS))
    return FoundTheme(draw(TEXTS), theme, change, examples)


@given(st.integers(1, 20_000), st.data())
def test_themes(total: int, data: st.DataObject) -> None:
    """Themes are equal, except that the ids of their comments are not sent."""
    themes = data.draw(st.lists(found_themes(total), max_size=2))
    expected = Themes(tuple(themes), total, is_enough=True, tags=(("a", 2),), frequent_words=(("b", 1),))
    found = themes_from(sent(themes_record(expected, Feedback.to_dict)), lambda record: from_record(record, "shop"))
    assert found == expected
    assert [theme.sentence for theme in found.themes] == [theme.sentence for theme in themes]


@given(st.lists(entries(), max_size=3), st.booleans())
def test_a_page(items: list[Feedback], more: bool) -> None:
    """A page has its feedback and its cursor."""
    page = Page(tuple(items), Cursor.of(items[-1]) if items and more else None)
    assert page_from(sent(page.to_dict()), "shop") == page
    assert all(stamp(one.created_at).endswith("Z") for one in items)
