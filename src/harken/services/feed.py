"""Watching what happens to feedback, in this process and in others, as it happens."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import chain
from threading import Event, Lock, Thread
from time import perf_counter
from typing import Final

from attrs import frozen

from harken.domain.errors import FeedbackNotFound, Overloaded, StorageClosed, StorageError
from harken.domain.events import EventType
from harken.domain.feedback import Feedback
from harken.domain.query import Cursor, FeedbackQuery
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock

logger = logging.getLogger(__name__)

#: How long it may take from the time that feedback bears until it is found in the storage: a write under load, and
#: clocks that differ a little. What appears later than that is not told.
OVERLAP: Final = timedelta(seconds=10)
#: How long a listener may have been away and still be told what happened meanwhile.
RESUMABLE: Final = timedelta(hours=1)
MAX_LISTENERS: Final = 200
_REMEMBERED: Final = 10_000
_INTERVAL: Final = 1.0
_SHORTEST_REST: Final = 0.05
#: Looking again and again under load must not become a load of its own: it rests so many times as long as it took.
_REST: Final = 3.0


@frozen
class News:
    """That feedback was given or changed, and how it reads now. ``place`` is what to go on behind."""

    place: Cursor
    type: EventType
    feedback: Feedback


@frozen
class _Seen:
    """What is remembered of something that happened: no word of it, so that nothing that is erased stays here."""

    place: Cursor
    version: int

    @classmethod
    def of(cls, feedback: Feedback) -> _Seen:
        return cls(Cursor(feedback.updated_at, feedback.id), feedback.version)


def type_of(feedback: Feedback) -> EventType:
    """What happened to feedback last."""
    if feedback.version == 1:
        return EventType.CREATED
    if feedback.withdrawn:
        return EventType.DELETED
    return EventType.MODERATED if feedback.moderation.decided_at == feedback.updated_at else EventType.UPDATED


class _Watch:
    """What was seen of one application, oldest first; ``first`` is the number of the oldest that is remembered."""

    def __init__(self, application: str, since: datetime) -> None:
        self.application = application
        self.since = since
        self.first = 0
        self.entries: deque[_Seen] = deque()
        self.known: set[_Seen] = set()
        self.listeners: list[Listener] = []

    @property
    def end(self) -> int:
        """The number that the next entry will have."""
        return self.first + len(self.entries)

    def append(self, entry: _Seen) -> None:
        """One more, and the oldest one less where there are too many."""
        self.entries.append(entry)
        if len(self.entries) > _REMEMBERED:
            self.entries.popleft()
            self.first += 1

    def entries_from(self, number: int) -> list[_Seen]:
        """Those from that number on that are remembered."""
        return [self.entries[index] for index in range(max(0, number - self.first), len(self.entries))]

    def number_behind(self, place: Cursor) -> int | None:
        """The number behind that place; ``None`` if it is not remembered."""
        found = (number for number, entry in enumerate(self.entries, self.first + 1) if entry.place == place)
        return next(found, None)


class Listener:
    """Somebody who is told what happens in one application; made by :meth:`Feed.listen`, to be closed.

    ``missed`` tells that something may have happened that cannot be told any more, so that what is shown should be
    loaded anew.
    """

    def __init__(self, feed: Feed, watch: _Watch, wake: Callable[[], object], after: Cursor | None) -> None:
        self.wake = wake
        self.missed = False
        self._feed = feed
        self._watch = watch
        self._backlog: list[_Seen] = []
        number = watch.end if after is None else watch.number_behind(after)
        self._next = watch.end if number is None else number
        if number is None and after is not None:
            found = feed.seen_since(watch, after.created_at - OVERLAP)
            self.missed = found is None
            self._backlog = [entry for entry in found or () if entry.place != after]

    @property
    def waiting(self) -> bool:
        """Whether there is something to take."""
        return bool(self._backlog) or self._next < self._watch.end

    def take(self) -> list[News]:
        """What happened since the last time, in the order in which it was found; reads the storage.

        What was erased meanwhile is left out, and what changed more than once is told as it reads now.

        Raises:
            StorageError: the storage could not be asked; what there is to take stays.
        """
        entries, end = self._feed.entries(self._watch, self._next)
        news = [one for entry in (*self._backlog, *entries) if (one := self._feed.read(self._watch, entry))]
        self._backlog, self._next = [], end
        return news

    def close(self) -> None:
        """Listen no more."""
        self._feed.leave(self._watch, self)


class Feed:
    """Tells listeners what happens to feedback, whichever process writes it, at least once.

    One thread looks at the storage for all of them, for as long as there are any: every second, and at once after
    :meth:`nudge`. It looks a little further back than it did before, because a write that took long appears behind its
    time, and passes on what it has not seen yet. Who comes back is told what this process saw behind the place where
    they left, each once; where this process did not see that place, also what happened shortly before it.
    """

    def __init__(self, repository: FeedbackRepository, *, clock: Clock) -> None:
        self._repository = repository
        self._clock = clock
        # Held while the storage is read, so whoever writes must never need it.
        self._state = Lock()
        self._watches: dict[str, _Watch] = {}
        self._thread: Thread | None = None
        self._nudged = Event()
        self._closed = Event()

    def listen(self, application: str, wake: Callable[[], object], *, after: Cursor | None = None) -> Listener:
        """Begin to listen; reads the storage.

        Args:
            application: whose feedback it is.
            wake: called by another thread when there is something to take; it must not block.
            after: the place of the last news, to be told what happened since then; else it begins now.

        Raises:
            Overloaded: 200 listen already.
            StorageClosed: it is closed.
            StorageError: the storage could not be asked.
        """
        with self._state:
            if self._closed.is_set():
                raise StorageClosed("Harken is closed; connect again")
            if sum(len(watch.listeners) for watch in self._watches.values()) >= MAX_LISTENERS:
                raise Overloaded(f"{MAX_LISTENERS} listen already; try again when one of them has left")
            watch = self._watched(application)
            listener = Listener(self, watch, wake, after)
            watch.listeners.append(listener)
            self._start()
        return listener

    def nudge(self) -> None:
        """Look at once: something was written in this process. Takes no time."""
        if self._thread is not None:
            self._nudged.set()

    def close(self) -> None:
        """Tell nobody anything any more. Closing twice is harmless."""
        self._closed.set()
        self._nudged.set()
        with self._state:
            thread = self._thread
        if thread is not None:
            thread.join()

    # --- for listeners ---------------------------------------------------------------------------------------------

    def entries(self, watch: _Watch, number: int) -> tuple[list[_Seen], int]:
        """What was seen from that number on, and the number behind it."""
        with self._state:
            return watch.entries_from(number), watch.end

    def seen_since(self, watch: _Watch, since: datetime) -> list[_Seen] | None:
        """What the storage has since then; ``None`` if that is too long ago, or too much."""
        if since < self._clock() - RESUMABLE - OVERLAP:
            return None
        found: list[_Seen] = []
        for entry in self._happened(watch.application, since):
            found.append(entry)
            if len(found) > _REMEMBERED:
                return None
        return sorted(found, key=_place)

    def read(self, watch: _Watch, entry: _Seen) -> News | None:
        """An entry as it reads now; ``None`` if it was erased."""
        try:
            feedback = self._repository.get(watch.application, entry.place.id)
        except FeedbackNotFound:
            return None
        return News(entry.place, type_of(feedback), feedback)

    def leave(self, watch: _Watch, listener: Listener) -> None:
        """That one listens no more."""
        with self._state:
            if listener in watch.listeners:
                watch.listeners.remove(listener)

    # --- how -------------------------------------------------------------------------------------------------------

    def _watched(self, application: str) -> _Watch:
        """The watch of an application, up to now."""
        watch = self._watches.get(application)
        if watch is None or (not watch.listeners and watch.since < self._clock() - RESUMABLE):
            # What is there already is no news.
            watch = _Watch(application, self._clock())
            watch.known.update(self._happened(application, watch.since - OVERLAP))
            self._watches[application] = watch
        elif not watch.listeners:
            # Nobody has looked for a while.
            self._look(watch)
        return watch

    def _happened(self, application: str, since: datetime) -> Iterator[_Seen]:
        """What was given or changed since then. What claims to be given in the future is not told before its time."""
        until = self._clock() + OVERLAP
        given = FeedbackQuery(application=application, since=since, until=until).in_any_state()
        found = chain(self._repository.stream(given), self._repository.changes(application, since=since))
        return iter({_Seen.of(feedback): None for feedback in found})

    def _look(self, watch: _Watch) -> bool:
        """Find what has happened; whether anything has."""
        began, since = self._clock(), watch.since - OVERLAP
        found = set(self._happened(watch.application, since))
        new = sorted(found - watch.known, key=_place)
        for entry in new:
            watch.append(entry)
        # What is older will not be found again.
        watch.known, watch.since = found, max(began, watch.since)
        return bool(new)

    def _start(self) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._watch_all, name="harken-feed", daemon=True)
            self._thread.start()

    def _watch_all(self) -> None:
        while True:
            self._nudged.wait(_INTERVAL)
            self._nudged.clear()
            began = perf_counter()
            with self._state:
                # Where nobody listens, the next one to do so starts another thread.
                if self._closed.is_set() or not any(watch.listeners for watch in self._watches.values()):
                    self._thread = None
                    return
                to_wake = self._looked()
            for wake in to_wake:
                wake()
            self._closed.wait(max(_SHORTEST_REST, _REST * (perf_counter() - began)))

    def _looked(self) -> list[Callable[[], object]]:
        """Look at all that is listened to; who has to be woken."""
        try:
            found = [watch for watch in self._watches.values() if watch.listeners and self._look(watch)]
        except StorageError as error:
            logger.warning("Listeners cannot be told anything just now: %s", error)
            return []
        return [listener.wake for watch in found for listener in watch.listeners]


def _place(entry: _Seen) -> tuple[Cursor, int]:
    return entry.place, entry.version
