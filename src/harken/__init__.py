"""Collects user feedback: thumbs up, down or neutral and a comment, stored in your own database.

>>> import harken
>>> with harken.connect("memory://") as hk:
...     receipt = hk.submit("session-1", "down", "Too slow", agent_id="helper")
...     hk.summary(agent_id="helper").negative
1
"""

from typing import TYPE_CHECKING

from harken.assembly import Parts, Services, assemble
from harken.configuration.storage_urls import open_storage, same_storage
from harken.connection import connect
from harken.domain.access import ApiKey, Scope
from harken.domain.alerts.alert import Alert
from harken.domain.erasure import Erased
from harken.domain.errors import (
    AlertNotFound,
    ConfigurationError,
    ConversationConflict,
    DeliveryFailed,
    DeliveryNotFound,
    FeedbackNotFound,
    FeedbackRejected,
    FeedbackWithdrawn,
    HarkenError,
    IdempotencyConflict,
    InvalidConversation,
    InvalidCredentials,
    InvalidMetadata,
    InvalidQuery,
    InvalidTransition,
    KeyNotFound,
    KeyRejected,
    LeaseLost,
    MissingExtra,
    NoSuchChannel,
    NoSuchRoute,
    Overloaded,
    RouteRejected,
    StaleFeedback,
    StorageClosed,
    StorageCorrupt,
    StorageError,
    StorageIncompatible,
    StorageUnavailable,
    TemplateTooCostly,
    TemplateValueMissing,
)
from harken.domain.feedback import (
    UNCHANGED,
    Change,
    Content,
    Context,
    Feedback,
    Rating,
    Revision,
    Sentiment,
    Submission,
    Target,
)
from harken.domain.moderation import DecisionConflict, Moderation, ModerationStatus
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, Page
from harken.domain.replies import ReplyRule
from harken.domain.routes import Route
from harken.domain.rules import RatingPolicy, Rule
from harken.domain.summary import Comparison, Interval, Summary
from harken.domain.themes import Theme
from harken.domain.trend import Period, TrendPoint
from harken.domain.violation import Violation
from harken.facade import Harken
from harken.ports.notifier import ErasedFeedback, Notification, Notifier
from harken.ports.responder import Responder
from harken.services.feedback.middleware import Middleware
from harken.services.feedback.ready_middleware import (
    AuditEntry,
    AuditOutcome,
    Counters,
    NegativeFeedback,
    audit,
    notify_negative,
)
from harken.services.feedback.receipt import Receipt
from harken.services.keys import NewKey

if TYPE_CHECKING:
    from harken.container import Container, create_container, open_harken
else:

    def __getattr__(name: str) -> object:
        """Import the container on first use: it is slow, as dependency_injector imports all web frameworks."""
        if name not in ("Container", "create_container", "open_harken"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from harken import container  # noqa: PLC0415

        return getattr(container, name)


__all__ = [
    "UNCHANGED",
    "Alert",
    "AlertNotFound",
    "ApiKey",
    "AuditEntry",
    "AuditOutcome",
    "Change",
    "Comparison",
    "ConfigurationError",
    "Container",
    "Content",
    "Context",
    "ConversationConflict",
    "Counters",
    "Cursor",
    "DecisionConflict",
    "DeliveryFailed",
    "DeliveryNotFound",
    "Erased",
    "ErasedFeedback",
    "Feedback",
    "FeedbackNotFound",
    "FeedbackQuery",
    "FeedbackRejected",
    "FeedbackWithdrawn",
    "GroupBy",
    "Harken",
    "HarkenError",
    "IdempotencyConflict",
    "Interval",
    "InvalidConversation",
    "InvalidCredentials",
    "InvalidMetadata",
    "InvalidQuery",
    "InvalidTransition",
    "KeyNotFound",
    "KeyRejected",
    "LeaseLost",
    "Middleware",
    "MissingExtra",
    "Moderation",
    "ModerationStatus",
    "NegativeFeedback",
    "NewKey",
    "NoSuchChannel",
    "NoSuchRoute",
    "Notification",
    "Notifier",
    "Overloaded",
    "Page",
    "Parts",
    "Period",
    "Rating",
    "RatingPolicy",
    "Receipt",
    "ReplyRule",
    "Responder",
    "Revision",
    "Route",
    "RouteRejected",
    "Rule",
    "Scope",
    "Sentiment",
    "Services",
    "StaleFeedback",
    "StorageClosed",
    "StorageCorrupt",
    "StorageError",
    "StorageIncompatible",
    "StorageUnavailable",
    "Submission",
    "Summary",
    "Target",
    "TemplateTooCostly",
    "TemplateValueMissing",
    "Theme",
    "TrendPoint",
    "Violation",
    "assemble",
    "audit",
    "connect",
    "create_container",
    "notify_negative",
    "open_harken",
    "open_storage",
    "same_storage",
]
