"""Names of themes by a theme namer, which may be slow, or fail."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from attrs import frozen

from harken.domain.insight.themes import Theme
from harken.ports.text import ThemeNamer
from harken.ports.time import Clock
from harken.services.forks import ForkSafeLock

logger = logging.getLogger(__name__)

_MAX_NAME_LENGTH: Final = 100
_MAX_NAMES: Final = 10_000
#: How long no theme is named after an error, as the namer may be unavailable.
_PAUSE: Final = timedelta(minutes=1)
#: How long the theme is not named that caused the error, so that it does not prevent the naming of others.
_LONG_PAUSE: Final = timedelta(minutes=10)

_END_OF_TIME: Final = datetime.max.replace(tzinfo=UTC)
_START_OF_TIME: Final = datetime.min.replace(tzinfo=UTC)


@frozen
class _Known:
    """A name, empty for none, and until when it is used."""

    name: str
    until: datetime = _END_OF_TIME


class ThemeNames:
    """Names themes, and remembers the names.

    A name is remembered for the words and comments that it was made from, and for no others. So no name is shown that
    comes from a comment that was since changed, withdrawn, rejected or erased, or that belongs to another selection.
    """

    def __init__(self, namer: ThemeNamer, *, clock: Clock) -> None:
        self._namer = namer
        self._clock = clock
        self._lock = ForkSafeLock()
        #: By a hash of the words and comments, so that no comment is kept here.
        self._known: dict[bytes, _Known] = {}
        self._paused_until = _START_OF_TIME

    def name(self, theme: Theme, comments: Sequence[str]) -> str:
        """The namer's name, or the label of the theme if the namer has none, fails or failed recently."""
        key = sha256(repr((theme.words, comments)).encode()).digest()
        known = self._known.get(key)
        now = self._clock()
        if known is None or now >= known.until:
            if now < self._paused_until:
                return theme.label
            known = self._ask(theme, comments)
            self._keep(key, known)
        return known.name or theme.label

    def _ask(self, theme: Theme, comments: Sequence[str]) -> _Known:
        try:
            name = " ".join(self._namer(theme.words, comments).split())
        except Exception:
            logger.exception("The theme namer failed on the theme %r", theme.label)
            now = self._clock()
            self._paused_until = now + _PAUSE
            return _Known("", until=now + _LONG_PAUSE)
        return _Known(name[:_MAX_NAME_LENGTH])

    def _keep(self, key: bytes, known: _Known) -> None:
        with self._lock:
            while len(self._known) >= _MAX_NAMES:
                del self._known[next(iter(self._known))]
            self._known[key] = known
