"""Feedback links for mail and chat, where no script runs: each opens a page on which one author votes on one message.

The backend of the host application mints them. ``GET /vote/{link}`` of every web host shows the page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, Literal, get_args
from urllib.parse import urlsplit

from attrs import frozen

from harken.clock import utc_now
from harken.domain.feedback import DEFAULT_APPLICATION, Context, Scalar
from harken.domain.rules import MAX_ID_LENGTH
from harken.domain.texts import no_such
from harken.domain.violation import Violation
from harken.ports.time import Clock
from harken_adapters.tokens.signing import Signer, claim_problems, claims_of

#: Not the audience of session tokens, so that neither is accepted instead of the other.
AUDIENCE: Final = "harken-link"
MAX_LABEL_LENGTH: Final = 300
#: Some mail clients and servers truncate or reject URLs of more than about 2,000 characters.
MAX_LINK_LENGTH: Final = 1_800
DEFAULT_LIFETIME: Final = timedelta(days=30)
#: The languages of the page, as ISO 639-1 codes. The first one is the default.
LANGUAGES: Final = ("en", "es", "de", "fr", "pt", "ar", "ja", "zh")
#: A rating that a link may preselect.
LinkRating = Literal["up", "down"]
_RATINGS: Final = get_args(LinkRating)

#: The claims that are strings: their names in messages, and their maximum lengths.
_TEXTS: Final = (
    ("session", "session_id (session)", MAX_ID_LENGTH),
    ("application", "application", MAX_ID_LENGTH),
    ("message", "message_id (message)", MAX_ID_LENGTH),
    ("sub", "author (sub)", MAX_ID_LENGTH),
    ("agent", "agent", MAX_ID_LENGTH),
    ("label", "label", MAX_LABEL_LENGTH),
    ("lang", "lang", MAX_ID_LENGTH),
    ("rating", "rating", MAX_ID_LENGTH),
)


@frozen(kw_only=True)
class FeedbackLink:
    """The content of a feedback link: one vote, and how the page presents it.

    Attributes:
        application: the application.
        session_id: the session.
        message_id: the message that is voted on; ``None`` for the session.
        author: the author of the vote; by default the id of the session.
        agent: the agent that the vote is about, if it is known.
        context: the complete context of the vote.
        rating: ``"up"`` or ``"down"`` if the page preselects a rating.
        label: what the vote is about, in words for the author.
        lang: the language of the page; ``None`` for that of the browser.
        expires_at: the expiry time, in UTC, a whole second.
    """

    application: str
    session_id: str
    message_id: str | None
    author: str
    agent: str | None
    context: Context
    rating: LinkRating | None
    label: str | None
    lang: str | None
    expires_at: datetime


class FeedbackLinks:
    """Mints and verifies feedback links.

    A link is signed like a session token, with the same secrets, and cannot be used instead of one. It is not
    encrypted: anyone who has it can read its content and vote, until it expires.

    Args:
        secrets: the ``token_secrets`` of the server. The first one signs, all verify.
        clock: returns the current time in UTC.

    Raises:
        ConfigurationError: there is no secret, or a secret is too short or not usable as a key.
    """

    def __init__(self, secrets: Sequence[str], *, clock: Clock = utc_now) -> None:
        self._signer = Signer(
            secrets,
            what="feedback link",
            audience=AUDIENCE,
            longest=MAX_LINK_LENGTH,
            required=("application", "session"),
            check=_problems,
            clock=clock,
        )

    def mint(
        self,
        base: str,
        *,
        session_id: str,
        message_id: str | None = None,
        author: str | None = None,
        agent: str | None = None,
        context: Mapping[str, Scalar] | None = None,
        rating: LinkRating | None = None,
        label: str | None = None,
        lang: str | None = None,
        application: str = DEFAULT_APPLICATION,
        lifetime: timedelta = DEFAULT_LIFETIME,
    ) -> str:
        """Mint a link, signed with the first secret, and return its URL.

        Args:
            base: where Harken is served, such as ``https://example.com/feedback``.
            session_id: the session.
            message_id: the message that is voted on; by default, the session.
            author: the author of the vote, as an opaque id; by default the id of the session.
            agent: the agent that answered.
            context: the context of the vote.
            rating: ``"up"`` or ``"down"`` to preselect it. The author still has to press a button.
            label: what the vote is about, such as ``"Your question about the Lisbon flight"``.
            lang: the language of the page, one of :data:`LANGUAGES`, also with a region such as ``"pt-BR"``; by
                default the one that the browser asks for.
            application: the application.
            lifetime: how long the link is valid.

        Raises:
            InvalidClaims: values are invalid, and the message lists all problems; or the link would be too long.
        """
        claims = claims_of(
            session_id,
            application,
            context,
            message=message_id,
            sub=author,
            agent=agent,
            rating=rating,
            label=label,
            lang=lang,
        )
        text = self._signer.sign(claims, lifetime, [*_base_problems(base), *_lang_problems(lang)])
        return f"{base.rstrip('/')}/vote/{text}"

    def read(self, text: str) -> FeedbackLink:
        """Verify the last part of the path of a URL, and return its content.

        Raises:
            ExpiredToken: the link has expired.
            InvalidToken: it is malformed, has an invalid signature or claim, or is not valid yet.
        """
        claims = self._signer.verify(text)
        return FeedbackLink(
            application=claims["application"],
            session_id=claims["session"],
            message_id=claims.get("message"),
            author=claims.get("sub", claims["session"]),
            agent=claims.get("agent"),
            context=Context(claims.get("context", {})),
            rating=claims.get("rating"),
            label=claims.get("label"),
            lang=claims.get("lang"),
            expires_at=self._signer.moment(claims, "exp"),
        )


def language_of(tag: str) -> str | None:
    """The language of the page for a language tag such as ``"pt-BR"``; ``None`` if there is no translation."""
    language = tag.strip().lower().partition("-")[0]
    return language if language in LANGUAGES else None


def _problems(claims: Mapping[str, object]) -> list[Violation]:
    problems = claim_problems(claims, _TEXTS)
    rating = claims.get("rating", _RATINGS[0])
    if isinstance(rating, str) and rating not in _RATINGS:
        problems.append(Violation("rating", "unknown", f"rating must be 'up' or 'down', got {rating!r}"))
    return problems


def _lang_problems(lang: object) -> list[Violation]:
    """Not checked when a link is read: a page in the language of the browser is better than none."""
    if isinstance(lang, str) and language_of(lang) is None:
        return [Violation("lang", "unknown", no_such("lang", lang, LANGUAGES))]
    return []


def _base_problems(base: object) -> list[Violation]:
    if isinstance(base, str) and _is_base(base):
        return []
    expected = "expected the URL where Harken is served, such as 'https://example.com/feedback'"
    return [Violation("base", "invalid", f"base is {base!r}; {expected}")]


def _is_base(base: str) -> bool:
    try:
        parts = urlsplit(base)
    except ValueError:
        return False
    is_plain = base.isascii() and base.isprintable() and not set(base) & set(" <>\"'?#")
    return parts.scheme in ("http", "https") and bool(parts.hostname) and is_plain
