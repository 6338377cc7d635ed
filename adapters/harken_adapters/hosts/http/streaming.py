"""Events of feedback and alerts as server-sent events (HTML standard)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any, Final

from attrs import evolve

from harken import FeedbackQuery, Harken, HarkenError, Overloaded, StorageClosed, StorageError
from harken.domain.instants import stamp
from harken.services.feed import News, Place
from harken_adapters.hosts.http.guards.access import ANONYMOUS, TRUSTED_FOR, Principal
from harken_adapters.hosts.http.wire.messages import to_json
from harken_adapters.hosts.http.wire.problems import Problem
from harken_adapters.hosts.http.wire.records import alert_event_record, visible_record

#: How many milliseconds a browser waits before it reconnects.
_RETRY: Final = 2_000
ALIVE: Final = b": keep-alive\n\n"


def _always_admitted() -> None:
    """Accept every caller."""


class EventStream:
    """The event stream of one listener, limited to the events that ``principal`` may see, and to ``wanted`` feedback.

    Iterate over it, which blocks; or call :meth:`take` after each call of ``on_news``, and after each ``heartbeat``
    without one.

    It ends when :meth:`stop` is called, when the feed is closed, or when ``check_admitted`` raises a problem, which is
    called before each read. It must be closed.
    """

    #: After this many seconds without events, a comment is sent, so that proxies keep the connection open, and the
    #: credentials are checked.
    heartbeat = TRUSTED_FOR

    def __init__(
        self,
        hk: Harken,
        application: str,
        after: Place | None,
        *,
        wanted: FeedbackQuery | None = None,
        principal: Principal = ANONYMOUS,
        check_admitted: Callable[[], object] = _always_admitted,
        share: tuple[str, ...] | None = None,
        listener: tuple[str, ...] | None = None,
    ) -> None:
        #: Identifies the listener, whose next stream may replace this one; ``None`` if it cannot be identified.
        self.listener = listener
        self._news = Event()
        self._stopped = False
        self._harken = hk
        self._principal = principal
        #: The feedback that is counted if events are lost; ``None`` if the caller may not see some of it.
        self._counted = wanted or (
            FeedbackQuery(application=application).in_any_state() if principal.agents is None else None
        )
        self._sent_until = after.at.created_at if after else None
        self._check_admitted = check_admitted
        self._closed = False
        #: Called from another thread when events are available, or when the stream is to end.
        self.on_news: Callable[[], object] = self._news.set
        self._listener = hk.feed.listen(application, self._notify, after=after, share=share, wanted=wanted)
        self._missed_first = self._missed_frame()

    @property
    def stopped(self) -> bool:
        """Whether :meth:`stop` was called or the feed has ended."""
        return self._stopped

    @property
    def closed(self) -> bool:
        """Whether the stream is closed."""
        return self._closed

    def begin(self) -> bytes:
        """The first bytes to send.

        They have an id, so that a client that is cut off before the first event can resume after it.
        """
        if self._listener.waiting:
            self.on_news()
        begin = self._listener.begin
        place = f"id: {begin}\n" if begin else ""
        return f"retry: {_RETRY}\n{place}\n".encode() + self._missed_first

    def take(self) -> bytes:
        """The frames to send now, possibly empty. Reads from the storage; after an error, a later call retries."""
        try:
            self._check_admitted()
            news = self._listener.take()
        except (StorageClosed, Overloaded, Problem):
            self.stop()
            return b""
        except StorageError:
            return b""
        if self._listener.waiting:
            self.on_news()
        missed = self._missed_frame()
        if news:
            self._sent_until = news[-1].place.at.created_at
        return missed + b"".join(self._frame_of(one) for one in news if self._is_visible(one))

    def stop(self) -> None:
        """End the stream."""
        self._stopped = True
        self.on_news()

    def close(self) -> None:
        """Stop listening. ``on_news`` is not called again, as its event loop may be closed."""
        self._closed = True
        self._listener.close()
        self.on_news = self._news.set

    def _is_visible(self, news: News) -> bool:
        if news.feedback is None:
            # An alert may concern several agents, so it is treated like feedback without an agent.
            return self._principal.may_see(None)
        return self._principal.may_see(news.feedback.agent_id)

    def _frame_of(self, news: News) -> bytes:
        return _frame(news.type.value, str(news.place), self._record_of(news))

    def _record_of(self, news: News) -> dict[str, Any]:
        if news.alert is not None:
            return alert_event_record(news.alert, self._harken.alerts.selection(news.alert))
        assert news.feedback is not None  # noqa: S101 - one of the two is set
        return {
            "type": news.type.value,
            "timestamp": stamp(news.place.at.created_at),
            "data": visible_record(self._principal, news.feedback),
        }

    def _missed_frame(self) -> bytes:
        if not self._listener.missed:
            return b""
        return _frame(
            "missed", None, {"detail": "Some events were missed; reload the data", "count": self._count_missed()}
        )

    def _count_missed(self) -> int | None:
        """How much feedback was created since the last event that was sent; ``None`` if it cannot be counted."""
        query, since = self._counted, self._sent_until
        if query is None or since is None:
            return None
        since = since if query.since is None else max(since, query.since)
        try:
            return self._harken.analytics.summary(evolve(query, since=since)).total
        except HarkenError:
            # Only the number is unknown.
            return None

    def _notify(self) -> None:
        # Looked up on each call, as the host may replace it.
        self.on_news()

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield self.begin()
            while not self._stopped:
                heard = self._news.wait(self.heartbeat)
                self._news.clear()
                if frames := self.take() or (b"" if heard else ALIVE):
                    yield frames
        finally:
            self.close()


def _frame(name: str, place: str | None, document: object) -> bytes:
    """A frame with one event. The JSON is on one line, so its content cannot end the frame or start another."""
    before = f"id: {place}\n" if place else ""
    return f"{before}event: {name}\ndata: ".encode() + to_json(document) + b"\n\n"
