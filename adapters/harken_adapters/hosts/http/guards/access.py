"""Authentication: the principal of a request, from its credentials."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime
from hashlib import blake2b
from typing import Final
from urllib.parse import parse_qs

from attrs import evolve, frozen

from harken import ApiKey, Feedback, InvalidCredentials, Scope
from harken.ports.time import Clock
from harken.services.keys import KeyService
from harken_adapters.hosts.http.guards.browser_sessions import BrowserSession, BrowserSessions
from harken_adapters.hosts.http.guards.credential_cache import CredentialCache
from harken_adapters.hosts.http.guards.groups import GroupGrants
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
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: The content types that an HTML form of any origin can send without a CORS preflight.
_TEXT: Final = "text/plain"
_FORMS: Final = frozenset({"application/x-www-form-urlencoded", "multipart/form-data", _TEXT})
_FOREIGN: Final = "A page of another origin sent this request, according to Origin or Sec-Fetch-Site"


@frozen(kw_only=True)
class Principal:
    """The caller of the API: an API key, a session token, or neither if access is open.

    Attributes:
        application: the only application that the caller may use; ``None`` for any.
        key: the API key. For a person who signed in with OpenID Connect, it has the rights of their groups, and is not
            stored.
        token: the session token.
        browser: the browser session, if the request is authenticated by a cookie.
        choices: for a person, the rights in each application, of which the request uses those in ``application``.
    """

    application: str | None = None
    key: ApiKey | None = None
    token: SessionToken | None = None
    browser: BrowserSession | None = None
    choices: tuple[ApiKey, ...] = ()

    @property
    def author(self) -> str | None:
        """The author of a session token, which is its session if it has no author; ``None`` without a token."""
        return (self.token.author or self.token.session_id) if self.token else None

    @property
    def name(self) -> str | None:
        """The name of the API key or of the person, or else the id of the key; ``None`` without a key."""
        return (self.key.name or self.key.id) if self.key else None

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


@frozen
class _Credential:
    """Credentials as they were sent. A cookie is not accepted in the Authorization header, and vice versa."""

    text: str
    is_cookie: bool = False


class Access:
    """Authenticates requests.

    Args:
        keys: the service of API keys.
        tokens: verifies session tokens; ``None`` if no secret is configured, so that they are rejected.
        browsers: reads browser sessions.
        groups: what people may do who signed in with OpenID Connect.
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
        browsers: BrowserSessions,
        groups: GroupGrants,
        clock: Clock,
        timer: Callable[[], float],
    ) -> None:
        self._keys = keys
        self._tokens = tokens
        self._mode = mode
        self._browsers = browsers
        self._groups = groups
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
        credential = self._credential(request)
        if credential is None:
            return None
        if not credential.text:
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
        until = self._timer() + TRUSTED_FOR
        credential = self._credential(request)
        if credential is None:
            self._browsers.load()
            return self.principal(request)
        found = self._authenticate(credential)
        remembered = self._refused if isinstance(found, CredentialsRefused) else self._trusted
        remembered.put(self._digest(credential), found, until, len(credential.text))
        return self._admit(found, request)

    def forget(self) -> None:
        """Authenticate all credentials again, as after signing out, which this process then notices at once."""
        self._trusted.clear()

    def _credential(self, request: Request) -> _Credential | None:
        """The credentials of a request; ``None`` if the secret of browser sessions must be loaded to find them.

        Raises:
            CredentialsRefused: the Authorization header is malformed.
        """
        if (value := request.header("authorization")) is not None:
            return _Credential(_bearer(value))
        cookie = self._browsers.cookie_soon(request)
        return None if cookie is None else _Credential(cookie, is_cookie=True)

    def _digest(self, credential: _Credential) -> bytes:
        """The cache key of credentials."""
        text = credential.text.encode(errors="surrogatepass")
        person = b"cookie" if credential.is_cookie else b""
        return blake2b(text, key=self._digest_key, digest_size=_DIGEST_BYTES, person=person).digest()

    def _is_open_to(self, request: Request) -> bool:
        """Whether the request needs no credentials: access is open, and it has none that are meant for Harken."""
        if self._mode != "open":
            return False
        scheme, _, credential = (request.header("authorization") or "").partition(" ")
        credential = credential.strip()
        if scheme.lower() != "bearer" or not credential:
            return True
        return self._tokens is None and not credential.startswith(KEY_PREFIX)

    def _authenticate(self, credential: _Credential) -> Principal | Problem:
        if credential.is_cookie:
            return self._authenticate_browser(credential.text)
        if not credential.text.startswith(KEY_PREFIX):
            return self._authenticate_token(credential.text)
        try:
            key = self._keys.authenticate(credential.text)
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

    def _authenticate_browser(self, cookie: str) -> Principal | Problem:
        try:
            session = self._browsers.read(cookie)
        except InvalidToken as error:
            return unauthorized(str(error), wrong=True)
        if self._browsers.is_ended(session):
            return unauthorized("This browser was signed out; sign in again", wrong=True)
        if session.person is not None:
            return self._person(session)
        key = self._keys.find(session.key_id or "")
        if key is None or key.revoked:
            return unauthorized("The API key with which this browser signed in was revoked; use another", wrong=True)
        self._keys.record_use(key)
        return Principal(application=key.application, key=key, browser=session)

    def _person(self, session: BrowserSession) -> Principal | Problem:
        """The principal of a person. The settings decide now what their groups may do, not when they signed in."""
        choices = person_keys(session, self._groups)
        if not choices:
            return unauthorized("The groups of this person do not give access any more; ask the operator", wrong=True)
        return Principal(application=choices[0].application, key=choices[0], browser=session, choices=choices)

    def _admit(self, found: Principal | Problem, request: Request) -> Principal:
        if isinstance(found, Problem):
            # A new exception each time, as one that is raised repeatedly accumulates traceback frames.
            raise type(found)(found.kind, found.detail, headers=found.headers)
        if found.token is not None:
            _check_expiry(found.token, self._clock())
            _check_origin(found.token, request)
        if found.browser is not None and self._clock() >= found.browser.expires_at:
            raise unauthorized("The browser session has expired; sign in again", wrong=True)
        return _choose(found, request) if len(found.choices) > 1 else found


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


def _bearer(value: str) -> str:
    """The credentials in an Authorization header.

    Raises:
        CredentialsRefused: it is malformed.
    """
    scheme, _, credential = value.partition(" ")
    credential = credential.strip()
    if scheme.lower() != "bearer" or not credential:
        raise unauthorized(
            "The Authorization header must be 'Bearer', a space, and an API key or a session token", wrong=True
        )
    if len(credential) > _LONGEST_CREDENTIAL:
        raise unauthorized(f"The credentials are longer than {_LONGEST_CREDENTIAL:,} characters", wrong=True)
    return credential


def person_keys(session: BrowserSession, groups: GroupGrants) -> tuple[ApiKey, ...]:
    """The rights of a person in each application, as keys that are not stored; that of the service first."""
    person = session.person
    if person is None or person.issuer != groups.issuer:
        return ()
    return tuple(
        ApiKey(
            id=session.owner,
            application=application,
            scopes=scopes,
            name=person.name,
            digest="",
            created_at=session.signed_in_at,
        )
        for application, scopes in groups.scopes(person.groups).items()
    )


def _choose(found: Principal, request: Request) -> Principal:
    """The principal with the rights in the application that the request names, if it has any there."""
    asked = parse_qs(request.query).get("application", [])
    chosen = next((key for key in found.choices if asked == [key.application]), found.choices[0])
    return evolve(found, application=chosen.application, key=chosen)


def check_own_page(request: Request, *, needs_proof: bool = False) -> None:
    """Check that a page of the same origin sent a form.

    Args:
        request: the request with the form.
        needs_proof: whether the browser must prove it, as where a cookie authenticates the request.

    Raises:
        Problem: a page of another origin sent it, or a proxy makes it appear so.
    """
    if not is_foreign(request.header, needs_proof=needs_proof):
        return
    origin = request.header("origin")
    if request.header("sec-fetch-site") is not None or origin is None:
        raise Problem("forbidden", "A page of another site sent this form. Open this page directly and use its form.")
    raise Problem(
        "forbidden",
        f"The browser sent this form from {origin}, but it arrived with the Host {request.header('host')}. If you "
        "opened this page directly, your proxy changes the Host header; in nginx, set 'proxy_set_header Host "
        "$http_host;'.",
    )


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
    if principal.browser is not None:
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
