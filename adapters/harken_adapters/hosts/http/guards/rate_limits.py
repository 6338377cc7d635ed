"""Rate limits: counting requests, and the rate limit headers of responses.

Requests are counted in fixed windows, which begin at multiples of their length since 1970.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from hashlib import blake2b
from importlib.util import find_spec
from math import ceil
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from attrs import frozen
from limits import parse_many
from limits.storage import MongoDBStorage, Storage, storage_from_string

from harken.clock import utc_now
from harken.domain.errors import ConfigurationError, MissingExtra
from harken.domain.texts import without_password
from harken.ports.time import Clock
from harken.services.forks import ForkSafeLock

if TYPE_CHECKING:
    from pymongo import MongoClient

logger = logging.getLogger(__name__)

#: The storage URL with which each process counts separately.
MEMORY: Final = "memory://"
#: The maximum number of subjects that are tracked for each limit within a window.
MAX_SUBJECTS: Final = 100_000
#: A process leases this fraction of a limit from a shared storage at once, so that most requests need no round trip.
CHUNKS: Final = 100
#: For how many seconds a storage is not used after a failure.
PAUSE: Final = 5.0
#: The timeout of a storage in seconds, unless its URL names one, such as ``timeoutMS=500``.
PATIENCE: Final = 1.0
#: For how many seconds counts are stored after their window has ended, as clocks may differ.
_KEPT_LONGER: Final = 120

_MAX_AMOUNT: Final = 1_000_000_000
_MAX_SECONDS: Final = 366 * 24 * 60 * 60
_DIGEST_BYTES: Final = 16
_DEFAULT_DATABASE: Final = "harken"
_APP_NAME: Final = "harken rate limits"
#: Does not begin with ``harken_``, the prefix of the collections of the feedback storage.
_COLLECTION: Final = "rate_limits_of_harken"


@frozen
class Limit:
    """A number of hits in a number of seconds.

    Raises:
        ConfigurationError: less than one hit or second, or more than 10^9 hits or 366 days.
    """

    amount: int
    seconds: int

    def __attrs_post_init__(self) -> None:
        if not (1 <= self.amount <= _MAX_AMOUNT and 1 <= self.seconds <= _MAX_SECONDS):
            raise ConfigurationError(
                f"A rate limit must be 1 to {_MAX_AMOUNT} hits in 1 to {_MAX_SECONDS} seconds, "
                f"got {self.amount} in {self.seconds}"
            )

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Parse a limit such as ``5/minute``, ``100 per hour`` or ``10/30 seconds``.

        Raises:
            ConfigurationError: the text is not a limit, or has several.
        """
        expected = "expected one such as 5/minute, 100 per hour or 10/30 seconds"
        try:
            found = parse_many(text)
        except ValueError:
            raise ConfigurationError(f"{text!r} is not a rate limit; {expected}") from None
        if len(found) > 1:
            raise ConfigurationError(f"{text!r} has {len(found)} rate limits; {expected}")
        return cls(found[0].amount, found[0].get_expiry())

    @property
    def chunk(self) -> int:
        """How many hits a process leases from a shared storage at once."""
        return max(1, self.amount // CHUNKS)


#: The name of a limit, the limit, and the subject that is counted: an address, the id of a key, or a session. Different
#: names are counted separately.
Hit = tuple[str, Limit, str]


@frozen(kw_only=True)
class Verdict:
    """The result of checking a hit against a limit.

    Attributes:
        name: the name of the limit.
        limit: the limit.
        allowed: whether the hit is within the limit.
        remaining: how many more hits are allowed in this window, as far as this process knows.
        reset: the number of seconds until the window ends.
    """

    name: str
    limit: Limit
    allowed: bool
    remaining: int
    reset: int

    @property
    def retry_after(self) -> int:
        """The number of seconds after which to retry; at least 1."""
        return max(1, self.reset)

    @property
    def policy(self) -> str:
        """The item in the header ``RateLimit-Policy``."""
        return f"{_quote(self.name)};q={self.limit.amount};w={self.limit.seconds}"

    @property
    def state(self) -> str:
        """The item in the header ``RateLimit``."""
        return f"{_quote(self.name)};r={self.remaining};t={self.reset}"


def rate_headers(verdicts: Iterable[Verdict]) -> dict[str, str]:
    """The rate limit headers of a response, the most restrictive limit first.

    That is an exceeded limit, or else the one with the fewest hits remaining. ``Retry-After`` is included if a limit is
    exceeded.
    """
    ordered = sorted(verdicts, key=lambda verdict: (verdict.allowed, verdict.remaining, -verdict.reset))
    if not ordered:
        return {}
    headers = {
        "RateLimit-Policy": ", ".join(verdict.policy for verdict in ordered),
        "RateLimit": ", ".join(verdict.state for verdict in ordered),
    }
    refusing = [verdict.retry_after for verdict in ordered if not verdict.allowed]
    return {**headers, "Retry-After": str(max(refusing))} if refusing else headers


class RateLimiter:
    """Counts hits against limits, in this process or shared between processes.

    With ``memory://``, each process counts separately. With any other storage of the library ``limits``, all processes
    with the same URL share their limits. A process leases hits in chunks of a hundredth of the limit and uses them
    without another round trip; unused ones expire with the window. The limit is never exceeded, and a limit below 200
    is exact. For larger limits, a process may reject a hit while another process still has unused hits.

    While a shared storage is not available, each process counts separately, up to the whole limit, and retries every
    few seconds. No error is raised.

    Subjects are stored as digests. If there are too many, the least recently seen ones are discarded. It is
    thread-safe.

    Args:
        storage_url: ``memory://``, ``mongodb://host/database``, ``redis://host`` and so on.
        clock: returns the current time in UTC. The clocks of all processes must agree within a minute.
        secret: the key of the digests, the same in all processes. Without it, anyone who can read the storage can
            recover addresses by trying all of them.
        max_subjects: the maximum number of subjects that are tracked for each limit.

    Raises:
        ConfigurationError: the URL is invalid, or needs a package that is not installed.
    """

    def __init__(
        self,
        storage_url: str = MEMORY,
        *,
        clock: Clock = utc_now,
        secret: str = "",
        max_subjects: int = MAX_SUBJECTS,
    ) -> None:
        if max_subjects < 2:
            raise ConfigurationError(f"max_subjects must be at least 2, got {max_subjects}")
        self._clock = clock
        self._key = blake2b(secret.encode(errors="surrogatepass")).digest()
        self._max_subjects = max_subjects
        self._lock = ForkSafeLock()
        self._windows: dict[tuple[str, Limit], _Window] = {}
        alone = _scheme(storage_url) == _scheme(MEMORY)
        self._shared = None if alone else _SharedCounts(_open_storage(storage_url), self._seconds)

    def check_soon(self, hits: Iterable[Hit]) -> list[Verdict] | None:
        """Like :meth:`check`, without blocking; ``None``, and nothing is counted, if a limit needs a round trip.

        Raises:
            ConfigurationError: a name is not valid in a header.
        """
        digests = [(name, limit, self._digest(subject)) for name, limit, subject in hits]
        known = []
        with self._lock:
            for name, limit, digest in digests:
                window = self._window(name, limit)
                lease = window.lease(digest)
                alone = self._shared is None or self._shared.paused(window.now)
                if not alone and window.needs_more(lease):
                    return None
                if window.exceeded(lease, alone=alone):
                    return [window.verdict(lease, alone=alone)]
                known.append((window, lease, alone))
            return [window.verdict(lease, alone=alone) for window, lease, alone in known]

    def check(self, hits: Iterable[Hit]) -> list[Verdict]:
        """Count hits, if they are within their limits. May block on the storage.

        If a limit is exceeded, only its verdict is returned and nothing is counted, except that after a round trip the
        hits before it are.

        Raises:
            ConfigurationError: a name is not valid in a header.
        """
        hits = tuple(hits)
        if (known := self.check_soon(hits)) is not None:
            return known
        verdicts: list[Verdict] = []
        for name, limit, subject in hits:
            soon = self.check_soon([(name, limit, subject)])
            verdicts.append(soon[0] if soon else self._lease(name, limit, self._digest(subject)))
            if not verdicts[-1].allowed:
                return verdicts[-1:]
        return verdicts

    def close(self) -> None:
        """Close the connections to a shared storage. Later checks count as if the storage were not available."""
        if self._shared:
            self._shared.close()

    def _digest(self, subject: str) -> bytes:
        return blake2b(subject.encode(errors="surrogatepass"), key=self._key, digest_size=_DIGEST_BYTES).digest()

    def _seconds(self) -> float:
        return self._clock().timestamp()

    def _window(self, name: str, limit: Limit) -> _Window:
        """The current window. Call it with the lock held, so that a delayed thread does not restore an earlier one."""
        window = self._windows.get((name, limit))
        if window is None:
            window = self._windows[name, limit] = _Window(name, limit, self._max_subjects)
        window.turn(self._seconds())
        return window

    def _lease(self, name: str, limit: Limit, digest: bytes) -> Verdict:
        """Lease a chunk of hits from the shared storage, then check a hit."""
        with self._lock:
            window = self._window(name, limit)
            number, expiry = window.number, window.left() + _KEPT_LONGER
        chunk = limit.chunk
        key = f"{name}:{limit.amount}/{limit.seconds}:{number}:{digest.hex()}"
        total = self._shared.add(key, expiry, chunk) if self._shared else None
        with self._lock:
            window = self._window(name, limit)
            if total is None:
                return window.verdict(window.lease(digest), alone=True)
            # A chunk of a window that has ended in the meantime is used for this hit only.
            lease = window.lease(digest) if window.number == number else _Lease(limit.amount)
            lease.add(chunk, total, limit.amount)
            return window.verdict(lease)


class _Lease:
    """The hits of one subject in one window.

    Attributes:
        used: how many hits this process has allowed.
        left: how many leased hits this process has left.
        elsewhere: how many hits the storage had left after the last lease.
    """

    __slots__ = ("elsewhere", "left", "used")

    def __init__(self, amount: int) -> None:
        self.used = 0
        self.left = 0
        self.elsewhere = amount

    def add(self, chunk: int, total: int, amount: int) -> None:
        """Add a chunk of hits. ``total`` is the number of all leased hits, which may exceed ``amount``."""
        self.left += max(0, chunk - max(0, total - amount))
        self.elsewhere = min(self.elsewhere, max(0, amount - total))


class _Window:
    """The hits of all subjects against one limit in the current window."""

    def __init__(self, name: str, limit: Limit, max_subjects: int) -> None:
        if not (name.isascii() and name.isprintable() and name.strip()):
            raise ConfigurationError(
                f"The name of a rate limit is sent in a header, so it must be printable ASCII, got {name!a}"
            )
        self.name = name
        self.limit = limit
        self.now = 0.0
        self.number = -1
        self._most = max_subjects // 2
        self._recent: dict[bytes, _Lease] = {}
        self._older: dict[bytes, _Lease] = {}

    def turn(self, now: float) -> None:
        """Set the time, and discard all counts if a new window has begun."""
        self.now = now
        number = int(now // self.limit.seconds)
        if number != self.number:
            self.number, self._recent, self._older = number, {}, {}

    def lease(self, digest: bytes) -> _Lease:
        """The lease of a subject. If there are too many subjects, the least recently seen half is discarded.

        A discarded subject starts again at zero. That does not help to bypass a limit: it takes more subjects than are
        tracked, and each of them has its own limit anyway.
        """
        lease = self._recent.get(digest)
        if lease is not None:
            return lease
        lease = self._older.pop(digest, None) or _Lease(self.limit.amount)
        if len(self._recent) >= self._most:
            self._older, self._recent = self._recent, {}
        self._recent[digest] = lease
        return lease

    def left(self) -> int:
        """The number of seconds until the window ends, rounded up."""
        return ceil((self.number + 1) * self.limit.seconds - self.now)

    def needs_more(self, lease: _Lease) -> bool:
        """Whether a chunk must be leased. Leased hits are never returned, so an empty storage stays empty."""
        return lease.used < self.limit.amount and lease.left == 0 and lease.elsewhere > 0

    def exceeded(self, lease: _Lease, *, alone: bool) -> bool:
        """Whether the limit is exceeded: no leased hits are left, or if the process counts alone, no hits at all."""
        return lease.used >= self.limit.amount or not (alone or lease.left)

    def verdict(self, lease: _Lease, *, alone: bool = False) -> Verdict:
        """Count the hit if it is within the limit, and return the verdict."""
        remaining = self.limit.amount - lease.used
        allowed = not self.exceeded(lease, alone=alone)
        if allowed:
            lease.used += 1
            lease.left = max(0, lease.left - 1)
            remaining -= 1
        if not alone:
            remaining = min(remaining, lease.left + lease.elsewhere)
        return Verdict(name=self.name, limit=self.limit, allowed=allowed, remaining=remaining, reset=self.left())


class _SharedCounts:
    """The counts in a shared storage. After a failure, it is not used for :data:`PAUSE` seconds.

    Args:
        storage: the storage.
        seconds: returns the current time, in seconds.
    """

    def __init__(self, storage: Storage, seconds: Callable[[], float]) -> None:
        self._storage = storage
        self._seconds = seconds
        self._lock = ForkSafeLock()
        self._paused_until: float | None = None

    def paused(self, now: float) -> bool:
        """Whether the storage has failed and is not to be used yet."""
        until = self._paused_until
        # A clock that is set back must not prolong the pause.
        return until is not None and 0 < until - now <= PAUSE

    def add(self, key: str, seconds: int, amount: int) -> int | None:
        """Add to a count and return the total; ``None`` if the storage fails or is paused."""
        if not self._is_available():
            return None
        try:
            total = self._storage.incr(key, seconds, amount)
        except Exception as error:  # noqa: BLE001 - no driver error may fail a request
            self._mark_failed(error)
            return None
        self._mark_available()
        return total

    def close(self) -> None:
        """Close the connections of the storage, if it has any."""
        close = getattr(getattr(self._storage, "storage", None), "close", None)
        if callable(close):
            close()

    def _is_available(self) -> bool:
        """Whether to use the storage. When a pause ends, only one caller retries, so that only one may wait."""
        if self._paused_until is None:
            return True
        with self._lock:
            now = self._seconds()
            if self.paused(now):
                return False
            self._paused_until = now + PAUSE
            return True

    def _mark_failed(self, error: Exception) -> None:
        with self._lock:
            is_new = self._paused_until is None
            self._paused_until = self._seconds() + PAUSE
        if is_new:
            logger.warning("The rate limit storage failed; each process counts separately: %s", error)

    def _mark_available(self) -> None:
        if self._paused_until is None:
            return
        with self._lock:
            was_down, self._paused_until = self._paused_until is not None, None
        if was_down:
            logger.info("The rate limit storage is available again; all processes share their counts")


class _MongoStorage(MongoDBStorage):
    """The MongoDB storage of ``limits``, with a client that is created and closed exactly once.

    The original creates its client lazily, possibly in several threads, and closes it on garbage collection. It tries
    to create the TTL index only once, even if the server is down; without the index, counts are never removed.
    """

    def __init__(self, url: str) -> None:
        super().__init__(
            url,
            database_name=unquote(urlsplit(url).path.strip("/")) or _DEFAULT_DATABASE,
            counter_collection_name=_COLLECTION,
            window_collection_name=_COLLECTION,
            wrap_exceptions=True,
        )
        named = {name.lower() for name, _ in parse_qsl(urlsplit(url).query)}
        timeout = {} if "timeoutms" in named else {"timeoutMS": int(PATIENCE * 1_000)}
        # Counts need not be durable, so the acknowledgement of one server suffices.
        self._client: MongoClient[Any] = self.lib.MongoClient(url, appname=_APP_NAME, connect=False, w=1, **timeout)
        self._indexed = False
        # Raises now if the database name is invalid.
        self._database.get_collection(_COLLECTION)

    def __del__(self) -> None:
        """Do not close the client; :meth:`RateLimiter.close` does."""

    @property
    def storage(self) -> MongoClient[Any]:
        """The client."""
        return self._client

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Add to a count, after creating the TTL index that removes old counts."""
        if not self._indexed:
            self.counters.create_index("expireAt", expireAfterSeconds=0)
            self._indexed = True
        return super().incr(key, expiry, amount)


def _open_storage(url: str) -> Storage:
    """Open the storage with that URL. It connects on first use.

    Raises:
        ConfigurationError: the URL is invalid, or needs a package that is not installed.
        MissingExtra: PyMongo is not installed.
    """
    shown = without_password(url)
    if _scheme(url).startswith("mongodb") and find_spec("pymongo") is None:
        raise MissingExtra('Counting rate limits in MongoDB needs "pymongo"; try pip install "harken[mongodb]"')
    try:
        storage = _create_storage(url)
    except Exception as error:  # noqa: BLE001 - each driver has its own errors
        reason = str(error).replace(url, shown)
        raise ConfigurationError(f"Cannot use {shown!r} as rate limit storage: {reason}") from None
    if not isinstance(storage, Storage):
        raise ConfigurationError(f"Cannot use {shown!r} as rate limit storage: leave out 'async+'")
    return storage


def _create_storage(url: str) -> object:
    scheme = _scheme(url)
    if scheme in ("mongodb", "mongodb+srv"):
        return _MongoStorage(url)
    patience = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    is_redis = scheme.startswith(("redis", "valkey"))
    return storage_from_string(url, wrap_exceptions=True, **(patience if is_redis else {}))


def _scheme(url: str) -> str:
    return url.partition(":")[0].lower()


def _quote(name: str) -> str:
    """The name as a string of a structured field."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
