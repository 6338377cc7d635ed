"""Shared reads: threads that ask at the same time share a call, and none gets what was read before it asked."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from threading import Event, Thread
from typing import Any

import pytest

from harken import Feedback, StorageUnavailable
from harken.ports.storage import Storage
from harken.services.reading import SharedReads
from harken.storage import open_storage
from harken.testing.builders import accepted
from support import a_feedback, eventually, in_threads


@pytest.fixture
def storage() -> Iterator[Storage]:
    """With the same id in two applications."""
    with open_storage("memory://") as opened:
        opened.feedback.add(accepted(a_feedback("f", comment="ours"), a_feedback("g")))
        opened.feedback.add(accepted(a_feedback("f", comment="theirs", application="shop")))
        yield opened


def held_up(reads: SharedReads, storage: Storage, asked: list[tuple[str, str]]) -> list[Any]:
    """What threads get that ask while a first read is under way, after which the first feedback has changed."""
    under_way, let_go = Event(), Event()
    get = storage.feedback.get

    def slow(application: str, feedback_id: str) -> Feedback:
        found = get(application, feedback_id)
        under_way.set()
        let_go.wait(20)
        return found

    storage.feedback.get = slow  # type: ignore[method-assign]
    first = Thread(target=reads.get, args=("default", "g"))
    first.start()
    under_way.wait(20)
    storage.feedback.get = get  # type: ignore[method-assign]
    storage.feedback.replace(get("default", "f").answered("changed", at=a_feedback().created_at), [])
    answers: list[Any] = []
    others = Thread(target=lambda: answers.extend(in_threads([partial(reads.get, *one) for one in asked])))
    others.start()
    eventually(lambda: len(reads._asked) == len(asked))
    let_go.set()
    others.join(20)
    first.join(20)
    return answers


def test_threads_share_a_read(storage: Storage) -> None:
    """Those that wait get theirs by one call for each application, as it is after they asked."""
    calls = []
    get_many = storage.feedback.get_many
    storage.feedback.get_many = lambda *asked: (calls.append(asked), get_many(*asked))[1]  # type: ignore[method-assign]
    asked = [("default", "f"), ("shop", "f"), ("default", "f"), ("default", "nobody"), ("desk", "f")]
    ours, theirs, again, nobody, foreign = held_up(SharedReads(storage.feedback), storage, asked)
    assert (ours.comment, ours.reply, theirs.comment, theirs.reply) == ("ours", "changed", "theirs", None)
    assert (again, nobody, foreign) == (ours, None, None)
    assert sorted(application for application, _ in calls) == ["default", "desk", "shop"]


def test_a_failure_is_everybodys(storage: Storage) -> None:
    """Where the storage fails, everyone who waits for the call is told; the next call is another one."""
    reads = SharedReads(storage.feedback)
    get_many = storage.feedback.get_many

    def fail(*_: object) -> Any:
        raise StorageUnavailable("gone for lunch")

    storage.feedback.get_many = fail  # type: ignore[method-assign]
    answers = held_up(reads, storage, [("default", "f"), ("default", "g")])
    assert [type(answer) for answer in answers] == [StorageUnavailable] * 2
    storage.feedback.get_many = get_many  # type: ignore[method-assign]
    assert reads.get("default", "nobody") is None


def test_an_interrupted_read_leaves_nobody_waiting(storage: Storage) -> None:
    """An exception from outside ends one read; others are not stuck, and get what they asked for."""

    def interrupted(*_: object) -> Any:
        raise KeyboardInterrupt

    reads = SharedReads(storage.feedback)
    get = storage.feedback.get
    storage.feedback.get = interrupted  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        reads.get("default", "f")
    storage.feedback.get = get  # type: ignore[method-assign]
    found = reads.get("default", "f")
    assert found is not None
    assert found.comment == "ours"
