"""Recognition of repeated submissions."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from json import JSONEncoder
from typing import Final

from harken.domain.feedback import Rating, Submission
from harken.domain.texts import json_writer

_to_json: Final = json_writer(JSONEncoder(default=repr))


def fingerprint(submission: Submission) -> str:
    """Return a digest of the submitted body, before any text was trimmed or any value added."""
    rating = submission.rating
    context = submission.context
    body = (
        rating.value if isinstance(rating, Rating) else rating,
        submission.comment,
        submission.target.session_id,
        submission.target.message_id,
        submission.target.agent_id,
        submission.author,
        submission.tags,
        sorted(context.items(), key=str) if isinstance(context, Mapping) else context,
        submission.created_at and str(submission.created_at),
        submission.sentiment,
        submission.vote,
    )
    return blake2b(_to_json(body).encode(), digest_size=32).hexdigest()
