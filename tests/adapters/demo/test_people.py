"""What the people of the demo write, and when they come."""

import re
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from random import Random

import pytest

from harken import Rating, Submission
from harken.domain.rules import form_violations
from harken_adapters.demo.story import AGENTS, Story
from harken_adapters.demo.visitors import LOCALES, Visitors, arrivals, visits_on
from harken_adapters.demo.writer import Writer

NOW = datetime(2026, 5, 20, 12, 30, tzinfo=UTC)
LANGUAGES = sorted({locale.language for locale in LOCALES})


def written(story: Story, days: int, *, seed: int = 1) -> list[Submission]:
    """What is submitted during the last days of the story, in the order of arrivals."""
    random = Random(seed)
    visitors = Visitors(story, random, application="default")
    found = []
    for ago in range(days, 0, -1):
        day = NOW.date() - timedelta(days=ago)
        for arrival in arrivals(day, visits_on(day, 100, random), random):
            found += visitors.submissions(arrival)
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_something_to_say(language: str) -> None:
    """In each language there are comments on all agents, ratings and incidents; no placeholder is left in them."""
    writer = Writer(Random(1))
    for agent in AGENTS:
        for rating in Rating:
            for incident in (None, "release", "outage"):
                for _ in range(5):
                    subject = writer.subject(language, rating, agent.id, incident)
                    comment = writer.comment(subject)
                    assert not set("{}[]|") & set(comment), comment
                    assert comment == comment.strip()
                    assert (subject.tag is None) == (rating is not Rating.DOWN)
        talk = writer.conversation(language, agent.id, "release")
        assert len(talk) % 2 == 0
        assert not set("{}[]|") & set("".join(talk)), talk


def test_comments_are_all_different() -> None:
    """Thousands of comments differ in more than case and the full stop; most of those who rate down find words."""
    comments = [one.comment.lower().rstrip(".") for one in written(Story.until(NOW), 56) if one.comment]
    assert len(comments) == len(set(comments)) > 2_000


def test_sentences_of_agents_begin_with_a_capital() -> None:
    """Also those that begin with a word from a list, such as a seat."""
    writer = Writer(Random(1))
    talks = [writer.conversation("en", agent.id, answers=3) for agent in AGENTS for _ in range(20)]
    assert not [turn for talk in talks for turn in talk if re.search(r"[.!?] [a-z]", turn)]


def test_submissions_are_valid_and_follow_from_the_seed() -> None:
    """The same seed gives the same submissions; another seed gives others; every storage accepts them."""
    submissions = written(Story.until(NOW), 14)
    assert written(Story.until(NOW), 14) == submissions
    assert written(Story.until(NOW), 14, seed=2) != submissions
    assert not any(form_violations(one) for one in submissions)


def test_days_and_hours_have_a_rhythm() -> None:
    """Weekends have about half of the visits of other days, and nights few of them."""
    random = Random(1)
    visits = {weekday: visits_on(date(2026, 5, 18 + weekday), 1_000, random) for weekday in range(7)}
    assert max(visits[5], visits[6]) < 0.7 * min(visits[weekday] for weekday in range(5))
    found = arrivals(date(2026, 5, 18), 5_000, random)
    assert all(one.at.date() == date(2026, 5, 18) for one in found)
    local = Counter((one.at + timedelta(hours=one.locale.offset)).hour for one in found)
    assert sum(local[hour] for hour in range(6)) < 0.08 * 5_000
    assert sum(local[hour] for hour in (9, 10)) > 0.1 * 5_000


@pytest.mark.parametrize("weekday", range(7))
def test_the_story_is_always_complete(weekday: int) -> None:
    """On any day, the new agent, the outage, the bad release and its fix are in the last four weeks, in this order."""
    now = NOW + timedelta(days=weekday)
    story = Story.until(now)
    bad, fixed = (one for one in story.releases if one.version in ("5.3.0", "5.3.1"))
    (planner,) = (one for one in story.releases if one.agent == "trip-planner")
    assert story.outage is not None
    assert now - timedelta(days=28) < planner.at < story.outage.began < story.outage.ended < bad.at < fixed.at
    assert fixed.at < now - timedelta(days=3)


def test_an_outage_silences_everyone_and_is_complained_about() -> None:
    """There is no feedback during the outage, and many complaints in the hours after it."""
    story = Story.until(NOW)
    assert story.outage is not None
    submissions = written(story, 28)
    assert not [one for one in submissions if one.created_at and story.is_down(one.created_at)]
    after = [one for one in submissions if one.created_at and story.after_outage(one.created_at)]
    assert sum(one.rating is Rating.DOWN for one in after) > 0.35 * len(after) > 5
    assert {one.target.agent_id for one in submissions} == {agent.id for agent in AGENTS}
