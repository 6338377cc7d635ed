"""Session tokens, with which a browser may submit, change and withdraw the feedback of one author in one session.

The backend of the host application, which knows its users, mints them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from attrs import frozen

from harken.clock import utc_now
from harken.domain.feedback import DEFAULT_APPLICATION, Context, Scalar
from harken.domain.rules import MAX_ID_LENGTH
from harken.domain.violation import Violation
from harken.ports.time import Clock
from harken_adapters.tokens.origins import origin_problem
from harken_adapters.tokens.signing import Signer, claim_problems, claims_of

AUDIENCE: Final = "harken"
#: Enough for a scheme, the longest host name and a port.
MAX_ORIGIN_LENGTH: Final = 300
#: Enough for ids of the maximum length in any script, and some short context values.
MAX_TOKEN_LENGTH: Final = 16_384
DEFAULT_LIFETIME: Final = timedelta(hours=1)

#: The claims that are strings: their names in messages, and their maximum lengths.
_TEXTS: Final = (
    ("session", "session_id (session)", MAX_ID_LENGTH),
    ("application", "application", MAX_ID_LENGTH),
    ("sub", "author (sub)", MAX_ID_LENGTH),
    ("origin", "origin", MAX_ORIGIN_LENGTH),
    ("agent", "agent", MAX_ID_LENGTH),
)


@frozen(kw_only=True)
class SessionToken:
    """The content of a session token.

    Attributes:
        application: the application.
        session_id: the session in which feedback may be submitted.
        author: the author of that feedback.
        origin: the only origin whose pages may use the token, such as ``https://shop.example``; ``None`` for any.
        agent: the agent that all feedback is about; ``None`` if the page may choose it.
        context: the complete context of all feedback; ``None`` if the page may choose it.
        expires_at: the expiry time, in UTC, a whole second.
    """

    application: str
    session_id: str
    author: str | None
    origin: str | None
    agent: str | None = None
    context: Context | None = None
    expires_at: datetime


class SessionTokens:
    """Mints and verifies session tokens.

    They are JSON Web Tokens, signed with HS256, so that a backend in any language can mint them. The claims:

    ===============  =======================================================================================
    ``aud``          ``"harken"``, or a list that contains it
    ``exp``          the expiry time, in seconds since 1970
    ``application``  the application, usually ``"default"``
    ``session``      the id of the session
    ``sub``          the author (optional)
    ``origin``       the only origin whose pages may use it, such as ``"https://shop.example"`` (optional)
    ``agent``        the agent that feedback is about; if set, the page cannot choose it (optional)
    ``context``      the context of feedback, an object; if set, the page cannot change or extend it (optional)
    ``nbf``          the time before which it is not valid, in seconds since 1970 (optional)
    ``iat``          the time at which it was minted (optional, ignored)
    ===============  =======================================================================================

    Ids are strings. Leave out an optional claim instead of setting it to null. The header ``kid`` identifies the
    secret; without it, all secrets are tried.

    Args:
        secrets: the secrets, 32 bytes or more each. The first one signs, all verify. To rotate, put the new secret
            first, and remove the old one when its last token has expired.
        clock: returns the current time in UTC.

    Raises:
        ConfigurationError: there is no secret, or a secret is too short or not usable as a key.
    """

    def __init__(self, secrets: Sequence[str], *, clock: Clock = utc_now) -> None:
        self._signer = Signer(
            secrets,
            what="session token",
            audience=AUDIENCE,
            longest=MAX_TOKEN_LENGTH,
            required=("application", "session"),
            check=_problems,
            clock=clock,
        )

    def mint(
        self,
        *,
        session_id: str,
        author: str | None = None,
        origin: str | None = None,
        agent: str | None = None,
        context: Mapping[str, Scalar] | None = None,
        application: str = DEFAULT_APPLICATION,
        lifetime: timedelta = DEFAULT_LIFETIME,
    ) -> str:
        """Mint a token, signed with the first secret. Its expiry time is rounded up to a whole second.

        Raises:
            InvalidClaims: ids, the origin, the context or the lifetime are invalid, and the message lists all problems;
                or the token would be too long.
        """
        claims = claims_of(session_id, application, context, sub=author, origin=origin, agent=agent)
        return self._signer.sign(claims, lifetime)

    def read(self, text: str) -> SessionToken:
        """Verify a token and return its content.

        Raises:
            ExpiredToken: it has expired.
            InvalidToken: it is malformed, has an invalid signature or claim, or is not valid yet.
        """
        claims = self._signer.verify(text)
        return SessionToken(
            application=claims["application"],
            session_id=claims["session"],
            author=claims.get("sub"),
            origin=claims.get("origin"),
            agent=claims.get("agent"),
            context=Context(claims["context"]) if "context" in claims else None,
            expires_at=self._signer.moment(claims, "exp"),
        )


def _problems(claims: Mapping[str, object]) -> list[Violation]:
    problems = claim_problems(claims, _TEXTS)
    origin = claims.get("origin")
    if not isinstance(origin, str) or len(origin) > MAX_ORIGIN_LENGTH:
        return problems
    if problem := origin_problem(origin):
        problems.append(Violation("origin", "invalid", f"origin is {origin!r}; {problem}"))
    return problems
