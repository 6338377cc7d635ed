"""Recognition of repeated submissions."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from json import JSONEncoder
from typing import Final

from harken.domain.feedback import Rating, Submission

#: The context name under which imported feedback has the id of its import. It is not part of the body, so that a row
#: which another import has stored is a duplicate.
IMPORT_ID: Final = "import_id"
#: Begins the idempotency keys of imports, which are digests of the content of an entry.
IMPORT_KEY: Final = "import-"
_to_json: Final = JSONEncoder(default=repr).encode


def fingerprint(submission: Submission) -> str:
    """Return a digest of the submitted body, before any text was trimmed or any value added, without its import id.

    Extras are part of the body, if there are any.
    """
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
        _body_of(context) if isinstance(context, Mapping) else context,
        submission.created_at and str(submission.created_at),
        submission.sentiment,
        submission.vote,
        *([submission.extras] if submission.extras else ()),
    )
    return blake2b(_to_json(body).encode(), digest_size=32).hexdigest()


def _body_of(context: Mapping[str, object]) -> list[tuple[str, object]]:
    return sorted((item for item in context.items() if item[0] != IMPORT_ID), key=str)
