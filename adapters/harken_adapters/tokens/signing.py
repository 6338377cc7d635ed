"""Signing and verifying JSON Web Tokens (RFC 7519) with HS256."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

import jwt

from harken.domain.errors import ConfigurationError, HarkenError
from harken.domain.feedback import Scalar
from harken.domain.instants import EPOCH
from harken.domain.rules import context_problems, label_problem, text_problem
from harken.domain.violation import Violation
from harken.ports.time import Clock

#: HS256 requires a key at least as long as its digest.
MIN_SECRET_BYTES: Final = 32

#: Returns the violations of the claims that are specific to one kind of token.
Check = Callable[[Mapping[str, object]], Sequence[Violation]]

_ALGORITHM: Final = "HS256"
_SECOND: Final = timedelta(seconds=1)
_LAST: Final = datetime.max.replace(microsecond=0, tzinfo=UTC)
_SHAPE: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]*", re.ASCII)
#: The canonical encoding of 32 bytes: the two unused bits of the last character must be zero.
_SIGNATURE: Final = re.compile(r"[\w-]{42}[AEIMQUYcgkosw048]", re.ASCII)
_JWS: Final = jwt.PyJWS()


class InvalidToken(HarkenError):
    """Raised when a session token or feedback link is invalid. The message says why, and never contains it."""


class ExpiredToken(InvalidToken):
    """Raised when a session token or feedback link has expired."""


class InvalidClaims(HarkenError, ValueError):
    """Raised when a session token or feedback link is to be minted with invalid values."""


class Signer:
    """Signs and verifies tokens of one kind.

    Args:
        secrets: the secrets, 32 bytes or more each. The first one signs, all verify.
        what: the name of the kind of token, for messages.
        audience: the claim ``aud``, which differs for each kind.
        longest: the maximum length of a token, in characters.
        required: the claims that a token must have, besides ``aud`` and ``exp``.
        check: returns the violations of the other claims.
        clock: returns the current time in UTC.

    Raises:
        ConfigurationError: there is no secret, or a secret is too short or not usable as a key.
    """

    def __init__(
        self,
        secrets: Sequence[str],
        *,
        what: str,
        audience: str,
        longest: int,
        required: Sequence[str],
        check: Check,
        clock: Clock,
    ) -> None:
        if isinstance(secrets, str) or not secrets:
            raise ConfigurationError(f"{what.capitalize()}s need a list of one or more secrets")
        for number, secret in enumerate(secrets, start=1):
            _check_secret(number, secret)
        self._secrets = {_key_id(secret): secret.encode() for secret in secrets}
        self._what = what
        self._audience = audience
        self._longest = longest
        self._required = ("aud", "exp", *required)
        self._check = check
        self._clock = clock

    def sign(self, claims: Mapping[str, object], lifetime: timedelta, others: Iterable[Violation] = ()) -> str:
        """A token with these claims, and ``aud``, ``iat`` and ``exp``, which is rounded up to a whole second.

        Args:
            claims: the claims by name.
            lifetime: how long the token is valid.
            others: violations that were found besides those of the claims and the lifetime.

        Raises:
            InvalidClaims: there are violations, and the message lists all; or the token would be too long.
        """
        now = self._clock()
        if problems := [*self._check(claims), *_lifetime_problems(now, lifetime), *others]:
            raise InvalidClaims("; ".join(problem.message for problem in problems))
        complete = {**claims, "aud": self._audience, "iat": (now - EPOCH) // _SECOND, "exp": _end(now, lifetime)}
        key_id, secret = next(iter(self._secrets.items()))
        # UTF-8 is shorter than the escapes of ASCII JSON.
        payload = json.dumps(complete, ensure_ascii=False, separators=(",", ":")).encode()
        text = _JWS.encode(payload, secret, algorithm=_ALGORITHM, headers={"kid": key_id})
        if len(text) > self._longest:
            raise InvalidClaims(
                f"The {self._what} would have {len(text):,} characters (max: {self._longest:,}); "
                "use shorter ids and texts, or less context"
            )
        return text

    def verify(self, text: str) -> Mapping[str, Any]:
        """The claims of a token.

        Raises:
            ExpiredToken: it has expired.
            InvalidToken: it is malformed, has an invalid signature or claim, or is not valid yet.
        """
        claims = self._json_object("claims", self._payload(text))
        if missing := [name for name in self._required if name not in claims]:
            raise InvalidToken(f"The {self._what} lacks the claims: {', '.join(missing)}")
        if problems := self._check(claims):
            raise InvalidToken(f"The {self._what} is invalid: {'; '.join(found.message for found in problems)}")
        if self._audience not in _audiences(claims["aud"]):
            raise InvalidToken(f"The audience of the {self._what} is not {self._audience!r}")
        now = self._clock()
        if self.moment(claims, "exp") <= now:
            raise ExpiredToken(f"The {self._what} has expired; request a new one")
        if "nbf" in claims and self.moment(claims, "nbf") > now:
            raise InvalidToken(f"The {self._what} is not valid yet; check the clocks of both servers")
        return claims

    def moment(self, claims: Mapping[str, Any], name: str) -> datetime:
        """A claim that is a time in seconds since 1970.

        Raises:
            InvalidToken: it is not a number, or out of range.
        """
        seconds = claims[name]
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise InvalidToken(f"The {self._what} is invalid: {name} must be a number, got {type(seconds).__name__}")
        try:
            return EPOCH + timedelta(seconds=seconds)
        except (OverflowError, ValueError):
            raise InvalidToken(f"The {self._what} is invalid: {name} is not in the years 1 to 9999") from None

    def _payload(self, text: str) -> bytes:
        """The payload of a token, after checking its signature."""
        if len(text) > self._longest:
            raise InvalidToken(f"The {self._what} is longer than {self._longest} characters")
        if not _SHAPE.fullmatch(text):
            raise InvalidToken(f"The {self._what} is malformed: expected a JSON Web Token with three parts")
        # The errors of the library are not chained, as they may contain parts of the token.
        for secret in self._candidates(text):
            try:
                payload: bytes = _JWS.decode(text, secret, algorithms=[_ALGORITHM])
            except (jwt.PyJWTError, ValueError, RecursionError):
                continue
            return payload
        raise InvalidToken(f"The {self._what} is not signed with HS256 and a known secret")

    def _candidates(self, text: str) -> Sequence[bytes]:
        """The secrets to try: the one that ``kid`` identifies, or all without ``kid``."""
        if not _SIGNATURE.fullmatch(text.rpartition(".")[2]):
            return ()
        header = self._json_object("header", _decode(text.partition(".")[0]))
        if "kid" not in header:
            return tuple(self._secrets.values())
        named = self._secrets.get(str(header["kid"]))
        return () if named is None else (named,)

    def _json_object(self, part: str, text: bytes) -> Mapping[str, Any]:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise InvalidToken(f"The {self._what} is malformed: expected the {part} to be a JSON object")
        return found


def claim_problems(claims: Mapping[str, object], texts: Iterable[tuple[str, str, int]]) -> list[Violation]:
    """The violations of claims that are short texts, and of the claim ``context``.

    Args:
        claims: the claims by name.
        texts: for each claim that is a text, its name, its name in messages, and its maximum length.
    """
    found = [label_problem(what, claims[name], longest) for name, what, longest in texts if name in claims]
    found += context_problems(claims.get("context", {}))
    return [problem for problem in found if problem]


def claims_of(
    session_id: str, application: str, context: Mapping[str, Scalar] | None, **optional: str | None
) -> Mapping[str, object]:
    """The claims of a new token. Optional ones that are ``None`` are left out. Nothing is checked."""
    # JSON needs a dict. Anything else is left for the check of the claims.
    plain = dict(context) if isinstance(context, Mapping) else context
    given = {name: value for name, value in {**optional, "context": plain}.items() if value is not None}
    return {"session": session_id, "application": application, **given}


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


def _lifetime_problems(now: datetime, lifetime: object) -> Sequence[Violation]:
    if not isinstance(lifetime, timedelta):
        message = f"lifetime must be a timedelta, such as timedelta(minutes=30), got {lifetime!r}"
    elif lifetime <= timedelta(0):
        message = f"lifetime must be more than zero, got {lifetime}"
    elif lifetime > _LAST - now:
        message = f"lifetime is too long: {lifetime} from now is after the year 9999"
    else:
        return ()
    return (Violation("lifetime", "invalid", message),)


def _end(now: datetime, lifetime: timedelta) -> int:
    """The end of the lifetime in seconds since 1970, rounded up."""
    return -((EPOCH - now - lifetime) // _SECOND)


def _audiences(claim: object) -> Sequence[object]:
    return claim if isinstance(claim, list) else (claim,)
