"""Shared reads: threads that ask at the same time share a call, and none gets what was read before it asked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from threading import Event, Thread
from typing import Any

import pytest

from harken import Feedback, StorageError, StorageUnavailable
from harken.ports.repository import FeedbackRepository
from harken.services.reading import SharedReads
from harken.storage import open_storage
from harken.testing.builders import accepted
from support import PATIENCE, a_feedback, eventually, in_threads


class Slow:
    """A repository that is far away: a call takes a while, and the test can look in."""

    def __init__(self, repository: FeedbackRepository) -> None:
        self.repository = repository
        self.calls: list[tuple[str, set[str]]] = []
        self.meanwhile: Callable[[], object] = lambda: None

    def get_many(self, application: str, feedback_ids: Collection[str]) -> Mapping[str, Feedback]:
        found = self.repository.get_many(application, feedback_ids)
        self.calls.append((application, set(feedback_ids)))
        Event().wait(0.001)
        self.meanwhile()
        return found


@pytest.fixture
def slow() -> Iterator[Slow]:
    """With the same id in two applications."""
    with open_storage("memory://") as opened:
        opened.feedback.add(accepted(a_feedback("f", comment="ours"), a_feedback("g")))
        opened.feedback.add(accepted(a_feedback("f", comment="theirs", application="shop")))
        yield Slow(opened.feedback)


@pytest.fixture
def reads(slow: Slow) -> SharedReads:
    """Reads that know already how long a call takes, and wait until all threads have asked."""
    reads = SharedReads(slow, gathering=PATIENCE)  # type: ignore[arg-type] # it needs no more of it
    reads.get("default", "g")
    slow.calls.clear()
    return reads


def in_sending_threads(reads: SharedReads, asked: list[tuple[str, str]]) -> list[Any]:
    """What as many threads get that send, and ask once each."""

    def ask(one: tuple[str, str]) -> object:
        with reads.sending():
            everybody.append(one)
            eventually(lambda: len(everybody) == len(asked))
            return reads.get(*one)

    everybody: list[tuple[str, str]] = []
    return in_threads([partial(ask, one) for one in asked])


def test_threads_share_a_read(slow: Slow, reads: SharedReads) -> None:
    """What they ask for at the same time is read in one call for each application."""
    asked = [("default", "f"), ("shop", "f"), ("default", "f"), ("default", "nobody"), ("desk", "f")]
    ours, theirs, again, nobody, foreign = in_sending_threads(reads, asked)
    assert (ours.comment, theirs.comment) == ("ours", "theirs")
    assert (again, nobody, foreign) == (ours, None, None)
    assert sorted((name, sorted(ids)) for name, ids in slow.calls) == [
        ("default", ["f", "nobody"]),
        ("desk", ["f"]),
        ("shop", ["f"]),
    ]


def test_nobody_gets_what_was_read_before_they_asked(slow: Slow, reads: SharedReads) -> None:
    """Who asks while a call is under way gets the answer of the next one."""
    under_way, go_on = Event(), Event()

    def hold() -> None:
        slow.meanwhile = lambda: None
        under_way.set()
        assert go_on.wait(PATIENCE)

    slow.meanwhile = hold
    first = Thread(target=reads.get, args=("default", "f"))
    first.start()
    assert under_way.wait(PATIENCE)
    before = slow.repository.get("default", "f")
    slow.repository.replace(before.answered("changed", at=before.created_at), [])
    found = reads.get("default", "f")
    go_on.set()
    first.join(PATIENCE)
    assert found is not None
    assert found.reply == "changed"


def test_a_failure_is_everybodys(slow: Slow, reads: SharedReads) -> None:
    """Where the storage fails, each thread that shares the call gets the error; the next call is another one."""

    def fail() -> None:
        raise StorageUnavailable("gone for lunch")

    slow.meanwhile = fail
    answers = in_sending_threads(reads, [("default", "f"), ("default", "g")])
    assert [type(answer) for answer in answers] == [StorageUnavailable] * 2
    slow.meanwhile = lambda: None
    assert reads.get("default", "nobody") is None


def test_an_interrupted_read_leaves_nobody_waiting(slow: Slow, reads: SharedReads) -> None:
    """An exception from outside ends the call of one thread; those that share it get an error, and can ask again."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    slow.meanwhile = interrupt
    answers = in_sending_threads(reads, [("default", "f"), ("default", "g")])
    assert sorted(type(answer).__name__ for answer in answers) == ["KeyboardInterrupt", StorageError.__name__]
    slow.meanwhile = lambda: None
    found = reads.get("default", "f")
    assert found is not None
    assert found.comment == "ours"
