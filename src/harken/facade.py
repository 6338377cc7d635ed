"""The class that ``harken.connect`` returns."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack, overload

from harken.domain.feedback import (
    DEFAULT_APPLICATION,
    Change,
    Feedback,
    Rating,
    RatingValue,
    Scalar,
    Submission,
    Target,
)
from harken.domain.insight.change_points import SatisfactionChange
from harken.domain.insight.comparison import Comparison, Estimate
from harken.domain.insight.headline import Headline
from harken.domain.insight.heat_map import Cell
from harken.domain.insight.issues import Issues
from harken.domain.insight.ranking import Ranking
from harken.domain.keywords import Keyword
from harken.domain.query import Cursor, FeedbackQuery, GroupBy, GroupKey, Page
from harken.domain.summary import Summary
from harken.domain.trend import Period, PeriodValue, Trend
from harken.ports.storage import Storage
from harken.services.alerting.service import AlertingService
from harken.services.analytics import AnalyticsService
from harken.services.conversations import ConversationService
from harken.services.feed import Events, Feed, Place
from harken.services.feedback.collection import CollectionService
from harken.services.feedback.editing import Editor
from harken.services.feedback.keywords import SubmitKeywords, VoteKeywords, build_submission, check_keywords
from harken.services.feedback.moderation import ModerationService
from harken.services.feedback.receipt import Receipt
from harken.services.keys import KeyService
from harken.services.notifications.channels import ChannelService
from harken.services.notifications.deliveries import DeliveryService
from harken.services.notifications.relay import Relay
from harken.services.notifications.routes import RouteService
from harken.services.sentiment import SentimentService
from harken.services.sessions import SessionService
from harken.services.spam import SpamService
from harken.services.themes import Themes

if TYPE_CHECKING:
    from harken.configuration.frames import Library
    from harken.domain.insight.facets import Facets
    from harken.services.feedback.retention import RetentionService
    from harken.services.imports import ImportService
    from harken.services.notifications.digests import DigestService


class Filters(TypedDict, total=False):
    """The keywords that select feedback; feedback must match all that are given.

    ``agent_id``, ``rating``, ``tag`` and each value of ``context`` may be a collection: feedback must then match one of
    its values. ``rating=None`` means neutral; leave it out for any rating. ``text`` has words that the comment must
    have, in any order; words in quotation marks must follow each other. ``since`` is inclusive, ``until`` is exclusive.
    """

    application: str | None
    session_id: str | None
    message_id: str | None
    agent_id: str | Collection[str] | None
    author: str | None
    rating: RatingValue | Collection[RatingValue | None] | None
    tag: str | Collection[str] | None
    context: Mapping[str, Scalar | Collection[Scalar]]
    text: str | None
    has_comment: bool | None
    since: datetime | None
    until: datetime | None


class Harken:
    """Collects feedback and computes its statistics. Thread-safe; one for each process is enough.

    ``harken.connect`` creates it. Its services do everything else: ``collection``, ``moderation``, ``analytics``,
    ``sentiment``, ``spam``, ``sessions``, ``conversations``, ``keys``, ``feed``, ``alerts``, ``channels``, ``routes``,
    ``deliveries``, ``digests``, ``imports``, ``retention`` and ``relay``.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        collection: CollectionService,
        editor: Editor,
        moderation: ModerationService,
        analytics: AnalyticsService,
        sentiment: SentimentService,
        spam: SpamService,
        sessions: SessionService,
        conversations: ConversationService,
        keys: KeyService,
        feed: Feed,
        alerts: AlertingService,
        channels: ChannelService,
        routes: RouteService,
        deliveries: DeliveryService,
        digests: DigestService,
        imports: ImportService,
        retention: RetentionService,
        relay: Relay,
        application: str = DEFAULT_APPLICATION,
    ) -> None:
        self.collection = collection
        self.moderation = moderation
        self.analytics = analytics
        self.sentiment = sentiment
        self.spam = spam
        self.sessions = sessions
        self.conversations = conversations
        self.keys = keys
        self.feed = feed
        self.alerts = alerts
        self.channels = channels
        self.routes = routes
        self.deliveries = deliveries
        self.digests = digests
        self.imports = imports
        self.retention = retention
        self.relay = relay
        self.outbox = storage.outbox
        self.state = storage.state
        self.application = application
        self._storage = storage
        self._on_close: list[Callable[[], object]] = [
            relay.stop,
            feed.close,
            collection.close,
            sentiment.close,
            keys.close,
        ]
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
        """Finish pending writes and deliveries, then close the storage if ``connect`` opened it."""
        while self._on_close:
            self._on_close.pop(0)()

    def on_close(self, callback: Callable[[], object]) -> None:
        """Call this at the end of :meth:`close`."""
        self._on_close.append(callback)

    def start_relay(self, *, concurrency: int = 4) -> None:
        """Start to send notifications, in threads of this process, until :meth:`close`.

        Args:
            concurrency: how many deliveries to one channel may be sent at the same time.

        Raises:
            ConfigurationError: the configuration of a channel is invalid.
        """
        self.relay.start(concurrency=concurrency)

    def submit(
        self, session_id: str, rating: RatingValue | None, comment: str = "", **keywords: Unpack[SubmitKeywords]
    ) -> Receipt:
        """Store feedback about a session, or about a message in it; on return it is durable.

        Args:
            session_id: the session.
            rating: ``"up"``, ``"down"`` or ``None`` for neutral.
            comment: the text; by default, a thumbs-down needs a comment or a tag.
            keywords: ``agent_id`` is the agent that answered; ``message_id`` the message, if the feedback is about one;
                ``author`` the person, as an opaque id; ``tags`` the reasons that they picked; ``context`` further
                values by name, such as ``{"user_tier": "premium"}``; ``idempotency_key`` makes it safe to repeat the
                call: the same key and body are stored once; ``application`` replaces the one of :attr:`application`.

        Raises:
            FeedbackRejected: it breaks rules; ``violations`` has all of them.
            IdempotencyConflict: the key was used before in this session, with another body.
            Overloaded: the queue is full; nothing was stored.
            StorageError: it could not be stored.
        """
        return self.collection.submit(self._submission(session_id, rating, comment, keywords))

    def submit_soon(
        self, session_id: str, rating: RatingValue | None, comment: str = "", **keywords: Unpack[SubmitKeywords]
    ) -> Future[Receipt]:
        """Like :meth:`submit`, without waiting for the storage: the future returns the receipt or raises the error."""
        return self.collection.submit_soon(self._submission(session_id, rating, comment, keywords))

    def vote(
        self,
        session_id: str,
        rating: RatingValue | None,
        comment: str = "",
        *,
        author: str,
        message_id: str | None = None,
        agent_id: str | None = None,
        **keywords: Unpack[VoteKeywords],
    ) -> Receipt:
        """Set the one vote of an author on a message, or on the session; an earlier vote becomes a revision of it.

        Setting the same vote again changes nothing. The arguments are those of :meth:`submit`, which raises the same.
        """
        # The names in the message are all those of this method.
        check_keywords(keywords, SubmitKeywords)
        target = Target(session_id, message_id, agent_id)
        return self.collection.set_vote(target, author, rating, comment, **keywords)

    def votes(self, session_id: str, *, author: str, application: str | None = None) -> list[Feedback]:
        """The votes of an author in a session that are not withdrawn, oldest first, in any moderation status.

        Raises:
            FeedbackRejected: there is no author.
        """
        return self.collection.votes(self._application(application), session_id, author)

    def withdraw_vote(
        self, session_id: str, *, author: str, message_id: str | None = None, application: str | None = None
    ) -> Feedback | None:
        """Withdraw the vote of an author on a message, or on the session; ``None`` if there is none.

        Raises:
            FeedbackRejected: there is no author.
        """
        return self.collection.withdraw_vote(self._application(application), session_id, message_id, author)

    def change(
        self,
        feedback_id: str,
        change: Change,
        *,
        expected_version: int | None = None,
        application: str | None = None,
    ) -> Feedback:
        """Change the content of feedback. It is checked again, and the old content becomes a revision.

        Args:
            feedback_id: the id of the feedback.
            change: the parts to change.
            expected_version: the version that the author saw; ``None`` to change any version.
            application: the application of the feedback, if it is not the one of :attr:`application`.

        Raises:
            FeedbackNotFound: the feedback does not exist.
            FeedbackWithdrawn: it is withdrawn.
            FeedbackRejected: the changed feedback would break rules.
            StaleFeedback: it has another version than expected.
        """
        return self.collection.change(
            self._application(application), feedback_id, change, expected_version=expected_version
        )

    def withdraw(self, feedback_id: str, *, application: str | None = None) -> Feedback:
        """Withdraw feedback for its author: it is no longer counted. Withdrawing it again changes nothing.

        Raises:
            FeedbackNotFound: the feedback does not exist.
        """
        return self.collection.withdraw(self._application(application), feedback_id)

    def get(self, feedback_id: str, *, application: str | None = None) -> Feedback:
        """The feedback with that id, in any state.

        Raises:
            FeedbackNotFound: the feedback does not exist.
        """
        return self.collection.get(self._application(application), feedback_id)

    def feedback(self, *, limit: int = 100, after: Cursor | str | None = None, **filters: Unpack[Filters]) -> Page:
        """A page of at most ``limit`` (1 to 1,000) entries, newest first; ``after`` is the last page's ``next``.

        Raises:
            InvalidQuery: a filter, the limit or the cursor is invalid.
        """
        cursor = Cursor.parse(after) if isinstance(after, str) else after
        return self.collection.find(self.query(**filters), limit=limit, after=cursor)

    def export(self, **filters: Unpack[Filters]) -> Iterator[Feedback]:
        """All matching feedback, oldest first, in constant memory."""
        return self.collection.stream(self.query(**filters))

    def to_arrow(self, **filters: Unpack[Filters]) -> Any:
        """All matching feedback as a ``pyarrow.Table``, oldest first; needs the extra ``files``.

        The columns are named as in the HTTP API. A neutral rating is ``"neutral"``, the sentiment has two columns, and
        ``context``, ``moderation`` and ``revisions`` are JSON texts.

        Raises:
            InvalidQuery: a filter is invalid.
            MissingExtra: pyarrow is not installed.
        """
        return self._to_frame("arrow", filters)

    def to_pandas(self, **filters: Unpack[Filters]) -> Any:
        """The same as a ``pandas.DataFrame``; needs the extra ``pandas``."""
        return self._to_frame("pandas", filters)

    def to_polars(self, **filters: Unpack[Filters]) -> Any:
        """The same as a ``polars.DataFrame``; needs the extra ``polars``."""
        return self._to_frame("polars", filters)

    def events(self, after: Place | str | None = None, **filters: Unpack[Filters]) -> Events:
        """The events of feedback and alerts from now on, by any process, as an iterator that waits for the next one.

        It ends when it or this object is closed. Where events were lost, it gives ``Missed``. With filters, it has only
        events of feedback that now matches, in any state; alerts are not filtered.

        Args:
            after: the ``place`` of the last event of an earlier iterator, or its ``str``, to continue after it; that is
                possible for an hour.
            filters: select the feedback.

        Raises:
            InvalidQuery: a filter is invalid, or ``after`` is not a place.
            Overloaded: there are 200 listeners already.
        """
        place = Place.parse(after) if isinstance(after, str) else after
        return Events(self.feed, self.query(**filters).in_any_state(), place)

    def summary(self, **filters: Unpack[Filters]) -> Summary:
        """The exact statistics of the matching feedback."""
        return self.analytics.summary(self.query(**filters))

    def groups(self, by: GroupBy | str, **filters: Unpack[Filters]) -> Mapping[GroupKey, Summary]:
        """The statistics by ``"agent"``, ``"session"``, ``"tag"`` or ``"context.<name>"``, the largest group first."""
        return self.analytics.groups(self.query(**filters), _group_by(by))

    def trend(self, period: PeriodValue = Period.DAY, zone: str = "UTC", **filters: Unpack[Filters]) -> Trend:
        """The statistics by period of an IANA time zone, oldest first.

        A period is ``"hour"``, ``"3-hours"``, ``"6-hours"``, ``"day"`` or ``"week"`` of the local time.
        """
        return self.analytics.trend(self.query(**filters), Period.parse(period), zone)

    @overload
    def themes(self, *, limit: int = 15, **filters: Unpack[Filters]) -> Themes: ...

    @overload
    def themes(self, keywords: str | Sequence[str], **filters: Unpack[Filters]) -> tuple[Keyword, ...]: ...

    def themes(
        self, keywords: str | Sequence[str] | None = None, *, limit: int = 15, **filters: Unpack[Filters]
    ) -> Themes | tuple[Keyword, ...]:
        """What the thumbs-down comments are about; or how many of them contain each keyword, the most frequent first.

        Args:
            keywords: words to count, in upper or lower case and also inside longer words. Without them, themes are
                discovered in the newest 20,000 thumbs-down entries. With ``since``, their change since the previous
                period, which is as long, is part of the result.
            limit: the maximum number of discovered themes, from 1 to 50.
            filters: select the feedback.

        Raises:
            InvalidQuery: a filter or the limit is invalid.
        """
        query = self.query(**filters)
        if keywords is None:
            return self.analytics.themes(query, limit=limit)
        return self.analytics.keywords(query, keywords)

    def estimate(self, **filters: Unpack[Filters]) -> Estimate:
        """The satisfaction of the matching feedback, with an interval that takes repeated authors into account."""
        return self.analytics.estimate(self.query(**filters))

    def compare(self, before: Filters, after: Filters, **filters: Unpack[Filters]) -> Comparison:
        """The difference between two selections, with its intervals, and whether it is more than chance.

        Args:
            before: the filters of the first selection, such as ``{"context": {"version": "1.5"}}``.
            after: the filters of the second.
            filters: filters of both, unless ``before`` or ``after`` has another value.
        """
        earlier: Filters = {**filters, **before}
        later: Filters = {**filters, **after}
        return self.analytics.compare(self.query(**earlier), self.query(**later))

    def compare_to_previous(self, **filters: Unpack[Filters]) -> Comparison:
        """The difference between the previous period and that from ``since`` to ``until``, which is as long.

        Without ``until``, the period ends now.

        Raises:
            InvalidQuery: there is no ``since``, or the period is empty.
        """
        return self.analytics.compare_to_previous(self.query(**filters))

    def compare_groups(self, by: GroupBy | str, **filters: Unpack[Filters]) -> Mapping[GroupKey, Comparison]:
        """Each group compared with the others together; ``by`` is as in :meth:`groups`, the largest group first.

        A verdict is given only to groups that differ by more than chance among all of them.
        """
        return self.analytics.compare_groups(self.query(**filters), _group_by(by))

    def heat_map(self, zone: str = "UTC", *, prefer_dates: bool = False, **filters: Unpack[Filters]) -> list[Cell]:
        """The statistics by local weekday and hour of an IANA time zone, and which differ by more than chance.

        With ``prefer_dates``, by date and hour if the feedback spans less than 14 days.
        """
        return self.analytics.heat_map(self.query(**filters), zone, prefer_dates=prefer_dates)

    def headline(self, zone: str = "UTC", *, same_weekdays: bool = False, **filters: Unpack[Filters]) -> Headline:
        """What changed in a period since the one before, since when, what grew most, and what would mislead.

        Args:
            zone: the IANA time zone of days.
            same_weekdays: whether the earlier period is a whole number of weeks earlier, even if it does not end where
                the other begins.
            filters: select the feedback. Without ``since``, the period is the last 28 days; without ``until``, up to
                now. A period that has not ended is compared with the same part of the one before.

        Raises:
            InvalidQuery: a filter is invalid, the time zone is unknown, or the period is empty.
        """
        return self.analytics.headline(self.analytics.periods(self.query(**filters), zone, same_weekdays=same_weekdays))

    def reasons(
        self, zone: str = "UTC", *, limit: int = 10, same_weekdays: bool = False, **filters: Unpack[Filters]
    ) -> Issues:
        """The reasons that people chose for thumbs-down feedback, each with its change and an example.

        They are counted in the newest 20,000 thumbs-down entries of the periods of :meth:`headline`.

        Args:
            zone: as in :meth:`headline`.
            limit: how many reasons, from 1 to 50; the most frequent.
            same_weekdays: as in :meth:`headline`.
            filters: select the feedback; a filter on the rating is ignored.

        Raises:
            InvalidQuery: a filter or the limit is invalid, the time zone is unknown, or the period is empty.
        """
        periods = self.analytics.periods(self.query(**filters), zone, same_weekdays=same_weekdays)
        return self.analytics.reasons(periods, limit=limit)

    def ranking(
        self,
        by: GroupBy | str = "agent",
        zone: str = "UTC",
        *,
        same_weekdays: bool = False,
        **filters: Unpack[Filters],
    ) -> Ranking[GroupKey]:
        """Agents, or the values of a context key, by satisfaction, with their changes and which of them differ.

        Args:
            by: ``"agent"`` or ``"context.<name>"``.
            zone: as in :meth:`headline`.
            same_weekdays: as in :meth:`headline`.
            filters: select the feedback.

        Raises:
            InvalidQuery: a filter or the dimension is invalid, the time zone is unknown, or the period is empty.
        """
        periods = self.analytics.periods(self.query(**filters), zone, same_weekdays=same_weekdays)
        return self.analytics.ranking(periods, _group_by(by))

    def facets(self, **filters: Unpack[Filters]) -> Facets:
        """The agents, tags and context values of the matching feedback, with the number of entries of each.

        Each filter is ignored for its own values. Context keys with more than 50 values are left out.
        """
        return self.analytics.facets(self.query(**filters))

    def changes(self, zone: str = "UTC", **filters: Unpack[Filters]) -> list[SatisfactionChange]:
        """The local days on which satisfaction changed, oldest first; of the last 365 days that have feedback."""
        return self.analytics.changes(self.query(**filters), zone)

    def check(self) -> list[str]:
        """Check the storage for damage, and its statistics against a recount; returns a sentence for each problem.

        Reads all feedback of :attr:`application`. Feedback that is submitted meanwhile can make statistics differ.
        """
        return [*self._storage.check(), *self.analytics.discrepancies(self.query())]

    def rebuild(self) -> list[str]:
        """Recompute the stored statistics of all applications; returns a sentence for each one that was wrong.

        Reads all feedback; submissions may have to wait until it is done.
        """
        return list(self._storage.rebuild())

    def index_comments(self) -> None:
        """Index the comments of this application for text search, about 20,000 a second.

        Searches do so in the background. Until that is done, a search may raise ``SearchNotReady``; after this, none
        does unless many old comments are changed. It waits for other processes that index comments and, on MongoDB
        after an import, two minutes for writes to finish.

        Raises:
            SearchNotReady: other processes prevented it for five minutes.
        """
        self._storage.index_comments(self.application)

    def query(self, **filters: Unpack[Filters]) -> FeedbackQuery:
        """The query for these filters, for the methods of services.

        Raises:
            InvalidQuery: a filter is invalid.
            TypeError: the filter does not exist.
        """
        return build_query(filters, self.application)

    def _to_frame(self, library: Library, filters: Filters) -> Any:
        from harken.configuration.frames import to_frame  # noqa: PLC0415 - rarely used

        return to_frame(library, self.export(**filters))

    def _application(self, application: str | None) -> str:
        return self.application if application is None else application

    def _submission(
        self, session_id: str, rating: RatingValue | None, comment: str, keywords: SubmitKeywords
    ) -> Submission:
        check_keywords(keywords, SubmitKeywords)
        return build_submission(
            Target(session_id, keywords.get("message_id"), keywords.get("agent_id")),
            rating,
            comment,
            keywords,
            application=self.application,
            author=keywords.get("author"),
        )


def build_query(filters: Filters, application: str) -> FeedbackQuery:
    """The query for these filters; ``application`` is used if the filters have none.

    Raises:
        InvalidQuery: a filter is invalid.
        TypeError: the filter does not exist.
    """
    check_keywords(filters, Filters, "filter")
    other, rating = filters.get("application"), filters.get("rating")
    if rating is None and "rating" in filters:
        rating = Rating.NEUTRAL
    return FeedbackQuery(
        application=application if other is None else other,
        session_id=filters.get("session_id"),
        message_id=filters.get("message_id"),
        agent_id=filters.get("agent_id"),
        author=filters.get("author"),
        rating=rating,
        tag=filters.get("tag"),
        context=filters.get("context"),
        text=filters.get("text"),
        has_comment=filters.get("has_comment"),
        since=filters.get("since"),
        until=filters.get("until"),
    )


def _group_by(value: GroupBy | str) -> GroupBy:
    return GroupBy.parse(value) if isinstance(value, str) else value
