"""Watching what happens to feedback, and which alerts are raised, in this process and in others, as it happens."""

from __future__ import annotations

import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import chain, count, islice
from threading import Event, Lock, Thread
from time import thread_time
from typing import Final

from attrs import frozen

from harken.domain.alerts.alert import Alert
from harken.domain.errors import Overloaded, StorageClosed, StorageError
from harken.domain.events import EventType
from harken.domain.feedback import Feedback
from harken.domain.instants import to_microseconds
from harken.domain.query import Cursor, FeedbackQuery
from harken.ports.alerts import AlertRepository
from harken.ports.repository import FeedbackRepository
from harken.ports.time import Clock
from harken.services.interruption import Latch

logger = logging.getLogger(__name__)

#: How long it may take from the time that feedback bears until it is found in the storage: a write under load, and
#: clocks that differ a little. What appears later than that is not told.
OVERLAP: Final = timedelta(seconds=10)
#: How long a listener may have been away and still be told what happened meanwhile.
RESUMABLE: Final = timedelta(hours=1)
#: How long it is remembered what was seen of an application that nobody listens to.
KEPT: Final = timedelta(minutes=1)
MAX_LISTENERS: Final = 200
#: How much may wait for a listener, and how much of it is taken at once.
MAX_WAITING: Final = 10_000
MAX_TAKEN: Final = 500
#: How many entries are remembered at most for all applications together, and how many wait at most for all listeners
#: that came back; they take some 270 bytes each.
MAX_REMEMBERED: Final = 200_000
MAX_RESUMING: Final = 100_000
#: How many alerts of an application are watched: those that were raised last.
MAX_ALERTS: Final = 500
_SLOT_LOST: Final = (
    f"All {MAX_LISTENERS} listener slots are in use, and this one was given to a caller with fewer; try again later"
)
#: How many seconds it waits, unless it is nudged, before it looks at what other processes have written.
POLL: Final = 1.0
#: Looking back all of the overlap reads most things again and again. Where that takes longer than so many seconds of
#: processor time, it is done only so often, and in between it looks back a little.
_CHEAP: Final = 0.005
_FAR_INTERVAL: Final = timedelta(seconds=10)
_NEAR: Final = timedelta(seconds=2)
#: Looking again and again under load must not become a load of its own: it rests so many times as long as it has
#: computed. Not as long as it took: where others have the processor, that would be long, and listeners would starve.
_PAUSE_RATIO: Final = 15.0
_SHORTEST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0


@frozen
class Place:
    """What a listener was told last, to go on behind it. ``str`` gives a token that is safe in a URL.

    ``watch`` tells who told it, as another process may have found the same things in another order.
    """

    at: Cursor
    watch: str = ""

    def __str__(self) -> str:
        return f"{self.at}.{self.watch}" if self.watch else str(self.at)

    @classmethod
    def parse(cls, token: str) -> Place:
        """The inverse of ``str``.

        Raises:
            InvalidQuery: nobody was ever given such a token.
        """
        cursor, _, watch = token.partition(".")
        return cls(Cursor.parse(cursor), watch)


@frozen
class News:
    """That feedback was given or changed, or an alert raised or resolved, and how that reads now.

    ``place`` is what to go on behind. Of ``feedback`` and ``alert`` the one that it is not about is ``None``.
    """

    place: Place
    type: EventType
    feedback: Feedback | None = None
    alert: Alert | None = None


@frozen
class _Seen:
    """What is remembered of something that happened: no word of it, so that nothing that is erased stays here."""

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
    """What happened to feedback last."""
    if feedback.version == 1:
        return EventType.CREATED
    if feedback.withdrawn:
        return EventType.WITHDRAWN
    return EventType.MODERATED if feedback.moderation.decided_at == feedback.updated_at else EventType.UPDATED


class _Watch:
    """What was seen of one application, oldest first; ``first`` is the number of the oldest that is remembered."""

    def __init__(self, application: str, since: datetime, known: set[_Seen], open_alerts: set[str]) -> None:
        self.application = application
        self.name = f"{to_microseconds(since):x}"
        self.since = since
        self.looked_far = since
        self.far_is_cheap = True
        # What was found since it looked back far.
        self.known = known
        # The ids of the alerts that stood when somebody looked last.
        self.open_alerts = open_alerts
        self.first = 0
        self.entries: deque[_Seen] = deque()
        self.listeners: list[Listener] = []

    @property
    def end(self) -> int:
        """The number that the next entry will have."""
        return self.first + len(self.entries)

    def extend(self, found: Iterable[_Seen], most: int = MAX_WAITING) -> None:
        """Some more, and the oldest ones less where there are too many."""
        self.entries.extend(found)
        while len(self.entries) > most:
            self.entries.popleft()
            self.first += 1

    def number_behind(self, place: Place) -> int | None:
        """The number behind that place; ``None`` if it was not told from here, or is not remembered."""
        if place.watch != self.name:
            return None
        found = (number for number, entry in enumerate(self.entries, self.first + 1) if entry.place == place.at)
        return next(found, None)


class Listener:
    """Somebody who is told what happens in one application; made by :meth:`Feed.listen`, to be closed.

    ``missed`` tells, at the beginning and after each :meth:`take`, that something happened that cannot be told any
    more, so that what is shown should be loaded anew. ``ended`` tells that the slot went to somebody who had fewer.
    """

    def __init__(
        self,
        feed: Feed,
        watch: _Watch,
        wake: Callable[[], object],
        begin: int,
        *,
        share: tuple[str, ...] = (),
        number: int = 0,
    ) -> None:
        self.wake = wake
        # Whose slot this is, and which of them is the newer one.
        self.share = share
        self.number = number
        self.ended = False
        self.missed = False
        self._feed = feed
        self._watch = watch
        self._backlog: list[_Seen] = []
        self._next = begin

    @property
    def resuming(self) -> int:
        """Number of missed entries not yet delivered."""
        return len(self._backlog)

    @property
    def waiting(self) -> bool:
        """Whether there is something to take."""
        return self.ended or bool(self._backlog) or self._next < self._watch.end

    def take(self) -> list[News]:
        """What happened since the last time, in the order in which it was found, 500 at most; reads the storage.

        What was erased meanwhile is left out, and what changed more than once is told as it reads now. To be called by
        one thread at a time.

        Raises:
            Overloaded: the slot went to somebody who had fewer, so that nothing more will come.
            StorageClosed: the feed is closed, so that nothing more will come.
            StorageError: the storage could not be asked; what there is to take stays.
        """
        if self.ended:
            raise Overloaded(_SLOT_LOST)
        if self._backlog:
            news = self._feed.read(self._watch, "", self._backlog[:MAX_TAKEN])
            self._backlog, self.missed = self._backlog[MAX_TAKEN:], False
            return news
        first, entries = self._feed.entries(self._watch, self._next)
        news = self._feed.read(self._watch, self._watch.name, entries)
        self._next, self.missed = first + len(entries), first > self._next
        return news

    def resume(self, backlog: list[_Seen] | None) -> None:
        """Tell this first, before what was seen since it began; ``None`` for too much, so that something is missed."""
        self._backlog, self.missed = backlog or [], backlog is None

    def close(self) -> None:
        """Listen no more. Waits for nothing."""
        self._feed.leave(self)
        self._backlog = []


class Feed:
    """Tells listeners what happens to feedback and alerts, whichever process writes it, at least once.

    One thread looks at the storage for all of them, for as long as there are any: every second, and at once after
    :meth:`nudge`. It looks a little further back than it did before, because a write that took long appears behind its
    time, and passes on what it has not seen yet. Who comes back is told what this process saw behind the place where
    they left, each once; where this process did not see that place, also what happened shortly before it.

    Alerts may bear a time long before they are found. They are told when they are found; of them, who comes back to
    another process is told those of the hour before.
    """

    def __init__(
        self, repository: FeedbackRepository, alerts: AlertRepository, *, clock: Clock, poll: float = POLL
    ) -> None:
        self._repository = repository
        self._alerts = alerts
        self._clock = clock
        self._poll = poll
        # Held while it looks at the storage; only those who begin to listen wait for it.
        self._looking = Lock()
        # Held for a moment, to change what is remembered, and who listens.
        self._state = Lock()
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
    ) -> Listener:
        """Begin to listen; reads the storage.

        Args:
            application: whose feedback it is.
            wake: called by another thread when there is something to take, or when the feed is closed; it must not
                block.
            after: the place of the last news, to be told what happened since then; else it begins now.
            share: who listens, from the outside in, such as tenant, key and address; only the application, if nothing
                is given. When all slots are taken, the one with the most loses its newest to one with fewer.

        Raises:
            Overloaded: 200 listen already, and nobody has more than one slot more than the caller.
            StorageClosed: it is closed.
            StorageError: the storage could not be asked.
        """
        with self._looking:
            share = (application,) if share is None else share
            self._check_room(share)
            watch = self._watched(application)
            number = watch.end if after is None else watch.number_behind(after)
            begin = watch.end if number is None else number
            listener = Listener(self, watch, wake, begin, share=share, number=next(self._numbers))
            with self._state:
                self._check_open()
                loser = self._loser(share)
                if loser is not None:
                    loser.ended = True
                    self._remove(loser)
                watch.listeners.append(listener)
                if self._thread is None:
                    thread = Thread(target=self._watch_all, name="harken-feed", daemon=True)
                    thread.start()
                    # Only now: where no thread can be had, the next one to listen tries again.
                    self._thread = thread
        if loser is not None:
            _wake([loser])
        if after is not None and number is None:
            self._resume(listener, application, after.at)
        return listener

    def nudge(self) -> None:
        """Look at once: something was written in this process. Takes no time."""
        # Also while no thread looks: one that is being started would miss what is written meanwhile.
        self._nudged.open()

    def close(self) -> None:
        """Tell nobody anything any more. Closing twice is harmless."""
        with self._state:
            self._closed.set()
            self._nudged.open()
            thread, listeners = self._thread, self._listeners()
        if thread is not None:
            thread.join()
        _wake(listeners)

    # --- for listeners ---------------------------------------------------------------------------------------------

    def entries(self, watch: _Watch, number: int) -> tuple[int, list[_Seen]]:
        """What was seen from that number on, 500 at most, and the number of the first one that is remembered."""
        with self._state:
            skipped = max(0, number - watch.first)
            return watch.first + skipped, list(islice(watch.entries, skipped, skipped + MAX_TAKEN))

    def read(self, watch: _Watch, name: str, entries: Iterable[_Seen]) -> list[News]:
        """Entries as they read now, without what was erased."""
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

    # --- how -------------------------------------------------------------------------------------------------------

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
            self._loser(share)

    def _loser(self, share: tuple[str, ...]) -> Listener | None:
        """Who has to leave to make room; ``None`` if there is room.

        Raises:
            Overloaded: there is none, and no other holder has at least two more slots than the caller.
        """
        listeners = self._listeners()
        if len(listeners) < MAX_LISTENERS:
            return None
        loser = _greediest(listeners, share)
        if loser is None:
            raise Overloaded(f"{MAX_LISTENERS} listen already; try again when one of them has left")
        return loser

    def _remove(self, listener: Listener) -> None:
        for watch in self._watches.values():
            if listener in watch.listeners:
                watch.listeners.remove(listener)

    def _listeners(self) -> list[Listener]:
        return [listener for watch in self._watches.values() for listener in watch.listeners]

    def _watched(self, application: str) -> _Watch:
        """The watch of an application, up to now."""
        now = self._clock()
        with self._state:
            kept = {name: one for name, one in self._watches.items() if one.listeners or one.since >= now - KEPT}
            self._watches, watch = kept, kept.get(application)
        if watch is None:
            # What is there already is no news.
            open_alerts = self._open_alerts(application)
            known = {*self._happened(application, now - OVERLAP), *map(_Seen.of_alert, open_alerts)}
            watch = _Watch(application, now, known, _ids(open_alerts))
            with self._state:
                self._watches[application] = watch
        elif not watch.listeners:
            # Nobody has looked for a while.
            self._look(watch)
        return watch

    def _resume(self, listener: Listener, application: str, place: Cursor) -> None:
        """Where a place is not known here, the storage may know. Others go on listening while that is read."""
        try:
            backlog = self._seen_behind(application, place)
            with self._state:
                total = sum(one.resuming for one in self._listeners())
                listener.resume(None if backlog and total + len(backlog) > MAX_RESUMING else backlog)
        except BaseException:
            listener.close()
            raise

    def _seen_behind(self, application: str, place: Cursor) -> list[_Seen] | None:
        """What the storage has behind that place, and shortly before; ``None`` if that is too long ago, or too much."""
        if place.created_at < self._clock() - RESUMABLE:
            return None
        found: set[_Seen] = set()
        happened = self._happened(application, place.created_at - OVERLAP)
        for entry in chain(happened, self._alerts_behind(application, place.created_at - RESUMABLE)):
            found.add(entry)
            if len(found) > MAX_WAITING:
                return None
        return sorted((entry for entry in found if entry.place != place), key=_place)

    def _happened(self, application: str, since: datetime) -> Iterator[_Seen]:
        """What was given or changed since then. What claims to be given in the future is not told before its time."""
        until = self._clock() + OVERLAP
        given = FeedbackQuery(application=application, since=since, until=until).in_any_state()
        found = chain(self._repository.stream(given), self._repository.changes(application, since=since))
        return chain(map(_Seen.of, found), map(_Seen.of_alert, self._raised(application, since)))

    def _open_alerts(self, application: str) -> Sequence[Alert]:
        """The alerts that stand, whenever they were raised."""
        return self._alerts.find(application, limit=MAX_ALERTS, open=True)

    def _raised(self, application: str, since: datetime) -> Sequence[Alert]:
        """The alerts that were raised since then, also those that are over."""
        return self._alerts.find(application, limit=MAX_ALERTS, since=since)

    def _ended(self, watch: _Watch, open_alerts: Sequence[Alert]) -> Iterator[Alert]:
        """The alerts that stood when somebody looked last, and do not stand now: no storage tells when they changed."""
        for alert_id in watch.open_alerts - _ids(open_alerts):
            if alert := self._alerts.get(watch.application, alert_id):
                yield alert

    def _alerts_behind(self, application: str, since: datetime) -> Iterator[_Seen]:
        """The alerts that were raised or resolved since then, of those that were raised last."""
        for alert in self._alerts.find(application, limit=MAX_ALERTS):
            if (entry := _Seen.of_alert(alert)).place.created_at >= since:
                yield entry

    def _look(self, watch: _Watch) -> bool:
        """Find what has happened; whether anything has."""
        began, before = self._clock(), thread_time()
        far = watch.far_is_cheap or began - watch.looked_far >= _FAR_INTERVAL
        since = watch.looked_far - OVERLAP if far else watch.since - _NEAR
        open_alerts = self._open_alerts(watch.application)
        alerts = chain(open_alerts, self._ended(watch, open_alerts))
        found = {*self._happened(watch.application, since), *map(_Seen.of_alert, alerts)}
        new = sorted(found - watch.known, key=_place)
        watch.open_alerts, watch.since = _ids(open_alerts), max(began, watch.since)
        if far:
            # What is older will not be found again.
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
                        # The next one to listen starts another thread.
                        self._thread = None
                        return
                found = [watch for watch in watches if self._look_safely(watch)]
            with self._state:
                listeners = [listener for watch in found for listener in watch.listeners]
            _wake(listeners)
            pause = _PAUSE_RATIO * (thread_time() - began)
            self._closed.wait(min(max(_SHORTEST_PAUSE, pause), _LONGEST_PAUSE))

    def _look_safely(self, watch: _Watch) -> bool:
        """Look, whatever happens: one that fails must not keep others from being told."""
        try:
            return self._look(watch)
        except StorageError as error:
            logger.warning("Listeners cannot be told anything just now: %s", error)
        except Exception:
            logger.exception("Listeners cannot be told anything just now")
        return False


def _greediest(listeners: Sequence[Listener], share: tuple[str, ...]) -> Listener | None:
    """The newest listener of the tenant, key or address with at least two more slots than the caller, if any.

    Tenants are compared first; within the asking one, its keys, and so on. One more would only change places with it.
    """
    found = False
    for level, own in enumerate(share):
        # Those of which no more is known stay out of it: they are the embedding program's own.
        known = [one for one in listeners if len(one.share) > level]
        counts = Counter(one.share[level] for one in known)
        most = max(counts, key=counts.__getitem__, default=own)
        found = found or counts[most] > counts[own] + 1
        # Of the greediest tenant all that listen, if no more is known of any of them.
        if known or not found:
            chosen = most if found else own
            listeners = [one for one in known if one.share[level] == chosen]
    return max(listeners, key=lambda one: one.number) if found else None


def _wake(listeners: Iterable[Listener]) -> None:
    for listener in listeners:
        try:
            listener.wake()
        except Exception:
            # It must not keep the others from being told.
            logger.exception("A listener could not be woken")


def _place(entry: _Seen) -> tuple[Cursor, int]:
    return entry.place, entry.version


def _ids(alerts: Iterable[Alert]) -> set[str]:
    return {alert.id for alert in alerts}
