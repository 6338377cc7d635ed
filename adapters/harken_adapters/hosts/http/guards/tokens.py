"""Session tokens: what a browser shows to prove whose votes it may give, change and withdraw.

A host's backend, which knows who is there, mints one for a session; the browser can do nothing else with it.
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
#: HS256 needs a key as long as its digest.
MIN_SECRET_BYTES: Final = 32
#: Enough for a scheme, the longest host name and a port.
MAX_ORIGIN_LENGTH: Final = 300
#: More than the longest ids make, whatever their letters, with a few short values of context.
MAX_TOKEN_LENGTH: Final = 16_384
DEFAULT_LIFETIME: Final = timedelta(hours=1)

_ALGORITHM: Final = "HS256"
_SECOND: Final = timedelta(seconds=1)
_SHAPE: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
#: 32 bytes have one spelling: the last letter has two bits to spare, which have to be zero.
_SIGNATURE: Final = re.compile(r"[\w-]{42}[AEIMQUYcgkosw048]", re.ASCII)
#: The claims that are texts: what people call them, and how long they may be.
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
    """The session token is not to be believed, or no longer; the message says why, and never repeats the token."""


class UnfitClaims(HarkenError, ValueError):
    """No session token can have these claims: one of them is invalid."""


@frozen(kw_only=True)
class SessionToken:
    """What a session token says.

    Attributes:
        application: whose feedback it is.
        session_id: the session that votes may be given in.
        author: whose votes they are.
        origin: the web page's origin, such as ``https://shop.example``, that alone may use the token.
        agent: the agent that all feedback is about; ``None`` if the page says which.
        context: the whole context of all feedback; ``None`` if the page says what it is.
        expires_at: when it ends, a whole second.
    """

    application: str
    session_id: str
    author: str | None
    origin: str | None
    agent: str | None = None
    context: Context | None = None
    expires_at: datetime


class SessionTokens:
    """Mints session tokens, and reads those that were minted with a secret that it knows.

    They are JSON Web Tokens, signed with HS256, so that a backend in any language can mint them. The claims:

    ===============  =======================================================================================
    ``aud``          ``"harken"``, or a list that has it
    ``exp``          when it ends, in seconds since 1970
    ``application``  whose feedback it is, usually ``"default"``
    ``session``      the id of the session
    ``sub``          the author, if there is one
    ``origin``       the origin that alone may use it, such as ``"https://shop.example"``, if there is one
    ``agent``        the agent that feedback is about, which the page then cannot choose
    ``context``      the context of feedback as an object, which the page then can neither change nor add to
    ``nbf``          from when on it counts, in seconds since 1970, if not at once
    ``iat``          when it was minted; written, and not looked at
    ===============  =======================================================================================

    Ids are texts as everywhere in Harken, and a claim that does not apply is left out, not null. The header ``kid``
    names the secret; minters elsewhere leave it out, and then all secrets are tried.

    Args:
        secrets: each of 32 bytes or more. The first one signs, all verify: to change the secret, put the new one
            first, and take the old one away when the last token that it signed has ended.
        clock: tells what has ended; that of the machine, if none is given.

    Raises:
        ConfigurationError: there is no secret, or one that is too short or makes no key.
    """

    def __init__(self, secrets: Sequence[str], *, clock: Clock = utc_now) -> None:
        if isinstance(secrets, str) or not secrets:
            raise ConfigurationError("Session tokens need a list of secrets, with at least one in it")
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
        """A new token, signed with the first secret. It ends with the second in which its lifetime does.

        Raises:
            UnfitClaims: an id, the origin, the context or the lifetime is invalid, or the token would be too long; the
                message has all that is wrong.
        """
        claims: dict[str, object] = {"session": session_id, "application": application}
        perhaps = (("sub", author), ("origin", origin), ("agent", agent), ("context", context))
        claims |= {name: value for name, value in perhaps if value is not None}
        if problems := _problems(claims):
            raise UnfitClaims("; ".join(problem.message for problem in problems))
        if origin is not None and (problem := origin_problem(origin)):
            raise UnfitClaims(f"origin is {origin!r}; {problem}")
        now = self._clock()
        claims |= {"aud": AUDIENCE, "iat": (now - EPOCH) // _SECOND, "exp": _end(now, lifetime)}
        key_id, secret = next(iter(self._secrets.items()))
        if context is not None:
            claims["context"] = dict(context)
        text = jwt.encode(claims, secret, algorithm=_ALGORITHM, headers={"kid": key_id})
        if len(text) > MAX_TOKEN_LENGTH:
            raise UnfitClaims(
                f"The token would have {len(text):,} characters (max: {MAX_TOKEN_LENGTH:,}); "
                "give it shorter ids or less context"
            )
        return text

    def read(self, text: str) -> SessionToken:
        """What the token says.

        Raises:
            InvalidToken: it is malformed, was signed with no secret that is known here, has ended or has not begun,
                or says what no token of Harken says.
        """
        claims = self._verified(text)
        if missing := [name for name in _REQUIRED if name not in claims]:
            raise InvalidToken(f"The session token lacks what it has to say: {', '.join(missing)}")
        if problems := _problems(claims):
            raise InvalidToken(f"The session token is invalid: {'; '.join(found.message for found in problems)}")
        if AUDIENCE not in _audiences(claims["aud"]):
            raise InvalidToken(f"The session token was made for something else: its audience is not {AUDIENCE!r}")
        now, expires_at = self._clock(), _moment("exp", claims["exp"])
        if expires_at <= now:
            raise InvalidToken("The session token has expired; load the page again to get a new one")
        if "nbf" in claims and _moment("nbf", claims["nbf"]) > now:
            raise InvalidToken("The session token is not valid yet; the clocks of both servers should agree")
        return SessionToken(
            application=claims["application"],
            session_id=claims["session"],
            author=claims.get("sub"),
            origin=claims.get("origin"),
            agent=claims.get("agent"),
            context=Context(claims["context"]) if "context" in claims else None,
            expires_at=expires_at,
        )

    def _verified(self, text: str) -> Mapping[str, Any]:
        """The claims of a token that was signed with one of the secrets."""
        if len(text) > MAX_TOKEN_LENGTH:
            raise InvalidToken(f"The session token is longer than {MAX_TOKEN_LENGTH} characters")
        if not _SHAPE.fullmatch(text):
            raise InvalidToken("The session token is malformed: expected a JSON Web Token, which has three parts")
        return _json_object("claims", self._payload(text))

    def _payload(self, text: str) -> bytes:
        # The driver's errors are not chained, as they may have parts of the token.
        for secret in self._candidates(text):
            try:
                payload: bytes = _JWS.decode(text, secret, algorithms=[_ALGORITHM])
            except (jwt.PyJWTError, ValueError, RecursionError):
                continue
            return payload
        raise InvalidToken("The session token was not signed with HS256 and a secret that is known here")

    def _candidates(self, text: str) -> Sequence[bytes]:
        """The secrets that may have signed it: the one that its header names, or all if it names none."""
        if not _SIGNATURE.fullmatch(text.rpartition(".")[2]):
            return ()
        header = _json_object("a header", _decoded(text.partition(".")[0]))
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
            'such as python -c "import secrets; print(secrets.token_urlsafe(32))" makes'
        )
    try:
        jwt.encode({}, str(secret), algorithm=_ALGORITHM)
    except jwt.InvalidKeyError:
        raise ConfigurationError(
            f"secret {number} looks like a public or private key, and HS256 needs a random text"
        ) from None


def _key_id(secret: str) -> str:
    return blake2b(secret.encode(), digest_size=8, person=b"harken-kid").hexdigest()


def _decoded(part: str) -> bytes:
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
        raise InvalidToken(f"The session token is malformed: expected {what}, as a JSON object")
    return found


def _problems(claims: Mapping[str, object]) -> list[Violation]:
    """What is wrong with those claims that are ids, an origin or a context."""
    found = [label_problem(what, claims[name], longest) for name, what, longest in _TEXTS if name in claims]
    found += context_problems(claims.get("context", {}))
    return [problem for problem in found if problem]


def _end(now: datetime, lifetime: timedelta) -> int:
    """The first whole second at which the lifetime is over, since 1970."""
    if not isinstance(lifetime, timedelta):
        raise UnfitClaims(f"lifetime must be a timedelta, such as timedelta(minutes=30), got {lifetime!r}")
    if lifetime <= timedelta(0):
        raise UnfitClaims(f"lifetime must be more than zero, got {lifetime}")
    try:
        end = now + lifetime
        whole = end.replace(microsecond=0) + (_SECOND if end.microsecond else timedelta(0))
    except OverflowError:
        raise UnfitClaims(f"lifetime is too long: {lifetime} from now is after the year 9999") from None
    return (whole - EPOCH) // _SECOND


def _audiences(claim: object) -> Sequence[object]:
    return claim if isinstance(claim, list) else (claim,)


def _moment(name: str, claim: object) -> datetime:
    """The moment of a claim that has one."""
    if isinstance(claim, bool) or not isinstance(claim, (int, float)):
        raise InvalidToken(f"The session token is invalid: {name} must be a number, got {type(claim).__name__}")
    try:
        return EPOCH + timedelta(seconds=claim)
    except (OverflowError, ValueError):
        raise InvalidToken(f"The session token is invalid: {name} is not a time in the years 1 to 9999") from None
