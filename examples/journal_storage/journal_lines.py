"""What stands in a line of the journal: JSON that tells apart everything that a storage is given."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import fields

from harken.domain.access import ApiKey, Scope
from harken.domain.alerts.alert import Alert, AlertKind, Subject
from harken.domain.events import Delivery, DeliveryState, Event, EventType, Traits
from harken.domain.feedback import Context, Feedback, Rating, Revision, Sentiment, Target
from harken.domain.moderation import Moderation, ModerationStatus
from harken.domain.query import FeedbackQuery
from harken.ports.repository import Accepted
from harken.ports.state import StateEntry


def named(*kinds: Any) -> dict[str, Any]:
    """The classes by their names."""
    return {kind.__name__: kind for kind in kinds}


# A line can be made into these, and into nothing else, whoever wrote it. Pickle could not promise that.
VALUES = named(Accepted, Alert, ApiKey, Delivery, Event, Feedback, FeedbackQuery, StateEntry)
VALUES |= named(Moderation, Revision, Sentiment, Subject, Target, Traits)
ENUMS = named(AlertKind, DeliveryState, EventType, ModerationStatus, Rating, Scope)
GROUPS = named(list, tuple, frozenset, dict, Context)
KINDS = VALUES | ENUMS | GROUPS | {"datetime": datetime.fromisoformat}


def to_line(value: Any) -> bytes:
    """The value as one line of JSON, without its end."""
    return json.dumps(_encoded(value)).encode()


def from_line(line: bytes) -> Any:
    """The inverse: equal in every field, times to the microsecond, lists and tuples told apart."""
    return _decoded(json.loads(line))


def _encoded(value: Any) -> Any:
    """What JSON has no word for becomes a pair: of which kind it is, and what is in it."""
    if value is None or isinstance(value, str | int | float):
        return value
    kind = type(value).__name__
    if kind in ENUMS:
        return [kind, value.value]
    if kind in VALUES:
        return [kind, {part.name: _encoded(getattr(value, part.name)) for part in fields(type(value))}]
    if isinstance(value, datetime):
        return ["datetime", value.isoformat()]
    if isinstance(value, Mapping):
        return [kind if kind in GROUPS else "dict", {name: _encoded(part) for name, part in value.items()}]
    return [kind if kind in GROUPS else "list", [_encoded(part) for part in value]]


def _decoded(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    kind, content = value
    if isinstance(content, dict):
        content = {name: _decoded(part) for name, part in content.items()}
    elif isinstance(content, list):
        content = [_decoded(part) for part in content]
    make = KINDS[kind]
    return make(**content) if kind in VALUES else make(content)
