"""A vote can be changed without limit, on every storage, and copied afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import harken
from harken import Harken, Target
from harken.configuration.storage_urls import open_storage
from harken.domain.history import MAX_LATER_KEYS, MAX_REVISIONS
from harken.domain.instants import EPOCH
from harken.ports.storage import Storage
from harken.services.copying import Copying

VOTES = 130


@pytest.fixture(params=["memory", *(pytest.param(name, marks=pytest.mark.slow) for name in ("sqlite", "mongodb"))])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Storage]:
    """Each storage, open."""
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path / 'feedback.db'}"}
    with open_storage(urls.get(request.param) or request.getfixturevalue("mongodb_url")) as opened:
        yield opened


def _vote(hk: Harken, number: int) -> harken.Receipt:
    rating = "up" if number % 2 else None
    return hk.collection.set_vote(Target("s"), "ann", rating, str(number), idempotency_key=f"key-{number}")


def test_the_next_vote_is_always_accepted(storage: Storage) -> None:
    """The first vote and the latest 99 are stored; retries of recent votes are recognised, and the vote can be
    copied.
    """
    with harken.connect(storage) as hk:
        receipts = [_vote(hk, number) for number in range(VOTES)]
        assert not any(receipt.duplicate for receipt in receipts)
        (feedback,) = hk.export()
        assert (feedback.version, feedback.comment) == (VOTES, str(VOTES - 1))
        assert [revision.comment for revision in feedback.revisions] == ["0", *map(str, range(30, VOTES - 1))]
        assert len(feedback.revisions) == MAX_REVISIONS
        for number in (0, VOTES - MAX_LATER_KEYS, VOTES - 2, VOTES - 1):
            assert _vote(hk, number).duplicate
        with pytest.raises(harken.IdempotencyConflict):
            hk.collection.set_vote(Target("s"), "ann", "up", "another", idempotency_key=f"key-{VOTES - 2}")
        assert list(storage.feedback.changes("default", since=EPOCH)) == [feedback]
        assert hk.summary().total == 1
    with open_storage("memory://") as target:
        refused: list[str] = []
        copying = Copying(storage, target, lambda _, reason: refused.append(reason))
        list(copying.batches())
        assert (copying.feedback.added, refused) == (1, [])
        assert target.feedback.get("default", feedback.id) == feedback
