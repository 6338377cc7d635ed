"""The largest extras fit into every storage, together with the largest feedback and its history."""

from collections.abc import Iterator
from pathlib import Path

import pytest

import harken
from harken import Change, FeedbackRejected, Harken, RatingPolicy
from harken.domain.erasure import Erased
from harken.domain.rules import MAX_EXTRAS_BYTES, MAX_STORED_BYTES, MAX_TEXT_LENGTH, text_bytes
from support import a_submission

pytestmark = pytest.mark.slow
#: In bytes of UTF-8 it is as long as it may be, and no storage may count it in UTF-16.
LARGEST = '{"€": "' + "x" * (MAX_EXTRAS_BYTES - 11) + '"}'


@pytest.fixture(params=["memory", "sqlite", "mongodb"])
def hk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harken]:
    """Each storage, with comments of any length."""
    urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/feedback.db"}
    url = urls.get(request.param) or request.getfixturevalue("mongodb_url")
    with harken.connect(url, policy=RatingPolicy(refuse=()), application="app") as opened:
        yield opened


def test_the_largest_extras_are_stored_and_feedback_stays_changeable(hk: Harken) -> None:
    """Revisions make room for the extras, whose text stays the same; erasing removes them."""
    submission = a_submission(comment="0" * MAX_TEXT_LENGTH, extras=LARGEST, application="app", author="ann")
    assert len(LARGEST.encode()) == MAX_EXTRAS_BYTES
    stored = hk.collection.submit(submission).feedback
    for number in range(1, 10):
        stored = hk.change(stored.id, Change(comment=str(number) * MAX_TEXT_LENGTH))
        assert text_bytes(stored) + MAX_EXTRAS_BYTES <= MAX_STORED_BYTES
    assert hk.get(stored.id) == stored
    assert [revision.version for revision in stored.revisions] == [1, 6, 7, 8, 9]
    (entry,) = hk.collection.session_entries("app", "s")
    assert entry.rest == {"author": "ann", "extras": LARGEST}
    assert hk.collection.erase(hk.query(author="ann")) == Erased(feedback=1)


def test_feedback_that_would_not_fit_is_refused(hk: Harken) -> None:
    """With the largest extras, the first and the latest revision must fit; the feedback stays as it was."""
    comment = "€" * MAX_TEXT_LENGTH
    stored = hk.collection.submit(a_submission(comment=comment, extras=LARGEST, application="app")).feedback
    stored = hk.change(stored.id, Change(comment=f"{comment[1:]}1"))
    with pytest.raises(FeedbackRejected, match=r"max: 1,500,000, because of its extras\); submit new feedback"):
        hk.change(stored.id, Change(comment=f"{comment[1:]}2"))
    assert hk.get(stored.id) == stored


def test_many_large_extras_are_stored_in_several_writes(hk: Harken) -> None:
    """Each entry of a list keeps its extras, although no write could carry them all."""
    texts = [f'{{"{number}": "{"x" * 9_000_000}"}}' for number in range(6)]
    results = hk.collection.submit_many([a_submission(extras=text, application="app") for text in texts])
    assert not any(isinstance(one, FeedbackRejected) for one in results)
    assert [entry.rest for entry in hk.collection.session_entries("app", "s")] == [{"extras": text} for text in texts]
