"""Counts how often rules refused and held feedback, by UTC day. Refused submissions are stored nowhere else."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from threading import Thread
from typing import Any, Final

from attrs import frozen

from harken.domain.errors import InvalidQuery, StorageError
from harken.domain.feedback import Submission
from harken.domain.moderation import Moderation
from harken.domain.rules import label_problem
from harken.domain.violation import Violation
from harken.ports.sessions import JsonValue
from harken.ports.state import StateEntry, StateRepository, update
from harken.ports.time import Clock
from harken.services.forks import ForkSafeLock
from harken.services.interruption import Latch

logger = logging.getLogger(__name__)

#: How many days can be read, with today.
MAX_DAYS: Final = 31
#: How many days with counts are stored: the latest. Days are not removed by their age, as a clock that is wrong for a
#: moment would then remove all.
_STORED_DAYS: Final = 2 * MAX_DAYS
#: How many rules of an application and a day are counted one by one. All others count as one.
MAX_RULES: Final = 50
OTHERS: Final = "other rules"
#: How many seconds counts wait in memory. A process that is killed loses at most these.
INTERVAL: Final = 5.0
#: How many counts may wait in memory.
_MOST_WAITING: Final = 1_000
#: How many seconds closing waits for a write.
_PATIENCE: Final = 5.0
_KIND: Final = "rule-counts"

#: Application, day in UTC, and the name of a rule.
_Key = tuple[str, date, str]
#: How many submissions were refused, and how many entries were held.
_Counts = tuple[int, int]
_Days = dict[str, dict[str, _Counts]]


@frozen
class DayCount:
    """How often a rule refused and held feedback on a UTC day."""

    day: date
    refused: int = 0
    held: int = 0


@frozen
class RuleCount:
    """How often a rule refused and held feedback; ``days`` has each day of the period, oldest first."""

    rule: str
    days: tuple[DayCount, ...]

    @property
    def refused(self) -> int:
        """The number of refused submissions and changes."""
        return sum(one.refused for one in self.days)

    @property
    def held(self) -> int:
        """The number of stored entries and changes that it held for a moderator."""
        return sum(one.held for one in self.days)


class RuleCounts:
    """Counts in memory, and adds the counts to the storage every five seconds, in a thread.

    All processes on a storage share the counts. Counting blocks for no I/O and raises no error. A process that is
    killed loses the counts of its last five seconds.
    """

    def __init__(self, state: StateRepository, *, clock: Clock, interval: float = INTERVAL) -> None:
        self._state = state
        self._clock = clock
        self._interval = interval
        self._waiting: dict[_Key, _Counts] = {}
        self._dropped = 0
        self._lock = ForkSafeLock()
        self._writing = ForkSafeLock()
        self._wake = Latch()
        #: Writes what waits, and ends.
        self._writer: Thread | None = None
        self._pid = os.getpid()

    def refused(self, submission: Submission, violations: Iterable[Violation]) -> None:
        """Count a refused submission for each rule once. Of an invalid application nothing is counted."""
        if label_problem("application", submission.application) is None:
            rules = {one.rule or f"invalid {one.field.partition('.')[0]}" for one in violations}
            self._add(submission.application, rules, (1, 0))

    def held(self, application: str, moderation: Moderation) -> None:
        """Count feedback that was held, for each rule that held it."""
        self._add(application, (match.rule for match in moderation.held_by), (0, 1))

    def counts(self, application: str, *, days: int = 7) -> Sequence[RuleCount]:
        """The counts of the last days, with today, the largest first. Those of other processes may be five seconds old.

        Raises:
            InvalidQuery: ``days`` is not from 1 to 31.
            StorageError: they could not be read.
        """
        if not 1 <= days <= MAX_DAYS:
            raise InvalidQuery(f"days must be from 1 to {MAX_DAYS}, got {days}")
        self.write()
        entry = self._state.get(_KIND, application)
        stored = _decode(entry.value) if entry else {}
        today = self._clock().date()
        period = [today - timedelta(days=ago) for ago in reversed(range(days))]
        rules = {rule for day in period for rule in stored.get(day.isoformat(), ())}
        found = [
            RuleCount(rule, tuple(DayCount(day, *stored.get(day.isoformat(), {}).get(rule, (0, 0))) for day in period))
            for rule in rules
        ]
        return sorted(found, key=lambda one: (-one.refused - one.held, one.rule))

    def erase(self, application: str) -> None:
        """Remove all counts of an application. Another process may still add those of its last five seconds."""
        with self._lock:
            self._waiting = {key: counts for key, counts in self._waiting.items() if key[0] != application}
        self._state.delete(_KIND, application)

    def write(self) -> None:
        """Add what was counted in memory to the storage.

        Raises:
            StorageError: it could not be stored. It is kept, and written later.
        """
        if os.getpid() != self._pid:
            # After a fork: the parent writes them.
            return
        # One write at a time, so that reading and closing wait for what another thread has taken.
        with self._writing:
            with self._lock:
                taken, self._waiting = self._waiting, {}
            by_application: dict[str, dict[_Key, _Counts]] = {}
            for key, counts in taken.items():
                by_application.setdefault(key[0], {})[key] = counts
            while by_application:
                application, counts_of = by_application.popitem()
                try:
                    self._store(application, counts_of)
                except BaseException:
                    for rest in (counts_of, *by_application.values()):
                        self._keep(rest.items())
                    raise

    def close(self) -> None:
        """Write what was counted, and end the thread. If the storage fails, that is logged."""
        if os.getpid() != self._pid:
            return
        self._wake.open()
        if (writer := self._writer) is not None:
            writer.join(_PATIENCE)
        self._try_to_write()

    def _add(self, application: str, rules: Iterable[str], counts: _Counts) -> None:
        day = self._clock().date()
        self._keep([((application, day, rule), counts) for rule in rules])
        if self._writer is None:
            self._start_to_write()

    def _start_to_write(self) -> None:
        if os.getpid() != self._pid:
            return
        writer = Thread(target=self._write_later, name="harken-rule-counts", daemon=True)
        with self._lock:
            if self._writer is not None:
                return
            self._writer = writer
        try:
            writer.start()
        except RuntimeError:
            # The interpreter is shutting down, or the machine is out of threads. Closing writes them.
            self._writer = None

    def _keep(self, counts: Iterable[tuple[_Key, _Counts]]) -> None:
        dropped = 0
        with self._lock:
            for key, one in counts:
                if (before := self._waiting.get(key)) is not None:
                    self._waiting[key] = _sum(before, one)
                elif len(self._waiting) < _MOST_WAITING:
                    self._waiting[key] = one
                else:
                    dropped += 1
            self._dropped += dropped
        if not dropped:
            return
        # Write now rather than in five seconds.
        self._wake.open()
        # A flood must not fill the log as well.
        if not self._dropped & (self._dropped - 1):
            logger.warning("Too many rules and applications to count; %d counts were dropped so far", self._dropped)

    def _write_later(self) -> None:
        self._wake.wait(self._interval)
        # Before it reads the counts: later ones start another thread.
        self._writer = None
        self._try_to_write()

    def _try_to_write(self) -> None:
        try:
            self.write()
        except StorageError as error:
            logger.warning("The counts of rules could not be stored; they are written with the next ones: %s", error)

    def _store(self, application: str, counts: Mapping[_Key, _Counts]) -> None:
        def change(stored: StateEntry | None) -> Mapping[str, JsonValue]:
            days = _decode(stored.value) if stored else {}
            for (_, day, rule), one in counts.items():
                _count(days.setdefault(day.isoformat(), {}), rule, one)
            return {day: _encode(days[day]) for day in sorted(days)[-_STORED_DAYS:]}

        update(self._state, _KIND, application, change)


def _count(rules: dict[str, _Counts], rule: str, counts: _Counts) -> None:
    name = rule if rule in rules or len(rules) < MAX_RULES else OTHERS
    rules[name] = _sum(rules.get(name, (0, 0)), counts)


def _sum(one: _Counts, other: _Counts) -> _Counts:
    return one[0] + other[0], one[1] + other[1]


def _encode(rules: Mapping[str, _Counts]) -> JsonValue:
    return {rule: list(counts) for rule, counts in rules.items()}


def _decode(value: Mapping[str, Any]) -> _Days:
    return {day: {rule: (refused, held) for rule, (refused, held) in rules.items()} for day, rules in value.items()}
