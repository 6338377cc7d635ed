"""The form on the page of a feedback link."""

from __future__ import annotations

from hashlib import blake2b
from urllib.parse import parse_qs

from attrs import frozen

#: Enough for all fields, and for more tags than a submission may have.
_MAX_FIELDS = 100


@frozen(kw_only=True)
class Form:
    """A submitted form.

    Attributes:
        rating: the rating, as sent.
        comment: the comment.
        tags: the reasons; none unless the rating is ``"down"``, as the page hides them then.
        load: identifies the load of the form.
        undo: whether the vote is to be withdrawn.
    """

    rating: str
    comment: str
    tags: tuple[str, ...]
    load: str
    undo: bool

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
            undo="undo" in fields,
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
