"""The interfaces that adapters implement. The contract of each is in its docstring.

A storage adapter can import everything it needs from here: ports, values and errors.
"""

from harken.domain.access import ApiKey, Scope
from harken.domain.alerts.alert import Alert
from harken.domain.alerts.patterns import AlertKind, Subject
from harken.domain.erasure import Erased
from harken.domain.errors import (
    ConfigurationError,
    DeliveryNotFound,
    FeedbackNotFound,
    InvalidMetadata,
    LeaseLost,
    MissingExtra,
    StaleFeedback,
    StorageClosed,
    StorageCorrupt,
    StorageError,
    StorageIncompatible,
    StorageUnavailable,
)
from harken.domain.events import (
    Attempt,
    AttemptOutcome,
    CauseCount,
    Delivery,
    DeliveryQuery,
    DeliveryState,
    Event,
    EventType,
    Traits,
    erasure_deliveries,
    event_order,
    group_by_cause,
)
from harken.domain.feedback import Content, Context, Feedback, Rating, Revision, Sentiment, Target
from harken.domain.metadata import MetadataSize
from harken.domain.moderation import Moderation, ModerationStatus, RuleMatch
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, GroupKey, Page
from harken.domain.summary import Summary
from harken.ports.alerts import AlertRepository
from harken.ports.conversations import ConversationRepository, JsonObject
from harken.ports.keys import KeyRepository
from harken.ports.outbox import Outbox
from harken.ports.repository import (
    Accepted,
    Conflict,
    DuplicateOf,
    FeedbackRepository,
    Outcome,
    SessionEntry,
    Stored,
    Taken,
)
from harken.ports.sessions import ChangeMetadata, JsonValue, MetadataVersions, SessionRepository
from harken.ports.state import StateEntry, StateRepository
from harken.ports.storage import OpenStorage, Storage
from harken.ports.time import Clock

__all__ = [
    "Accepted",
    "Alert",
    "AlertKind",
    "AlertRepository",
    "ApiKey",
    "Attempt",
    "AttemptOutcome",
    "CauseCount",
    "ChangeMetadata",
    "Clock",
    "ConfigurationError",
    "Conflict",
    "Content",
    "Context",
    "ConversationRepository",
    "Cursor",
    "Delivery",
    "DeliveryNotFound",
    "DeliveryQuery",
    "DeliveryState",
    "DuplicateOf",
    "Erased",
    "Event",
    "EventType",
    "Feedback",
    "FeedbackNotFound",
    "FeedbackQuery",
    "FeedbackRepository",
    "GroupBy",
    "GroupKey",
    "InvalidMetadata",
    "JsonObject",
    "JsonValue",
    "KeyRepository",
    "LeaseLost",
    "MetadataSize",
    "MetadataVersions",
    "MissingExtra",
    "Moderation",
    "ModerationStatus",
    "OpenStorage",
    "Outbox",
    "Outcome",
    "Page",
    "Rating",
    "Revision",
    "RuleMatch",
    "Scope",
    "Sentiment",
    "SessionEntry",
    "SessionRepository",
    "StaleFeedback",
    "StateEntry",
    "StateRepository",
    "Storage",
    "StorageClosed",
    "StorageCorrupt",
    "StorageError",
    "StorageIncompatible",
    "StorageUnavailable",
    "Stored",
    "Subject",
    "Summary",
    "Taken",
    "Target",
    "Traits",
    "erasure_deliveries",
    "event_order",
    "group_by_cause",
]
