"""The form on the page of a feedback link."""

from __future__ import annotations

from hashlib import blake2b
from urllib.parse import parse_qs

from attrs import frozen

from harken import Feedback

#: Enough for all fields, and for more tags than a submission may have.
_MAX_FIELDS = 100
#: Enough for the version of any vote.
_MAX_DIGITS = 18


@frozen(kw_only=True)
class Form:
    """A submitted form.

    Attributes:
        rating: the rating, as sent.
        comment: the comment.
        tags: the reasons; none unless the rating is ``"down"``, as the page hides them then.
        load: identifies the load of the form.
        undo: the :func:`content_version` of the vote that is to be withdrawn; ``None`` to vote.
    """

    rating: str
    comment: str
    tags: tuple[str, ...]
    load: str
    undo: int | None

    @classmethod
    def parse(cls, body: bytes) -> Form:
        """Parse the body of a request, ``application/x-www-form-urlencoded``."""
        try:
            fields = parse_qs(body.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
        except ValueError:
            fields = {}
        rating = fields.get("rating", [""])[0]
        return cls(
            rating=rating,
            # Browsers send line ends as CRLF.
            comment=fields.get("comment", [""])[0].replace("\r\n", "\n"),
            tags=tuple(fields.get("tag", ())) if rating == "down" else (),
            load=fields.get("load", [""])[0],
            undo=_version(fields.get("undo", [""])[0]),
        )

    @property
    def idempotency_key(self) -> str | None:
        """The same for each repetition of a request; ``None`` for a form without an identity.

        It depends on the content too: with the Back button, a person can change and send the same load again.
        """
        if not self.load:
            return None
        content = "\0".join((self.load, self.rating, self.comment, *self.tags))
        return f"link-{blake2b(content.encode(errors='replace'), digest_size=16).hexdigest()}"


def content_version(vote: Feedback) -> int:
    """The version that the vote's content replaced; 0 for the first. Replies and moderation do not change it."""
    return vote.revisions[-1].version if vote.revisions else 0


def _version(text: str) -> int | None:
    is_number = text.isascii() and text.isdecimal() and len(text) <= _MAX_DIGITS
    return int(text) if is_number else None
