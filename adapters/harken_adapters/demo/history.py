"""Fills a storage with the last weeks of Skylark: feedback, and what people and moderators did with it.

A Harken with a clock of its own lives through these weeks, so everything passes the rules, and is stored with the times
at which it happened.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Final
from uuid import UUID

import harken
from harken import ConfigurationError, Feedback, Harken, ModerationStatus, Rating, Receipt, Submission
from harken.ports.time import NewId
from harken_adapters.demo.receiver import Receiver
from harken_adapters.demo.settings import demo_settings
from harken_adapters.demo.story import Story
from harken_adapters.demo.visitors import Visitors, arrivals, visits_on
from harken_adapters.text import text_adapters

#: Two periods of four weeks, and today.
DAYS: Final = 56
#: How many people come on a Wednesday now. On the first day, there were fewer, by this factor.
_USUAL: Final = 134
_AT_FIRST: Final = 0.72
#: Channels are notified of feedback of these last days. What was delivered earlier would be forgotten by now.
_ANNOUNCED: Final = timedelta(days=4)
#: How long ago the help desk stopped to accept webhooks, and how long ago the order system did for some hours.
_HELP_DESK_ENDED: Final = timedelta(hours=27)
_ORDERS_BUSY: Final = (timedelta(hours=9), timedelta(hours=4))
#: What was held more recently still waits for a moderator.
_UNREVIEWED: Final = timedelta(hours=4)
_HOUR: Final = timedelta(hours=1)
_MODERATORS: Final = ("priya", "tomas")
_DEVICES: Final = ("iPhone 15", "Pixel 8", "Galaxy A54", "iPad", "Firefox on Windows", "Chrome on macOS", "Safari")
_REPLIES: Final = {
    "wrong": (
        "We looked at your booking and corrected it. The new confirmation is in your inbox.",
        "You are right, and we are sorry. It is correct in the app now.",
        "This was our mistake. The fee is waived.",
    ),
    "incomplete": (
        "We have added what was missing. The full answer is in your inbox.",
        "Thank you. A colleague sends you the rest by mail today.",
    ),
    "other": (
        "Thank you for writing. A colleague calls you within the hour.",
        "We could not find this booking. Please send its code to help@skylark.example.",
        "Thank you. We have passed this on to the team that builds the app.",
    ),
}
_WRONG_MATTERS: Final = (
    "It has a booking code",
    "It has a phone number",
    "Insults a colleague",
    "About another company",
)

#: Something that happens at a time.
Step = Callable[[], object]


class SimulatedClock:
    """A clock that shows the time that it is set to."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        """The time that it is set to."""
        return self.now


def fill(
    storage: str,
    visitors: Visitors,
    story: Story,
    receiver: Receiver,
    random: Random,
    *,
    now: datetime,
    application: str,
    days: int = DAYS,
) -> None:
    """Fill an empty storage with the last weeks.

    Args:
        storage: its URL.
        visitors: who gives feedback.
        story: what happens meanwhile.
        receiver: what webhooks are sent to.
        random: the random source. The same seed and time give the same feedback.
        now: when the last week ends.
        application: the application.
        days: the number of days.

    Raises:
        ConfigurationError: the storage has feedback.
        StorageError: the storage failed.
    """
    # A storage server measures how far its clock is ahead when it is connected.
    clock = SimulatedClock(now)
    with (
        _quiet(),
        harken.connect(
            storage,
            application=application,
            clock=clock,
            new_id=_ids(clock, random),
            jitter=random.random,
            **demo_settings(receiver.url),
            **text_adapters(),
        ) as hk,
    ):
        if hk.moderation.applications():
            raise ConfigurationError(
                "The demo needs an empty storage, and this one has feedback; "
                "leave out --storage for a temporary one, or choose another"
            )
        _History(hk, clock=clock, visitors=visitors, story=story, receiver=receiver, random=random, now=now).live(days)


class _History:
    """Lets time pass, and does what is due."""

    def __init__(
        self,
        hk: Harken,
        *,
        clock: SimulatedClock,
        visitors: Visitors,
        story: Story,
        receiver: Receiver,
        random: Random,
        now: datetime,
    ) -> None:
        self._hk = hk
        self._clock = clock
        self._visitors = visitors
        self._story = story
        self._receiver = receiver
        self._random = random
        self._now = now
        #: What is due later: when, a number for the order, and what.
        self._due: list[tuple[datetime, int, Step]] = []
        self._numbers = count()
        self._sessions: set[str] = set()
        #: The number of rated answers by session.
        self._answers: Counter[str] = Counter()

    def live(self, days: int) -> None:
        start = self._now - timedelta(days=days)
        submissions = [one for one in self._submissions(start, days) if _created(one) > start]
        self._answers.update(one.target.session_id for one in submissions)
        position = 0
        for end in self._moments(start):
            until = position
            while until < len(submissions) and _created(submissions[until]) <= end:
                until += 1
            self._submit(submissions[position:until], announce=end > self._now - _ANNOUNCED)
            position = until
            while self._due and self._due[0][0] <= end:
                at, _, step = heappop(self._due)
                self._clock.now = at
                step()
            ago = self._now - end
            self._receiver.gone = ago < _HELP_DESK_ENDED
            self._receiver.busy = _ORDERS_BUSY[1] < ago < _ORDERS_BUSY[0]
            self._clock.now = end
            if self._is_close(end):
                self._hk.relay.run_due()

    # --- time --------------------------------------------------------------------------------------------------------

    def _moments(self, start: datetime) -> Iterator[datetime]:
        """The ends of short intervals around what happens, and of longer ones otherwise."""
        at = start
        while at < self._now:
            hours = 0.5 if self._now - at <= 3 * _HOUR else 2 if self._is_close(at) else 12
            at = min(at + hours * _HOUR, self._now)
            yield at

    def _is_close(self, at: datetime) -> bool:
        """Whether alerts may be raised or resolved at about that time."""
        outage = self._story.outage
        incidents = [one.at for one in self._story.releases if one.agent == "travel-desk"]
        return (
            self._now - at <= timedelta(days=2)
            or any(-_HOUR <= at - incident <= 24 * _HOUR for incident in incidents)
            or (outage is not None and outage.began - 6 * _HOUR <= at <= outage.ended + 6 * _HOUR)
        )

    def _later(self, at: datetime, step: Step) -> None:
        if at <= self._now:
            heappush(self._due, (at, next(self._numbers), step))

    def _at_work(self, at: datetime) -> datetime:
        """That time, or the next morning if nobody works then."""
        if 7 <= at.hour < 19:
            return at
        return (at + timedelta(hours=5)).replace(hour=7, minute=self._random.randrange(5, 59))

    # --- submissions -------------------------------------------------------------------------------------------------

    def _submissions(self, start: datetime, days: int) -> list[Submission]:
        """Everything that is submitted, the earliest first."""
        found: list[Submission] = []
        for number in range(days + 1):
            day = start.date() + timedelta(days=number)
            usual = _USUAL * (_AT_FIRST + (1 - _AT_FIRST) * number / days)
            for arrival in arrivals(day, visits_on(day, usual, self._random), self._random):
                found += self._visitors.submissions(arrival)
            found += self._spam(day, start)
        found += self._spam_today()
        return sorted((one for one in found if _created(one) <= self._now), key=_created)

    def _spam(self, day: date, start: datetime) -> Iterator[Submission]:
        midnight = start.replace(year=day.year, month=day.month, day=day.day, hour=0, minute=0)
        for _ in range(self._random.randint(0, 5)):
            at = midnight + timedelta(seconds=self._random.randrange(86_400))
            if self._story.is_down(at):
                continue
            yield (
                self._visitors.mistaken_for_spam(at)
                if self._random.random() < 0.25
                else self._visitors.spam(at, "spam")
            )

    def _spam_today(self) -> Iterator[Submission]:
        """Nearly the same text from several sessions, one author with it about many answers, and what is not spam."""
        for number in range(9):
            at = self._now - timedelta(minutes=95 - 3 * number, seconds=self._random.randrange(60))
            yield self._visitors.spam(at, "campaign")
        for minutes in (52, 131):
            yield self._visitors.mistaken_for_spam(self._now - timedelta(minutes=minutes))
        author = self._visitors.author()
        for number in range(7):
            at = self._now - timedelta(hours=3, minutes=20 - number, seconds=self._random.randrange(50))
            yield self._visitors.spam(at, "repeated", author=author)

    def _submit(self, submissions: Sequence[Submission], *, announce: bool) -> None:
        if not submissions:
            return
        for result in self._hk.collection.submit_many(self._in_time(submissions), announce=announce):
            if isinstance(result, Receipt):
                self._react(result.feedback)

    def _in_time(self, submissions: Iterable[Submission]) -> Iterator[Submission]:
        for one in submissions:
            self._clock.now = _created(one)
            yield one

    # --- reactions ---------------------------------------------------------------------------------------------------

    def _react(self, feedback: Feedback) -> None:
        """Plan what happens to feedback later."""
        at, random = feedback.created_at, self._random
        if feedback.moderation.status is ModerationStatus.PENDING:
            self._review(feedback)
            return
        if feedback.session_id not in self._sessions:
            self._sessions.add(feedback.session_id)
            self._store_session(feedback)
        chance = random.random()
        if chance < 0.012:
            self._later(at + _HOUR * random.random(), lambda: self._hk.withdraw(feedback.id))
        elif chance < 0.05 and feedback.vote:
            self._later(at + _HOUR * random.random(), lambda: self._change_vote(feedback))
        elif chance < 0.12 and feedback.comment and feedback.reply is None and _REPLIES.keys() & feedback.tags:
            self._later(self._at_work(at + 4 * _HOUR * random.random()), lambda: self._reply(feedback))
        elif chance > 0.998 and feedback.comment:
            self._decide(feedback, ModerationStatus.REJECTED, random.choice(_WRONG_MATTERS), self._at_work(at + _HOUR))

    def _review(self, feedback: Feedback) -> None:
        """Plan the decision about feedback that was held."""
        if self._now - feedback.created_at < _UNREVIEWED:
            return
        at = self._at_work(feedback.created_at + _HOUR * self._random.expovariate(2.5))
        if feedback.rating is not Rating.DOWN:
            self._decide(feedback, ModerationStatus.REJECTED, "spam", at)
            return
        if self._random.random() < 0.2:
            moderator = self._decide(feedback, ModerationStatus.REJECTED, "spam", at)
            at += timedelta(seconds=25)
            self._later(at, lambda: self._hk.moderation.undo(feedback.application, feedback.id, moderator=moderator))
            at += timedelta(seconds=20)
        self._decide(feedback, ModerationStatus.APPROVED, "Not spam, a real problem", at)

    def _decide(self, feedback: Feedback, status: ModerationStatus, reason: str, at: datetime) -> str:
        """Plan a decision; returns the moderator."""
        moderator = _MODERATORS[at.hour >= 13]

        def decide() -> None:
            self._hk.moderation.decide(feedback.application, feedback.id, status, moderator=moderator, reason=reason)

        self._later(at, decide)
        return moderator

    def _change_vote(self, feedback: Feedback) -> None:
        """The author has another opinion now, or other words for the same."""
        random = self._random
        rating = feedback.rating
        if random.random() < 0.7:
            rating = Rating.UP if rating is Rating.DOWN else Rating.DOWN
        comment, tags = self._visitors.opinion_on(feedback, rating)
        self._hk.vote(
            feedback.session_id,
            rating,
            comment,
            author=feedback.author or "",
            message_id=feedback.message_id,
            agent_id=feedback.agent_id,
            tags=tags,
            context=feedback.context,
        )

    def _reply(self, feedback: Feedback) -> None:
        reply = self._random.choice(_REPLIES[feedback.tags[0]])
        self._hk.collection.reply(feedback.application, feedback.id, reply)

    def _store_session(self, feedback: Feedback) -> None:
        """Store what is known of a session: of recent ones more often, as conversations are not kept for long."""
        recent = self._now - feedback.created_at < timedelta(days=4)
        if self._random.random() > (0.25 if recent else 0.01):
            return
        self._hk.sessions.update(
            feedback.application,
            feedback.session_id,
            {
                "device": self._random.choice(_DEVICES),
                "bookings": self._random.randrange(1, 15),
                "country": str(feedback.context["locale"]).rpartition("-")[2],
            },
        )
        if feedback.message_id and feedback.agent_id:
            self._store_conversation(feedback, feedback.agent_id)

    def _store_conversation(self, feedback: Feedback, agent: str) -> None:
        language = str(feedback.context["locale"]).partition("-")[0]
        release = self._story.release(agent, feedback.created_at)
        turns = self._visitors.writer.conversation(
            language,
            agent,
            None if release is None else release.incident,
            answers=self._answers[feedback.session_id],
            about=feedback.comment,
        )
        for number, text in enumerate(turns):
            role = "assistant" if number % 2 else "user"
            self._hk.conversations.append(
                feedback.application,
                feedback.session_id,
                agent,
                number,
                {
                    "message": {
                        "role": role,
                        "content": [{"text": text}],
                        "tracking_id": f"{feedback.session_id}-{number + 1}",
                    },
                    "message_id": number,
                    "created_at": (feedback.created_at + timedelta(seconds=25 * (number - 2))).isoformat(),
                },
            )


def _created(submission: Submission) -> datetime:
    assert submission.created_at is not None  # noqa: S101 - of all submissions in the past
    return submission.created_at


def _ids(clock: SimulatedClock, random: Random) -> NewId:
    """UUIDs version 7 (RFC 9562) of the simulated time."""

    def new_id() -> str:
        milliseconds = int(clock().timestamp() * 1000)
        return str(
            UUID(int=milliseconds << 80 | 7 << 76 | random.getrandbits(12) << 64 | 2 << 62 | random.getrandbits(62))
        )

    return new_id


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the log of deliveries that failed weeks ago."""
    logger = logging.getLogger("harken")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
