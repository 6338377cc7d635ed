"""A year of believable feedback for the benchmark of the dashboard: a daily rhythm, agents, reasons, versions of
a model, sessions of a few entries, comments that are held, and deliveries that a receiver refused.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import accumulate, islice
from random import Random
from typing import Final

from attrs import evolve
from tests.benchmarks import search

from harken import Content, Feedback, Rating
from harken.domain.events import Attempt, AttemptOutcome, Event, EventType
from harken.domain.feedback import Context
from harken.domain.moderation import Moderation, ModerationStatus, RuleMatch
from harken.ports.repository import Accepted
from harken.ports.storage import Storage

DAYS: Final = 364
CHANNEL: Final = "help-desk"
RARE_TAG: Final = "unsafe"
_BATCH: Final = 5_000
#: What people complain about, and how often.
_REASONS: Final = {
    "wrong": 30,
    "slow": 20,
    "off topic": 12,
    "too long": 10,
    "outdated": 8,
    "rude": 6,
    "no source": 6,
    "broken link": 4,
    "repeats itself": 3,
    RARE_TAG: 0.02,
}
_WEIGHTS: Final = list(accumulate(_REASONS.values()))
#: How much feedback comes in each hour of the day.
_RHYTHM: Final = list(accumulate([1, 1, 1, 1, 1, 2, 4, 7, 9, 10, 10, 9, 8, 9, 10, 10, 9, 8, 7, 6, 5, 4, 3, 2]))


def entries(total: int, until: datetime) -> Iterator[Feedback]:
    """Feedback of the year before ``until``, in the order of time: that of the benchmark of search, with more in it.

    Half of the thumbs-down entries have reasons; four in five entries have a comment.
    """
    random, since = Random(2), until - timedelta(days=DAYS)
    for number, one in enumerate(search.entries(total)):
        at = since + _moment(number / total * DAYS)
        tags = tuple(random.choices(list(_REASONS), cum_weights=_WEIGHTS)) if random.random() < 0.5 else ()
        versions = ("2.0", "2.1", "2.2") if number > total * 0.7 else ("1.8", "1.9", "2.0")
        context = Context({"version": random.choice(versions), "channel": random.choice(("web", "app", "phone"))})
        tags = tags if one.rating is Rating.DOWN else ()
        rating = Rating.NEUTRAL if random.random() < 0.05 else one.rating
        content = Content(rating, one.comment, tags, context)
        author = one.author if random.random() < 0.7 else None
        yield evolve(one, content=content, author=author, created_at=at, updated_at=at)


def _moment(days: float) -> timedelta:
    """How long after the beginning this number of average days has passed, by the rhythm of the day."""
    day, rest = divmod(days, 1)
    place = rest * _RHYTHM[-1]
    hour = bisect(_RHYTHM, place)
    before = _RHYTHM[hour - 1] if hour else 0
    return timedelta(days=day, hours=hour + (place - before) / (_RHYTHM[hour] - before))


def fill(storage: Storage, total: int, until: datetime) -> None:
    """Store the entries in large batches, as an import does."""
    left = entries(total, until)
    while batch := [Accepted(one) for one in islice(left, _BATCH)]:
        storage.feedback.add(batch)


def hold(storage: Storage, number: int, until: datetime) -> None:
    """Store entries that wait for a decision, of the last days."""
    held = Moderation(status=ModerationStatus.PENDING, reason="promotion", held_by=(RuleMatch("promotion", ((0, 5),)),))
    storage.feedback.add(
        [
            Accepted(evolve(one, id=f"held-{one.id}", created_at=at, updated_at=at, moderation=held))
            for place, one in enumerate(islice(search.entries(number), number))
            for at in (until - timedelta(minutes=10 * (place + 1)),)
        ]
    )


def bury(storage: Storage, number: int, now: datetime) -> None:
    """Store deliveries that a receiver refused for good, about entries of the last days."""
    about = [
        evolve(one, id=f"buried-{one.id}", created_at=at, updated_at=at)
        for place, one in enumerate(search.entries(number))
        for at in (now - timedelta(minutes=11 * (place + 1)),)
    ]
    storage.feedback.add([Accepted(one, (Event.about(one, EventType.CREATED),)) for one in about])
    events = storage.outbox.events(limit=number)
    storage.outbox.fan_out([(event, (CHANNEL,)) for event in events], due_at=now)
    error = "The receiver answered 410 Gone: the endpoint was retired"
    attempt = Attempt(at=now, outcome=AttemptOutcome.FAILED, status="410 Gone", words="retired", error=error)
    for one in storage.outbox.claim(CHANNEL, now=now, until=now + timedelta(minutes=5), limit=number):
        storage.outbox.bury(evolve(one, history=(attempt,)), error=error)
