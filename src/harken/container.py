"""The composition root: which object gets which. The only file that knows ``dependency_injector``."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from random import random

from attrs import asdict
from dependency_injector import containers
from dependency_injector.providers import Callable, Configuration, Object, Provider, Resource, Singleton
from uuid_utils import uuid7

from harken.configuration.channels import Channel, Channels, open_renderer
from harken.configuration.notifications import Notifying
from harken.configuration.settings import Settings
from harken.configuration.storage_urls import open_storage
from harken.domain.alerts.rules import AlertRule
from harken.domain.replies import ReplyRule
from harken.domain.routes import Route
from harken.domain.rules import RatingPolicy
from harken.facade import Harken
from harken.ports.alerts import AlertRepository
from harken.ports.conversations import ConversationRepository
from harken.ports.keys import KeyRepository, NewSecret
from harken.ports.outbox import Outbox
from harken.ports.repository import FeedbackRepository
from harken.ports.responder import Responder
from harken.ports.sessions import SessionRepository
from harken.ports.state import StateRepository
from harken.ports.storage import Storage
from harken.ports.text import Sanitizer, SentimentAnalyzer, SpamFilter, TemplateRenderer
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
from harken.services.sessions import SessionService


def utc_now() -> datetime:
    """The clock of the machine."""
    return datetime.now(UTC)


def new_uuid7() -> str:
    """A UUID version 7 (RFC 9562): ordered by time, also within this process and millisecond."""
    return str(uuid7())


def _policy_with(policy: RatingPolicy, spam_filter: SpamFilter | None, spam: str) -> RatingPolicy:
    if spam_filter is None or spam == "allow":
        return policy
    return policy.with_rules(filtered_by(spam_filter), hold=spam == "hold")


def _clock_of(storage: Storage, clock: Clock) -> Clock:
    return storage.clock(clock)


class Container(containers.DeclarativeContainer):
    """Every provider can be overridden before :attr:`harken` is first asked for."""

    config = Configuration(strict=True)

    clock: Provider[Clock] = Object(utc_now)
    new_id: Provider[NewId] = Object(new_uuid7)
    new_secret: Provider[NewSecret] = Object(secrets.token_bytes)
    middleware: Provider[Sequence[Middleware]] = Object(())
    sanitizer: Provider[Sanitizer | None] = Object(None)
    spam_filter: Provider[SpamFilter | None] = Object(None)
    sentiment_analyzer: Provider[SentimentAnalyzer | None] = Object(None)
    policy: Provider[RatingPolicy] = Callable(
        RatingPolicy.standard,
        max_comment_length=config.max_comment_length,
        comment_when_down=config.comment_when_down,
        spam=config.spam,
        spam_phrases=config.spam_phrases,
    )

    notifying: Provider[Notifying] = Object(Notifying(channels=Channels({}, {}), routes=()))
    responder: Provider[Responder | None] = Object(None)
    renderer: Provider[TemplateRenderer] = Singleton(open_renderer)
    jitter: Provider[Random] = Object(random)

    storage: Provider[Storage] = Resource(open_storage, config.storage)
    feedback_repository: Provider[FeedbackRepository] = storage.provided.feedback
    session_repository: Provider[SessionRepository] = storage.provided.sessions
    outbox: Provider[Outbox] = storage.provided.outbox
    key_repository: Provider[KeyRepository] = storage.provided.keys
    alert_repository: Provider[AlertRepository] = storage.provided.alerts
    state_repository: Provider[StateRepository] = storage.provided.state
    conversation_repository: Provider[ConversationRepository] = storage.provided.conversations

    storage_clock: Provider[Clock] = Singleton(_clock_of, storage, clock)
    editor: Provider[Editor] = Singleton(Editor, feedback_repository)
    collection: Provider[CollectionService] = Singleton(
        CollectionService,
        feedback_repository,
        Singleton(
            Eraser,
            feedback_repository,
            session_repository,
            conversation_repository,
            clock=storage_clock,
        ),
        clock=clock,
        new_id=new_id,
        policy=Callable(_policy_with, policy, spam_filter, config.spam),
        application=config.application,
        middleware=middleware,
        sanitizer=sanitizer,
        sentiment_analyzer=sentiment_analyzer,
        reply_rules=notifying.provided.replies,
        responder=responder,
        editor=editor,
        max_queue=config.max_queue,
        max_batch=config.max_batch,
    )
    moderation: Provider[ModerationService] = Singleton(
        ModerationService, feedback_repository, clock=clock, editor=editor
    )
    analytics: Provider[AnalyticsService] = Singleton(AnalyticsService, feedback_repository)
    sessions: Provider[SessionService] = Singleton(SessionService, session_repository)
    conversations: Provider[ConversationService] = Singleton(ConversationService, conversation_repository)
    feed: Provider[Feed] = Singleton(Feed, feedback_repository, alert_repository, clock=clock)
    keys: Provider[KeyService] = Singleton(KeyService, key_repository, clock=clock, new_secret=new_secret)
    alerting: Provider[AlertingService] = Singleton(
        AlertingService,
        feedback_repository,
        alert_repository,
        state_repository,
        rules=notifying.provided.alert_rules,
        clock=clock,
    )
    channels: Provider[ChannelService] = Singleton(
        ChannelService,
        state_repository,
        alerting,
        names=notifying.provided.channels.names,
        application=config.application,
        clock=storage_clock,
    )
    routes: Provider[RouteService] = Singleton(
        RouteService,
        state_repository,
        configured=notifying.provided.routes,
        channels=notifying.provided.channels.names,
        renderer=renderer.provider,
    )
    deliveries: Provider[DeliveryService] = Singleton(
        DeliveryService,
        outbox,
        feedback=feedback_repository,
        alerts=alert_repository,
        routes=routes,
        channels=notifying.provided.channels.names,
        clock=storage_clock,
    )
    relay: Provider[Relay] = Singleton(
        Relay,
        Singleton(
            RelayDependencies,
            outbox=outbox,
            feedback=feedback_repository,
            alerts=alert_repository,
            channels=channels,
            routes=routes,
            clock=storage_clock,
            jitter=jitter,
        ),
        alerting,
        notifying.provided.channels.open,
    )

    harken: Provider[Harken] = Singleton(
        Harken,
        collection=collection,
        editor=editor,
        moderation=moderation,
        analytics=analytics,
        sessions=sessions,
        conversations=conversations,
        keys=keys,
        feed=feed,
        alerts=alerting,
        channels=channels,
        routes=routes,
        deliveries=deliveries,
        relay=relay,
        outbox=outbox,
        check_storage=storage.provided.check,
        rebuild_storage=storage.provided.rebuild,
        application=config.application,
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
    policy: RatingPolicy | None = None,
    middleware: Sequence[Middleware] = (),
    sanitizer: Sanitizer | None = None,
    spam_filter: SpamFilter | None = None,
    sentiment_analyzer: SentimentAnalyzer | None = None,
    channels: Mapping[str, Channel] | None = None,
    routes: Sequence[Route | Mapping[str, object]] | None = None,
    alert_rules: Sequence[AlertRule | Mapping[str, object]] | None = None,
    replies: Sequence[ReplyRule | Mapping[str, object]] | None = None,
    responder: Responder | None = None,
    clock: Clock | None = None,
    new_id: NewId | None = None,
    jitter: Random | None = None,
) -> Harken:
    """A ready Harken on a storage; use it in a ``with`` block, or close it.

    What is not given comes from ``HARKEN_*`` variables, then from ``harken.toml`` in the current directory (or what
    ``HARKEN_CONFIG`` names), then from defaults.

    Args:
        storage: a URL such as ``sqlite:///feedback.db`` or ``memory://``, or an open storage, which is not closed.
        application: whose feedback it is, where a call does not say.
        max_comment_length: code points, after trimming.
        comment_when_down: whether a down needs a comment.
        spam: what spam does: ``"refuse"``, ``"hold"`` for a moderator, or ``"allow"``.
        spam_phrases: what makes a comment spam, in whatever case.
        max_queue: how many submissions may wait to be written before new ones are refused.
        max_batch: how many submissions one write carries at most.
        policy: rules of your own, in the place of those that the settings describe; ``spam`` still says what is done
            about what ``spam_filter`` finds.
        middleware: what happens around each submission, the outermost first.
        sanitizer: makes plain text of comments.
        spam_filter: recognises spam, besides the phrases.
        sentiment_analyzer: tells how comments sound.
        channels: where events can go, by name: notifiers, which are not closed, or tables such as
            ``{"kind": "webhook", "url": ..., "secret": ...}``. Nothing is sent before a relay runs, see
            :meth:`Harken.start_relay`.
        routes: which events go to which channel; without any, everything goes everywhere.
        alert_rules: the patterns that raise alerts.
        replies: what is answered to people who are not satisfied, by rules.
        responder: is asked for an answer where no rule has one; in the background, after the feedback is stored.
        clock: gives the time now, in UTC.
        new_id: gives a new feedback id.
        jitter: gives a number from 0 to 1, by which a retry comes a little later than planned.

    Raises:
        ConfigurationError: a setting makes no sense, or nothing serves that URL.
        StorageError: the storage cannot be opened.
    """
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
    )
    container = Container()
    container.config.from_dict(asdict(settings))
    overrides = {
        "storage": storage if isinstance(storage, Storage) else None,
        "policy": policy,
        "middleware": tuple(middleware),
        "sanitizer": sanitizer,
        "spam_filter": spam_filter,
        "sentiment_analyzer": sentiment_analyzer,
        "notifying": Notifying.load(
            os.environ, Path.cwd(), channels=channels, routes=routes, alert_rules=alert_rules, replies=replies
        ),
        "responder": responder,
        "clock": clock,
        "new_id": new_id,
        "jitter": jitter,
    }
    for name, value in overrides.items():
        if value is not None:
            getattr(container, name).override(Object(value))
    return ready(container)


def ready(container: Container) -> Harken:
    """The Harken of a container, which it shuts down when it is closed."""
    try:
        harken = container.harken()
    except BaseException:
        container.shutdown_resources()
        raise
    harken.on_close(container.shutdown_resources)
    return harken
