"""The composition root: ``assemble`` builds a Harken from a storage and its parts."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from attrs import Factory, frozen

from harken.clock import new_uuid7, utc_now
from harken.configuration.channels import open_renderer
from harken.configuration.notifications import NotificationSettings
from harken.configuration.settings import Settings
from harken.domain.feedback import DEFAULT_APPLICATION
from harken.domain.rules import RatingPolicy, SpamHandling
from harken.facade import Harken
from harken.ports.keys import NewSecret
from harken.ports.responder import Responder
from harken.ports.storage import Storage
from harken.ports.text import FeatureExtractor, Sanitizer, SentimentAnalyzer, SpamFilter, TemplateRenderer, ThemeNamer
from harken.ports.time import Clock, NewId, Random
from harken.services.alerting.service import AlertingService
from harken.services.analytics import AnalyticsService
from harken.services.conversations import ConversationService
from harken.services.erasures import Erasures
from harken.services.feed import Feed
from harken.services.feedback.collection import CollectionService, spam_rule
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

if TYPE_CHECKING:
    from harken.domain.retention import Retention


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
        feature_extractor: computes features of comments, from which sentiment is learned.
        languages: the languages of comments, as ISO 639-1 codes; their stop words are not part of themes.
        theme_namer: names themes.
        notifications: channels, routes, alert rules, reply rules and digests.
        retention: how long feedback is kept; ``None`` for ever.
        responder: writes replies that no reply rule has.
        renderer: opens the template renderer; called when a route has a template.
        clock: the current time, in UTC.
        new_id: a new feedback id.
        new_secret: that many random bytes, for API keys.
        jitter: a random number from 0 to 1, for retries.
        services: the class of each service.

    Raises:
        ConfigurationError: ``application``, ``max_queue``, ``max_batch`` or ``spam`` is invalid.
    """

    application: str = DEFAULT_APPLICATION
    max_queue: int = 10_000
    max_batch: int = 1_000
    policy: RatingPolicy = Factory(RatingPolicy.standard)
    spam: SpamHandling = "refuse"
    middleware: Sequence[Middleware] = ()
    sanitizer: Sanitizer | None = None
    spam_filter: SpamFilter | None = None
    sentiment_analyzer: SentimentAnalyzer | None = None
    feature_extractor: FeatureExtractor | None = None
    languages: Sequence[str] = LANGUAGES
    theme_namer: ThemeNamer | None = None
    notifications: NotificationSettings = Factory(NotificationSettings)
    retention: Retention | None = None
    responder: Responder | None = None
    renderer: Callable[[], TemplateRenderer] = open_renderer
    clock: Clock = utc_now
    new_id: NewId = new_uuid7
    new_secret: NewSecret = os.urandom
    jitter: Random = random.random
    services: Services = Services()

    def __attrs_post_init__(self) -> None:
        # These four are settings as well; the settings check them.
        Settings(application=self.application, max_queue=self.max_queue, max_batch=self.max_batch, spam=self.spam)


def assemble(storage: Storage, parts: Parts) -> Harken:
    """Build a Harken; :meth:`Harken.close` does not close the storage.

    Raises:
        ConfigurationError: a route, an alert rule or a digest is invalid.
    """
    from harken.domain.retention import Retention  # noqa: PLC0415 - keeps `import harken` light
    from harken.services.feedback.retention import RetentionService  # noqa: PLC0415 - as above
    from harken.services.feedback.rule_counts import RuleCounts  # noqa: PLC0415 - as above
    from harken.services.imports import ImportService  # noqa: PLC0415 - as above
    from harken.services.notifications.digests import DigestService  # noqa: PLC0415 - as above
    from harken.services.notifications.session_changes import SessionChanges  # noqa: PLC0415 - as above

    make, clock, notifications = parts.services, parts.clock, parts.notifications
    channel_names = notifications.channels.names
    # Processes on other machines must agree on leases, due times and erasures.
    shared_clock = storage.clock(clock)
    policy = parts.policy
    if parts.spam_filter and parts.spam != "allow":
        policy = policy.with_rules(spam_rule(parts.spam_filter), hold=parts.spam == "hold")

    editor = make.editor(storage.feedback)
    erasures = Erasures(storage.state)
    eraser = make.eraser(
        storage.feedback, storage.sessions, storage.conversations, erasures, storage.state, clock=shared_clock
    )
    rule_counts = RuleCounts(storage.state, clock=clock)
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
        rule_counts=rule_counts,
        max_queue=parts.max_queue,
        max_batch=parts.max_batch,
    )
    themes = make.themes(
        storage.feedback,
        clock=clock,
        stop_words=partial(stop_words, parts.languages),
        namer=parts.theme_namer,
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
        storage.state,
        alerting,
        storage.outbox,
        kinds=notifications.channels.kinds(),
        application=parts.application,
        clock=shared_clock,
    )
    routes = make.routes(
        storage.state,
        feedback=storage.feedback,
        alerts=storage.alerts,
        configured=notifications.routes,
        channels=channel_names,
        renderer=parts.renderer,
        clock=clock,
    )
    session_changes = SessionChanges(storage.sessions, storage.outbox, routes, clock=shared_clock, new_id=parts.new_id)
    deliveries = make.deliveries(
        storage.outbox,
        feedback=storage.feedback,
        alerts=storage.alerts,
        routes=routes,
        channels=channels,
        clock=shared_clock,
    )
    analytics = make.analytics(storage.feedback, erasures, themes=themes, clock=clock)
    digests = DigestService(
        storage.state,
        storage.outbox,
        storage.feedback,
        analytics,
        rules=notifications.digests,
        channels=channel_names,
        application=parts.application,
        public_url=notifications.public_url,
        clock=shared_clock,
    )
    retention = RetentionService(
        parts.retention or Retention(), storage.feedback, storage.state, collection.erase, clock=shared_clock
    )
    dependencies = RelayDependencies(
        outbox=storage.outbox,
        feedback=storage.feedback,
        alerts=storage.alerts,
        channels=channels,
        routes=routes,
        digests=digests,
        session_changes=session_changes,
        retention=retention,
        clock=shared_clock,
        jitter=parts.jitter,
    )
    relay = make.relay(dependencies, alerting, notifications.channels.open)
    session_changes.on_change(relay.nudge)
    return Harken(
        storage,
        application=parts.application,
        editor=editor,
        collection=collection,
        moderation=make.moderation(storage.feedback, clock=clock, editor=editor, rule_counts=rule_counts),
        sentiment=make.sentiment(storage.feedback, erasures, clock=clock, extractor=parts.feature_extractor),
        spam=make.spam(storage.feedback, erasures, clock=clock),
        analytics=analytics,
        sessions=make.sessions(storage.sessions, make_change=session_changes.make_change),
        conversations=make.conversations(storage.conversations),
        keys=make.keys(storage.keys, storage.state, clock=clock, new_secret=parts.new_secret),
        feed=make.feed(storage.feedback, storage.alerts, clock=clock),
        alerts=alerting,
        channels=channels,
        routes=routes,
        deliveries=deliveries,
        digests=digests,
        retention=retention,
        imports=ImportService(storage.state, collection.erase, clock=clock, new_id=parts.new_id),
        relay=relay,
    )
