"""The weeks that the demo fills a storage with."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from unicodedata import bidirectional

import pytest

import harken
from harken import ConfigurationError, Feedback, Harken, ModerationStatus
from harken.domain.events import EventType
from harken_adapters.demo.history import fill
from harken_adapters.demo.receiver import Receiver
from harken_adapters.demo.settings import demo_settings
from harken_adapters.demo.story import Story
from harken_adapters.demo.visitors import Visitors
from harken_adapters.formats.record import to_record
from support import ManualClock

#: A Wednesday.
NOW = datetime(2026, 5, 20, 12, 30, tzinfo=UTC)
STORY = Story.until(NOW)
BAD, FIXED = (one.at for one in STORY.releases if one.version in ("5.3.0", "5.3.1"))


def filled(url: str, *, seed: int = 7, days: int = 56) -> None:
    """Fill a storage."""
    random = Random(seed)
    visitors = Visitors(STORY, random, application="default")
    with Receiver() as receiver:
        fill(url, visitors, STORY, receiver, random, now=NOW, application="default", days=days)


def everything(hk: Harken) -> list[Feedback]:
    """All feedback in any state, oldest first."""
    return list(hk.collection.stream(hk.query().in_any_state()))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A storage with all weeks."""
    url = f"sqlite:///{tmp_path_factory.mktemp('demo')}/feedback.db"
    filled(url)
    return url


@pytest.fixture
def demo(url: str) -> Iterator[Harken]:
    """A Harken on it, with the settings of the demo."""
    with harken.connect(url, clock=ManualClock(NOW), **demo_settings("http://127.0.0.1:9")) as hk:
        yield hk


pytestmark = pytest.mark.slow


def test_there_are_two_months_up_to_now(demo: Harken) -> None:
    """There are thousands of entries over eight weeks, none is from the future, and the statistics equal a recount."""
    stored = everything(demo)
    assert 6_000 < len(stored) < 15_000
    times = [one.created_at for one in stored]
    assert NOW - timedelta(days=56) < times[0] < NOW - timedelta(days=55, hours=12)
    assert NOW - timedelta(hours=1) < times[-1] <= max(one.updated_at for one in stored) <= NOW
    assert [one.id[:13] for one in stored] == sorted(one.id[:13] for one in stored)
    assert demo.check() == []


def test_the_bad_release_is_found(demo: Harken) -> None:
    """The change points of the travel desk are the release and its fix; its version has the lowest satisfaction."""
    changes = demo.changes(agent_id="travel-desk")
    fall = min(changes, key=lambda one: one.after.satisfaction - one.before.satisfaction)
    assert abs(fall.at - BAD) < timedelta(days=1, hours=1)
    assert fall.after.satisfaction < fall.before.satisfaction - 25
    (recovery,) = (one for one in changes if abs(one.at - FIXED) < timedelta(days=1, hours=1))
    assert recovery.after.satisfaction > recovery.before.satisfaction + 20
    versions = demo.groups("context.version", agent_id="travel-desk")
    assert min(versions, key=lambda key: versions[key].satisfaction) == "5.3.0"
    since, until = BAD + timedelta(hours=1), FIXED
    labels = [one.theme.label for one in demo.themes(agent_id="travel-desk", since=since, until=until).themes]
    assert {"time", "departure", "zone"} & {word for label in labels for word in label.split()}


def test_people_use_all_that_harken_offers(demo: Harken) -> None:
    """Votes are changed and withdrawn, complaints have reasons and replies, and comments are in many scripts."""
    stored = everything(demo)
    assert sum(bool(one.revisions) for one in stored) > 100
    assert sum(one.withdrawn for one in stored) > 30
    replies = {one.reply for one in stored if one.reply}
    assert len(replies) > 5
    assert {tag for one in stored for tag in one.tags} == {"wrong", "incomplete", "slow", "unclear", "other"}
    scripts = {bidirectional(letter) for one in stored for letter in one.comment} & {"L", "R", "AL"}
    assert scripts == {"L", "R", "AL"}
    assert any("\u3040" < letter < "\u9fff" for one in stored for letter in one.comment)
    assert {"plan", "channel", "locale", "version"} == set.intersection(*(set(one.context) for one in stored))


def test_only_spam_repeats_itself(demo: Harken) -> None:
    """Counted comments are all different, except for what one author repeats."""
    comments = [one.comment for one in demo.export() if one.comment and "my code SKY" not in one.comment]
    assert len(comments) == len(set(comments)) > 2_000


def test_moderators_have_worked_and_spam_waits(demo: Harken) -> None:
    """Two moderators have decided; what waits has nearly the same text from many sessions."""
    decided = [one.moderation for one in everything(demo) if one.moderation.moderator]
    assert {one.moderator for one in decided} == {"priya", "tomas"}
    assert {one.status for one in decided} == {ModerationStatus.APPROVED, ModerationStatus.REJECTED}
    assert all(one.decided_at and one.decided_at <= NOW for one in decided)
    waits = demo.moderation.response_time(demo.query())
    assert waits is not None
    assert 60 < waits.median < 6 * 3600
    waiting = demo.moderation.queue(demo.query()).items
    assert all(one.moderation.reason for one in waiting)
    campaign = [one for one in waiting if "quick-cash" in one.comment]
    assert len({one.session_id for one in campaign}) == len(campaign) >= 8
    repeated = [one for one in waiting if "my code SKY" in one.comment]
    assert len({one.author for one in repeated}) == 1 < len(repeated)


def test_alerts_and_dead_letters_wait(demo: Harken) -> None:
    """Alerts about the release, the outage and streaks are resolved; the queue and the help desk have open ones."""
    alerts = demo.alerts.find("default")
    resolved = {one.rule for one in alerts if not one.is_open}
    assert {"unhappy-with-agent", "no-feedback", "seven-in-a-row"} <= resolved
    assert {one.rule for one in alerts if one.is_open} >= {"moderation-queue", "channel"}
    first = next(one for one in reversed(alerts) if one.subject.value == "travel-desk" and one.raised_at > BAD)
    assert first.raised_at - BAD < timedelta(days=1)
    states = {one.name: one for one in demo.channels.states()}
    assert {name for name, state in states.items() if not state.on} == {"help-desk"}
    dead = demo.deliveries.find(limit=100)
    assert len(dead) > 3
    assert {one.channel for one in dead} == {"help-desk"}
    assert all(one.error and "responded with 410" in one.error for one in dead)
    assert {one.event.type for one in dead} == {EventType.CREATED}


def test_conversations_lead_to_the_rated_answer(demo: Harken) -> None:
    """Recent sessions have a conversation in which the rated message is an answer, and metadata."""
    recent = [one for one in everything(demo) if NOW - one.created_at < timedelta(days=4) and one.agent_id]
    with_conversation = 0
    for one in recent:
        messages = demo.conversations.messages("default", one.session_id, one.agent_id or "", limit=20)
        with_conversation += bool(messages)
        if messages and (one.message_id or "").endswith("-2"):
            roles = {message["message"]["tracking_id"]: message["message"]["role"] for _, message in messages}
            assert roles[one.message_id] == "assistant"
            assert "bookings" in demo.sessions.get("default", one.session_id)
    assert with_conversation > 30


def test_it_follows_from_the_seed(tmp_path: Path) -> None:
    """The same seed and time give the same feedback, in every part; another seed gives other feedback."""
    stored = []
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        filled(f"sqlite:///{tmp_path}/{name}.db", seed=seed, days=3)
        with harken.connect(f"sqlite:///{tmp_path}/{name}.db") as hk:
            stored.append([to_record(one) for one in everything(hk)])
    assert stored[0] == stored[1] != stored[2]
    assert len(stored[0]) > 100


def test_a_storage_with_feedback_is_refused(tmp_path: Path) -> None:
    """A storage that has feedback of any application, in any state, is not changed."""
    url = f"sqlite:///{tmp_path}/feedback.db"
    with harken.connect(url, application="other") as hk:
        real = hk.submit("session", "up").feedback
        hk.withdraw(real.id)
    with pytest.raises(ConfigurationError, match="has feedback; leave out --storage"):
        filled(url, days=1)
    with harken.connect(url, application="other") as hk:
        assert hk.moderation.applications() == ["other"]
        assert [one.id for one in everything(hk)] == [real.id]


def test_the_same_weeks_on_mongodb(mongodb_url: str) -> None:
    """MongoDB gets feedback, alerts and dead letters at these times, although its clock shows the present."""
    filled(mongodb_url, days=12)
    with harken.connect(mongodb_url, clock=ManualClock(NOW), **demo_settings("http://127.0.0.1:9")) as hk:
        assert hk.check() == []
        assert max(one.updated_at for one in everything(hk)) <= NOW
        assert {one.rule for one in hk.alerts.find("default", open=True)} >= {"moderation-queue", "channel"}
        assert hk.deliveries.find(limit=100)
