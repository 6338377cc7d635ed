"""The overview of real feedback on airlines, on its last evening, compared with a count of the file."""

import csv
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

import harken
from harken import Finding, Harken, Rating
from harken.configuration.storage_urls import open_storage
from harken.domain.instants import parse_instant
from harken.ports.repository import Accepted
from harken.testing import a_feedback, with_content
from harken_adapters.charts import headline_details, headline_title, ranking_chart
from shared_data import AIRLINES, needs_real_feedback

NOW = datetime(2015, 2, 22, 19, 21, 26, tzinfo=UTC)
SINCE, UNTIL = datetime(2015, 2, 20, tzinfo=UTC), datetime(2015, 2, 23, tzinfo=UTC)
#: The same part of the three days before, to the quarter hour.
BEFORE = datetime(2015, 2, 17, tzinfo=UTC), datetime(2015, 2, 19, 19, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def rows() -> list[dict[str, str]]:
    """The rows of the file."""
    with AIRLINES.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def airlines(rows: list[dict[str, str]]) -> Iterator[Harken]:
    """All of it, in a memory storage."""
    with open_storage("memory://") as storage:
        storage.feedback.add(
            [
                Accepted(
                    with_content(
                        a_feedback(
                            row["session_id"],
                            agent_id=row["agent_id"],
                            rating=Rating.from_word(row["rating"] or "neutral"),
                            comment=row["comment"],
                            created_at=given_at(row),
                        ),
                        tags=(row["reason"],) if row["reason"] else (),
                    )
                )
                for row in rows
            ]
        )
        with harken.connect(storage, clock=lambda: NOW) as hk:
            yield hk


def given_at(row: dict[str, str]) -> datetime:
    """When it was given."""
    return parse_instant(row["created_at"])


def select(rows: list[dict[str, str]], since: datetime, until: datetime) -> list[dict[str, str]]:
    """The rows of a period."""
    return [row for row in rows if since <= given_at(row) < until]


@needs_real_feedback
def test_the_headline(airlines: Harken, rows: list[dict[str, str]]) -> None:
    """Satisfaction fell by 9.1 points; the hour, the reason and the new agent are found."""
    found = airlines.headline(since=SINCE, until=UNTIL)
    before, after = select(rows, *BEFORE), select(rows, SINCE, UNTIL)
    expected = [satisfaction(side) for side in (before, after)]
    assert found.finding is Finding.FELL
    assert [found.comparison.before.satisfaction, found.comparison.after.satisfaction] == pytest.approx(expected)
    assert round(found.comparison.difference, 1) == -9.1
    assert (found.comparison.before.total, found.comparison.after.total) == (len(before), len(after))
    assert (found.before, found.after, found.is_running) == (BEFORE, (SINCE, UNTIL), True)

    assert found.began is not None
    assert (found.began.at, found.began_to_the_hour) == (datetime(2015, 2, 21, 18, tzinfo=UTC), True)
    sides = select(rows, SINCE, found.began.at), select(rows, found.began.at, UNTIL)
    assert [found.began.before.satisfaction, found.began.after.satisfaction] == pytest.approx(
        [satisfaction(side) for side in sides]
    )

    assert found.growth is not None
    assert (found.growth.name, found.growth.is_reason) == ("Cancelled Flight", True)
    for side, share in ((before, found.growth.change.before), (after, found.growth.change.after)):
        downs = [row["reason"] for row in side if row["rating"] == "down"]
        assert (share.count, share.total) == (downs.count("Cancelled Flight"), len(downs))

    assert found.mix is not None
    assert (found.mix.new, found.mix.gone) == (("American",), ())
    without = [satisfaction(side, but="American") for side in (before, after)]
    assert found.mix.without.difference == pytest.approx(without[1] - without[0])
    assert round(found.mix.without.difference, 1) == -7.8


@needs_real_feedback
def test_the_headline_in_words(airlines: Harken) -> None:
    """The sentences that a page begins with."""
    found = airlines.headline(since=SINCE, until=UNTIL)
    assert headline_title(found) == "Satisfaction fell 9.1 points, to 17.6%"
    assert headline_details(found) == (
        "By 5.3 to 12.8 points, 95% confidence; 4,564 thumbs now, 3,000 before.",
        "The fall began on Saturday at 18:00 UTC: 23.1% before, 13.3% since.",
        "“Cancelled Flight” grew from 7% to 11% of thumbs-down ratings.",
        "American is new in this period: without it, satisfaction fell 7.8 points.",
    )


@needs_real_feedback
def test_reasons(airlines: Harken, rows: list[dict[str, str]]) -> None:
    """All reasons have their numbers; only that of cancelled flights grew."""
    found = airlines.reasons(since=SINCE, until=UNTIL, limit=50)
    downs = [row for row in select(rows, SINCE, UNTIL) if row["rating"] == "down"]
    counts = Counter(row["reason"] for row in downs)
    assert [(one.name, one.share.count) for one in found.issues] == counts.most_common()
    assert (found.found, found.downs, found.is_complete) == (10, len(downs), True)
    assert [one.name for one in found.issues if one.direction] == ["Cancelled Flight"]
    examples = [one.example for one in found.issues if one.example]
    assert len({one.comment for one in examples}) == len(found.issues)
    for issue, example in zip(found.issues, examples, strict=True):
        assert example.tags == (issue.name,)
        assert len(example.comment) <= 180


@needs_real_feedback
def test_the_ranking(airlines: Harken, rows: list[dict[str, str]]) -> None:
    """Agents are sorted by satisfaction; the one that had two thumbs before is new."""
    found = airlines.ranking(since=SINCE, until=UNTIL)
    after = select(rows, SINCE, UNTIL)
    agents = {row["agent_id"] for row in after}
    of_agents = {agent: satisfaction([row for row in after if row["agent_id"] == agent]) for agent in agents}
    assert [one.key for one in found.groups] == sorted(agents, key=lambda agent: -of_agents[agent])
    for one in found.groups:
        assert one.estimate.summary.satisfaction == pytest.approx(of_agents[str(one.key)])
    assert [one.key for one in found.groups if one.is_new] == ["American"]
    assert found.pairs == 15
    assert ranking_chart(found, by="agent").foot.startswith(
        "Dashed line: all, 17.6%. 95% confidence, the sentence corrected for 15 comparisons."
    )
    assert found.best.clearest is not None
    assert found.total.summary == airlines.summary(since=SINCE, until=UNTIL)


def satisfaction(rows: list[dict[str, str]], *, but: str = "") -> float:
    """The percentage of thumbs-up among the thumbs in these rows, without those of an agent."""
    thumbs = [row["rating"] for row in rows if row["rating"] and row["agent_id"] != but]
    return thumbs.count("up") / len(thumbs) * 100
