"""The index of comments for text search, as far as it is the same in every storage.

A segment has the words and tags of all comments of one application that were created in a range of time, about 4,000
entries. For each of them, it has the times at which such comments were created: a superset of what is found, as the
reader checks each comment. What no segment covers is scanned. So submissions write nothing here, and only two things
must hold:

- Before a comment in the range of a segment is added, changed or removed, or its tags are, or at the same time, the
  segment is removed.
- So is the note that a segment is being built, which is stored before its comments are read. A segment is only stored
  in place of its note.

Words are stored as numbers of 32 bits. Two words with one number only make a reader check more comments.
"""

from __future__ import annotations

import logging
import struct
from abc import ABC, abstractmethod
from array import array
from bisect import bisect_left
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from math import inf
from sys import byteorder
from threading import Thread
from time import monotonic
from typing import Any, Final
from zlib import crc32

from attrs import evolve, frozen

from harken.domain.errors import HarkenError, SearchNotReady, StorageClosed, StorageCorrupt
from harken.domain.instants import from_microseconds, to_microseconds
from harken.domain.moderation import ModerationStatus
from harken.domain.query import FeedbackQuery
from harken.domain.search import TextSearch, search_terms
from harken.services.forks import ForkSafeLock
from harken.services.interruption import Latch

logger = logging.getLogger(__name__)

#: A segment has about this many entries, unless its comments are very long.
ENTRIES: Final = 4_096
#: A segment of this many bytes gets no more comments.
_FULL: Final = 4_000_000
#: A larger segment, of very long comments of one time, is not stored: MongoDB has documents of 16 MB. They are scanned.
_LARGEST: Final = 12_000_000
#: How many parts the words of a segment are stored in, so that a search reads few of them.
BUCKETS: Final = 128
#: A search checks this many of the newest entries at first, which finds most words.
WALKED: Final = 4_000
#: The largest number of entries that a search scans because no segment covers them.
SCANNED: Final = 100_000
#: How much longer it takes to look up an entry than to read it together with its neighbours.
_COST: Final = 5
_FIRST_PIECE: Final = 250
_LARGEST_PIECE: Final = 4_000
#: How long a note protects a segment that is being built, unless it is renewed. What a process left that was killed
#: delays the others this long.
BUILDING: Final = timedelta(seconds=10)
#: After how many seconds a note is renewed.
_RENEWAL: Final = 2.0
#: How many seconds pass before an attempt to index what others are indexing or changing is repeated.
_RETRY: Final = 1.0
#: How many seconds ``index_comments`` waits for others while it can index nothing.
_PATIENCE: Final = 300.0
#: How many seconds pass before a search looks again for comments to index.
_PAUSE: Final = 5.0
#: About how long indexing an entry takes.
_PER_ENTRY: Final = timedelta(microseconds=60)

_PENDING: Final = frozenset({ModerationStatus.PENDING})
BEGINNING: Final = 0
END: Final = to_microseconds(datetime.max.replace(tzinfo=UTC)) + 1


@frozen
class Segment:
    """A complete segment: its key, its range of times in microseconds, without the end, and its number of entries."""

    key: Any
    since: int
    until: int
    entries: int = 0


#: The time, comment and tags of an entry.
IndexedEntry = tuple[int, str, Collection[str]]
#: What a comment must have: of each group, one of the terms.
WantedTerms = Sequence[Collection[str]]


@frozen
class Part:
    """A range of times in microseconds, and the times at which comments in it may be found; without these, any time."""

    since: int
    until: int
    times: Sequence[int] | None


# --- Segments ---------------------------------------------------------------------------------------------------------


class SegmentBuilder:
    """The words of comments, which are added in the order of their times."""

    def __init__(self) -> None:
        self._times: list[int] = []
        self._ordinals: dict[int, list[int]] = {}
        self._places = 0

    @property
    def size(self) -> int:
        """The number of bytes that are stored, about."""
        return 8 * len(self._times) + 8 * len(self._ordinals) + 2 * self._places

    @property
    def is_full(self) -> bool:
        """Whether no more comments should be added."""
        return self.size >= _FULL or len(self._times) >= 1 << 16

    def is_at(self, time: int) -> bool:
        """Whether this is the time of the last comment."""
        return bool(self._times) and self._times[-1] == time

    def add_all(self, entries: Iterable[IndexedEntry], until: int) -> tuple[int, int]:
        """Add comments until it is full. Returns their number, and the time before which all were added."""
        number = 0
        for time, comment, tags in entries:
            if self.is_full and not self.is_at(time):
                return number, time
            number += 1
            if comment:
                self.add(time, comment, tags)
        return number, until

    def add(self, time: int, comment: str, tags: Collection[str]) -> None:
        """Add the words of a comment, and its tags."""
        if not self.is_at(time):
            self._times.append(time)
        ordinal = len(self._times) - 1
        for term in (*search_terms(comment), *map(_term_of_tag, tags)):
            ordinals = self._ordinals.setdefault(_number(term), [])
            if not ordinals or ordinals[-1] != ordinal:
                ordinals.append(ordinal)
                self._places += 1

    def times(self) -> bytes:
        """The times of the comments."""
        return struct.pack(f"<{len(self._times)}q", *self._times)

    def buckets(self) -> Iterator[tuple[int, bytes]]:
        """Yield each bucket that has words: the number of words, the words, and how often and where each occurs."""
        words: dict[int, list[int]] = {}
        for word in sorted(self._ordinals):
            words.setdefault(word % BUCKETS, []).append(word)
        for bucket, some in words.items():
            ordinals = [self._ordinals[word] for word in some]
            together = [ordinal for of_word in ordinals for ordinal in of_word]
            yield (
                bucket,
                struct.pack(
                    f"<I{len(some)}I{len(some)}I{len(together)}H", len(some), *some, *map(len, ordinals), *together
                ),
            )


def wanted_terms(query: FeedbackQuery, search: TextSearch) -> WantedTerms:
    """What a query with words asks of the terms of a comment."""
    words = [{term} for term in search.terms]
    return words if query.tag is None else [*words, {_term_of_tag(tag) for tag in query.tag}]


def buckets_of(wanted: WantedTerms) -> set[int]:
    """The buckets that a search reads."""
    return {_number(term) % BUCKETS for terms in wanted for term in terms}


def times_of(wanted: WantedTerms, times: bytes, buckets: Mapping[int, bytes]) -> list[int]:
    """The times at which a segment may have what is searched for, oldest first.

    Raises:
        StorageCorrupt: the segment is damaged.
    """
    try:
        return _times_of(wanted, times, buckets)
    except (struct.error, IndexError, ValueError) as error:
        raise StorageCorrupt("The search index of comments is damaged; run 'harken rebuild'") from error


def _times_of(wanted: WantedTerms, times: bytes, buckets: Mapping[int, bytes]) -> list[int]:
    common: set[int] | None = None
    for terms in wanted:
        found = set[int]()
        for number in map(_number, terms):
            found.update(_ordinals_of(number, buckets.get(number % BUCKETS, b"")))
        common = found if common is None else common & found
        if not common:
            return []
    all_times = _numbers("q", times)
    return [all_times[ordinal] for ordinal in sorted(common or ())]


def _term_of_tag(tag: str) -> str:
    # No word has this sign.
    return f"#{tag}"


def _number(term: str) -> int:
    return crc32(term.encode())


def _ordinals_of(word: int, bucket: bytes) -> Sequence[int]:
    if not bucket:
        return ()
    (count,) = struct.unpack_from("<I", bucket)
    words = _numbers("I", bucket[4 : 4 + 4 * count])
    place = bisect_left(words, word)
    if place == count or words[place] != word:
        return ()
    lengths = _numbers("I", bucket[4 + 4 * count : 4 + 8 * count])
    start = 4 + 8 * count + 2 * sum(lengths[:place])
    return _numbers("H", bucket[start : start + 2 * lengths[place]])


def _numbers(code: str, stored: bytes) -> Sequence[int]:
    """Stored numbers of a type code; this is faster than unpacking them."""
    numbers = array(code)
    numbers.frombytes(stored)
    if byteorder == "big":
        numbers.byteswap()
    return numbers


# --- Reading ----------------------------------------------------------------------------------------------------------


def covered_parts(
    segments: Iterable[Segment], since: int, until: int, times: Callable[[Segment], Sequence[int]]
) -> list[Part]:
    """The parts of a range of times, newest first: the segments with their ``times``, and what none of them covers."""
    parts: list[Part] = []
    place = since
    for segment in sorted(segments, key=lambda one: one.since):
        start, end = max(segment.since, place), min(segment.until, until)
        if start >= end:
            continue
        if place < start:
            parts.append(Part(place, start, None))
        found = times(segment)
        if (start, end) != (segment.since, segment.until):
            found = [time for time in found if start <= time < end]
        parts.append(Part(start, end, found))
        place = end
    if place < until:
        parts.append(Part(place, until, None))
    return parts[::-1]


def gaps(segments: Iterable[Segment], until: int) -> list[tuple[int, int]]:
    """The ranges of times before ``until`` that no segment covers, oldest first."""
    parts = covered_parts(segments, BEGINNING, until, lambda _: ())
    return [(part.since, part.until) for part in reversed(parts) if part.times is None]


def with_indexed_filters(query: FeedbackQuery) -> FeedbackQuery:
    """The filters of a query for which storages have an index."""
    plain = evolve(query, text=None, message_id=None, rating=None, tag=None, context=None, has_comment=None)
    return plain if query.statuses == _PENDING else plain.in_any_state()


def part_of(query: FeedbackQuery, part: Part) -> FeedbackQuery:
    """The part of a query in a range of times within its period."""
    # The end of time is not a time.
    until = query.until if part.until == END else from_microseconds(part.until)
    return evolve(query, since=from_microseconds(part.since), until=until)


def cost(left: int, parts: Iterable[Part]) -> int:
    """How many entries can be checked one after the other in the time that it takes to check these parts.

    ``left`` is the number of entries that no segment covers.
    """
    return left + _COST * sum(len(part.times) for part in parts if part.times is not None)


def plan(
    query: FeedbackQuery,
    times: Mapping[Segment, Sequence[int]],
    *,
    count: Callable[[FeedbackQuery, int], int],
    horizon: Callable[[], int | None],
    not_ready: Callable[[], SearchNotReady],
) -> list[Part] | None:
    """What to check for a query with words: parts, newest first; ``None`` if checking all entries is as fast.

    Args:
        query: the query.
        times: the segments of its period, with the times at which they may have what is searched for.
        count: counts what the filters with an index leave of a query, up to a limit.
        horizon: returns the time from which on nothing is indexed.
        not_ready: makes the error if too many entries would be scanned.

    Raises:
        SearchNotReady: too many comments are not indexed.
    """
    parts = covered_parts(times, *range_of(query), times.__getitem__)

    def number_in(some: Iterable[Part]) -> int:
        return number_up_to_scanned(some, lambda part, limit: count(part_of(query, part), limit))

    left = number_in(part for part in parts if part.times is None)
    if left > SCANNED and number_in(indexable(parts, horizon())) > SCANNED:
        raise not_ready()
    to_check = cost(left, parts)
    # Other filters may leave less to check than the words. All of them are at most ``everything``.
    everything = left + sum(segment.entries for segment in times)
    is_frequent = left <= SCANNED and everything <= to_check
    return None if is_frequent or count(query, to_check + 1) <= to_check else list(pieces(parts))


def range_of(query: FeedbackQuery) -> tuple[int, int]:
    """The period of a query in microseconds, without the end."""
    since = BEGINNING if query.since is None else to_microseconds(query.since)
    return since, END if query.until is None else to_microseconds(query.until)


def number_up_to_scanned(parts: Iterable[Part], count: Callable[[Part, int], int]) -> int:
    """The number of entries in parts, by a function that counts up to a limit: at most one more than is scanned."""
    number = 0
    for part in parts:
        number += count(part, SCANNED + 1 - number)
        if number > SCANNED:
            break
    return number


def pieces(parts: Iterable[Part]) -> Iterator[Part]:
    """The parts, newest first, with other borders between those that have times.

    The first ones have few times, as a page may need no more, and later ones many, as each takes a query.
    """
    size = _FIRST_PIECE
    times: list[int] = []
    for part in parts:
        if part.times is None:
            yield from _piece(times)
            times = []
            yield part
            continue
        times = [*part.times, *times]
        while len(times) >= size:
            yield from _piece(times[-size:])
            times = times[:-size]
            size = min(size * 4, _LARGEST_PIECE)
    yield from _piece(times)


def _piece(times: Sequence[int]) -> Iterator[Part]:
    if times:
        yield Part(times[0], times[-1] + 1, times)


def indexable(parts: Iterable[Part], horizon: int | None) -> list[Part]:
    """What can be indexed of the parts that no segment covers: what is before the horizon."""
    end = BEGINNING if horizon is None else horizon
    return [evolve(part, until=min(part.until, end)) for part in parts if part.times is None and part.since < end]


def not_ready(indexed: int, total: int, delay: timedelta = timedelta(0)) -> SearchNotReady:
    """The error of a search that would have to scan too many entries that are not indexed.

    ``delay`` is how long others prevent that they are indexed.
    """
    # Segments also count entries that were removed since, if these had no words.
    indexed = min(indexed, total)
    return SearchNotReady(indexed, total, retry_after=delay + (total - indexed) * _PER_ENTRY)


# --- Filling ----------------------------------------------------------------------------------------------------------


class CommentIndexer(ABC):
    """Builds the segments of a storage: by a thread, which searches wake, and which ends when nothing is left to do."""

    def __init__(self) -> None:
        #: Held for moments only, never during a call.
        self._lock = ForkSafeLock()
        self._is_closed = False
        #: Wakes what waits for others, when the storage is closed.
        self._closing = Latch()
        self._thread: Thread | None = None
        self._wanted: dict[str, None] = {}
        self._woken: dict[str, float] = {}
        #: The ranges of times that were too large for a segment, by application.
        self._too_large: dict[str, list[tuple[int, int]]] = {}

    def wake(self, application: str) -> None:
        """Index the comments of an application soon, if there are enough that are not indexed."""
        now = monotonic()
        with self._lock:
            if self._is_closed or now - self._woken.get(application, -inf) < _PAUSE:
                return
            if len(self._woken) > SCANNED:
                self._woken.clear()
            self._woken[application] = now
            self._wanted[application] = None
            if self._thread is None or not self._thread.is_alive():
                thread = Thread(target=self._run, name="harken-comment-index", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    # Too many threads: a later search tries again.
                    logger.warning("The thread that indexes comments could not be started: %s", error)
                else:
                    self._thread = thread

    def close(self) -> None:
        """End the thread, after the segment that it is building."""
        self._is_closed = True
        self._closing.open()
        if (thread := self._thread) is not None:
            thread.join()

    def fill(self, application: str) -> None:
        """Index all comments of an application for which it is worth it; waits while others index or change them.

        Raises:
            SearchNotReady: others prevented it for minutes.
            StorageClosed: the storage was closed.
        """
        deadline = monotonic() + _PATIENCE
        while not self._fill_free(application):
            if self._waits_in_vain():
                raise StorageClosed("The storage was closed while comments were indexed; connect again")
            if monotonic() > deadline:
                raise self.not_ready(application)

    def check(self) -> Iterator[str]:
        """Yield a sentence for each application whose index differs from its comments."""
        for application in self.applications():
            if any(self._is_wrong(application, one) for one in self.segments(application, BEGINNING, END)):
                yield f"The search index of {application!r} differs from its comments; run 'harken rebuild'"

    def rebuild(self) -> Iterator[str]:
        """Make the index again where it differs from the comments, with a sentence for each application."""
        for application in self.applications():
            segments = self.segments(application, BEGINNING, END)
            dropped = sum(self.drop(one) for one in segments if self._is_wrong(application, one))
            if dropped:
                yield f"The search index of {application!r} differed from its comments, and was rebuilt"
            # What others index or change now is left to them, or to the next search.
            self._fill_free(application)

    def _is_wrong(self, application: str, segment: Segment) -> bool:
        stored = self.stored(segment)
        builder = SegmentBuilder()
        builder.add_all(self.entries(application, segment.since, segment.until), segment.until)
        if stored in (None, (builder.times(), dict(builder.buckets()))):
            return False
        # A segment that was removed in between is not wrong.
        return self.stored(segment) == stored

    def _run(self) -> None:
        while not self._is_closed:
            with self._lock:
                if not self._wanted:
                    self._thread = None
                    return
                application = next(iter(self._wanted))
                del self._wanted[application]
            try:
                is_done = self._fill_free(application)
            except StorageClosed:
                return
            except HarkenError:
                logger.warning("Comments of %r were not indexed for text search", application, exc_info=True)
                continue
            if not is_done:
                # After the other applications, which do not wait for this one.
                with self._lock:
                    self._wanted[application] = None
                self._waits_in_vain()

    def _waits_in_vain(self) -> bool:
        """Wait before an attempt is repeated. Returns whether the storage was closed meanwhile."""
        if self._closing.wait(_RETRY):
            # For the others that wait.
            self._closing.open()
        return self._is_closed

    def _fill_free(self, application: str) -> bool:
        """Index what nobody else indexes or changes. Returns whether searches do not have to wait for the rest."""
        while (gap := self._next_gap(application)) is not None:
            if self._is_closed or not self._build(application, *gap):
                return False
        return self._left(application) <= SCANNED

    def _left(self, application: str) -> int:
        """The number of entries that can be indexed and are not: at most one more than a search scans."""
        horizon = self.horizon(application)
        if horizon is None:
            return 0
        return self.number_in(application, gaps(self.segments(application, BEGINNING, END), horizon))

    def number_in(self, application: str, ranges: Iterable[tuple[int, int]]) -> int:
        """The number of entries in ranges of times: at most one more than a search scans."""
        return number_up_to_scanned(
            (Part(since, until, None) for since, until in ranges),
            lambda part, limit: self.number_of(application, part.since, part.until, limit),
        )

    def _build(self, application: str, since: int, until: int) -> bool:
        """Build one segment. Returns whether nobody else was at it."""
        key = self.begin(application, since, until)
        if key is None:
            return False
        builder = SegmentBuilder()
        try:
            entries, until = builder.add_all(self._renewing(key, self.entries(application, since, until)), until)
            if builder.size > _LARGEST:
                self._too_large.setdefault(application, []).append((since, until))
                self.drop(Segment(key, since, until))
            else:
                # Not stored if something changed: the range is indexed again.
                self.finish(key, until, entries, builder)
        except BaseException:
            # If this fails as well, others wait until the note is outdated.
            with suppress(HarkenError):
                self.drop(Segment(key, since, until))
            raise
        return True

    def _renewing(self, key: Any, entries: Iterable[IndexedEntry]) -> Iterator[IndexedEntry]:
        """Yield the entries, and keep the note of their segment."""
        renewed = monotonic()
        for entry in entries:
            if monotonic() - renewed > _RENEWAL:
                self.renew(key)
                renewed = monotonic()
            yield entry

    def _next_gap(self, application: str) -> tuple[int, int] | None:
        """The range of times of the next segment."""
        horizon = self.horizon(application)
        if horizon is None:
            return None
        segments = self.segments(application, BEGINNING, END)
        blocked = [
            Segment(None, since, until)
            for since, until in (*self.blocked(application), *self._too_large.get(application, ()))
        ]
        for since, until in gaps([*segments, *blocked], horizon):
            # The newest range waits until there is enough for a segment; others have no new entries.
            least = ENTRIES - 1 if until == horizon else 0
            if self.time_of(application, since, until, least) is None:
                continue
            last = self.time_of(application, since, until, ENTRIES - 1)
            return since, until if last is None else last + 1
        return None

    @abstractmethod
    def applications(self) -> Sequence[str]:
        """The applications that have segments."""

    @abstractmethod
    def stored(self, segment: Segment) -> tuple[bytes, Mapping[int, bytes]] | None:
        """The times and buckets of a segment; ``None`` if it was removed."""

    @abstractmethod
    def drop(self, segment: Segment) -> bool:
        """Remove a segment. Returns whether it was there."""

    @abstractmethod
    def segments(self, application: str, since: int, until: int) -> Sequence[Segment]:
        """The complete segments in a range of times."""

    @abstractmethod
    def horizon(self, application: str) -> int | None:
        """The time from which on nothing is indexed, as new entries may still appear there."""

    @abstractmethod
    def blocked(self, application: str) -> Collection[tuple[int, int]]:
        """The ranges of times that must not be indexed now."""

    @abstractmethod
    def time_of(self, application: str, since: int, until: int, number: int) -> int | None:
        """The time of the entry with this number, from 0, in a range of times; ``None`` if there are fewer."""

    @abstractmethod
    def begin(self, application: str, since: int, until: int) -> object | None:
        """Store the note that a segment is being built; ``None`` if there is another one, or the range is blocked.

        Removes outdated notes: those that were not renewed, and, as clocks are corrected, those of the future.
        """

    @abstractmethod
    def renew(self, key: Any) -> None:
        """Let a note protect its segment for longer."""

    @abstractmethod
    def number_of(self, application: str, since: int, until: int, limit: int) -> int:
        """The number of entries in a range of times, at most ``limit``."""

    @abstractmethod
    def not_ready(self, application: str) -> SearchNotReady:
        """The error that comments are not indexed, with the progress."""

    @abstractmethod
    def entries(self, application: str, since: int, until: int) -> Iterator[IndexedEntry]:
        """The times, comments and tags of the entries in a range of times, oldest first."""

    @abstractmethod
    def finish(self, key: Any, until: int, entries: int, builder: SegmentBuilder) -> None:
        """Store the segment in place of its note, if the note is still there."""
