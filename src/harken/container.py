"""The container whose providers embedders override. The only module that imports ``dependency_injector``.

``harken.connect`` imports it on the first call: ``dependency_injector`` imports every web framework that is installed.
"""

from __future__ import annotations

import os
import random
from collections.abc import Sequence
from typing import Any, TypeVar

from attrs import asdict, evolve
from dependency_injector import containers
from dependency_injector.providers import Callable, Configuration, Object, Provider, Resource, Self, Singleton

from harken.assembly import Parts, Services, assemble
from harken.clock import new_uuid7, utc_now
from harken.configuration.channels import open_renderer
from harken.configuration.embeddings import open_extractor
from harken.configuration.notifications import NotificationSettings
from harken.configuration.settings import Settings
from harken.configuration.storage_urls import open_storage
from harken.domain.retention import Retention
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
from harken.ports.text import FeatureExtractor, Sanitizer, SentimentAnalyzer, SpamFilter, TemplateRenderer, ThemeNamer
from harken.ports.time import Clock, NewId, Random
from harken.services.feedback.middleware import Middleware

T = TypeVar("T")


def build_parts(container: Container) -> Parts:
    """The parts of a container. The parts are named here, not in a provider, so that ``mypy`` checks their names."""
    return Parts(
        application=container.config.application(),
        max_queue=container.config.max_queue(),
        max_batch=container.config.max_batch(),
        policy=container.policy(),
        spam=container.config.spam(),
        middleware=container.middleware(),
        sanitizer=container.sanitizer(),
        spam_filter=container.spam_filter(),
        sentiment_analyzer=container.sentiment_analyzer(),
        feature_extractor=container.feature_extractor(),
        languages=container.config.languages(),
        theme_namer=container.theme_namer(),
        notifications=container.notifications(),
        retention=container.retention(),
        responder=container.responder(),
        renderer=container.renderer,
        clock=container.clock(),
        new_id=container.new_id(),
        new_secret=container.new_secret(),
        jitter=container.jitter(),
        services=container.services(),
    )


def build_storage(container: Container) -> Storage:
    """The storage of a container, with the repositories that its providers replace."""
    storage = container.storage()
    repositories: dict[str, Any] = {
        "feedback": container.feedback_repository(),
        "sessions": container.session_repository(),
        "outbox": container.outbox(),
        "keys": container.key_repository(),
        "alerts": container.alert_repository(),
        "state": container.state_repository(),
        "conversations": container.conversation_repository(),
    }
    replaced = {name: one for name, one in repositories.items() if one is not getattr(storage, name)}
    # A storage that is not exactly a Storage, such as a subclass with other arguments, is used unchanged otherwise.
    return evolve(storage, **replaced) if replaced else storage


def build_harken(container: Container) -> Harken:
    """The Harken of a container; the container calls this once."""
    return assemble(build_storage(container), build_parts(container))


class Container(containers.DeclarativeContainer):
    """A provider for each replaceable part, see :class:`harken.assembly.Parts`.

    Each can be overridden until :attr:`harken` is first called. ``config`` takes the attributes of
    :class:`harken.configuration.settings.Settings` as a dictionary.
    """

    #: The container, for functions that call its providers.
    __self__ = Self()

    config = Configuration(strict=True)

    clock: Provider[Clock] = Object(utc_now)
    new_id: Provider[NewId] = Object(new_uuid7)
    new_secret: Provider[NewSecret] = Object(os.urandom)
    jitter: Provider[Random] = Object(random.random)

    middleware: Provider[Sequence[Middleware]] = Object(())
    sanitizer: Provider[Sanitizer | None] = Object(None)
    spam_filter: Provider[SpamFilter | None] = Object(None)
    sentiment_analyzer: Provider[SentimentAnalyzer | None] = Object(None)
    feature_extractor: Provider[FeatureExtractor | None] = Singleton(open_extractor, config.embeddings)
    theme_namer: Provider[ThemeNamer | None] = Object(None)
    policy: Provider[RatingPolicy] = Callable(
        RatingPolicy.standard,
        max_comment_length=config.max_comment_length,
        reason_when_down=config.reason_when_down,
        spam=config.spam,
        spam_phrases=config.spam_phrases,
    )
    responder: Provider[Responder | None] = Object(None)

    notifications: Provider[NotificationSettings] = Object(NotificationSettings())
    retention: Provider[Retention] = Callable(Retention.parse, config.retention)
    renderer: Provider[TemplateRenderer] = Singleton(open_renderer)

    storage: Provider[Storage] = Resource(open_storage, config.storage)
    feedback_repository: Provider[FeedbackRepository] = storage.provided.feedback
    session_repository: Provider[SessionRepository] = storage.provided.sessions
    outbox: Provider[Outbox] = storage.provided.outbox
    key_repository: Provider[KeyRepository] = storage.provided.keys
    alert_repository: Provider[AlertRepository] = storage.provided.alerts
    state_repository: Provider[StateRepository] = storage.provided.state
    conversation_repository: Provider[ConversationRepository] = storage.provided.conversations

    services: Provider[Services] = Object(Services())

    harken: Provider[Harken] = Singleton(build_harken, __self__)


def create_container(settings: Settings) -> Container:
    """A container with these settings."""
    container = Container()
    container.config.from_dict(asdict(settings))
    return container


def override(provider: Provider[T], part: T | None) -> None:
    """Replace what a provider of a container provides, unless ``part`` is ``None``."""
    if part is not None:
        provider.override(Object(part))


def open_harken(container: Container) -> Harken:
    """The Harken of a container; closing it closes the storage that the container opened.

    Raises:
        ConfigurationError: a setting is invalid, or no installed package supports the storage's URL.
        StorageError: the storage cannot be opened.
    """
    try:
        harken = container.harken()
    except BaseException:
        container.shutdown_resources()
        raise
    harken.on_close(container.shutdown_resources)
    return harken
