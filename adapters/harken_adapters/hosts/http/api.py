"""The HTTP API, independent of the web framework: admits requests, calls operations and builds responses."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from time import monotonic
from typing import Final
from urllib.parse import quote

from harken import Harken
from harken.clock import utc_now
from harken.ports.time import Clock
from harken_adapters.hosts.http.guards.access import (
    Access,
    CredentialsRefused,
    Principal,
    application_of,
    check_source,
)
from harken_adapters.hosts.http.guards.addresses import AddressHasher, client_address, rate_key, trusted_networks
from harken_adapters.hosts.http.guards.browser_sessions import BrowserSession, BrowserSessions
from harken_adapters.hosts.http.guards.idempotency import InFlight
from harken_adapters.hosts.http.guards.origins import Origins
from harken_adapters.hosts.http.guards.permissions import check_agent_keys, check_operator, check_scope
from harken_adapters.hosts.http.guards.rate_limits import MEMORY, Hit, RateLimiter, Verdict, rate_headers
from harken_adapters.hosts.http.logs import log_failure
from harken_adapters.hosts.http.metrics import Metrics, SubmissionOutcome
from harken_adapters.hosts.http.operation import Admission, Call, Operation
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.wire.messages import SMALL, Headers, Pending, Request, Response
from harken_adapters.hosts.http.wire.parameters import Parameters
from harken_adapters.hosts.http.wire.problems import Problem, internal, path_not_found, problem_of
from harken_adapters.tokens import ExpiredToken, FeedbackLink, FeedbackLinks, InvalidToken, SessionTokens

logger = logging.getLogger(__name__)

#: What each rate limit counts, for error messages.
_COUNTED_BY: Final = {
    "key": "this API key",
    "session": "this session",
    "address": "this address",
    "failures": "this address with invalid credentials",
    "production": "this address on this path",
}
_OUTCOMES: Final[Mapping[str, SubmissionOutcome]] = {
    "feedback-refused": "refused",
    "invalid": "refused",
    "malformed-body": "refused",
    "idempotency-key-reused": "conflict",
    "in-flight": "conflict",
    "rate-limited": "limited",
    "unavailable": "unavailable",
    "overloaded": "overloaded",
}


class Api:
    """Handles the requests to a Harken.

    A blocking host calls :meth:`admit` and :meth:`complete`. A host that must not block calls :meth:`admit_soon`, or
    :meth:`admit` in a thread if that returns ``None``; :meth:`perform`, in a thread unless the operation is ``soon``;
    then :meth:`finish`. After an error, both call :meth:`refuse`.

    Args:
        harken: the Harken that is served. It is not closed by this class.
        settings: the settings of the server.
        limit_storage: the URL of the storage of rate limits, unless ``settings`` names one.
        demo_secret: signs session tokens if ``settings`` has no ``token_secrets``, so that the demo page works.
        clock: returns the current time in UTC.
        timer: returns monotonic seconds.
    """

    def __init__(
        self,
        harken: Harken,
        settings: ServerSettings | None = None,
        *,
        limit_storage: str = MEMORY,
        demo_secret: str | None = None,
        clock: Clock = utc_now,
        timer: Callable[[], float] = monotonic,
    ) -> None:
        self.harken = harken
        self.settings = settings or ServerSettings()
        self.clock = clock
        self.metrics = Metrics(clock=clock)
        self.metrics.observe(harken)
        secrets = self.settings.token_secrets
        signing = secrets or ((demo_secret,) if demo_secret else ())
        #: Creates and verifies session tokens; ``None`` without a secret.
        self.tokens = SessionTokens(signing, clock=clock) if signing else None
        self._links = FeedbackLinks(secrets, clock=clock) if secrets else None
        #: What people may do who sign in with OpenID Connect.
        self.groups = self.settings.groups(harken.application)
        self.browsers = BrowserSessions(harken.state, clock=clock)
        self._access = Access(
            harken.keys,
            self.tokens,
            self.settings.access,
            browsers=self.browsers,
            groups=self.groups,
            clock=clock,
            timer=timer,
        )
        self._create_limiter = partial(
            RateLimiter,
            self.settings.limit_storage or limit_storage,
            clock=clock,
            secret=secrets[0] if secrets else "",
        )
        self._limiter = self._create_limiter()
        self._limits = self.settings.limits()
        self._trusted = trusted_networks(self.settings.trusted_proxies)
        self._hasher = AddressHasher(clock)
        self._in_flight = InFlight()
        self._origins = Origins(self.settings.allowed_origins)

    def close(self) -> None:
        """Close the connections of the rate limiter."""
        self._limiter.close()

    def reopen(self) -> None:
        """Connect the rate limiter again, after :meth:`close`. Counts in memory start at zero."""
        self._limiter = self._create_limiter()

    # --- Steps ------------------------------------------------------------------------------------------------------

    def admit_soon(self, operation: Operation, request: Request) -> Admission | None:
        """Admit a request if that is possible without blocking; otherwise return ``None``, and nothing is counted.

        Raises:
            Problem: the request is not admitted.
        """
        address = self._address(request)
        request.tenant = _subject(address)
        try:
            principal = self._access.principal_soon(request)
        except CredentialsRefused:
            failed = self._limiter.check_soon(self._failure_hits(address))
            if failed is None:
                return None
            _check_limits(failed)
            raise
        if principal is None or len(request.query) > SMALL:
            return None
        call = self._call(operation, request, principal, address)
        verdicts = self._limiter.check_soon(self._hits_of(operation, call))
        return None if verdicts is None else Admission(call, _check_limits(verdicts))

    def admit(self, operation: Operation, request: Request) -> Admission:
        """Admit a request. May block on a storage.

        Raises:
            Problem: the request is not admitted.
            StorageError: the storage failed.
        """
        address = self._address(request)
        principal = self._principal(request, address)
        call = self._call(operation, request, principal, address)
        return Admission(call, _check_limits(self._limiter.check(self._hits_of(operation, call))))

    def assign_share(self, request: Request) -> None:
        """Set the tenant of a request for a page, without blocking.

        It is the application of the credentials if they are cached, or else the client address, as in
        :meth:`admit_soon`.
        """
        request.tenant = _subject(self._address(request))
        # Invalid credentials are reported when the page is served.
        with suppress(Problem):
            principal = self._access.principal_soon(request)
            if principal is not None and principal.application:
                request.tenant = principal.application

    def recognise(self, request: Request) -> Principal:
        """The principal of a request for a page. May block on a storage.

        Raises:
            Problem: the credentials are missing or invalid.
            StorageError: the storage failed.
        """
        return self._principal(request, self._address(request))

    def count_visit(self, request: Request, principal: Principal) -> None:
        """Count a request for a page that reads feedback, like one for an operation. May block on a storage.

        Raises:
            Problem: a limit is exceeded.
        """
        _check_limits(self._limiter.check(self._hits(_caller(principal, self._address(request)))))

    def sign_out(self, session: BrowserSession, *, everywhere: bool) -> None:
        """End a browser session, or all of its API key or person. Other processes notice within five seconds.

        Raises:
            StorageError: the storage failed.
        """
        if everywhere:
            self.browsers.end_all(session)
        else:
            self.browsers.end(session)
        self._access.forget()

    def count_failure(self, request: Request) -> None:
        """Count a request with invalid credentials. May block on a storage.

        Raises:
            Problem: there were too many from this address.
        """
        _check_limits(self._limiter.check(self._failure_hits(self._address(request))))

    def read_link(self, request: Request, text: str) -> FeedbackLink:
        """The content of the feedback link with which a request was sent. May block on a storage.

        Raises:
            ExpiredToken: the link has expired.
            InvalidToken: the link is invalid.
            Problem: links are not configured, or too many invalid ones came from this address.
        """
        if self._links is None:
            raise path_not_found()
        try:
            link = self._links.read(text)
        except ExpiredToken:
            # It is signed, so it was not guessed. Many people may open old links from one address.
            raise
        except InvalidToken:
            self.count_failure(request)
            raise
        request.application = link.application
        return link

    def count_link(self, request: Request, link: FeedbackLink, *, gives_feedback: bool) -> None:
        """Count a request with a feedback link, like one with a session token. May block on a storage.

        Raises:
            Problem: a limit is exceeded.
        """
        subjects = {"address": _subject(self._address(request))}
        if gives_feedback:
            subjects["session"] = _session_subject(link.application, link.session_id)
        _check_limits(self._limiter.check(self._hits(subjects)))

    def perform(self, operation: Operation, admission: Admission) -> Response | Pending:
        """Call the handler of an operation. Blocks, unless the operation is ``soon``. :meth:`finish` takes the result.

        Raises:
            Exception: any error of the handler, for :meth:`refuse`.
        """
        return operation.handle(admission.call)

    def complete(self, operation: Operation, admission: Admission) -> Response:
        """Call the handler of an operation, wait for its result and complete the response.

        Raises:
            Exception: any error of the handler, for :meth:`refuse`.
        """
        result = self.perform(operation, admission)
        return self.finish(operation, admission, result.wait() if isinstance(result, Pending) else result)

    def finish(self, operation: Operation, admission: Admission, response: Response) -> Response:
        """Complete a response: count the submission and add the rate limit headers."""
        if operation.gives_feedback and operation.body:
            replayed = any(name == "idempotency-replayed" for name, _ in response.headers)
            self.metrics.outcome("duplicate" if replayed else "stored")
        response.headers += admission.headers + _application_header(admission.call.application)
        return response

    def refuse(self, operation: Operation, request: Request, error: Exception) -> Response:
        """The error response for an error. Unexpected errors are logged."""
        problem = problem_of(error)
        if problem is None:
            log_failure(request.id, operation.name, error)
            problem = internal()
        if problem.kind == "unavailable":
            logger.warning("Request %s: the storage is not available: %s", request.id, type(error).__name__)
        if operation.gives_feedback and operation.body:
            self.count_refusal(problem)
        response = problem.response(request.path)
        if request.application is not None:
            response.headers += _application_header(request.application)
        return response

    def count_refusal(self, problem: Problem) -> None:
        """Count a submission that was not stored, if the problem concerns its content or the server."""
        if outcome := _OUTCOMES.get(problem.kind):
            self.metrics.outcome(outcome)

    # --- Helpers ----------------------------------------------------------------------------------------------------

    def _address(self, request: Request) -> str | None:
        return client_address(request.peer, request.forwarded_for, self._trusted)

    def _principal(self, request: Request, address: str | None) -> Principal:
        try:
            return self._access.principal(request)
        except CredentialsRefused:
            # Only failures are counted here, so clients with valid credentials at the same address are not affected.
            _check_limits(self._limiter.check(self._failure_hits(address)))
            raise

    def _call(self, operation: Operation, request: Request, principal: Principal, address: str | None) -> Call:
        parameters = Parameters.parse(
            request.query, operation.parameters, filters=operation.filters, sides=operation.sides
        )
        application = application_of(principal, parameters.get("application"), self.harken.application)
        request.application = application
        request.tenant = principal.application or _subject(address)
        session_id = request.parts.get("session_id") or parameters.get("session_id")
        check_scope(principal, operation.scope, tokens=operation.tokens, session_id=session_id)
        check_agent_keys(principal, allowed=operation.agent_keys)
        if operation.operator:
            check_operator(principal, self.harken.application)
        check_source(principal, request, self._origins, json=operation.body is not None)
        return Call(
            harken=self.harken,
            settings=self.settings,
            request=request,
            principal=principal,
            application=application,
            session_id=session_id,
            parameters=parameters,
            address=address,
            client=self._hasher.hash if self.settings.keep_client == "hashed" else str,
            in_flight=self._in_flight,
            root=_root(operation, request),
            check_admitted=partial(self._access.principal, request),
        )

    def _hits_of(self, operation: Operation, call: Call) -> list[Hit]:
        """What a request counts against: the limit of the caller first, then those shared with others."""
        subjects = _caller(call.principal, call.address)
        if operation.production:
            subjects["production"] = _subject(call.address)
        if operation.gives_feedback:
            subjects["session"] = _session_subject(call.application, call.session_id)
        return self._hits(subjects)

    def _hits(self, subjects: Mapping[str, str]) -> list[Hit]:
        """The limits that are set, of those with these names."""
        return [(name, self._limits[name], subject) for name, subject in subjects.items() if name in self._limits]

    def _failure_hits(self, address: str | None) -> list[Hit]:
        """What invalid credentials count against: the limit of the address, separately from valid requests."""
        limit = self._limits.get("address")
        return [("failures", limit, _subject(address))] if limit else []


@lru_cache(maxsize=64)
def _application_header(application: str) -> Headers:
    """Tells a client with an API key or a session token which application it works on. Records do not name it."""
    return (("harken-application", quote(application, safe="")),)


def _subject(address: str | None) -> str:
    return rate_key(address) if address else "unknown"


def _session_subject(application: str, session_id: str | None) -> str:
    return f"{application}\0{session_id}"


def _caller(principal: Principal, address: str | None) -> dict[str, str]:
    """Whose requests are counted together: those with a key, or else those of an address."""
    return {"address": _subject(address)} if principal.key is None else {"key": principal.key.id}


def _check_limits(verdicts: Sequence[Verdict]) -> Headers:
    """Check that no limit is exceeded. Returns the rate limit headers.

    Raises:
        Problem: a limit is exceeded.
    """
    headers = tuple((name.lower(), value) for name, value in rate_headers(verdicts).items())
    over = next((verdict for verdict in verdicts if not verdict.allowed), None)
    if over is None:
        return headers
    allowed = f"{over.limit.amount} requests in {over.limit.seconds} seconds"
    detail = f"More than {allowed} by {_COUNTED_BY[over.name]}; try again in {over.retry_after} seconds"
    raise Problem("rate-limited", detail, headers=headers)


def _root(operation: Operation, request: Request) -> str:
    """The prefix of the API's paths, such as the path under which it is mounted."""
    return request.path.rsplit("/", operation.path.count("/"))[0]
