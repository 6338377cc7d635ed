"""Fingerprints: what tells a repeated submission from a new one, also after an update of Harken."""

import pytest

from harken import Rating, Submission, Target
from harken.domain.idempotency import fingerprint

TARGET = Target("session-1", message_id="message-1", agent_id="helper")


@pytest.mark.parametrize(
    ("submission", "digest"),
    [
        (Submission(target=Target("session-1"), rating="up"), "c3f90d4b52807ffe"),
        (
            Submission(target=TARGET, rating=Rating.DOWN, comment="Too slow", author="ann", idempotency_key="click-1"),
            "5d444fcc7a4d8b74",
        ),
        (
            Submission(
                target=TARGET,
                rating=None,
                comment="größe",
                tags=["slow", "late"],
                context={"b": 1, "a": True},
                vote=True,
            ),
            "5649ef7c72928380",
        ),
    ],
)
def test_fingerprints_never_change(submission: Submission, digest: str) -> None:
    """A retry may come after an update, and must still be found to be the same; so what is stored has to match."""
    assert fingerprint(submission)[:16] == digest
