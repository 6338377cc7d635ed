"""The format of a line in the journal: JSON that preserves the type of each value that a storage receives."""

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from attrs import fields, frozen

from harken.ports import (
    Accepted,
    Alert,
    AlertKind,
    ApiKey,
    Attempt,
    AttemptOutcome,
    Content,
    Context,
    Delivery,
    DeliveryState,
    Event,
    EventType,
    Feedback,
    FeedbackQuery,
    Moderation,
    ModerationStatus,
    Rating,
    Revision,
    RuleMatch,
    Scope,
    Sentiment,
    StateEntry,
    Subject,
    Target,
    Traits,
)


@frozen
class Become:
    """Changes metadata to these values, regardless of what they were: a function itself cannot be stored."""

    values: dict[str, Any]

    def __call__(self, _before: Any) -> dict[str, Any]:
        return self.values


def by_name(*kinds: Any) -> dict[str, Any]:
    """Map the classes from their names."""
    return {kind.__name__: kind for kind in kinds}


# A line can be decoded to these types only, even if an attacker wrote it. Pickle could not guarantee that.
MICROSECOND = timedelta(microseconds=1)
VALUES = by_name(Accepted, Alert, ApiKey, Attempt, Become, Delivery, Event, Feedback, FeedbackQuery, StateEntry)
VALUES |= by_name(Content, Moderation, Revision, RuleMatch, Sentiment, Subject, Target, Traits)
ENUMS = by_name(AlertKind, AttemptOutcome, DeliveryState, EventType, ModerationStatus, Rating, Scope)
GROUPS = by_name(list, tuple, frozenset, dict, Context)
JSON_GROUPS = by_name(list, dict)
KINDS = VALUES | ENUMS | GROUPS | {"datetime": datetime.fromisoformat, "json": json.loads}
KINDS["timedelta"] = lambda number: number * MICROSECOND


def to_line(value: Any) -> bytes:
    """The value as one line of JSON, without the newline."""
    return json.dumps(_encode(value)).encode()


def from_line(line: bytes) -> Any:
    """The inverse of `to_line`: the result is equal in every field and type."""
    return _decode(json.loads(line))


def _encode(value: Any) -> Any:
    """A value that JSON cannot represent becomes a pair of its type's name and its content."""
    if value is None or isinstance(value, str | int | float):
        return value
    kind = type(value).__name__
    if kind in ENUMS:
        return [kind, value.value]
    if kind in VALUES:
        return [kind, {part.name: _encode(getattr(value, part.name)) for part in fields(type(value))}]
    if isinstance(value, datetime | timedelta):
        return [kind, value.isoformat() if isinstance(value, datetime) else value // MICROSECOND]
    if kind in JSON_GROUPS:
        # Such as a message. As pairs, a deeply nested value would be nested too deeply for the JSON encoder.
        with suppress(TypeError):
            return ["json", json.dumps(value)]
    content: dict[str, Any] | list[Any]
    if isinstance(value, Mapping):
        content = {name: _encode(part) for name, part in value.items()}
    else:
        content = [_encode(part) for part in value]
    return [kind if kind in GROUPS else type(content).__name__, content]


def _decode(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    kind, content = value
    if isinstance(content, dict):
        content = {name: _decode(part) for name, part in content.items()}
    elif isinstance(content, list):
        content = [_decode(part) for part in content]
    create = KINDS[kind]
    return create(**content) if kind in VALUES else create(content)
