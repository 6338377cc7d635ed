"""``connect`` builds a Harken from arguments, ``HARKEN_*`` variables and ``harken.toml``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from harken.configuration.channels import Channel
from harken.configuration.notifications import NotificationSettings
from harken.configuration.settings import Settings
from harken.domain.alerts.rules import AlertRule
from harken.domain.replies import ReplyRule
from harken.domain.routes import Route
from harken.domain.rules import RatingPolicy, SpamHandling
from harken.facade import Harken
from harken.ports.responder import Responder
from harken.ports.storage import Storage
from harken.ports.text import FeatureExtractor, Sanitizer, SentimentAnalyzer, SpamFilter, ThemeNamer
from harken.ports.time import Clock, NewId, Random
from harken.services.feedback.middleware import Middleware

if TYPE_CHECKING:
    from harken.domain.digest import DigestRule
    from harken.domain.retention import Retention


def connect(
    storage: str | Storage | None = None,
    *,
    application: str | None = None,
    max_comment_length: int | None = None,
    reason_when_down: bool | None = None,
    spam: SpamHandling | None = None,
    spam_phrases: Sequence[str] | None = None,
    max_queue: int | None = None,
    max_batch: int | None = None,
    languages: Sequence[str] | None = None,
    embeddings: bool | None = None,
    retention: str | Retention | None = None,
    policy: RatingPolicy | None = None,
    middleware: Sequence[Middleware] = (),
    sanitizer: Sanitizer | None = None,
    spam_filter: SpamFilter | None = None,
    sentiment_analyzer: SentimentAnalyzer | None = None,
    feature_extractor: FeatureExtractor | None = None,
    theme_namer: ThemeNamer | None = None,
    channels: Mapping[str, Channel] | None = None,
    routes: Sequence[Route | Mapping[str, object]] | None = None,
    alert_rules: Sequence[AlertRule | Mapping[str, object]] | None = None,
    replies: Sequence[ReplyRule | Mapping[str, object]] | None = None,
    digests: Sequence[DigestRule | Mapping[str, object]] | None = None,
    public_url: str | None = None,
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
        reason_when_down: whether a thumbs-down needs a comment or a reason tag.
        spam: what happens to spam: ``"refuse"``, ``"hold"`` for a moderator, or ``"allow"``.
        spam_phrases: phrases that make a comment spam, in upper or lower case.
        max_queue: how many submissions may wait to be written before new ones are refused.
        max_batch: how many submissions one write carries at most.
        languages: the languages of comments, as ISO 639-1 codes; their stop words are not part of themes.
        embeddings: whether sentiment is also learned from text embeddings, which needs the extra ``embeddings``.
        retention: how long feedback is kept, such as ``"400 days"`` or ``"forever"``, for applications without a table
            ``[applications.<name>]`` in the file; a ``Retention`` replaces these tables. A relay erases older feedback.
        policy: rules that replace those of the settings; ``spam`` still decides about what ``spam_filter`` recognises.
        middleware: runs around each submission, the outermost first.
        sanitizer: turns comments into plain text.
        spam_filter: recognises spam, in addition to the phrases.
        sentiment_analyzer: computes the sentiment of a comment.
        feature_extractor: computes features of comments from which sentiment is learned, instead of ``embeddings``.
        theme_namer: names themes by their words and comments, see :data:`harken.ports.text.ThemeNamer`.
        channels: the destinations of events, by name: notifiers, which are not closed, or tables such as
            ``{"kind": "webhook", "url": ..., "secret": ...}``. Nothing is sent until a relay runs, see
            :meth:`Harken.start_relay`.
        routes: which events go to which channel; without routes, every event goes to every channel.
        alert_rules: the patterns that raise alerts.
        replies: the rules for replies to submitters.
        digests: the digests that channels get each week.
        public_url: the URL at which browsers reach the HTTP service, to which digests link; by default that of the
            settings of the HTTP service.
        responder: writes replies that no rule has; runs in the background, after the feedback is stored.
        clock: returns the current time, in UTC.
        new_id: returns a new feedback id.
        jitter: returns a number from 0 to 1, by which a retry is delayed further.

    Raises:
        ConfigurationError: a setting is invalid, or no installed package supports the URL.
        StorageError: the storage cannot be opened.
    """
    # Not at the top: dependency_injector imports every web framework that is installed.
    from harken.configuration.retention import load_retention  # noqa: PLC0415 - keeps `import harken` light
    from harken.container import create_container, open_harken, override  # noqa: PLC0415

    settings = Settings.load(
        os.environ,
        Path.cwd(),
        storage=None if isinstance(storage, Storage) else storage,
        application=application,
        max_comment_length=max_comment_length,
        reason_when_down=reason_when_down,
        spam=spam,
        spam_phrases=spam_phrases,
        max_queue=max_queue,
        max_batch=max_batch,
        languages=languages,
        embeddings=embeddings,
        retention=retention if isinstance(retention, str) else None,
    )
    notifications = NotificationSettings.load(
        os.environ,
        Path.cwd(),
        channels=channels,
        routes=routes,
        alert_rules=alert_rules,
        replies=replies,
        digests=digests,
        public_url=public_url,
    )
    container = create_container(settings)
    override(container.storage, storage if isinstance(storage, Storage) else None)
    override(container.policy, policy)
    override(container.middleware, tuple(middleware))
    override(container.sanitizer, sanitizer)
    override(container.spam_filter, spam_filter)
    override(container.sentiment_analyzer, sentiment_analyzer)
    override(container.feature_extractor, feature_extractor)
    override(container.theme_namer, theme_namer)
    override(container.notifications, notifications)
    given = None if isinstance(retention, str) else retention
    override(container.retention, given or load_retention(settings.retention, os.environ, Path.cwd()))
    override(container.responder, responder)
    override(container.clock, clock)
    override(container.new_id, new_id)
    override(container.jitter, jitter)
    return open_harken(container)
