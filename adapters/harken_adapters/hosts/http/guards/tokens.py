"""Session tokens, with which a browser may submit, change and withdraw the feedback of one author in one session.

The backend of the host application, which knows its users, mints them.
"""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

import jwt
from attrs import frozen

from harken.clock import utc_now
from harken.domain.errors import ConfigurationError, HarkenError
from harken.domain.feedback import DEFAULT_APPLICATION, Context, Scalar
from harken.domain.instants import EPOCH
from harken.domain.rules import MAX_ID_LENGTH, context_problems, label_problem, text_problem
from harken.domain.violation import Violation
from harken.ports.time import Clock
from harken_adapters.hosts.http.guards.origins import origin_problem

AUDIENCE: Final = "harken"
#: HS256 requires a key at least as long as its digest.
MIN_SECRET_BYTES: Final = 32
#: Enough for a scheme, the longest host name and a port.
MAX_ORIGIN_LENGTH: Final = 300
#: Enough for ids of the maximum length in any script, and some short context values.
MAX_TOKEN_LENGTH: Final = 16_384
DEFAULT_LIFETIME: Final = timedelta(hours=1)

_ALGORITHM: Final = "HS256"
_SECOND: Final = timedelta(seconds=1)
_SHAPE: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
#: The canonical encoding of 32 bytes: the two unused bits of the last character must be zero.
_SIGNATURE: Final = re.compile(r"[\w-]{42}[AEIMQUYcgkosw048]", re.ASCII)
#: The claims that are strings: their names in messages, and their maximum lengths.
_TEXTS: Final = (
    ("session", "session_id (session)", MAX_ID_LENGTH),
    ("application", "application", MAX_ID_LENGTH),
    ("sub", "author (sub)", MAX_ID_LENGTH),
    ("origin", "origin", MAX_ORIGIN_LENGTH),
    ("agent", "agent", MAX_ID_LENGTH),
)
_REQUIRED: Final = ("aud", "exp", "application", "session")
_JWS: Final = jwt.PyJWS()


class InvalidToken(HarkenError):
    """Raised when a session token is invalid or has expired. The message says why, and never contains the token."""


class InvalidClaims(HarkenError, ValueError):
    """Raised when a session token is to be minted with invalid claims."""


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
        if isinstance(secrets, str) or not secrets:
            raise ConfigurationError("Session tokens need a list of one or more secrets")
        for number, secret in enumerate(secrets, start=1):
            _check_secret(number, secret)
        self._secrets = {_key_id(secret): secret.encode() for secret in secrets}
        self._clock = clock

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
            InvalidClaims: an id, the origin, the context or the lifetime is invalid, or the token would be too long.
                The message lists all problems.
        """
        claims: dict[str, object] = {"session": session_id, "application": application}
        optional = (("sub", author), ("origin", origin), ("agent", agent), ("context", context))
        claims |= {name: value for name, value in optional if value is not None}
        if problems := _problems(claims):
            raise InvalidClaims("; ".join(problem.message for problem in problems))
        if origin is not None and (problem := origin_problem(origin)):
            raise InvalidClaims(f"origin is {origin!r}; {problem}")
        now = self._clock()
        claims |= {"aud": AUDIENCE, "iat": (now - EPOCH) // _SECOND, "exp": _end(now, lifetime)}
        key_id, secret = next(iter(self._secrets.items()))
        if context is not None:
            claims["context"] = dict(context)
        text = jwt.encode(claims, secret, algorithm=_ALGORITHM, headers={"kid": key_id})
        if len(text) > MAX_TOKEN_LENGTH:
            raise InvalidClaims(
                f"The token would have {len(text):,} characters (max: {MAX_TOKEN_LENGTH:,}); "
                "use shorter ids or less context"
            )
        return text

    def read(self, text: str) -> SessionToken:
        """Verify a token and return its content.

        Raises:
            InvalidToken: it is malformed, has an invalid signature or claim, has expired, or is not valid yet.
        """
        claims = self._verify(text)
        if missing := [name for name in _REQUIRED if name not in claims]:
            raise InvalidToken(f"The session token lacks the claims: {', '.join(missing)}")
        if problems := _problems(claims):
            raise InvalidToken(f"The session token is invalid: {'; '.join(found.message for found in problems)}")
        if AUDIENCE not in _audiences(claims["aud"]):
            raise InvalidToken(f"The audience of the session token is not {AUDIENCE!r}")
        now, expires_at = self._clock(), _moment("exp", claims["exp"])
        if expires_at <= now:
            raise InvalidToken("The session token has expired; reload the page to get a new one")
        if "nbf" in claims and _moment("nbf", claims["nbf"]) > now:
            raise InvalidToken("The session token is not valid yet; check the clocks of both servers")
        return SessionToken(
            application=claims["application"],
            session_id=claims["session"],
            author=claims.get("sub"),
            origin=claims.get("origin"),
            agent=claims.get("agent"),
            context=Context(claims["context"]) if "context" in claims else None,
            expires_at=expires_at,
        )

    def _verify(self, text: str) -> Mapping[str, Any]:
        """The claims of a token, after checking its signature."""
        if len(text) > MAX_TOKEN_LENGTH:
            raise InvalidToken(f"The session token is longer than {MAX_TOKEN_LENGTH} characters")
        if not _SHAPE.fullmatch(text):
            raise InvalidToken("The session token is malformed: expected a JSON Web Token with three parts")
        return _json_object("claims", self._payload(text))

    def _payload(self, text: str) -> bytes:
        # The errors of the library are not chained, as they may contain parts of the token.
        for secret in self._candidates(text):
            try:
                payload: bytes = _JWS.decode(text, secret, algorithms=[_ALGORITHM])
            except (jwt.PyJWTError, ValueError, RecursionError):
                continue
            return payload
        raise InvalidToken("The session token is not signed with HS256 and a known secret")

    def _candidates(self, text: str) -> Sequence[bytes]:
        """The secrets to try: the one that ``kid`` identifies, or all without ``kid``."""
        if not _SIGNATURE.fullmatch(text.rpartition(".")[2]):
            return ()
        header = _json_object("header", _decode(text.partition(".")[0]))
        if "kid" not in header:
            return tuple(self._secrets.values())
        named = self._secrets.get(str(header["kid"]))
        return () if named is None else (named,)


def _check_secret(number: int, secret: object) -> None:
    if problem := text_problem(f"secret {number}", secret):
        raise ConfigurationError(problem.message)
    length = len(str(secret).encode())
    if length < MIN_SECRET_BYTES:
        raise ConfigurationError(
            f"secret {number} is too short: {length} bytes, expected {MIN_SECRET_BYTES} or more, "
            'such as the output of python -c "import secrets; print(secrets.token_urlsafe(32))"'
        )
    try:
        jwt.encode({}, str(secret), algorithm=_ALGORITHM)
    except jwt.InvalidKeyError:
        raise ConfigurationError(
            f"secret {number} looks like a public or private key, but HS256 needs a random string"
        ) from None


def _key_id(secret: str) -> str:
    return blake2b(secret.encode(), digest_size=8, person=b"harken-kid").hexdigest()


def _decode(part: str) -> bytes:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except ValueError:
        return b""


def _json_object(what: str, text: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidToken(f"The session token is malformed: expected the {what} to be a JSON object")
    return found


def _problems(claims: Mapping[str, object]) -> list[Violation]:
    """The violations of the claims that are ids, an origin or a context."""
    found = [label_problem(what, claims[name], longest) for name, what, longest in _TEXTS if name in claims]
    found += context_problems(claims.get("context", {}))
    return [problem for problem in found if problem]


def _end(now: datetime, lifetime: timedelta) -> int:
    """The end of the lifetime in seconds since 1970, rounded up."""
    if not isinstance(lifetime, timedelta):
        raise InvalidClaims(f"lifetime must be a timedelta, such as timedelta(minutes=30), got {lifetime!r}")
    if lifetime <= timedelta(0):
        raise InvalidClaims(f"lifetime must be more than zero, got {lifetime}")
    try:
        end = now + lifetime
        whole = end.replace(microsecond=0) + (_SECOND if end.microsecond else timedelta(0))
    except OverflowError:
        raise InvalidClaims(f"lifetime is too long: {lifetime} from now is after the year 9999") from None
    return (whole - EPOCH) // _SECOND


def _audiences(claim: object) -> Sequence[object]:
    return claim if isinstance(claim, list) else (claim,)


def _moment(name: str, claim: object) -> datetime:
    """Parse a claim that is a time in seconds since 1970."""
    if isinstance(claim, bool) or not isinstance(claim, (int, float)):
        raise InvalidToken(f"The session token is invalid: {name} must be a number, got {type(claim).__name__}")
    try:
        return EPOCH + timedelta(seconds=claim)
    except (OverflowError, ValueError):
        raise InvalidToken(f"The session token is invalid: {name} is not in the years 1 to 9999") from None
