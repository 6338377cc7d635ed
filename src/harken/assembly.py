"""The composition root: ``assemble`` builds a Harken from a storage and parts, ``connect`` from settings."""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from attrs import Factory, frozen

from harken.clock import new_uuid7, utc_now
from harken.configuration.channels import Channel, open_renderer
from harken.configuration.notifications import NotificationSettings
from harken.configuration.settings import Settings
from harken.domain.alerts.rules import AlertRule
from harken.domain.feedback import DEFAULT_APPLICATION
from harken.domain.replies import ReplyRule
from harken.domain.routes import Route
from harken.domain.rules import RatingPolicy
from harken.facade import Harken
from harken.ports.keys import NewSecret
from harken.ports.responder import Responder
from harken.ports.storage import Storage
from harken.ports.text import Sanitizer, SentimentAnalyzer, SpamFilter, TemplateRenderer, ThemeNamer
from harken.ports.time import Clock, NewId, Random
from harken.services.alerting.service import AlertingService
from harken.services.analytics import AnalyticsService
from harken.services.conversations import ConversationService
from harken.services.feed import Feed
from harken.services.feedback.collection import CollectionService, filtered_by
from harken.services.feedback.editing import Editor
from harken.services.feedback.erasing import Eraser
from harken.services.feedback.middleware import Middleware
from harken.services.feedback.moderation import ModerationService
from harken.services.keys import KeyService
from harken.services.notifications.channels import ChannelService
from harken.services.notifications.deliveries import DeliveryService
from harken.services.notifications.lane import RelayDependencies
from harken.services.notifications.relay import Relay
from harken.services.notifications.routes import RouteService
from harken.services.sentiment import SentimentService
from harken.services.sessions import SessionService
from harken.services.spam import SpamService
from harken.services.themes import ThemeService
from harken.stop_words import LANGUAGES, stop_words


@frozen(kw_only=True)
class Services:
    """The class of each service. To replace a service, name a subclass with the same constructor."""

    editor: type[Editor] = Editor
    eraser: type[Eraser] = Eraser
    collection: type[CollectionService] = CollectionService
    moderation: type[ModerationService] = ModerationService
    themes: type[ThemeService] = ThemeService
    analytics: type[AnalyticsService] = AnalyticsService
    sentiment: type[SentimentService] = SentimentService
    spam: type[SpamService] = SpamService
    sessions: type[SessionService] = SessionService
    conversations: type[ConversationService] = ConversationService
    keys: type[KeyService] = KeyService
    feed: type[Feed] = Feed
    alerting: type[AlertingService] = AlertingService
    channels: type[ChannelService] = ChannelService
    routes: type[RouteService] = RouteService
    deliveries: type[DeliveryService] = DeliveryService
    relay: type[Relay] = Relay


@frozen(kw_only=True)
class Parts:
    """The replaceable parts of a Harken, besides its storage; :func:`connect` describes most of them.

    Attributes:
        application: the application of calls that do not name one.
        max_queue: how many submissions may wait to be written.
        max_batch: how many submissions one write carries at most.
        policy: the rules for submissions.
        spam: what happens to a submission that ``spam_filter`` recognises: ``refuse``, ``hold`` or ``allow``.
        middleware: runs around each submission, the outermost first.
        sanitizer: turns comments into plain text.
        spam_filter: recognises spam.
        sentiment_analyzer: computes the sentiment of a comment.
        languages: the languages of comments, as ISO 639-1 codes; their stop words are not part of themes.
        theme_namer: names themes.
        notifications: channels, routes, alert rules and reply rules.
        responder: writes replies that no reply rule has.
        renderer: opens the template renderer; called when a route has a template.
        clock: the current time, in UTC.
        new_id: a new feedback id.
        new_secret: that many random bytes, for API keys.
        jitter: a random number from 0 to 1, for retries.
        services: the class of each service.
    """

    application: str = DEFAULT_APPLICATION
    max_queue: int = 10_000
    max_batch: int = 1_000
    policy: RatingPolicy = Factory(RatingPolicy.standard)
    spam: str = "refuse"
    middleware: Sequence[Middleware] = ()
    sanitizer: Sanitizer | None = None
    spam_filter: SpamFilter | None = None
    sentiment_analyzer: SentimentAnalyzer | None = None
    languages: Sequence[str] = LANGUAGES
    theme_namer: ThemeNamer | None = None
    notifications: NotificationSettings = Factory(NotificationSettings)
    responder: Responder | None = None
    renderer: Callable[[], TemplateRenderer] = open_renderer
    clock: Clock = utc_now
    new_id: NewId = new_uuid7
    new_secret: NewSecret = secrets.token_bytes
    jitter: Random = random.random
    services: Services = Services()


def assemble(storage: Storage, parts: Parts) -> Harken:
    """Build a Harken; :meth:`Harken.close` does not close the storage.

    Raises:
        ConfigurationError: a route or an alert rule is invalid.
    """
    make, clock, notifications = parts.services, parts.clock, parts.notifications
    channel_names = notifications.channels.names
    # Processes on other machines must agree on leases, due times and erasures.
    shared_clock = storage.clock(clock)
    policy = parts.policy
    if parts.spam_filter and parts.spam != "allow":
        policy = policy.with_rules(filtered_by(parts.spam_filter), hold=parts.spam == "hold")

    editor = make.editor(storage.feedback)
    eraser = make.eraser(storage.feedback, storage.sessions, storage.conversations, clock=shared_clock)
    collection = make.collection(
        storage.feedback,
        eraser,
        clock=clock,
        new_id=parts.new_id,
        policy=policy,
        application=parts.application,
        middleware=parts.middleware,
        sanitizer=parts.sanitizer,
        sentiment_analyzer=parts.sentiment_analyzer,
        reply_rules=notifications.replies,
        responder=parts.responder,
        editor=editor,
        max_queue=parts.max_queue,
        max_batch=parts.max_batch,
    )
    themes = make.themes(
        storage.feedback, clock=clock, stop_words=partial(stop_words, parts.languages), namer=parts.theme_namer
    )
    alerting = make.alerting(
        storage.feedback,
        storage.alerts,
        storage.state,
        rules=notifications.alert_rules,
        themes=themes,
        clock=clock,
    )
    channels = make.channels(
        storage.state, alerting, names=channel_names, application=parts.application, clock=shared_clock
    )
    routes = make.routes(
        storage.state, configured=notifications.routes, channels=channel_names, renderer=parts.renderer
    )
    deliveries = make.deliveries(
        storage.outbox,
        feedback=storage.feedback,
        alerts=storage.alerts,
        routes=routes,
        channels=channel_names,
        clock=shared_clock,
    )
    dependencies = RelayDependencies(
        outbox=storage.outbox,
        feedback=storage.feedback,
        alerts=storage.alerts,
        channels=channels,
        routes=routes,
        clock=shared_clock,
        jitter=parts.jitter,
    )
    return Harken(
        storage,
        application=parts.application,
        editor=editor,
        collection=collection,
        moderation=make.moderation(storage.feedback, clock=clock, editor=editor),
        sentiment=make.sentiment(storage.feedback, clock=clock),
        spam=make.spam(storage.feedback, clock=clock),
        analytics=make.analytics(storage.feedback, themes=themes, clock=clock),
        sessions=make.sessions(storage.sessions),
        conversations=make.conversations(storage.conversations),
        keys=make.keys(storage.keys, clock=clock, new_secret=parts.new_secret),
        feed=make.feed(storage.feedback, storage.alerts, clock=clock),
        alerts=alerting,
        channels=channels,
        routes=routes,
        deliveries=deliveries,
        relay=make.relay(dependencies, alerting, notifications.channels.open),
    )


def connect(
    storage: str | Storage | None = None,
    *,
    application: str | None = None,
    max_comment_length: int | None = None,
    comment_when_down: bool | None = None,
    spam: str | None = None,
    spam_phrases: Sequence[str] | None = None,
    max_queue: int | None = None,
    max_batch: int | None = None,
    languages: Sequence[str] | None = None,
    policy: RatingPolicy | None = None,
    middleware: Sequence[Middleware] = (),
    sanitizer: Sanitizer | None = None,
    spam_filter: SpamFilter | None = None,
    sentiment_analyzer: SentimentAnalyzer | None = None,
    theme_namer: ThemeNamer | None = None,
    channels: Mapping[str, Channel] | None = None,
    routes: Sequence[Route | Mapping[str, object]] | None = None,
    alert_rules: Sequence[AlertRule | Mapping[str, object]] | None = None,
    replies: Sequence[ReplyRule | Mapping[str, object]] | None = None,
    responder: Responder | None = None,
    clock: Clock | None = None,
    new_id: NewId | None = None,
    jitter: Random | None = None,
) -> Harken:
    """Open a storage and return a Harken on it; use it in a ``with`` block, or close it.

    Arguments that are left out come from ``HARKEN_*`` variables, then from ``harken.toml`` in the current directory (or
    the file that ``HARKEN_CONFIG`` names), then from defaults.

    Args:
        storage: a URL such as ``sqlite:///feedback.db`` or ``memory://``, or an open storage, which is not closed.
        application: the application of calls that do not name one.
        max_comment_length: in code points, after trimming.
        comment_when_down: whether a thumbs-down needs a comment.
        spam: what happens to spam: ``"refuse"``, ``"hold"`` for a moderator, or ``"allow"``.
        spam_phrases: phrases that make a comment spam, in upper or lower case.
        max_queue: how many submissions may wait to be written before new ones are refused.
        max_batch: how many submissions one write carries at most.
        languages: the languages of comments, as ISO 639-1 codes; their stop words are not part of themes.
        policy: rules that replace those of the settings; ``spam`` still decides about what ``spam_filter`` recognises.
        middleware: runs around each submission, the outermost first.
        sanitizer: turns comments into plain text.
        spam_filter: recognises spam, in addition to the phrases.
        sentiment_analyzer: computes the sentiment of a comment.
        theme_namer: names themes by their words and comments, see :data:`harken.ports.text.ThemeNamer`.
        channels: the destinations of events, by name: notifiers, which are not closed, or tables such as
            ``{"kind": "webhook", "url": ..., "secret": ...}``. Nothing is sent until a relay runs, see
            :meth:`Harken.start_relay`.
        routes: which events go to which channel; without routes, every event goes to every channel.
        alert_rules: the patterns that raise alerts.
        replies: the rules for replies to submitters.
        responder: writes replies that no rule has; runs in the background, after the feedback is stored.
        clock: returns the current time, in UTC.
        new_id: returns a new feedback id.
        jitter: returns a number from 0 to 1, by which a retry is delayed further.

    Raises:
        ConfigurationError: a setting is invalid, or no installed package supports the URL.
        StorageError: the storage cannot be opened.
    """
    # Not at the top: dependency_injector imports every web framework that is installed.
    from harken.container import filled, ready  # noqa: PLC0415

    settings = Settings.load(
        os.environ,
        Path.cwd(),
        storage=None if isinstance(storage, Storage) else storage,
        application=application,
        max_comment_length=max_comment_length,
        comment_when_down=comment_when_down,
        spam=spam,
        spam_phrases=spam_phrases,
        max_queue=max_queue,
        max_batch=max_batch,
        languages=languages,
    )
    notifications = NotificationSettings.load(
        os.environ, Path.cwd(), channels=channels, routes=routes, alert_rules=alert_rules, replies=replies
    )
    overrides = {
        "storage": storage if isinstance(storage, Storage) else None,
        "policy": policy,
        "middleware": tuple(middleware),
        "sanitizer": sanitizer,
        "spam_filter": spam_filter,
        "sentiment_analyzer": sentiment_analyzer,
        "theme_namer": theme_namer,
        "notifications": notifications,
        "responder": responder,
        "clock": clock,
        "new_id": new_id,
        "jitter": jitter,
    }
    return ready(filled(settings, {name: part for name, part in overrides.items() if part is not None}))
