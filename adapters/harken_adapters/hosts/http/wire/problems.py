"""Error responses: problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from attrs import evolve

from harken import (
    DecisionConflict,
    FeedbackNotFound,
    FeedbackRejected,
    FeedbackWithdrawn,
    HarkenError,
    IdempotencyConflict,
    InvalidMetadata,
    InvalidQuery,
    InvalidTransition,
    Overloaded,
    StaleFeedback,
    StorageError,
    Violation,
)
from harken.domain.errors import (
    AlertNotFound,
    ChannelOff,
    DeliveryNotFound,
    ImportNotFound,
    ImportRejected,
    KeyNotFound,
    KeyRejected,
    NoSuchChannel,
    NoSuchRoute,
    RouteRejected,
    SearchNotReady,
)
from harken_adapters.formats.record import current_record
from harken_adapters.hosts.http.wire.messages import Headers, Response, to_json

MEDIA_TYPE: Final = "application/problem+json"
_LONGEST_DETAIL: Final = 1_000
_LONGEST_INSTANCE: Final = 1_000

#: The codes of violations that make a submission invalid. All others come from the operator's rules.
_MALFORMED: Final = frozenset(
    {"type", "nul", "surrogate", "empty", "too_long", "control", "name", "too_many", "range", "unknown", "missing"}
)

#: The status code and title of each problem, by the last part of its ``type`` URI.
KINDS: Final[Mapping[str, tuple[int, str]]] = {
    "malformed-body": (400, "Malformed body"),
    "malformed-request": (400, "Malformed request"),
    "feedback-refused": (400, "Feedback rejected"),
    "unauthorized": (401, "Authentication required"),
    "forbidden": (403, "Forbidden"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "Method not allowed"),
    "body-timeout": (408, "Request body timeout"),
    "request-timeout": (408, "Request timeout"),
    "conflict": (409, "Conflict"),
    "in-flight": (409, "Request already in progress"),
    "changed-meanwhile": (412, "Precondition failed"),
    "body-too-large": (413, "Request body too large"),
    "unsupported-media-type": (415, "Unsupported media type"),
    "invalid": (422, "Invalid request"),
    "idempotency-key-reused": (422, "Idempotency key reused"),
    "rate-limited": (429, "Too many requests"),
    "head-too-large": (431, "Request head too large"),
    "internal": (500, "Internal server error"),
    "unavailable": (503, "Storage unavailable"),
    "indexing": (503, "Search not ready"),
    "overloaded": (503, "Service overloaded"),
}


class Problem(Exception):
    """An error that is answered with problem details.

    Args:
        kind: a key of :data:`KINDS`.
        detail: a message for people: the error, the expected value and what to do.
        violations: the invalid fields, if the error concerns single fields.
        headers: additional headers of the response.
        current: the current state of the resource, for conflicts.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        violations: Sequence[Violation] = (),
        headers: Headers = (),
        current: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.violations = tuple(violations)
        self.headers = headers
        self.current = current
        self.status, self.title = KINDS[kind]

    def response(self, instance: str) -> Response:
        """The response. ``instance`` is the path of the request; a long one is truncated."""
        document: dict[str, object] = {
            "type": f"urn:harken:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": _truncate(self.detail),
            "instance": instance[:_LONGEST_INSTANCE],
        }
        if self.violations:
            document["violations"] = [
                {"field": one.field, "code": one.code, "message": _truncate(one.message)} for one in self.violations
            ]
        if self.current is not None:
            document["current"] = dict(self.current)
        return Response(self.status, to_json(document), MEDIA_TYPE, self.headers)


_RETRY: Final[Headers] = (("retry-after", "1"),)
_UNAVAILABLE: Final = "The storage is not available. Try again; with the same Idempotency-Key, a retry is safe."
_INTERNAL: Final = "An unexpected error occurred. It was logged with the request id in X-Request-Id."


def problem_of(error: Exception) -> Problem | None:
    """The problem that an error is reported as; ``None`` for an unexpected error."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, FeedbackRejected):
        return _rejection_problem(error)
    if isinstance(error, DecisionConflict):
        return Problem("conflict", str(error), current=current_record(error))
    if isinstance(error, Overloaded | StorageError):
        return _to_retry(error)
    kind = next((kind for base, kind in _KIND_OF if isinstance(error, base)), None)
    return Problem(kind, str(error)) if kind else None


def _to_retry(error: Overloaded | StorageError) -> Problem:
    if isinstance(error, Overloaded):
        return Problem("overloaded", str(error), headers=_RETRY)
    if isinstance(error, SearchNotReady):
        seconds = max(1, round(error.retry_after.total_seconds()))
        return Problem("indexing", str(error), headers=(("retry-after", str(seconds)),))
    # The message may contain host and file names, which clients must not see.
    return Problem("unavailable", _UNAVAILABLE, headers=_RETRY)


def internal() -> Problem:
    """The problem for an unexpected error."""
    return Problem("internal", _INTERNAL)


_KIND_OF: Final[tuple[tuple[type[HarkenError], str], ...]] = (
    (FeedbackNotFound, "not-found"),
    (FeedbackWithdrawn, "conflict"),
    (InvalidTransition, "conflict"),
    (StaleFeedback, "changed-meanwhile"),
    (InvalidQuery, "invalid"),
    (InvalidMetadata, "invalid"),
    (RouteRejected, "invalid"),
    (KeyRejected, "invalid"),
    (KeyNotFound, "not-found"),
    (ImportRejected, "invalid"),
    (ImportNotFound, "not-found"),
    (AlertNotFound, "not-found"),
    (DeliveryNotFound, "not-found"),
    (ChannelOff, "conflict"),
    (NoSuchChannel, "not-found"),
    (NoSuchRoute, "not-found"),
)


def _rejection_problem(error: FeedbackRejected) -> Problem:
    if isinstance(error, IdempotencyConflict):
        return Problem("idempotency-key-reused", str(error), violations=error.violations)
    violations = [_in_json_terms(violation) for violation in error.violations]
    malformed = any(violation.code in _MALFORMED for violation in violations)
    detail = "; ".join(violation.message for violation in violations)
    return Problem("invalid" if malformed else "feedback-refused", detail, violations=violations)


def _in_json_terms(violation: Violation) -> Violation:
    """The violation with ``null`` in the message about an unknown rating, where Python has ``None``."""
    if violation.field != "rating" or not violation.message.endswith("or None"):
        return violation
    return evolve(violation, message=f"{violation.message.removesuffix('None')}null")


def _truncate(text: str) -> str:
    return text if len(text) <= _LONGEST_DETAIL else f"{text[:_LONGEST_DETAIL]}..."


def malformed_path() -> Problem:
    """The problem for a path that is not UTF-8."""
    return Problem("malformed-request", "The path is not percent-encoded UTF-8")


def path_not_found() -> Problem:
    """The problem for an unknown path."""
    return Problem(
        "not-found", "There is no operation at this path; the docs page of this service lists all operations"
    )


def method_not_allowed(methods: Iterable[str]) -> Problem:
    """The problem for a method that the path does not support; ``methods`` are those that it does."""
    allowed = ", ".join(sorted(set(methods)))
    return Problem("method-not-allowed", f"This path supports only: {allowed}", headers=(("allow", allowed),))


def kind_of_status(status: int) -> str:
    """The kind of problem for an error response of the web framework."""
    return _KIND_OF_STATUS.get(status, "malformed-body")


_KIND_OF_STATUS: Final = {
    KINDS[kind][0]: kind for kind in ("not-found", "method-not-allowed", "body-too-large", "unsupported-media-type")
}
