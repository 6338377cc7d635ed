"""What happens to feedback and alerts, as server-sent events (as the HTML standard defines them)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Event
from typing import Any, Final

from harken import Harken, Overloaded, StorageClosed, StorageError
from harken.services.feed import News, Place
from harken_adapters.formats.record import stamp
from harken_adapters.hosts.http.guards.access import ANYBODY, TRUSTED_FOR, Principal
from harken_adapters.hosts.http.wire.messages import to_json
from harken_adapters.hosts.http.wire.problems import Problem
from harken_adapters.hosts.http.wire.records import alert_event_record, feedback_record

#: How many milliseconds a browser waits before it connects again.
_RETRY: Final = 2_000
ALIVE: Final = b": still here\n\n"


def _admitted() -> None:
    """Everybody is, always."""


class EventStream:
    """One listener's events, as far as ``principal`` may see them.

    To be iterated over, which blocks; or to be taken from after each call of ``on_news``, and after each ``heartbeat``
    without one.

    It ends when :meth:`stop` is called, when the feed is closed, or when ``check_admitted`` raises a problem; that is
    called before anything is taken. It has to be closed.
    """

    #: After so many seconds without news a comment is sent, so that whoever is in between sees that somebody is there,
    #: and the credentials are checked.
    heartbeat = TRUSTED_FOR

    def __init__(
        self,
        hk: Harken,
        application: str,
        after: Place | None,
        *,
        principal: Principal = ANYBODY,
        check_admitted: Callable[[], object] = _admitted,
        share: tuple[str, ...] | None = None,
    ) -> None:
        self._news = Event()
        self._stopped = False
        self._principal = principal
        self._check_admitted = check_admitted
        self._closed = False
        #: Called by another thread when there is something to take, or when the stream is to end.
        self.on_news: Callable[[], object] = self._news.set
        self._listener = hk.feed.listen(application, self._hear, after=after, share=share)

    @property
    def stopped(self) -> bool:
        """Whether the stream is to end."""
        return self._stopped

    @property
    def closed(self) -> bool:
        """Whether nobody listens any more."""
        return self._closed

    def begin(self) -> bytes:
        """What is sent first."""
        if self._listener.waiting:
            self.on_news()
        return f"retry: {_RETRY}\n\n".encode() + self._missed()

    def take(self) -> bytes:
        """What there is to send now, if anything; reads the storage. What cannot be read now is sent later."""
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
        return self._missed() + b"".join(self._frame_of(one) for one in news if self._is_visible(one))

    def stop(self) -> None:
        """Let it end."""
        self._stopped = True
        self.on_news()

    def close(self) -> None:
        """Listen no more; nobody is called any more, as an event loop may be gone by then."""
        self._closed = True
        self._listener.close()
        self.on_news = self._news.set

    def _is_visible(self, news: News) -> bool:
        # An alert may be about several agents, so it is as feedback without one.
        return self._principal.may_see(news.feedback.agent_id if news.feedback else None)

    def _frame_of(self, news: News) -> bytes:
        return _frame(news.type.value, str(news.place), self._record_of(news))

    def _record_of(self, news: News) -> dict[str, Any]:
        if news.alert is not None:
            return alert_event_record(news.alert)
        assert news.feedback is not None  # noqa: S101 - it is about one or the other
        return {
            "type": news.type.value,
            "timestamp": stamp(news.place.at.created_at),
            "data": feedback_record(self._principal, news.feedback),
        }

    def _missed(self) -> bytes:
        if not self._listener.missed:
            return b""
        return _frame("missed", None, {"detail": "Something may have happened meanwhile; load it anew"})

    def _hear(self) -> None:
        # Looked up each time, as the host may have set it since.
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
    """An event. Its document is JSON in one line, so that no comment can end it or begin another."""
    before = f"id: {place}\n" if place else ""
    return f"{before}event: {name}\ndata: ".encode() + to_json(document) + b"\n\n"
