"""Authentication: the principal of a request, from its credentials."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from typing import Final

from attrs import evolve, frozen

from harken import ApiKey, Feedback, InvalidCredentials, Scope
from harken.ports.time import Clock
from harken.services.keys import KeyService
from harken_adapters.hosts.http.guards.credential_cache import CredentialCache
from harken_adapters.hosts.http.guards.origins import Origins
from harken_adapters.hosts.http.guards.sources import is_foreign
from harken_adapters.hosts.http.wire.messages import Headers, Request
from harken_adapters.hosts.http.wire.problems import Problem
from harken_adapters.tokens import InvalidToken, SessionToken, SessionTokens

#: The prefix of every API key.
KEY_PREFIX: Final = "hk_"
_LONGEST_CREDENTIAL: Final = 16_384
#: For how many seconds the result of an authentication is cached. A revoked key is rejected after that time at most.
TRUSTED_FOR: Final = 5.0
#: The cache sizes for valid and invalid credentials. They are separate, so that a flood of invalid ones does not evict
#: valid ones.
_TRUSTED_BYTES: Final = 32 * 1024 * 1024
_REFUSED_BYTES: Final = 4 * 1024 * 1024
_DIGEST_BYTES: Final = 16
#: The cookie of a browser that has signed in. Its value is an API key.
COOKIE: Final = "harken_key"
#: Searched, not parsed, as a header may contain tens of thousands of cookies.
_KEY_COOKIE: Final = re.compile(rf"(?:\A|;)[ \t]*{COOKIE}=({KEY_PREFIX}[^;]{{,{_LONGEST_CREDENTIAL}}})(?:;|\Z)")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: The content types that an HTML form of any origin can send without a CORS preflight.
_TEXT: Final = "text/plain"
_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", _TEXT})
_FOREIGN: Final = "A page of another origin sent this request, according to Origin or Sec-Fetch-Site"


@frozen(kw_only=True)
class Principal:
    """The caller of the API: an API key, a session token, or neither if access is open.

    ``application`` is the only application that the caller may use; ``None`` for any.
    """

    application: str | None = None
    key: ApiKey | None = None
    token: SessionToken | None = None

    @property
    def author(self) -> str | None:
        """The author of a session token, which is its session if it has no author; ``None`` without a token."""
        return (self.token.author or self.token.session_id) if self.token else None

    @property
    def agents(self) -> frozenset[str] | None:
        """The agents that the API key is limited to; ``None`` if it is not limited."""
        return self.key.agents if self.key else None

    def may_see(self, agent_id: str | None) -> bool:
        """Whether the caller may see feedback about that agent; ``None`` for feedback without an agent."""
        return self.agents is None or agent_id in self.agents

    def owns(self, feedback: Feedback) -> bool:
        """Whether the caller may read and change feedback: with a session token, only its own."""
        mine = self.token and (self.token.session_id, self.author)
        return mine is None or (feedback.session_id, feedback.author) == mine

    def redact(self, feedback: Feedback) -> Feedback:
        """The feedback without the parts that the caller may not see. Every response with feedback must use this.

        An earlier version of a vote may have been about another agent. For an API key that is limited to agents, the
        revisions and everything derived from them are removed. Other feedback never changes its agent.
        """
        if self.agents is None or not feedback.vote:
            return feedback
        return evolve(feedback, revisions=(), idempotency_key=None, fingerprint="", later_keys=())

    @property
    def reads_all(self) -> bool:
        """Whether the caller sees more than the author of feedback: the moderator, and the reason of the decision."""
        return self.token is None and (self.key is None or self.key.allows(Scope.READ))


ANONYMOUS: Final = Principal()


class CredentialsRefused(Problem):
    """Raised when the request has credentials that are not valid."""


class Access:
    """Authenticates requests.

    Args:
        keys: the service of API keys.
        tokens: verifies session tokens; ``None`` if no secret is configured, so that they are rejected.
        mode: ``keys`` or ``open``, see ``ServerSettings``.
        clock: returns the current time in UTC, for the expiry of tokens.
        timer: returns monotonic seconds, for the expiry of cache entries.
    """

    def __init__(
        self,
        keys: KeyService,
        tokens: SessionTokens | None,
        mode: str,
        *,
        clock: Clock,
        timer: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._tokens = tokens
        self._mode = mode
        self._clock = clock
        self._timer = timer
        # A secret key: collisions cannot be constructed, and credentials cannot be recovered from digests.
        self._digest_key = secrets.token_bytes(_DIGEST_BYTES)
        self._trusted = CredentialCache[Principal | Problem](_TRUSTED_BYTES)
        self._refused = CredentialCache[Principal | Problem](_REFUSED_BYTES)

    def principal_soon(self, request: Request) -> Principal | None:
        """The principal of a request, if it is cached; ``None`` if it is not. Does not block.

        Raises:
            CredentialsRefused: the credentials are invalid.
            Problem: the credentials are missing, or may not be used for this request.
        """
        if self._is_open_to(request):
            return ANONYMOUS
        credential = _credential(request)
        if not credential:
            raise _credentials_required()
        digest, now = self._digest(credential), self._timer()
        known = self._trusted.get(digest, now) or self._refused.get(digest, now)
        return None if known is None else self._admit(known, request)

    def principal(self, request: Request) -> Principal:
        """The principal of a request. May read from the storage.

        Raises:
            CredentialsRefused: the credentials are invalid.
            Problem: the credentials are missing, or may not be used for this request.
            StorageError: the storage failed.
        """
        if (known := self.principal_soon(request)) is not None:
            return known
        # Taken before the storage is read, as its answer may already be outdated when it arrives.
        credential, until = _credential(request), self._timer() + TRUSTED_FOR
        found = self._authenticate(credential)
        remembered = self._refused if isinstance(found, CredentialsRefused) else self._trusted
        remembered.put(self._digest(credential), found, until, len(credential))
        return self._admit(found, request)

    def _digest(self, credential: str) -> bytes:
        """The cache key of credentials."""
        text = credential.encode(errors="surrogatepass")
        return blake2b(text, key=self._digest_key, digest_size=_DIGEST_BYTES).digest()

    def _is_open_to(self, request: Request) -> bool:
        """Whether the request needs no credentials: access is open, and it has none that are meant for Harken."""
        if self._mode != "open":
            return False
        scheme, _, credential = (request.header("authorization") or "").partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            return True
        return self._tokens is None and not credential.startswith(KEY_PREFIX)

    def _authenticate(self, credential: str) -> Principal | Problem:
        if not credential.startswith(KEY_PREFIX):
            return self._authenticate_token(credential)
        try:
            key = self._keys.authenticate(credential)
        except InvalidCredentials as error:
            return unauthorized(str(error), wrong=True)
        return Principal(application=key.application, key=key)

    def _authenticate_token(self, credential: str) -> Principal | Problem:
        if self._tokens is None:
            return unauthorized("The credentials are not an API key, and session tokens are not configured", wrong=True)
        try:
            token = self._tokens.read(credential)
        except InvalidToken as error:
            return unauthorized(str(error), wrong=True)
        return Principal(application=token.application, token=token)

    def _admit(self, found: Principal | Problem, request: Request) -> Principal:
        if isinstance(found, Problem):
            # A new exception each time, as one that is raised repeatedly accumulates traceback frames.
            raise type(found)(found.kind, found.detail, headers=found.headers)
        if found.token is not None:
            _check_expiry(found.token, self._clock())
            _check_origin(found.token, request)
        return found


def unauthorized(detail: str, *, wrong: bool = False) -> Problem:
    """The problem for missing credentials, or with ``wrong``, for invalid ones."""
    challenge = 'Bearer realm="harken", error="invalid_token"' if wrong else 'Bearer realm="harken"'
    headers: Headers = (("www-authenticate", challenge),)
    return (CredentialsRefused if wrong else Problem)("unauthorized", detail, headers=headers)


def _credentials_required() -> Problem:
    return unauthorized(
        "Send an API key or a session token: 'Authorization: Bearer ...'. The operator can create a key "
        "with 'harken --storage URL keys create --scope ...'. A server that was started with 'harken serve' has one in "
        "the .key file next to its storage"
    )


def _credential(request: Request) -> str:
    value = request.header("authorization")
    if value is None:
        return cookie_of(request) or ""
    scheme, _, credential = value.partition(" ")
    credential = credential.strip()
    if scheme.lower() != "bearer" or not credential:
        raise unauthorized(
            "The Authorization header must be 'Bearer', a space, and an API key or a session token", wrong=True
        )
    if len(credential) > _LONGEST_CREDENTIAL:
        raise unauthorized(f"The credentials are longer than {_LONGEST_CREDENTIAL:,} characters", wrong=True)
    return credential


def cookie_of(request: Request) -> str | None:
    """The API key in the cookie of a browser that has signed in, if there is one."""
    found = _KEY_COOKIE.search(request.header("cookie") or "")
    return found and found[1].rstrip()


def check_source(principal: Principal, request: Request, origins: Origins, *, json: bool) -> None:
    """Check that a request that changes data was not forged by a page of another origin (CSRF).

    Args:
        principal: the caller.
        request: the request.
        origins: the origins whose pages may call the API.
        json: whether the operation accepts only a JSON body. Browsers send JSON to another origin only after a CORS
            preflight, so such a request needs no other check, unless it is authenticated by the cookie.

    Raises:
        Problem: a page of another origin sent it, or its body has a content type of HTML forms.
    """
    if request.method in _SAFE:
        return
    content_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if content_type == _TEXT and not _has_body(request):
        # Some WSGI servers set this if the request has no Content-Type.
        content_type = ""
    if content_type in _FORMS:
        raise Problem("unsupported-media-type", f"The Content-Type must be application/json, got {content_type!r}")
    if request.header("authorization") is None and cookie_of(request) is not None:
        # Not even for allowed origins: browsers send the cookie automatically, so it does not prove the user's intent.
        if is_foreign(request.header, needs_proof=True):
            raise Problem("forbidden", f"{_FOREIGN}; pages of other origins may not use the sign-in of a browser")
        return
    if (json and content_type) or not is_foreign(request.header):
        return
    origin = request.header("origin")
    if origin is not None and (origins.allows(origin) or (principal.token and principal.token.origin == origin)):
        return
    raise Problem("forbidden", f"{_FOREIGN}; to allow it, add the origin of the page to allowed_origins")


def _has_body(request: Request) -> bool:
    return request.header("content-length") not in (None, "", "0") or request.header("transfer-encoding") is not None


def _check_expiry(token: SessionToken, now: datetime) -> None:
    if now >= token.expires_at:
        raise unauthorized("The session token has expired; request a new one", wrong=True)


def _check_origin(token: SessionToken, request: Request) -> None:
    """Browsers send Origin with all requests that change data, and with all requests to another origin."""
    if token.origin is None:
        return
    origin = request.header("origin")
    if origin is None and request.method in _SAFE:
        return
    if origin != token.origin:
        raise Problem("forbidden", "The session token is for pages of another origin")


def application_of(principal: Principal, asked: str | None, default: str) -> str:
    """The application that a call is about: that of the credentials, or else the requested one, or else the default.

    Raises:
        Problem: the credentials are for another application than the requested one.
    """
    if principal.application is None:
        return asked or default
    if asked not in (None, principal.application):
        raise Problem("forbidden", "These credentials are for another application")
    return principal.application
