"""Harken collects what people think of an answer, keeps every word, and turns it into exact figures.

>>> import harken
>>> with harken.connect("memory://") as hk:
...     receipt = hk.submit("session-1", "down", "Too slow", agent_id="helper")
...     hk.summary(agent_id="helper").negative
1
"""

from harken.container import Container, connect, ready
from harken.domain.errors import (
    ConfigurationError,
    DeliveryNotFound,
    FeedbackNotFound,
    FeedbackRejected,
    FeedbackWithdrawn,
    HarkenError,
    IdempotencyConflict,
    InvalidMetadata,
    InvalidQuery,
    InvalidTransition,
    LeaseLost,
    MissingExtra,
    Overloaded,
    StaleFeedback,
    StorageClosed,
    StorageCorrupt,
    StorageError,
    StorageIncompatible,
    StorageUnavailable,
)
from harken.domain.feedback import (
    UNCHANGED,
    Change,
    Context,
    Feedback,
    Rating,
    Revision,
    Sentiment,
    Submission,
    Target,
)
from harken.domain.moderation import Moderation, ModerationStatus
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, Page
from harken.domain.rules import RatingPolicy, Rule
from harken.domain.summary import Comparison, Interval, Summary
from harken.domain.themes import Theme
from harken.domain.trend import Period, TrendPoint
from harken.domain.violation import Violation
from harken.harken import Harken
from harken.services.middleware import Middleware, Receipt

__all__ = [
    "UNCHANGED",
    "Change",
    "Comparison",
    "ConfigurationError",
    "Container",
    "Context",
    "Cursor",
    "DeliveryNotFound",
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
    "InvalidMetadata",
    "InvalidQuery",
    "InvalidTransition",
    "LeaseLost",
    "Middleware",
    "MissingExtra",
    "Moderation",
    "ModerationStatus",
    "Overloaded",
    "Page",
    "Period",
    "Rating",
    "RatingPolicy",
    "Receipt",
    "Revision",
    "Rule",
    "Sentiment",
    "StaleFeedback",
    "StorageClosed",
    "StorageCorrupt",
    "StorageError",
    "StorageIncompatible",
    "StorageUnavailable",
    "Submission",
    "Summary",
    "Target",
    "Theme",
    "TrendPoint",
    "Violation",
    "connect",
    "ready",
]
