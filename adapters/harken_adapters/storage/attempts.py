"""Conversion of the attempts of a delivery to and from JSON values, for storages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

from harken.domain.events import Attempt, AttemptOutcome
from harken.domain.instants import MICROSECOND, from_microseconds, to_microseconds

_OUTCOMES: Final = {outcome.value: outcome for outcome in AttemptOutcome}


def attempts_value(attempts: Iterable[Attempt]) -> list[list[Any]]:
    """Return a list for each attempt: times in microseconds, the outcome, and the texts without empty ones at the end.

    Every delivery has at least one, so they are short.
    """
    return [_value(one) for one in attempts]


def attempts_of(values: Iterable[Sequence[Any]]) -> tuple[Attempt, ...]:
    """The inverse of :func:`attempts_value`."""
    return tuple(map(_attempt, values))


def _value(one: Attempt) -> list[Any]:
    texts = [one.status, one.words, one.error]
    while texts and not texts[-1]:
        texts.pop()
    return [to_microseconds(one.at), one.duration // MICROSECOND, one.outcome.value, *texts]


def _attempt(value: Sequence[Any]) -> Attempt:
    at, duration, outcome, *texts = value
    status, words, error = (*texts, "", "", "")[:3]
    return Attempt(
        at=from_microseconds(at),
        duration=timedelta(microseconds=duration),
        outcome=_OUTCOMES[outcome],
        status=status,
        words=words,
        error=error,
    )
