"""The door that most people use."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from types import TracebackType
from typing import Self, TypedDict, Unpack

from harken.domain.errors import InvalidQuery
from harken.domain.feedback import DEFAULT_APPLICATION, NO_CONTEXT, Feedback, Rating, Scalar, Submission, Target
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, GroupKey, Page
from harken.domain.summary import Summary
from harken.domain.themes import KEYWORDS, Theme
from harken.domain.trend import Period, TrendPoint
from harken.ports.storage import Storage
from harken.services.alerting.service import AlertingService
from harken.services.analytics import AnalyticsService
from harken.services.conversations import ConversationService
from harken.services.feed import Feed
from harken.services.feedback.collection import CollectionService
from harken.services.feedback.editing import Editor
from harken.services.feedback.middleware import Receipt
from harken.services.feedback.moderation import ModerationService
from harken.services.keys import KeyService
from harken.services.notifications.channels import ChannelService
from harken.services.notifications.deliveries import DeliveryService
from harken.services.notifications.relay import Relay
from harken.services.notifications.routes import RouteService
from harken.services.sessions import SessionService


class Filters(TypedDict, total=False):
    """The keywords that choose feedback; all that are given must hold.

    ``rating=None`` means neutral; leave it out for any rating. ``since`` is included, ``until`` is not.
    """

    application: str | None
    session_id: str | None
    message_id: str | None
    agent_id: str | None
    author: str | None
    rating: Rating | str | None
    tag: str | None
    context: Mapping[str, Scalar]
    since: datetime | None
    until: datetime | None


class Harken:
    """Collects feedback and tells what it says. Thread-safe; one for each process is enough.

    Made by ``harken.connect``. The services behind it do everything else: ``collection``, ``moderation``,
    ``analytics``, ``sessions``, ``conversations``, ``keys``, ``feed``, ``alerts``, ``channels``,
    ``routes``, ``deliveries`` and ``relay``.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        collection: CollectionService,
        editor: Editor,
        moderation: ModerationService,
        analytics: AnalyticsService,
        sessions: SessionService,
        conversations: ConversationService,
        keys: KeyService,
        feed: Feed,
        alerts: AlertingService,
        channels: ChannelService,
        routes: RouteService,
        deliveries: DeliveryService,
        relay: Relay,
        application: str = DEFAULT_APPLICATION,
    ) -> None:
        self.collection = collection
        self.moderation = moderation
        self.analytics = analytics
        self.sessions = sessions
        self.conversations = conversations
        self.keys = keys
        self.feed = feed
        self.alerts = alerts
        self.channels = channels
        self.routes = routes
        self.deliveries = deliveries
        self.relay = relay
        self.outbox = storage.outbox
        self.application = application
        self._storage = storage
        self._on_close: list[Callable[[], object]] = [relay.stop, feed.close, collection.close]
        collection.on_write(lambda _: feed.nudge())
        collection.on_write(lambda _: relay.nudge())
        editor.on_change(feed.nudge)
        editor.on_change(relay.changed)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Finish what was begun, then close what was opened for it. Closing twice is harmless."""
        while self._on_close:
            self._on_close.pop(0)()

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call this at the end of :meth:`close`."""
        self._on_close.append(callback)

    def start_relay(self, *, concurrency: int = 4) -> None:
        """Begin to tell whoever should know, in threads of this process; it ends when this is closed.

        Args:
            concurrency: how many deliveries to one channel may be under way at a time.

        Raises:
            ConfigurationError: a channel cannot be used as it is configured.
        """
        self.relay.start(concurrency=concurrency)

    def submit(
        self,
        session_id: str,
        rating: Rating | str | None,
        comment: str = "",
        *,
        agent_id: str | None = None,
        message_id: str | None = None,
        author: str | None = None,
        tags: Sequence[str] = (),
        context: Mapping[str, Scalar] | None = None,
        idempotency_key: str | None = None,
        application: str | None = None,
    ) -> Receipt:
        """Keep what somebody thinks of an answer; on return it is durable.

        Args:
            session_id: the session that it is about.
            rating: ``"up"``, ``"down"`` or ``None`` for neither.
            comment: what they say; a down needs it.
            agent_id: the agent that answered.
            message_id: the message that it is about, if one.
            author: who gave it, as an opaque id.
            tags: the reasons that they picked.
            context: what else is known by name, such as ``{"user_tier": "premium"}``.
            idempotency_key: makes repeating the call safe: the same key and body are kept once.
            application: whose feedback it is, if not the one connected for.

        Raises:
            FeedbackRejected: it breaks rules; ``violations`` has all of them.
            IdempotencyConflict: the key was used before in this session, with another body.
            Overloaded: too much is waiting to be written; nothing was kept.
            StorageError: it could not be stored.
        """
        submission = self._submission(
            Target(session_id, message_id, agent_id),
            rating,
            comment,
            author=author,
            tags=tags,
            context=context,
            idempotency_key=idempotency_key,
            application=application,
        )
        return self.collection.submit(submission)

    def submit_soon(
        self,
        session_id: str,
        rating: Rating | str | None,
        comment: str = "",
        *,
        agent_id: str | None = None,
        message_id: str | None = None,
        author: str | None = None,
        tags: Sequence[str] = (),
        context: Mapping[str, Scalar] | None = None,
        idempotency_key: str | None = None,
        application: str | None = None,
    ) -> Future[Receipt]:
        """Like :meth:`submit`, without waiting for the storage: what that returns or raises, the future does."""
        submission = self._submission(
            Target(session_id, message_id, agent_id),
            rating,
            comment,
            author=author,
            tags=tags,
            context=context,
            idempotency_key=idempotency_key,
            application=application,
        )
        return self.collection.submit_soon(submission)

    def feedback(self, *, limit: int = 100, after: Cursor | str | None = None, **filters: Unpack[Filters]) -> Page:
        """A page of at most ``limit`` (1 to 1,000), newest first; ``after`` is the last page's ``next``.

        Raises:
            InvalidQuery: a filter, the limit or the cursor makes no sense.
        """
        cursor = Cursor.parse(after) if isinstance(after, str) else after
        return self.collection.find(self.query(**filters), limit=limit, after=cursor)

    def stream(self, **filters: Unpack[Filters]) -> Iterator[Feedback]:
        """All that match, oldest first, in constant memory."""
        return self.collection.stream(self.query(**filters))

    def summary(self, **filters: Unpack[Filters]) -> Summary:
        """The figures of all that match, exactly."""
        return self.analytics.summary(self.query(**filters))

    def groups(self, by: GroupBy | str, **filters: Unpack[Filters]) -> Mapping[GroupKey, Summary]:
        """The figures by ``"agent"``, ``"session"``, ``"tag"`` or ``"context.<name>"``, the largest group first."""
        group_by = GroupBy.parse(by) if isinstance(by, str) else by
        return self.analytics.groups(self.query(**filters), group_by)

    def trend(
        self, period: Period | str = Period.DAY, zone: str = "UTC", **filters: Unpack[Filters]
    ) -> list[TrendPoint]:
        """The figures by local ``"hour"``, ``"day"`` or ``"week"`` of an IANA time zone, oldest first."""
        return self.analytics.trend(self.query(**filters), _period(period), zone)

    def themes(self, keywords: str | Sequence[str] = KEYWORDS, **filters: Unpack[Filters]) -> tuple[Theme, ...]:
        """How many downs mention each keyword, the most mentioned first."""
        return self.analytics.themes(self.query(**filters), keywords)

    def check(self) -> list[str]:
        """Look for damage in the storage and for figures that differ from a recount, and tell of each problem.

        Reads everything of the application that it is connected for, so it takes as long as that takes. Feedback that
        comes in meanwhile can make figures differ.
        """
        return [*self._storage.check(), *self.analytics.discrepancies(self.query())]

    def rebuild(self) -> list[str]:
        """Count anew what figures the storage keeps, of all applications; mend and tell of each that was wrong.

        Reads everything, so it takes as long as that takes; feedback that comes in meanwhile may have to wait.
        """
        return list(self._storage.rebuild())

    def query(self, **filters: Unpack[Filters]) -> FeedbackQuery:
        """The query that these keywords mean, for the services.

        Raises:
            InvalidQuery: a filter makes no sense.
            TypeError: there is no such filter.
        """
        if unknown := filters.keys() - Filters.__annotations__.keys():
            # A filter that is misspelt must not mean everything.
            known = ", ".join(Filters.__annotations__)
            raise TypeError(f"There is no filter {', '.join(sorted(unknown))}; known are {known}")
        application = filters.get("application")
        rating = None
        if "rating" in filters:
            rating = _rating(filters["rating"])
        return FeedbackQuery(
            application=self.application if application is None else application,
            session_id=filters.get("session_id"),
            message_id=filters.get("message_id"),
            agent_id=filters.get("agent_id"),
            author=filters.get("author"),
            rating=rating,
            tag=filters.get("tag"),
            context=filters.get("context"),
            since=filters.get("since"),
            until=filters.get("until"),
        )

    def _submission(
        self,
        target: Target,
        rating: Rating | str | None,
        comment: str,
        *,
        author: str | None,
        tags: Sequence[str],
        context: Mapping[str, Scalar] | None,
        idempotency_key: str | None,
        application: str | None,
    ) -> Submission:
        return Submission(
            target=target,
            rating=rating,
            comment=comment,
            author=author,
            tags=tags,
            context=NO_CONTEXT if context is None else context,
            idempotency_key=idempotency_key,
            application=self.application if application is None else application,
        )


def _rating(value: Rating | str | None) -> Rating:
    try:
        return Rating.parse(value)
    except ValueError as error:
        raise InvalidQuery(str(error)) from None


def _period(value: Period | str) -> Period:
    try:
        return Period(value)
    except ValueError:
        raise InvalidQuery(f"A trend goes by 'hour', 'day' or 'week', not by {value!r}") from None
