"""Feedback to learn from, and a storage of each kind without a server."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from threading import Event
from typing import Any

import mongomock

import harken
from harken import Feedback, ModerationStatus, Rating, Sentiment
from harken.domain.moderation import Moderation
from harken.ports.storage import Storage
from harken.testing.builders import with_content
from harken_adapters.storage.mongodb import mongo_storage
from support import NOON, PATIENCE, a_feedback

GOOD, BAD = ("great", "quick", "clear", "kind"), ("slow", "wrong", "lost", "rude")
_SPAM, _HONEST = ("casino", "bonus", "pills", "cheap"), ("booking", "invoice", "delivery", "refund")
STORAGES = ("memory", "sqlite", "mongomock")


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[Storage]:
    """An empty storage of this kind."""
    if kind == "mongomock":
        yield mongo_storage(mongomock.MongoClient())
        return
    with harken.open_storage("memory://" if kind == "memory" else f"sqlite:///{folder}/feedback.db") as storage:
        yield storage


def comment(random: Random, *, is_good: bool) -> str:
    """Three words of praise or of criticism, one of them about nothing."""
    return " ".join((*random.sample(GOOD if is_good else BAD, 2), random.choice(("today", "flight", "app"))))


def rated(count: int, *, seed: int = 1, **parts: Any) -> list[Feedback]:
    """Rated comments of an hour before noon, half of them thumbs-up."""
    random = Random(seed)
    return [
        a_feedback(
            f"{seed}-{number:04}",
            Rating.UP if number % 2 else Rating.DOWN,
            comment(random, is_good=bool(number % 2)),
            **{
                "created_at": NOON - timedelta(seconds=1 + number),
                "author": f"author-{number % 20}",
                "sentiment": Sentiment(0.5 if number % 2 else -0.5, 0.5),
                **parts,
            },
        )
        for number in range(count)
    ]


class Moods:
    """Knows words that the ratings do not teach. It records what it is asked, and waits while it is blocked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.blocks_at = ""
        self.go_on = Event()
        self.go_on.set()

    def block(self, text: str = "") -> None:
        """Wait at this text, or at any."""
        self.blocks_at = text
        self.go_on.clear()

    def features(self, text: str) -> list[int]:
        self.asked.append(text)
        if self.blocks_at in ("", text):
            assert self.go_on.wait(PATIENCE)
        mood = sum(word in text for word in GOOD) - sum(word in text for word in BAD)
        return [30 * mood, len(text) % 7, 3]


def unclear(count: int, *, seed: int = 1, **parts: Any) -> list[Feedback]:
    """Rated comments that only embeddings understand: each is a word that no other comment has."""
    return [
        with_content(one, comment=f"{one.comment.partition(' ')[0]}x{number}", sentiment=None)
        for number, one in enumerate(rated(count, seed=seed, **parts))
    ]


def comments(count: int, *, are_spam: bool, seed: int = 1) -> list[str]:
    """Comments of two words of one kind, and one word of both."""
    random = Random(seed)
    return [
        " ".join((*random.sample(_SPAM if are_spam else _HONEST, 2), random.choice(("today", "here"))))
        for _ in range(count)
    ]


def decided(count: int, status: ModerationStatus, *, name: str = "", **parts: object) -> list[Feedback]:
    """Comments that a moderator approved or rejected, an hour before noon."""
    at = NOON - timedelta(hours=1)
    moderation = Moderation.held("Spam detected").decide(status, at=at, moderator="mo")
    are_spam = status is ModerationStatus.REJECTED
    return [
        a_feedback(
            f"{name}{status.value}-{number}", comment=comment, **{"moderation": moderation, "version": 2, **parts}
        )
        for number, comment in enumerate(comments(count, are_spam=are_spam))
    ]


def pending(comment: str, feedback_id: str = "pending") -> Feedback:
    """Feedback that a rule holds."""
    return a_feedback(feedback_id, comment=comment, moderation=Moderation.held("Spam detected"))
