"""Errors as problem details (RFC 9457)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

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
from harken.domain.errors import AlertNotFound, DeliveryNotFound, NoSuchChannel, NoSuchRoute, RouteRejected
from harken_adapters.formats.record import current_record
from harken_adapters.hosts.http.wire.messages import Headers, Response, to_json

MEDIA_TYPE: Final = "application/problem+json"
_LONGEST_DETAIL: Final = 1_000
_LONGEST_INSTANCE: Final = 1_000

#: The codes of violations that make a submission malformed; all others are a matter of policy.
_MALFORMED: Final = frozenset(
    {"type", "nul", "surrogate", "empty", "too_long", "control", "name", "too_many", "range", "unknown", "missing"}
)

#: What each problem is called: the last part of its ``type``, and its title.
KINDS: Final[Mapping[str, tuple[int, str]]] = {
    "malformed-body": (400, "The body cannot be read"),
    "malformed-request": (400, "The request cannot be read"),
    "feedback-refused": (400, "The feedback breaks a rule"),
    "unauthorized": (401, "Credentials are needed"),
    "forbidden": (403, "This is not allowed"),
    "not-found": (404, "Not found"),
    "method-not-allowed": (405, "Method not allowed"),
    "body-timeout": (408, "The body did not arrive in time"),
    "request-timeout": (408, "The request did not arrive in time"),
    "conflict": (409, "This conflicts with the current state"),
    "in-flight": (409, "The same request is being handled"),
    "changed-meanwhile": (412, "It was changed meanwhile"),
    "body-too-large": (413, "The body is too large"),
    "unsupported-media-type": (415, "The body must be JSON"),
    "invalid": (422, "Some values are invalid"),
    "idempotency-key-reused": (422, "The idempotency key was used with another body"),
    "rate-limited": (429, "Too many requests"),
    "head-too-large": (431, "The request head is too large"),
    "internal": (500, "Something went wrong here"),
    "unavailable": (503, "The storage does not answer"),
    "overloaded": (503, "Too much is waiting to be written"),
}


class Problem(Exception):
    """What is wrong with a request, or with answering it.

    Args:
        kind: one of :data:`KINDS`.
        detail: what is wrong here, what was expected and what to do, for people.
        violations: what is wrong with which field, where that can be said.
        headers: what else the answer carries.
        current: what was found instead of what was expected, where that can be said.
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
        """The answer that describes it; ``instance`` is the path that was asked for, and is cut off if it is long."""
        document: dict[str, object] = {
            "type": f"urn:harken:problem:{self.kind}",
            "title": self.title,
            "status": self.status,
            "detail": _shortened(self.detail),
            "instance": instance[:_LONGEST_INSTANCE],
        }
        if self.violations:
            document["violations"] = [
                {"field": one.field, "code": one.code, "message": _shortened(one.message)} for one in self.violations
            ]
        if self.current is not None:
            document["current"] = dict(self.current)
        return Response(self.status, to_json(document), MEDIA_TYPE, self.headers)


_RETRY: Final[Headers] = (("retry-after", "1"),)
_UNAVAILABLE: Final = "The storage does not answer just now. Try again; with the same Idempotency-Key it is safe."
_BROKEN: Final = "Something went wrong on this side. It was written to the log under the id in X-Request-Id."


def problem_of(error: Exception) -> Problem | None:
    """The problem that an error is to who asked; ``None`` for one that should never have happened."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, FeedbackRejected):
        return _rejected(error)
    if isinstance(error, DecisionConflict):
        return Problem("conflict", str(error), current=current_record(error))
    if isinstance(error, Overloaded):
        return Problem("overloaded", str(error), headers=_RETRY)
    if isinstance(error, StorageError):
        # The message names hosts and files, which callers must not see.
        return Problem("unavailable", _UNAVAILABLE, headers=_RETRY)
    kind = next((kind for base, kind in _KIND_OF if isinstance(error, base)), None)
    return Problem(kind, str(error)) if kind else None


def internal() -> Problem:
    """The problem that an error is which should never have happened."""
    return Problem("internal", _BROKEN)


_KIND_OF: Final[tuple[tuple[type[HarkenError], str], ...]] = (
    (FeedbackNotFound, "not-found"),
    (FeedbackWithdrawn, "conflict"),
    (InvalidTransition, "conflict"),
    (StaleFeedback, "changed-meanwhile"),
    (InvalidQuery, "invalid"),
    (InvalidMetadata, "invalid"),
    (RouteRejected, "invalid"),
    (AlertNotFound, "not-found"),
    (DeliveryNotFound, "not-found"),
    (NoSuchChannel, "not-found"),
    (NoSuchRoute, "not-found"),
)


def _rejected(error: FeedbackRejected) -> Problem:
    if isinstance(error, IdempotencyConflict):
        return Problem("idempotency-key-reused", str(error), violations=error.violations)
    malformed = any(violation.code in _MALFORMED for violation in error.violations)
    return Problem("invalid" if malformed else "feedback-refused", str(error), violations=error.violations)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST_DETAIL else f"{text[:_LONGEST_DETAIL]}..."


def nothing_here() -> Problem:
    """The problem that a path leads nowhere."""
    return Problem("not-found", "Nothing is found at this path; the page docs of this service lists every operation")


def other_methods(methods: Iterable[str]) -> Problem:
    """The problem that a path leads somewhere, but only with those methods."""
    allowed = ", ".join(sorted(set(methods)))
    return Problem("method-not-allowed", "This path has other methods", headers=(("allow", allowed),))


def kind_of_status(status: int) -> str:
    """The kind of problem that a framework's own refusal is."""
    return _KIND_OF_STATUS.get(status, "malformed-body")


_KIND_OF_STATUS: Final = {
    KINDS[kind][0]: kind for kind in ("not-found", "method-not-allowed", "body-too-large", "unsupported-media-type")
}
