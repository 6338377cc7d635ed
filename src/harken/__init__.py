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
    ChannelOff,
    ConfigurationError,
    ConversationConflict,
    DeliveryFailed,
    DeliveryNotFound,
    FeedbackNotFound,
    FeedbackRejected,
    FeedbackWithdrawn,
    Forbidden,
    HarkenError,
    IdempotencyConflict,
    ImportNotFound,
    ImportRejected,
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
    SearchNotReady,
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
    RatingValue,
    Revision,
    Sentiment,
    Submission,
    Target,
)
from harken.domain.insight.change_points import SatisfactionChange
from harken.domain.insight.comparison import Comparison, Estimate, Proportion, ProportionChange, Verdict
from harken.domain.insight.evaluation import Evaluation
from harken.domain.insight.headline import Finding, Growth, Headline, Silence
from harken.domain.insight.heat_map import Cell
from harken.domain.insight.issues import Issue, Issues
from harken.domain.insight.mix import Mix
from harken.domain.insight.ranking import RankedGroup, Ranking
from harken.domain.insight.themes import Theme
from harken.domain.keywords import Keyword
from harken.domain.moderation import DecisionConflict, Moderation, ModerationStatus, ResponseTime, RuleMatch
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, Page
from harken.domain.replies import ReplyRule
from harken.domain.routes import Route, RouteDryRun
from harken.domain.rules import RatingPolicy, Rule, SpamHandling
from harken.domain.search import TextSearch
from harken.domain.summary import Interval, Summary
from harken.domain.trend import Period, PeriodValue, Trend, TrendPoint
from harken.domain.violation import Violation
from harken.facade import Harken
from harken.ports.notifier import ErasedFeedback, Notification, Notifier
from harken.ports.responder import Responder
from harken.ports.text import ThemeNamer
from harken.services.feed import Missed, News
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
from harken.services.sentiment import (
    AverageReading,
    EmbeddingsEvaluation,
    Reading,
    SentimentEvaluation,
    SentimentSurvey,
)
from harken.services.spam import SpamEvaluation, SpamReading
from harken.services.themes import FoundTheme, Themes

if TYPE_CHECKING:
    from harken.asynchronous import AsyncHarken, connect_async
    from harken.container import Container, create_container, open_harken
    from harken.domain.imports import Import, ImportCounts
    from harken.domain.insight.facets import Facets
    from harken.domain.insight.periods import ComparedPeriods
    from harken.domain.retention import Retention
else:

    def __getattr__(name: str) -> object:
        """Import on first use what is slow or rarely used.

        dependency_injector imports all web frameworks, asyncio sockets and TLS.
        """
        if name in ("AsyncHarken", "connect_async"):
            from harken import asynchronous as module  # noqa: PLC0415
        elif name in ("Container", "create_container", "open_harken"):
            from harken import container as module  # noqa: PLC0415
        elif name in ("Import", "ImportCounts"):
            from harken.domain import imports as module  # noqa: PLC0415
        elif name == "Facets":
            from harken.domain.insight import facets as module  # noqa: PLC0415
        elif name == "Retention":
            from harken.domain import retention as module  # noqa: PLC0415
        elif name == "ComparedPeriods":
            from harken.domain.insight import periods as module  # noqa: PLC0415
        else:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(module, name)


__all__ = [
    "UNCHANGED",
    "Alert",
    "AlertNotFound",
    "ApiKey",
    "AsyncHarken",
    "AuditEntry",
    "AuditOutcome",
    "AverageReading",
    "Cell",
    "Change",
    "ChannelOff",
    "ComparedPeriods",
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
    "EmbeddingsEvaluation",
    "Erased",
    "ErasedFeedback",
    "Estimate",
    "Evaluation",
    "Facets",
    "Feedback",
    "FeedbackNotFound",
    "FeedbackQuery",
    "FeedbackRejected",
    "FeedbackWithdrawn",
    "Finding",
    "Forbidden",
    "FoundTheme",
    "GroupBy",
    "Growth",
    "Harken",
    "HarkenError",
    "Headline",
    "IdempotencyConflict",
    "Import",
    "ImportCounts",
    "ImportNotFound",
    "ImportRejected",
    "Interval",
    "InvalidConversation",
    "InvalidCredentials",
    "InvalidMetadata",
    "InvalidQuery",
    "InvalidTransition",
    "Issue",
    "Issues",
    "KeyNotFound",
    "KeyRejected",
    "Keyword",
    "LeaseLost",
    "Middleware",
    "Missed",
    "MissingExtra",
    "Mix",
    "Moderation",
    "ModerationStatus",
    "NegativeFeedback",
    "NewKey",
    "News",
    "NoSuchChannel",
    "NoSuchRoute",
    "Notification",
    "Notifier",
    "Overloaded",
    "Page",
    "Parts",
    "Period",
    "PeriodValue",
    "Proportion",
    "ProportionChange",
    "RankedGroup",
    "Ranking",
    "Rating",
    "RatingPolicy",
    "RatingValue",
    "Reading",
    "Receipt",
    "ReplyRule",
    "Responder",
    "ResponseTime",
    "Retention",
    "Revision",
    "Route",
    "RouteDryRun",
    "RouteRejected",
    "Rule",
    "RuleMatch",
    "SatisfactionChange",
    "Scope",
    "SearchNotReady",
    "Sentiment",
    "SentimentEvaluation",
    "SentimentSurvey",
    "Services",
    "Silence",
    "SpamEvaluation",
    "SpamHandling",
    "SpamReading",
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
    "TextSearch",
    "Theme",
    "ThemeNamer",
    "Themes",
    "Trend",
    "TrendPoint",
    "Verdict",
    "Violation",
    "assemble",
    "audit",
    "connect",
    "connect_async",
    "create_container",
    "notify_negative",
    "open_harken",
    "open_storage",
    "same_storage",
]
