"""The people who give feedback: when they come, where they live, and what they think."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from typing import Final

from attrs import frozen

from harken import Feedback, Rating, Submission, Target
from harken_adapters.demo.story import AGENTS, Release, Story
from harken_adapters.demo.writer import Writer


@frozen
class Locale:
    """A language and region.

    Attributes:
        name: its BCP 47 tag.
        share: its part of all visits.
        offset: the hours that its clocks are ahead of UTC.
    """

    name: str
    share: float
    offset: int

    @property
    def language(self) -> str:
        """Its ISO 639-1 code."""
        return self.name.partition("-")[0]


@frozen
class Arrival:
    """A person who asks an agent something."""

    at: datetime
    locale: Locale


LOCALES: Final = (
    Locale("en-US", 30, -5),
    Locale("en-GB", 24, 0),
    Locale("de-DE", 10, 1),
    Locale("es-ES", 7, 1),
    Locale("es-MX", 4, -6),
    Locale("fr-FR", 7, 1),
    Locale("pt-BR", 5, -3),
    Locale("ja-JP", 5, 9),
    Locale("zh-CN", 4, 8),
    Locale("ar-EG", 3, 2),
    Locale("he-IL", 1, 2),
)
#: The parts of visits by local hour: few at night, most in the morning and in the evening.
_HOURS: Final = (3, 2, 1, 1, 1, 2, 5, 9, 13, 15, 14, 13, 12, 13, 14, 13, 12, 12, 13, 14, 13, 10, 7, 5)
#: The parts of visits by weekday, from Monday.
_WEEKDAYS: Final = (1.12, 1.05, 1.0, 1.02, 0.94, 0.5, 0.57)
_NOISE: Final = 0.06
_PLANS: Final = {"free": 60, "plus": 28, "business": 12}
_CHANNELS: Final = {"web": 46, "ios": 27, "android": 22, "email": 5}
#: By how much satisfaction differs in a segment.
_SEGMENTS: Final = {"business": -0.04, "plus": 0.02, "android": -0.06, "ios": 0.02}
_NEUTRAL: Final = 0.07
_COMMENTED: Final = {Rating.UP: 0.34, Rating.NEUTRAL: 0.4, Rating.DOWN: 0.78}
_AFTER_OUTAGE: Final = 0.45
_PEOPLE: Final = 2_400
_MORE: Final = 0.3
_ANONYMOUS: Final = 0.08


def visits_on(day: date, usual: float, random: Random) -> int:
    """How many people come on a day, if ``usual`` many come on a Wednesday."""
    return round(usual * _WEEKDAYS[day.weekday()] * random.gauss(1, _NOISE))


def arrivals(day: date, count: int, random: Random) -> list[Arrival]:
    """The people who come on a day in UTC, the first one first."""
    found = []
    for locale in random.choices(LOCALES, [one.share for one in LOCALES], k=count):
        (hour,) = random.choices(range(24), _HOURS)
        second = (hour - locale.offset) % 24 * 3600 + random.randrange(3600)
        at = datetime.combine(day, time(), UTC) + timedelta(seconds=second, milliseconds=random.randrange(1000))
        found.append(Arrival(at, locale))
    return sorted(found, key=lambda one: one.at)


class Visitors:
    """What people submit. It follows from the story and the random source."""

    def __init__(self, story: Story, random: Random, *, application: str) -> None:
        self._story = story
        self._random = random
        self._application = application
        self.writer = Writer(random)

    def arrive(self, at: datetime) -> Arrival:
        """A person who comes at that time."""
        weights = [one.share * _HOURS[(at.hour + one.offset) % 24] for one in LOCALES]
        return Arrival(at, self._random.choices(LOCALES, weights)[0])

    def submissions(self, arrival: Arrival) -> Iterator[Submission]:
        """What a person submits during one visit: feedback on one to three answers; nothing during an outage."""
        agent = self._random.choices(AGENTS, [one.share for one in AGENTS])[0].id
        at, session, author = arrival.at, self.session(), self.author()
        context = {
            "plan": _pick(_PLANS, self._random),
            "channel": _pick(_CHANNELS, self._random),
            "locale": arrival.locale.name,
        }
        for number in (1, 2, 3):
            release = self._story.release(agent, at)
            if release is None or self._story.is_down(at):
                return
            rating, comment, tag = self._opinion(arrival.locale.language, release, context, at)
            anonymous = number == 1 and self._random.random() < _ANONYMOUS
            yield Submission(
                target=Target(session, f"{session}-{2 * number}", agent),
                rating=rating,
                comment=comment,
                author=None if anonymous else author,
                vote=not anonymous,
                tags=() if tag is None else (tag,),
                context={**context, "version": release.version},
                application=self._application,
                created_at=at,
            )
            if self._random.random() > _MORE:
                return
            at += timedelta(seconds=self._random.randrange(25, 400))

    def opinion_on(self, feedback: Feedback, rating: Rating) -> tuple[str, tuple[str, ...]]:
        """The comment and the reason tags of an author who gives the same answer this rating now."""
        language = str(feedback.context["locale"]).partition("-")[0]
        subject = self.writer.subject(language, rating, feedback.agent_id or "")
        return self.writer.comment(subject), () if subject.tag is None else (subject.tag,)

    def spam(self, at: datetime, kind: str, *, author: str | None = None) -> Submission:
        """Spam of a kind in ``comments/spam.toml``."""
        return self._remark(at, Rating.UP, self.writer.spam(kind), "free", author or self.author())

    def mistaken_for_spam(self, at: datetime) -> Submission:
        """A complaint that the spam filter holds because of a phrase."""
        subject = self.writer.subject("en", Rating.DOWN, "travel-desk", "phrase")
        return self._remark(at, Rating.DOWN, self.writer.comment(subject), "plus", self.author(), "other")

    def session(self) -> str:
        """The id of a new session."""
        return f"s-{self._random.getrandbits(32):08x}"

    def author(self) -> str:
        """The id of a person; some come often."""
        return f"u-{10_000 + int(_PEOPLE * self._random.random() ** 1.7) * 37 % 89_989}"

    def _remark(self, at: datetime, rating: Rating, comment: str, plan: str, author: str, *tags: str) -> Submission:
        session, agent = self.session(), self._random.choice(AGENTS[:3]).id
        release = self._story.release(agent, at)
        return Submission(
            target=Target(session, f"{session}-2", agent),
            rating=rating,
            comment=comment,
            author=author,
            vote=True,
            tags=tags,
            context={
                "plan": plan,
                "channel": "web",
                "locale": "en-US",
                "version": "" if release is None else release.version,
            },
            application=self._application,
            created_at=at,
        )

    def _opinion(
        self, language: str, release: Release, context: dict[str, str], at: datetime
    ) -> tuple[Rating, str, str | None]:
        """A rating, a comment and a reason tag."""
        incident, random = release.incident, self._random
        satisfaction = release.satisfaction + sum(_SEGMENTS.get(value, 0) for value in context.values())
        if self._story.after_outage(at) and random.random() < _AFTER_OUTAGE:
            satisfaction, incident = 0.1, "outage"
        rating = Rating.UP if random.random() < satisfaction else Rating.DOWN
        rating = Rating.NEUTRAL if random.random() < _NEUTRAL else rating
        # Not every complaint is about the incident.
        about = incident if rating is Rating.DOWN and random.random() < 0.8 else None
        subject = self.writer.subject(language, rating, release.agent, about)
        comment = self.writer.comment(subject) if random.random() < _COMMENTED[rating] else ""
        return rating, comment, subject.tag


def _pick(weights: dict[str, int], random: Random) -> str:
    return random.choices(list(weights), list(weights.values()))[0]
