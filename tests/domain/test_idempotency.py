"""Fingerprints of submissions, which must stay the same in all versions."""

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
        (Submission(target=Target("session-1"), rating="up", extras='{"a": 1}'), "c4c816bbda9e9fb8"),
    ],
)
def test_fingerprints_never_change(submission: Submission, digest: str) -> None:
    """A retry may arrive after an upgrade, and must match the stored fingerprint."""
    assert fingerprint(submission)[:16] == digest
