"""Who calls, by what is sent along, and for which application."""

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
from harken_adapters.hosts.http.guards.tokens import InvalidToken, SessionToken, SessionTokens
from harken_adapters.hosts.http.wire.messages import Headers, Request
from harken_adapters.hosts.http.wire.problems import Problem

#: What the text of every API key begins with.
KEY_PREFIX: Final = "hk_"
_LONGEST_CREDENTIAL: Final = 16_384
#: For so many seconds what the storage said of a key is believed: a revoked one is refused that much later at most.
TRUSTED_FOR: Final = 5.0
#: How much is remembered of valid credentials, and of others: so that no flood of others displaces a valid one.
_TRUSTED_BYTES: Final = 32 * 1024 * 1024
_REFUSED_BYTES: Final = 4 * 1024 * 1024
_DIGEST_BYTES: Final = 16
#: The cookie of a browser that signed in: an API key.
COOKIE: Final = "harken_key"
#: A search, as a header may have tens of thousands of cookies.
_KEY_COOKIE: Final = re.compile(rf"(?:\A|;)[ \t]*{COOKIE}=({KEY_PREFIX}[^;]{{,{_LONGEST_CREDENTIAL}}})(?:;|\Z)")
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: What a form on any page can send, without that its browser asks first.
_TEXT: Final = "text/plain"
_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", _TEXT})
_FOREIGN: Final = "A page of another origin sent this, as Origin or Sec-Fetch-Site says"


@frozen(kw_only=True)
class Principal:
    """Who calls: with an API key, with a session token, or with neither where everything is open.

    ``application`` is whose feedback they may deal with; ``None`` for any.
    """

    application: str | None = None
    key: ApiKey | None = None
    token: SessionToken | None = None

    @property
    def author(self) -> str | None:
        """Whose votes they deal with, if only with one person's; a token without an author speaks for its session."""
        return (self.token.author or self.token.session_id) if self.token else None

    @property
    def agents(self) -> frozenset[str] | None:
        """The only agents whose feedback they deal with; ``None`` for all, and for feedback without an agent."""
        return self.key.agents if self.key else None

    def may_see(self, agent_id: str | None) -> bool:
        """Whether they deal with feedback about that agent, or about none."""
        return self.agents is None or agent_id in self.agents

    def owns(self, feedback: Feedback) -> bool:
        """Whether they may see and change it as if it were their own: with a session token, only if it is."""
        mine = self.token and (self.token.session_id, self.author)
        return mine is None or (feedback.session_id, feedback.author) == mine

    def seen(self, feedback: Feedback) -> Feedback:
        """Feedback that they may see, without what they may not: everything that shows it has to go through here.

        A vote may have been about another agent before, so with a key that is limited to agents its revisions, and what
        could tell what was sent then, are left out. Other feedback is always about the same agent.
        """
        if self.agents is None or not feedback.vote:
            return feedback
        return evolve(feedback, revisions=(), idempotency_key=None, fingerprint="", later_keys=())

    @property
    def reads_all(self) -> bool:
        """Whether they see more of feedback than its author does: the moderator, and the reason of the decision."""
        return self.token is None and (self.key is None or self.key.allows(Scope.READ))


ANYBODY: Final = Principal()


class CredentialsRefused(Problem):
    """Credentials were sent, and they are not valid."""


class Access:
    """Tells who calls from what they send along.

    Args:
        keys: knows the API keys.
        tokens: knows session tokens; ``None`` if no secret was set, so that there are none.
        mode: ``keys`` or ``open``, see ``ServerSettings``.
        clock: tells which tokens are over.
        timer: seconds that only ever grow, for what is believed for a while.
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
        # Nobody can choose credentials with the same digest, nor find credentials from it.
        self._digest_key = secrets.token_bytes(_DIGEST_BYTES)
        self._trusted = CredentialCache[Principal | Problem](_TRUSTED_BYTES)
        self._refused = CredentialCache[Principal | Problem](_REFUSED_BYTES)

    def principal_soon(self, request: Request) -> Principal | None:
        """Who calls, if that is known without asking the storage; ``None`` if it is not.

        Raises:
            CredentialsRefused: what was sent is not valid.
            Problem: no valid credentials.
        """
        if self._is_open_to(request):
            return ANYBODY
        credential = _credential(request)
        if not credential:
            raise _needed()
        digest, now = self._digest(credential), self._timer()
        known = self._trusted.get(digest, now) or self._refused.get(digest, now)
        return None if known is None else self._admitted(known, request)

    def principal(self, request: Request) -> Principal:
        """Who calls. May ask the storage.

        Raises:
            CredentialsRefused: what was sent is not valid.
            Problem: no valid credentials.
            StorageError: the storage could not be asked.
        """
        if (known := self.principal_soon(request)) is not None:
            return known
        # Before the storage is asked: what it says may be old already when it arrives.
        credential, until = _credential(request), self._timer() + TRUSTED_FOR
        found = self._found(credential)
        remembered = self._refused if isinstance(found, CredentialsRefused) else self._trusted
        remembered.put(self._digest(credential), found, until, len(credential))
        return self._admitted(found, request)

    def _digest(self, credential: str) -> bytes:
        """What credentials are remembered by."""
        text = credential.encode(errors="surrogatepass")
        return blake2b(text, key=self._digest_key, digest_size=_DIGEST_BYTES).digest()

    def _is_open_to(self, request: Request) -> bool:
        """Whether nothing is asked for. What is no key and could be no token is for whoever guards the door."""
        if self._mode != "open":
            return False
        scheme, _, credential = (request.header("authorization") or "").partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            return True
        return self._tokens is None and not credential.startswith(KEY_PREFIX)

    def _found(self, credential: str) -> Principal | Problem:
        if not credential.startswith(KEY_PREFIX):
            return self._of_token(credential)
        try:
            key = self._keys.authenticate(credential)
        except InvalidCredentials as error:
            return unauthorized(str(error), wrong=True)
        return Principal(application=key.application, key=key)

    def _of_token(self, credential: str) -> Principal | Problem:
        if self._tokens is None:
            return unauthorized("The credentials are no API key, and session tokens are not in use here", wrong=True)
        try:
            token = self._tokens.read(credential)
        except InvalidToken as error:
            return unauthorized(str(error), wrong=True)
        return Principal(application=token.application, token=token)

    def _admitted(self, found: Principal | Problem, request: Request) -> Principal:
        if isinstance(found, Problem):
            # A new one each time: an error that is raised again keeps the frames of all times before.
            raise type(found)(found.kind, found.detail, headers=found.headers)
        if found.token is not None:
            _check_expiry(found.token, self._clock())
            _check_origin(found.token, request)
        return found


def unauthorized(detail: str, *, wrong: bool = False) -> Problem:
    """The problem that nobody is known by what was sent along; ``wrong`` if something was."""
    challenge = 'Bearer realm="harken", error="invalid_token"' if wrong else 'Bearer realm="harken"'
    headers: Headers = (("www-authenticate", challenge),)
    return (CredentialsRefused if wrong else Problem)("unauthorized", detail, headers=headers)


def _needed() -> Problem:
    return unauthorized(
        "Send an API key or a session token: 'Authorization: Bearer ...'. The key that 'harken serve' created is in "
        "the .key file beside the storage; the operator can create another one with "
        "'harken --storage URL keys create --scope ...'"
    )


def _credential(request: Request) -> str:
    value = request.header("authorization")
    if value is None:
        return cookie_of(request) or ""
    scheme, _, credential = value.partition(" ")
    credential = credential.strip()
    if scheme.lower() != "bearer" or not credential:
        raise unauthorized("The Authorization must be 'Bearer' and an API key or a session token", wrong=True)
    if len(credential) > _LONGEST_CREDENTIAL:
        raise unauthorized(f"The credentials are longer than {_LONGEST_CREDENTIAL:,} characters", wrong=True)
    return credential


def cookie_of(request: Request) -> str | None:
    """The API key of a browser that signed in, as it sends it. Only keys can sign in, so nothing else counts."""
    found = _KEY_COOKIE.search(request.header("cookie") or "")
    return found and found[1].rstrip()


def check_source(principal: Principal, request: Request, origins: Origins, *, json: bool) -> None:
    """Whether a page of another origin caused a request that changes something, without being allowed to (CSRF).

    Args:
        principal: who it is.
        request: what was sent.
        origins: whose pages may call.
        json: whether the operation takes a JSON body and nothing else. Browsers send JSON for a page of another origin
            only after they have asked whether it may call (CORS), so that such a request needs no other check, unless
            it is the cookie that lets it in.

    Raises:
        Problem: it was such a page, or the body is what a form sends.
    """
    if request.method in _SAFE:
        return
    content_type = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if content_type == _TEXT and not _has_body(request):
        # So some WSGI servers say that none was named.
        content_type = ""
    if content_type in _FORMS:
        raise Problem("unsupported-media-type", f"The Content-Type must be application/json, got {content_type!r}")
    if request.header("authorization") is None and cookie_of(request) is not None:
        # Not for other origins, allowed or not: what a browser sends automatically does not show what its user wants.
        if is_foreign(request.header, needs_proof=True):
            raise Problem("forbidden", f"{_FOREIGN}, and a browser that is signed in may not do that for other pages")
        return
    if (json and content_type) or not is_foreign(request.header):
        return
    origin = request.header("origin")
    if origin is not None and (origins.allows(origin) or (principal.token and principal.token.origin == origin)):
        return
    raise Problem("forbidden", f"{_FOREIGN}; add the page's origin to allowed_origins if it may do that")


def _has_body(request: Request) -> bool:
    return request.header("content-length") not in (None, "", "0") or request.header("transfer-encoding") is not None


def _check_expiry(token: SessionToken, now: datetime) -> None:
    if now >= token.expires_at:
        raise unauthorized("The session token has expired; ask for a new one", wrong=True)


def _check_origin(token: SessionToken, request: Request) -> None:
    """Browsers name the page's origin with whatever changes something, and with whatever they ask of another origin."""
    if token.origin is None:
        return
    origin = request.header("origin")
    if origin is None and request.method in _SAFE:
        return
    if origin != token.origin:
        raise Problem("forbidden", "The session token was made for pages of another origin")


def application_of(principal: Principal, asked: str | None, default: str) -> str:
    """Whose feedback a call is about.

    Raises:
        Problem: it asks for another application than the credentials are for.
    """
    if principal.application is None:
        return asked or default
    if asked not in (None, principal.application):
        raise Problem("forbidden", "These credentials are for another application")
    return principal.application
