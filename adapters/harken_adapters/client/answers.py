"""Responses of the API, and the values and exceptions that they mean."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeVar
from urllib.parse import unquote

import httpx
from attrs import field, frozen

from harken import (
    ConfigurationError,
    FeedbackNotFound,
    FeedbackRejected,
    FeedbackWithdrawn,
    HarkenError,
    IdempotencyConflict,
    InvalidCredentials,
    InvalidQuery,
    Overloaded,
    StaleFeedback,
    StorageError,
    StorageUnavailable,
    Violation,
)
from harken.domain.errors import Forbidden
from harken.domain.feedback import DEFAULT_APPLICATION
from harken.domain.instants import utc
from harken_adapters.client.calls import Call

T = TypeVar("T")

_PROBLEM: Final = "urn:harken:problem:"
_LONGEST_DELAY: Final = timedelta(days=365)
#: The responses of a proxy that cannot reach the service, or of a service that is about to stop.
_TEMPORARY: Final = frozenset({408, 500, 502, 503, 504})


@frozen
class Answer:
    """A response with its body, and when it was received."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    at: datetime

    @property
    def problem(self) -> Mapping[str, Any]:
        """The problem details of Harken; empty if it has none."""
        if not self.headers.get("content-type", "").startswith("application/problem+json"):
            return {}
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return document if isinstance(document, dict) and str(document.get("type", "")).startswith(_PROBLEM) else {}

    @property
    def kind(self) -> str:
        """The kind of the problem; empty if it has none."""
        return str(self.problem.get("type", "")).removeprefix(_PROBLEM)

    @property
    def retry_after(self) -> timedelta | None:
        """How long the server asks to wait (RFC 9110, section 10.2.3)."""
        text = self.headers.get("retry-after", "")
        if text.isascii() and text.isdigit():
            return timedelta(seconds=min(int(text[:9]), _LONGEST_DELAY.total_seconds()))
        try:
            return max(utc(parsedate_to_datetime(text)) - self.at, timedelta())
        except (ValueError, TypeError):
            return None


def application_in(headers: Mapping[str, str]) -> str | None:
    """The application that the request of a response was about, if it was admitted."""
    named = headers.get("harken-application")
    return None if named is None else unquote(named)


#: A response, or why there is none.
Outcome = Answer | httpx.RequestError


def result_of(call: Call[T], outcome: Outcome, url: str) -> T:
    """The value of a call.

    Args:
        call: the call.
        outcome: its response, or why there is none.
        url: the URL of the API, for error messages.

    Raises:
        HarkenError: the call failed.
    """
    if isinstance(outcome, httpx.RequestError) or not 200 <= outcome.status < 300:
        raise failure_of(call, outcome, url)
    try:
        document = json.loads(outcome.body) if outcome.body else None
        return call.parse(document, application_in(outcome.headers) or call.application or DEFAULT_APPLICATION)
    except FeedbackNotFound:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, RecursionError) as error:
        raise StorageError(f"{url} sent an unexpected response to {call.method} {call.path}: {error}") from error


def unreachable(error: Exception, url: str) -> StorageUnavailable:
    """The exception for a request without a response, or a response that was cut off."""
    why = str(error) or type(error).__name__
    return StorageUnavailable(f"The Harken service at {url} did not respond: {why}")


def failure_of(call: Call[Any], outcome: Outcome, url: str) -> HarkenError:
    """The exception for a call without a successful response."""
    if isinstance(outcome, httpx.RequestError):
        error = unreachable(outcome, url)
        error.__cause__ = outcome
        return error
    problem = outcome.problem
    if not problem:
        return _error_of_another(outcome, url)
    return _error_of_problem(call, outcome, str(problem.get("detail", "")), _violations(problem))


def _error_of_another(answer: Answer, url: str) -> HarkenError:
    """The exception for a response that is not from Harken, but from a proxy, or from another service."""
    if answer.status == 429:
        return Overloaded(f"{url} accepts no more requests for now", retry_after=answer.retry_after)
    if answer.status in _TEMPORARY:
        return StorageUnavailable(f"The Harken service at {url} is not available (HTTP {answer.status})")
    if 300 <= answer.status < 400:
        location = answer.headers.get("location", "another URL")
        return ConfigurationError(f"{url} redirects to {location}; use the URL of the Harken service itself")
    return ConfigurationError(f"{url} is not the URL of a Harken service: it answers with HTTP {answer.status}")


#: The exceptions that have only a message.
_SIMPLE: Final[Mapping[str, type[HarkenError]]] = {
    "unauthorized": InvalidCredentials,
    "forbidden": Forbidden,
    "conflict": FeedbackWithdrawn,
    "changed-meanwhile": StaleFeedback,
    "method-not-allowed": ConfigurationError,
    "unavailable": StorageUnavailable,
    "indexing": StorageUnavailable,
    "in-flight": StorageUnavailable,
    "body-timeout": StorageUnavailable,
    "request-timeout": StorageUnavailable,
}


def _error_of_problem(call: Call[Any], answer: Answer, detail: str, violations: tuple[Violation, ...]) -> HarkenError:
    kind = answer.kind
    # Without an application, the request was not admitted: then the path does not exist.
    own = None if application_in(answer.headers) is None else call.errors.get(kind)
    if simple := own or _SIMPLE.get(kind):
        return simple(detail)
    if kind == "not-found":
        return _not_found(call, answer, detail)
    if kind in ("rate-limited", "overloaded"):
        return Overloaded(detail, retry_after=answer.retry_after)
    if kind == "internal":
        return StorageError(f"{detail} The request id is {answer.headers.get('x-request-id', 'unknown')}.")
    if kind == "idempotency-key-reused":
        return IdempotencyConflict(violations)
    return FeedbackRejected(violations or [Violation("body", kind, detail)]) if call.is_write else InvalidQuery(detail)


def _not_found(call: Call[Any], answer: Answer, detail: str) -> HarkenError:
    # Without an application, the request was not admitted: the path does not exist.
    application = application_in(answer.headers)
    if call.feedback_id is None or application is None:
        return ConfigurationError(f"The URL is not that of a Harken service of this version: {detail}")
    return FeedbackNotFound(application, call.feedback_id)


def _violations(problem: Mapping[str, Any]) -> tuple[Violation, ...]:
    found = (Violation(one["field"], one["code"], one["message"]) for one in problem.get("violations", ()))
    return tuple(map(_in_python_terms, found))


def _in_python_terms(violation: Violation) -> Violation:
    """The violation with ``None`` in the message about an unknown rating, where JSON has ``null``."""
    if violation.field != "rating" or not violation.message.endswith("or null"):
        return violation
    return Violation("rating", violation.code, f"{violation.message.removesuffix('null')}None")
