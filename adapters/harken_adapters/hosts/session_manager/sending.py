"""Sends the notifications of hooks in the background."""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable
from functools import partial
from threading import Event
from time import monotonic
from typing import Final

from harken.domain.errors import DeliveryFailed, HarkenError
from harken.domain.texts import escape_unprintable
from harken.ports.notifier import Notification, Notifier
from harken.services.background import Background
from harken.services.forks import ForkSafeLock
from harken.services.weak_collection import WeakCollection

logger = logging.getLogger(__name__)

#: How many notifications of a sender may wait. Others are refused, which is logged.
_MAX_WAITING: Final = 1_000
#: Seconds between the three attempts.
_PAUSES: Final = (0.5, 2.0)
#: How many seconds closing, and the exit of the process, wait for notifications to be sent.
_PATIENCE: Final = 5.0


class Sender:
    """Delivers notifications through a notifier, in order, with up to three attempts each. Failures are logged.

    Args:
        name: what it sends, for the log.
        open_notifier: opens the notifier: at once, and again in each process that is forked.

    Raises:
        ConfigurationError: the notifier cannot be opened.
    """

    def __init__(self, name: str, open_notifier: Callable[[], Notifier]) -> None:
        self._name = name
        self._open = open_notifier
        self._lock = ForkSafeLock()
        self._here = _InProcess(name, open_notifier, open_notifier())
        _senders.add(self)

    def soon(self, notification: Notification) -> None:
        """Deliver this later. Does not block, and raises nothing."""
        here = self._in_this_process()
        here.background.soon(partial(self._deliver, here, notification))

    def deliver(self, notification: Notification) -> None:
        """Deliver this now."""
        self._deliver(self._in_this_process(), notification)

    def close(self, patience: float = _PATIENCE) -> None:
        """Deliver what waits, for at most ``patience`` seconds, and refuse more. May be called twice."""
        here = self._here
        if here.pid == os.getpid():
            here.closing.set()
            here.background.close(patience, finish=True)
            here.close()

    def _in_this_process(self) -> _InProcess:
        with self._lock:
            if self._here.pid != os.getpid():
                self._here = _InProcess(self._name, self._open)
            return self._here

    def _deliver(self, here: _InProcess, notification: Notification) -> None:
        failure = here.attempt(notification)
        for pause in _PAUSES:
            # Once it is closing, there is no time for further attempts.
            if failure is None or not _may_succeed_later(failure) or here.closing.wait(pause):
                break
            failure = here.attempt(notification)
        if failure is not None:
            self._log(notification, failure)

    def _log(self, notification: Notification, error: HarkenError) -> None:
        about = notification.feedback or notification.session
        session_id = escape_unprintable(about.session_id if about else "")
        logger.error("%s: nothing was sent for session %s: %s", self._name, session_id, error)


class _InProcess:
    """What a sender has in one process. Threads and connections do not survive a fork."""

    def __init__(self, name: str, open_notifier: Callable[[], Notifier], notifier: Notifier | None = None) -> None:
        self.pid = os.getpid()
        self.background = Background(name, threads=1, max_waiting=_MAX_WAITING)
        self.closing = Event()
        self._open = open_notifier
        self._notifier = notifier
        self._opening = ForkSafeLock()

    def attempt(self, notification: Notification) -> HarkenError | None:
        """Deliver a notification; returns the error if it fails."""
        try:
            self._opened().deliver(notification)
        except HarkenError as error:
            return error
        return None

    def close(self) -> None:
        """Close the notifier, if it is open."""
        if self._notifier is not None:
            self._notifier.close()

    def _opened(self) -> Notifier:
        """The notifier, opened if necessary: that may take long, as boto3 looks for credentials."""
        with self._opening:
            if self._notifier is None:
                self._notifier = self._open()
            return self._notifier


def _may_succeed_later(error: HarkenError) -> bool:
    return isinstance(error, DeliveryFailed) and error.retryable


_senders: Final[WeakCollection[Sender]] = WeakCollection()


@atexit.register
def _close_all() -> None:
    deadline = monotonic() + _PATIENCE
    for sender in _senders:
        sender.close(max(0.0, deadline - monotonic()))
