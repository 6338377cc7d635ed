"""The feed: changes of feedback and alerts by any process, as they happen."""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, count, islice
from threading import Event, Thread
from time import thread_time
from types import TracebackType
from typing import Final, Self

from attrs import frozen

from harken.domain.alerts.alert import Alert
from harken.domain.errors import Overloaded, StorageClosed, StorageError
from harken.domain.events import EventType
from harken.domain.feedback import Feedback
from harken.domain.instants import from_microseconds, to_microseconds
from harken.domain.query import Cursor, FeedbackQuery
from harken.ports.alerts import AlertRepository
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock
from harken.services.forks import ForkSafeLock
from harken.services.interruption import Latch

logger = logging.getLogger(__name__)

#: The maximum time from the timestamp of feedback until it is visible in the storage: writes under load take time, and
#: clocks differ a little. Feedback that appears later than that is not reported.
OVERLAP: Final = timedelta(seconds=10)
#: How long a listener may have been away and still get what happened meanwhile.
RESUMABLE: Final = timedelta(hours=1)
#: How long the entries of an application without listeners are kept.
KEPT: Final = timedelta(minutes=1)
MAX_LISTENERS: Final = 200
#: The maximum number of entries that wait for a listener, and of those that are taken at once.
MAX_WAITING: Final = 10_000
MAX_TAKEN: Final = 500
#: The maximum number of entries that are kept for all applications together, and that wait for all listeners that
#: resumed; an entry takes some 270 bytes.
MAX_REMEMBERED: Final = 200_000
MAX_RESUMING: Final = 100_000
#: How many alerts of an application are watched: the latest ones.
MAX_ALERTS: Final = 500
_SLOT_LOST: Final = (
    f"All {MAX_LISTENERS} listener slots are in use, and this one was given to a caller with fewer; try again later"
)
#: The seconds between polls for the writes of other processes, without nudges.
POLL: Final = 1.0
#: Reading the whole overlap reads most entries repeatedly. If that takes longer than this many seconds of CPU time, it
#: is done at this interval only, and in between only the near past is read.
_CHEAP: Final = 0.005
_FAR_INTERVAL: Final = timedelta(seconds=10)
_NEAR: Final = timedelta(seconds=2)
#: To limit the load of polling, the thread pauses after each poll for this multiple of its CPU time. A multiple of the
#: elapsed time would delay listeners too long on a busy machine.
_PAUSE_RATIO: Final = 15.0
_SHORTEST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


@frozen
class Place:
    """The place of an item in the feed, to continue after it. ``str`` returns a token that is safe in a URL.

    ``watch`` names the process that reported it, as another process may have found the items in another order.
    """

    at: Cursor
    watch: str = ""

    def __str__(self) -> str:
        return f"{self.at}.{self.watch}" if self.watch else str(self.at)

    @classmethod
    def parse(cls, token: str) -> Place:
        """The inverse of ``str``.

        Raises:
            InvalidQuery: it is not a token of the feed.
        """
        cursor, _, watch = token.partition(".")
        return cls(Cursor.parse(cursor), watch)


@frozen
class News:
    """An item of the feed: feedback was created or changed, or an alert was raised or resolved.

    It has either the current ``feedback`` or the current ``alert``; the other one is ``None``. To continue after it,
    use its ``place``.
    """

    place: Place
    type: EventType
    feedback: Feedback | None = None
    alert: Alert | None = None


@frozen
class _Seen:
    """A remembered item, without content, so that nothing of erased feedback stays here."""

    place: Cursor
    version: int
    about_alert: bool = False

    @classmethod
    def of(cls, feedback: Feedback) -> _Seen:
        return cls(Cursor(feedback.updated_at, feedback.id), feedback.version)

    @classmethod
    def of_alert(cls, alert: Alert) -> _Seen:
        return cls(Cursor(alert.event().occurred_at, alert.id), alert.version, about_alert=True)


def type_of(feedback: Feedback) -> EventType:
    """The type of the latest event of feedback."""
    if feedback.version == 1:
        return EventType.CREATED
    if feedback.withdrawn:
        return EventType.WITHDRAWN
    return EventType.MODERATED if feedback.moderation.decided_at == feedback.updated_at else EventType.UPDATED


class _Watch:
    """The entries of one application, oldest first; ``first`` is the number of the oldest one that is kept."""

    def __init__(self, application: str, since: datetime, known: set[_Seen], open_alerts: set[str]) -> None:
        self.application = application
        self.name = f"{to_microseconds(since):x}"
        self.since = since
        self.looked_far = since
        self.far_is_cheap = True
        # The entries since the last poll that read the far past.
        self.known = known
        # The ids of the alerts that were open at the last poll.
        self.open_alerts = open_alerts
        self.first = 0
        self.entries: deque[_Seen] = deque()
        self.listeners: list[Listener] = []

    @property
    def end(self) -> int:
        """The number that the next entry will have."""
        return self.first + len(self.entries)

    def extend(self, found: Iterable[_Seen], most: int = MAX_WAITING) -> None:
        """Add entries, and drop the oldest ones if there are too many."""
        self.entries.extend(found)
        while len(self.entries) > most:
            self.entries.popleft()
            self.first += 1

    @property
    def start(self) -> Place:
        """The place before the first entry."""
        return Place(Cursor(from_microseconds(int(self.name, 16)), ""), self.name)

    @property
    def last(self) -> Place:
        """The place of the last entry."""
        return Place(self.entries[-1].place, self.name) if self.entries else self.start

    def number_after(self, place: Place) -> int | None:
        """The number after that place; ``None`` if another watch reported it, or it is not kept any more."""
        if place.watch != self.name:
            return None
        if place == self.start:
            return 0 if self.first == 0 else None
        found = (number for number, entry in enumerate(self.entries, self.first + 1) if entry.place == place.at)
        return next(found, None)


class Listener:
    """A listener to one application. :meth:`Feed.listen` creates it; close it at the end.

    ``missed`` is set at the start or after a :meth:`take` if items were lost, so that displayed data should be loaded
    again. ``ended`` is set if the slot was given to a caller with fewer slots. ``begin`` is the place that the listener
    began after; ``None`` if it resumed after the place that it was given.
    """

    def __init__(
        self,
        feed: Feed,
        watch: _Watch,
        wake: Callable[[], object],
        number_of_next: int,
        *,
        begin: Place | None = None,
        share: tuple[str, ...] = (),
        number: int = 0,
        wanted: FeedbackQuery | None = None,
    ) -> None:
        self.wake = wake
        # The holder of the slot, and a number to compare the age of slots.
        self.share = share
        self.number = number
        self.ended = False
        self.missed = False
        self._feed = feed
        self._watch = watch
        self._backlog: list[_Seen] = []
        self._next = number_of_next
        self._wanted = wanted
        self.begin = begin

    @property
    def resuming(self) -> int:
        """The number of entries from before the listener started that were not taken yet."""
        return len(self._backlog)

    @property
    def waiting(self) -> bool:
        """Whether there are items to take."""
        return self.ended or bool(self._backlog) or self._next < self._watch.end

    def take(self) -> list[News]:
        """The items since the last call, in the order in which they were found, 500 at most; reads the storage.

        Erased feedback is left out, and feedback that changed several times has its current content. Only one thread at
        a time may call it.

        Raises:
            Overloaded: the slot was given to a caller with fewer slots; no more items follow.
            StorageClosed: the feed is closed; no more items follow.
            StorageError: the storage failed; the items can be taken later.
        """
        if self.ended:
            raise Overloaded(_SLOT_LOST)
        if self._backlog:
            news = self._feed.read(self._watch, "", self._backlog[:MAX_TAKEN])
            self._backlog, self.missed = self._backlog[MAX_TAKEN:], False
            return self._select(news)
        first, entries = self._feed.entries(self._watch, self._next)
        news = self._feed.read(self._watch, self._watch.name, entries)
        self._next, self.missed = first + len(entries), first > self._next
        return self._select(news)

    def _select(self, news: list[News]) -> list[News]:
        """The items that are wanted: alerts always are."""
        wanted = self._wanted
        return [one for one in news if wanted is None or one.feedback is None or wanted.matches(one.feedback)]

    def resume(self, backlog: list[_Seen] | None) -> None:
        """Deliver these entries first, before those since the start; ``None`` if they are too many and are missed."""
        self._backlog, self.missed = backlog or [], backlog is None
        if backlog is not None:
            self.begin = None

    def close(self) -> None:
        """Stop listening. Does not block."""
        self._feed.leave(self)
        self._backlog = []


class Feed:
    """Reports changes of feedback and alerts by any process to listeners, at least once.

    While there are listeners, one thread polls the storage for all of them: every second, and at once after
    :meth:`nudge`. It reads a little further back than before, because a slow write appears after its timestamp, and
    reports the entries that it has not seen yet. A listener that resumes gets each entry that this process saw after
    its place once. If this process did not see that place, the listener also gets entries from shortly before it.

    The timestamp of an alert may be long before it is found. Alerts are reported when they are found; a listener that
    resumes in another process gets those of the hour before its place.
    """

    def __init__(
        self, repository: FeedbackRepository, alerts: AlertRepository, *, clock: Clock, poll: float = POLL
    ) -> None:
        self._repository = repository
        self._alerts = alerts
        self._clock = clock
        self._poll = poll
        # Held while the storage is polled; only new listeners wait for it.
        self._looking = ForkSafeLock()
        # Held for a moment, to change the entries and the listeners.
        self._state = ForkSafeLock()
        self._pid = os.getpid()
        self._watches: dict[str, _Watch] = {}
        self._thread: Thread | None = None
        self._nudged = Latch()
        self._closed = Event()
        self._numbers = count()

    def listen(
        self,
        application: str,
        wake: Callable[[], object],
        *,
        after: Place | None = None,
        share: tuple[str, ...] | None = None,
        wanted: FeedbackQuery | None = None,
    ) -> Listener:
        """Start to listen; reads the storage.

        Args:
            application: the application.
            wake: called by another thread when there are items to take, or when the feed is closed; it must not block.
            after: the place of the last item that was taken, to continue after it; by default, it starts now.
            share: the holder of the slot, from the outermost level in, such as tenant, key and address; by default, the
                application. When all slots are in use, the holder with the most loses its newest one to one with fewer.
            wanted: the feedback whose events are given; by default, all. Alerts are always given.

        Raises:
            Overloaded: there are 200 listeners, and no holder has at least two slots more than the caller.
            StorageClosed: the feed is closed.
            StorageError: the storage failed.
        """
        with self._looking:
            share = (application,) if share is None else share
            self._check_room(share)
            watch = self._watch_for(application)
            number = None if after is None else watch.number_after(after)
            listener = Listener(
                self,
                watch,
                wake,
                watch.end if number is None else number,
                begin=watch.last if number is None else None,
                share=share,
                number=next(self._numbers),
                wanted=wanted,
            )
            with self._state:
                self._check_open()
                loser = self._find_loser(share)
                if loser is not None:
                    loser.ended = True
                    self._remove(loser)
                watch.listeners.append(listener)
                if self._thread is None:
                    thread = Thread(target=self._watch_all, name="harken-feed", daemon=True)
                    thread.start()
                    # Only now: if the thread cannot be started, the next listener tries again.
                    self._thread = thread
        if loser is not None:
            _wake([loser])
        if after is not None and number is None:
            self._resume(listener, application, after.at)
        return listener

    def nudge(self) -> None:
        """Poll now, as this process has written something. Does not block."""
        # Even without a thread: one that is being started would miss the write.
        self._nudged.open()

    def close(self) -> None:
        """Stop reporting, and wake all listeners. May be called twice, and after a fork."""
        if os.getpid() != self._pid:
            return
        with self._state:
            self._closed.set()
            self._nudged.open()
            thread, listeners = self._thread, self._listeners()
        if thread is not None:
            thread.join()
        _wake(listeners)

    # --- for listeners -----------------------------------------------------------------------------------------------

    def entries(self, watch: _Watch, number: int) -> tuple[int, list[_Seen]]:
        """The number of the first kept entry from ``number`` on, and the entries from there, 500 at most."""
        with self._state:
            skipped = max(0, number - watch.first)
            return watch.first + skipped, list(islice(watch.entries, skipped, skipped + MAX_TAKEN))

    def read(self, watch: _Watch, name: str, entries: Iterable[_Seen]) -> list[News]:
        """The current items of entries, without erased feedback."""
        self._check_open()
        entries = list(entries)
        ids = {entry.place.id for entry in entries if not entry.about_alert}
        feedback = self._repository.get_many(watch.application, ids) if ids else {}
        read = (self._read(watch.application, name, entry, feedback) for entry in entries)
        return [one for one in read if one is not None]

    def leave(self, listener: Listener) -> None:
        """Remove a listener."""
        with self._state:
            self._remove(listener)

    # --- steps -------------------------------------------------------------------------------------------------------

    def _read(self, application: str, watch: str, entry: _Seen, feedback: Mapping[str, Feedback]) -> News | None:
        if entry.about_alert:
            alert = self._alerts.get(application, entry.place.id)
            return None if alert is None else News(Place(entry.place, watch), alert.event().type, alert=alert)
        one = feedback.get(entry.place.id)
        return None if one is None else News(Place(entry.place, watch), type_of(one), one)

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise StorageClosed("Harken is closed; connect again")

    def _check_room(self, share: tuple[str, ...]) -> None:
        with self._state:
            self._check_open()
            self._find_loser(share)

    def _find_loser(self, share: tuple[str, ...]) -> Listener | None:
        """The listener that loses its slot; ``None`` if there is a free slot.

        Raises:
            Overloaded: all slots are in use, and no other holder has at least two more slots than the caller.
        """
        listeners = self._listeners()
        if len(listeners) < MAX_LISTENERS:
            return None
        loser = _greediest(listeners, share)
        if loser is None:
            raise Overloaded(f"There are {MAX_LISTENERS} listeners already; try again when one has left")
        return loser

    def _remove(self, listener: Listener) -> None:
        for watch in self._watches.values():
            if listener in watch.listeners:
                watch.listeners.remove(listener)

    def _listeners(self) -> list[Listener]:
        return [listener for watch in self._watches.values() for listener in watch.listeners]

    def _watch_for(self, application: str) -> _Watch:
        """The up-to-date watch of an application."""
        now = self._clock()
        with self._state:
            kept = {name: one for name, one in self._watches.items() if one.listeners or one.since >= now - KEPT}
            self._watches, watch = kept, kept.get(application)
        if watch is None:
            # Existing feedback and alerts are not reported.
            open_alerts = self._open_alerts(application)
            known = {*self._find_changes(application, now - OVERLAP), *map(_Seen.of_alert, open_alerts)}
            watch = _Watch(application, now, known, _ids(open_alerts))
            with self._state:
                self._watches[application] = watch
        elif not watch.listeners:
            # It was not polled without listeners.
            self._look(watch)
        return watch

    def _resume(self, listener: Listener, application: str, place: Cursor) -> None:
        """Read the entries after a place that this process does not know. Other listeners do not wait for that."""
        try:
            backlog = self._entries_after(application, place)
            with self._state:
                total = sum(one.resuming for one in self._listeners())
                listener.resume(None if backlog and total + len(backlog) > MAX_RESUMING else backlog)
        except BaseException:
            listener.close()
            raise

    def _entries_after(self, application: str, place: Cursor) -> list[_Seen] | None:
        """The entries after that place, and shortly before; ``None`` if it is too long ago, or they are too many."""
        if place.created_at < self._clock() - RESUMABLE:
            return None
        found: set[_Seen] = set()
        happened = self._find_changes(application, place.created_at - OVERLAP)
        for entry in chain(happened, self._alerts_after(application, place.created_at - RESUMABLE)):
            found.add(entry)
            if len(found) > MAX_WAITING:
                return None
        return sorted((entry for entry in found if entry.place != place), key=_place)

    def _find_changes(self, application: str, since: datetime) -> Iterator[_Seen]:
        """The feedback created or changed since then, without future timestamps; and the alerts raised since then."""
        until = self._clock() + OVERLAP
        created = FeedbackQuery(application=application, since=since, until=until).in_any_state()
        found = chain(self._repository.stream(created), self._repository.changes(application, since=since))
        return chain(map(_Seen.of, found), map(_Seen.of_alert, self._find_raised(application, since)))

    def _open_alerts(self, application: str) -> Sequence[Alert]:
        """The open alerts."""
        return self._alerts.find(application, limit=MAX_ALERTS, open=True)

    def _find_raised(self, application: str, since: datetime) -> Sequence[Alert]:
        """The alerts that were raised since then, open or resolved."""
        return self._alerts.find(application, limit=MAX_ALERTS, since=since)

    def _find_resolved(self, watch: _Watch, open_alerts: Sequence[Alert]) -> Iterator[Alert]:
        """The alerts that were open at the last poll and are not now; storages cannot be queried for changed alerts."""
        for alert_id in watch.open_alerts - _ids(open_alerts):
            if alert := self._alerts.get(watch.application, alert_id):
                yield alert

    def _alerts_after(self, application: str, since: datetime) -> Iterator[_Seen]:
        """The alerts that were raised or resolved since then, among the latest ones."""
        for alert in self._alerts.find(application, limit=MAX_ALERTS):
            if (entry := _Seen.of_alert(alert)).place.created_at >= since:
                yield entry

    def _look(self, watch: _Watch) -> bool:
        """Poll the storage; whether there are new entries."""
        began, before = self._clock(), thread_time()
        far = watch.far_is_cheap or began - watch.looked_far >= _FAR_INTERVAL
        since = watch.looked_far - OVERLAP if far else watch.since - _NEAR
        open_alerts = self._open_alerts(watch.application)
        alerts = chain(open_alerts, self._find_resolved(watch, open_alerts))
        found = {*self._find_changes(watch.application, since), *map(_Seen.of_alert, alerts)}
        new = sorted(found - watch.known, key=_place)
        watch.open_alerts, watch.since = _ids(open_alerts), max(began, watch.since)
        if far:
            # Older entries will not be found again.
            watch.known, watch.looked_far = found, watch.since
            watch.far_is_cheap = thread_time() - before < _CHEAP
        else:
            watch.known |= found
        with self._state:
            share = MAX_REMEMBERED // max(1, len(self._watches))
            watch.extend(new, max(MAX_TAKEN, min(MAX_WAITING, share)))
        return bool(new)

    def _watch_all(self) -> None:
        while True:
            self._nudged.wait(self._poll)
            began = thread_time()
            with self._looking:
                with self._state:
                    watches = [watch for watch in self._watches.values() if watch.listeners]
                    if self._closed.is_set() or not watches:
                        # The next listener starts another thread.
                        self._thread = None
                        return
                found = [watch for watch in watches if self._look_safely(watch)]
            with self._state:
                listeners = [listener for watch in found for listener in watch.listeners]
            _wake(listeners)
            pause = _PAUSE_RATIO * (thread_time() - began)
            self._closed.wait(min(max(_SHORTEST_PAUSE, pause), _LONGEST_PAUSE))

    def _look_safely(self, watch: _Watch) -> bool:
        """Poll, and log any error: it must not affect other listeners."""
        try:
            return self._look(watch)
        except StorageError as error:
            logger.warning("The feed could not be read: %s", error)
        except Exception:
            logger.exception("The feed could not be read")
        return False


@frozen
class Missed:
    """Events were lost, because too many happened or too long ago. What is displayed should be loaded again.

    ``count`` is how much feedback was created meanwhile, where a client of the HTTP API receives events; otherwise, and
    if it is not known, ``None``.
    """

    count: int | None = None


class Events:
    """Iterates over the events of one application. It waits for the next one, and ends when it is closed.

    Each event is reported at least once, and has the current feedback or alert. Where events were lost, the iterator
    gives :class:`Missed` instead. Close it at the end, or use it in a ``with`` statement: it takes one of 200 places.

    Raises:
        Overloaded: all places are in use; or, while it iterates, another caller was given this one.
        StorageError: the storage failed. The iterator can be used again, and continues where it stopped.
    """

    def __init__(self, feed: Feed, wanted: FeedbackQuery, after: Place | None) -> None:
        self._woken = Event()
        self._closed = False
        self._items: deque[News | Missed] = deque()
        self._listener = feed.listen(wanted.application, self._woken.set, after=after, wanted=wanted)
        self._add_missed()
        if self._listener.waiting:
            self._woken.set()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> News | Missed:
        while not self._items:
            if not self._closed:
                self._woken.wait()
                self._woken.clear()
            if self._closed:
                raise StopIteration
            self._take()
        return self._items.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration, also if another thread waits for the next event."""
        self._closed = True
        self._items.clear()
        self._listener.close()
        self._woken.set()

    def _take(self) -> None:
        try:
            news = self._listener.take()
        except StorageClosed:
            self.close()
            return
        except Exception:
            # The next call tries again.
            self._woken.set()
            raise
        self._add_missed()
        self._items.extend(news)
        if self._listener.waiting:
            self._woken.set()

    def _add_missed(self) -> None:
        if self._listener.missed:
            self._items.append(Missed())


def _greediest(listeners: Sequence[Listener], share: tuple[str, ...]) -> Listener | None:
    """The newest listener of the tenant, key or address with at least two more slots than the caller, if any.

    Tenants are compared first; within the caller's tenant, its keys, and so on. With only one more slot, the two would
    just swap.
    """
    found = False
    for level, own in enumerate(share):
        # Listeners without this level belong to the embedding program, and are left out.
        known = [one for one in listeners if len(one.share) > level]
        counts = Counter(one.share[level] for one in known)
        most = max(counts, key=counts.__getitem__, default=own)
        found = found or counts[most] > counts[own] + 1
        # All listeners of the greediest tenant, if none of them has this level.
        if known or not found:
            chosen = most if found else own
            listeners = [one for one in known if one.share[level] == chosen]
    return max(listeners, key=lambda one: one.number) if found else None


def _wake(listeners: Iterable[Listener]) -> None:
    for listener in listeners:
        try:
            listener.wake()
        except Exception:
            # It must not keep the others from being woken.
            logger.exception("A listener could not be woken")


def _place(entry: _Seen) -> tuple[Cursor, int]:
    return entry.place, entry.version


def _ids(alerts: Iterable[Alert]) -> set[str]:
    return {alert.id for alert in alerts}
