"""How often somebody may call: limits, who has used up theirs, and how the answer's headers say so.

Everything is counted in fixed windows that begin together for everybody, at multiples of their length since 1970.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from hashlib import blake2b
from importlib.util import find_spec
from math import ceil
from threading import Lock
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from attrs import frozen
from limits import parse_many
from limits.storage import MongoDBStorage, Storage, storage_from_string

from harken.clock import utc_now
from harken.domain.errors import ConfigurationError, MissingExtra
from harken.domain.texts import without_password
from harken.ports.time import Clock

if TYPE_CHECKING:
    from pymongo import MongoClient

logger = logging.getLogger(__name__)

#: Each process counts for itself.
MEMORY: Final = "memory://"
#: How many subjects are remembered under one name, while a window runs.
MAX_SUBJECTS: Final = 100_000
#: A hundredth of a limit is taken from a shared storage at once, so that 99 of 100 calls need no round trip.
CHUNKS: Final = 100
#: For so many seconds a storage that failed is left alone.
PAUSE: Final = 5.0
#: A storage that takes longer than so many seconds is as good as none.
PATIENCE: Final = 1.0
#: A count is kept for so many seconds after its window, as clocks may differ, and is of no use after that.
_KEPT_LONGER: Final = 120

_MAX_AMOUNT: Final = 1_000_000_000
_MAX_SECONDS: Final = 366 * 24 * 60 * 60
_DIGEST_BYTES: Final = 16
_DEFAULT_DATABASE: Final = "harken"
_APP_NAME: Final = "harken rate limits"
#: Not among the names that begin with ``harken_``: the storage of the feedback takes those for its own.
_COLLECTION: Final = "rate_limits_of_harken"


@frozen
class Limit:
    """So many hits in so many seconds.

    Raises:
        ConfigurationError: less than one hit or second, or more than a thousand million hits or a year.
    """

    amount: int
    seconds: int

    def __attrs_post_init__(self) -> None:
        if not (1 <= self.amount <= _MAX_AMOUNT and 1 <= self.seconds <= _MAX_SECONDS):
            raise ConfigurationError(
                f"A limit allows 1 to {_MAX_AMOUNT} hits in 1 to {_MAX_SECONDS} seconds, "
                f"got {self.amount} in {self.seconds}"
            )

    @classmethod
    def parse(cls, text: str) -> Limit:
        """The limit that a text such as ``5/minute``, ``100 per hour`` or ``10/30 seconds`` names.

        Raises:
            ConfigurationError: it names none, or several.
        """
        expected = "expected one such as 5/minute, 100 per hour or 10/30 seconds"
        try:
            found = parse_many(text)
        except ValueError:
            raise ConfigurationError(f"{text!r} is no rate limit; {expected}") from None
        if len(found) > 1:
            raise ConfigurationError(f"{text!r} are {len(found)} rate limits; {expected}")
        return cls(found[0].amount, found[0].get_expiry())

    @property
    def chunk(self) -> int:
        """How many hits a process takes from a shared storage at once."""
        return max(1, self.amount // CHUNKS)


#: What a limit is called, the limit, and who calls.
Hit = tuple[str, Limit, str]


@frozen(kw_only=True)
class Verdict:
    """Whether a hit is allowed, and what the caller may be told of the limit.

    Attributes:
        name: what the limit is called.
        limit: how many hits in how many seconds.
        allowed: whether this hit is within it.
        remaining: how many more are, as far as is known here.
        reset: in how many seconds the window ends, and all are allowed again.
    """

    name: str
    limit: Limit
    allowed: bool
    remaining: int
    reset: int

    @property
    def retry_after(self) -> int:
        """After how many seconds to try again; at least one."""
        return max(1, self.reset)

    @property
    def policy(self) -> str:
        """An item of the header ``RateLimit-Policy``."""
        return f"{_quoted(self.name)};q={self.limit.amount};w={self.limit.seconds}"

    @property
    def state(self) -> str:
        """An item of the header ``RateLimit``."""
        return f"{_quoted(self.name)};r={self.remaining};t={self.reset}"


def rate_headers(verdicts: Iterable[Verdict]) -> dict[str, str]:
    """What an answer says of all limits that were looked at: the one that matters most comes first.

    That is the one that refuses, or else has the least left. ``Retry-After`` is there if one refuses.
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
    """Counts hits, in this process or together with others, and tells who had enough.

    With ``memory://`` each process counts for itself. Any other storage that the library ``limits`` knows is shared:
    all processes with one URL have one limit together. From there a process takes hits in chunks, a hundredth of the
    limit, and gives them out without asking again; what it does not need lapses with the window. So the limit is never
    exceeded, and one below 200 is exact. Above that, a process may refuse while another one still has some.

    While a shared storage does not answer, each process counts for itself, up to the whole limit, and asks again every
    few seconds. Nothing is raised.

    Of a subject there is only a digest. Those that were not seen for longest are forgotten when there are too many. It
    is thread-safe.

    Args:
        storage_url: ``memory://``, ``mongodb://host/database``, ``redis://host`` and so on.
        clock: tells which window it is. Those of several processes have to agree within a minute.
        secret: what digests are made with, the same in all processes; without one, whoever reads the storage can find
            out by trying all addresses whose digest it is.
        max_subjects: how many subjects are remembered under one name.

    Raises:
        ConfigurationError: the URL makes no sense, or needs a package that is not installed.
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
        self._lock = Lock()
        self._windows: dict[tuple[str, Limit], _Window] = {}
        alone = _scheme(storage_url) == _scheme(MEMORY)
        self._shared = None if alone else _SharedCounts(_opened(storage_url), self._seconds)

    def check_soon(self, name: str, limit: Limit, subject: str) -> Verdict | None:
        """Like :meth:`check`, but at once; nothing, if the storage has to be asked, which takes a round trip.

        Then nothing was counted, and :meth:`check` is to be called: in a thread, if this one must not wait.

        Raises:
            ConfigurationError: the name cannot be sent in a header.
        """
        verdicts = self.check_all_soon(((name, limit, subject),))
        return None if verdicts is None else verdicts[0]

    def check_all_soon(self, hits: Iterable[Hit]) -> list[Verdict] | None:
        """Check several limits at once; nothing, and none is counted, if the storage has to be asked for one of them.

        If one limit refuses, only that one is returned and none is counted.

        Raises:
            ConfigurationError: a name cannot be sent in a header.
        """
        digests = [(name, limit, self._digest(subject)) for name, limit, subject in hits]
        known = []
        with self._lock:
            for name, limit, digest in digests:
                window = self._window(name, limit)
                lease = window.lease(digest)
                alone = self._shared is None or self._shared.rests(window.now)
                if not alone and window.needs_more(lease):
                    return None
                if window.refuses(lease, alone=alone):
                    return [window.verdict(lease, alone=alone)]
                known.append((window, lease, alone))
            return [window.verdict(lease, alone=alone) for window, lease, alone in known]

    def check(self, name: str, limit: Limit, subject: str) -> Verdict:
        """Count a hit, if it is within the limit.

        Args:
            name: what the limit is called; whoever has another one is counted apart.
            limit: how many hits in how many seconds.
            subject: who calls: an address, the id of a key, a session.

        Raises:
            ConfigurationError: the name cannot be sent in a header.
        """
        return self.check_soon(name, limit, subject) or self._ask(name, limit, self._digest(subject))

    def check_all(self, hits: Iterable[Hit]) -> list[Verdict]:
        """Like :meth:`check_all_soon`; where the storage has to be asked, one after the other until one refuses.

        Raises:
            ConfigurationError: a name cannot be sent in a header.
        """
        hits = tuple(hits)
        if (known := self.check_all_soon(hits)) is not None:
            return known
        verdicts: list[Verdict] = []
        for hit in hits:
            verdicts.append(self.check(*hit))
            if not verdicts[-1].allowed:
                return verdicts[-1:]
        return verdicts

    def close(self) -> None:
        """Close the connections to a shared storage. Whoever still asks is answered as when it is down."""
        if self._shared:
            self._shared.close()

    def _digest(self, subject: str) -> bytes:
        return blake2b(subject.encode(errors="surrogatepass"), key=self._key, digest_size=_DIGEST_BYTES).digest()

    def _seconds(self) -> float:
        return self._clock().timestamp()

    def _window(self, name: str, limit: Limit) -> _Window:
        """The window that runs. Only with the lock, or a thread that was held up would bring a former one back."""
        window = self._windows.get((name, limit))
        if window is None:
            window = self._windows[name, limit] = _Window(name, limit, self._max_subjects)
        window.turn(self._seconds())
        return window

    def _ask(self, name: str, limit: Limit, digest: bytes) -> Verdict:
        with self._lock:
            asked = self._window(name, limit)
            number, kept = asked.number, asked.left() + _KEPT_LONGER
        taken = limit.chunk
        key = f"{name}:{limit.amount}/{limit.seconds}:{number}:{digest.hex()}"
        total = self._shared.add(key, kept, taken) if self._shared else None
        with self._lock:
            window = self._window(name, limit)
            if total is None:
                return window.verdict(window.lease(digest), alone=True)
            # What was asked for in a window that is over is of no use in the next one, but answers this question.
            lease = window.lease(digest) if window.number == number else _Lease(limit.amount)
            lease.add(taken, total, limit.amount)
            return window.verdict(lease)


class _Lease:
    """What is known of one subject in one window.

    Attributes:
        used: how many hits this process has allowed.
        left: how many it may still allow without asking.
        elsewhere: how many the storage had left, when it was asked last.
    """

    __slots__ = ("elsewhere", "left", "used")

    def __init__(self, amount: int) -> None:
        self.used = 0
        self.left = 0
        self.elsewhere = amount

    def add(self, taken: int, total: int, amount: int) -> None:
        """Note what was taken from the storage, which has now given out ``total``, more than it had perhaps."""
        self.left += max(0, taken - max(0, total - amount))
        self.elsewhere = min(self.elsewhere, max(0, amount - total))


class _Window:
    """What is known of all subjects under one name, in the window that runs."""

    def __init__(self, name: str, limit: Limit, max_subjects: int) -> None:
        if not (name.isascii() and name.isprintable() and name.strip()):
            raise ConfigurationError(f"A rate limit's name is sent in a header, so expected plain ASCII, got {name!a}")
        self.name = name
        self.limit = limit
        self.now = 0.0
        self.number = -1
        self._most = max_subjects // 2
        self._recent: dict[bytes, _Lease] = {}
        self._older: dict[bytes, _Lease] = {}

    def turn(self, now: float) -> None:
        """Note the time, and forget everything if another window has begun."""
        self.now = now
        number = int(now // self.limit.seconds)
        if number != self.number:
            self.number, self._recent, self._older = number, {}, {}

    def lease(self, digest: bytes) -> _Lease:
        """What is known of one subject. If there are too many, the half that was not seen for longest is forgotten.

        Who is forgotten may start anew. That is no way around a limit: it takes more subjects than can be remembered,
        and whoever has so many has so many limits anyway.
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
        """How many seconds are left, rounded up."""
        return ceil((self.number + 1) * self.limit.seconds - self.now)

    def needs_more(self, lease: _Lease) -> bool:
        """Whether only the storage knows the answer: what it has given out within a window never comes back."""
        return lease.used < self.limit.amount and lease.left == 0 and lease.elsewhere > 0

    def refuses(self, lease: _Lease, *, alone: bool) -> bool:
        """Whether there are too few left: of those that this process has, or of all if it is alone."""
        return lease.used >= self.limit.amount or not (alone or lease.left)

    def verdict(self, lease: _Lease, *, alone: bool = False) -> Verdict:
        """Allow the hit, if there are enough left."""
        remaining = self.limit.amount - lease.used
        allowed = not self.refuses(lease, alone=alone)
        if allowed:
            lease.used += 1
            lease.left = max(0, lease.left - 1)
            remaining -= 1
        if not alone:
            remaining = min(remaining, lease.left + lease.elsewhere)
        return Verdict(name=self.name, limit=self.limit, allowed=allowed, remaining=remaining, reset=self.left())


class _SharedCounts:
    """The counts in a shared storage; after it has failed, nobody has to wait for it for a while.

    Args:
        storage: where they are.
        seconds: the time.
    """

    def __init__(self, storage: Storage, seconds: Callable[[], float]) -> None:
        self._storage = storage
        self._seconds = seconds
        self._lock = Lock()
        self._rests_until: float | None = None

    def rests(self, now: float) -> bool:
        """Whether it failed, and is not to be asked yet."""
        until = self._rests_until
        # A clock that was set back must not make a pause of a year.
        return until is not None and 0 < until - now <= PAUSE

    def add(self, key: str, seconds: int, amount: int) -> int | None:
        """Count so many hits; how many there are now, or nothing if it does not answer or is not asked."""
        if not self._may_ask():
            return None
        try:
            total = self._storage.incr(key, seconds, amount)
        except Exception as error:  # noqa: BLE001 - whatever a driver raises, calls are answered
            self._failed(error)
            return None
        self._answered()
        return total

    def close(self) -> None:
        """Close the connections, where the storage has some."""
        close = getattr(getattr(self._storage, "storage", None), "close", None)
        if callable(close):
            close()

    def _may_ask(self) -> bool:
        """Whether to ask. When a pause is over only one caller does, so that only one waits if it still is down."""
        if self._rests_until is None:
            return True
        with self._lock:
            now = self._seconds()
            if self.rests(now):
                return False
            self._rests_until = now + PAUSE
            return True

    def _failed(self, error: Exception) -> None:
        with self._lock:
            is_new = self._rests_until is None
            self._rests_until = self._seconds() + PAUSE
        if is_new:
            logger.warning("The storage of the rate limits fails, so each process counts for itself: %s", error)

    def _answered(self) -> None:
        if self._rests_until is None:
            return
        with self._lock:
            was_down, self._rests_until = self._rests_until is not None, None
        if was_down:
            logger.info("The storage of the rate limits answers again, and all processes count together")


class _MongoStorage(MongoDBStorage):
    """The one of ``limits``, with a client that is made once and closed once.

    Theirs is made by whoever comes first, which may be several threads, and closed when it is collected as garbage. It
    tries to make the index only once, even if the server is down, and without it no count is ever removed.
    """

    def __init__(self, url: str) -> None:
        super().__init__(
            url,
            database_name=unquote(urlsplit(url).path.strip("/")) or _DEFAULT_DATABASE,
            counter_collection_name=_COLLECTION,
            window_collection_name=_COLLECTION,
            wrap_exceptions=True,
        )
        # A count need not be durable, and one server's word is enough: who waits for a majority waits longer.
        self._client: MongoClient[Any] = self.lib.MongoClient(
            url, appname=_APP_NAME, connect=False, timeoutMS=int(PATIENCE * 1_000), w=1
        )
        self._indexed = False
        # So that a name that no database has is refused now.
        self._database.get_collection(_COLLECTION)

    def __del__(self) -> None:
        """Leave the client alone: whoever made it closes it."""

    @property
    def storage(self) -> MongoClient[Any]:
        """The client."""
        return self._client

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Count, and see to it that counts are removed some day."""
        if not self._indexed:
            self.counters.create_index("expireAt", expireAfterSeconds=0)
            self._indexed = True
        return super().incr(key, expiry, amount)


def _opened(url: str) -> Storage:
    """The storage that a URL names; whether it is there is seen when it is asked.

    Raises:
        ConfigurationError: the URL makes no sense, or needs a package that is not installed.
        MissingExtra: that package is PyMongo.
    """
    shown = without_password(url)
    if _scheme(url).startswith("mongodb") and find_spec("pymongo") is None:
        raise MissingExtra('Counting rate limits in MongoDB needs "pymongo"; try pip install "harken[mongodb]"')
    try:
        storage = _made(url)
    except Exception as error:  # noqa: BLE001 - each driver has errors of its own
        said = str(error).replace(url, shown)
        raise ConfigurationError(f"Rate limits cannot be counted in {shown!r}: {said}") from None
    if not isinstance(storage, Storage):
        raise ConfigurationError(f"Rate limits cannot be counted in {shown!r}: leave out 'async+'")
    return storage


def _made(url: str) -> object:
    scheme = _scheme(url)
    if scheme in ("mongodb", "mongodb+srv"):
        return _MongoStorage(url)
    patience = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    is_redis = scheme.startswith(("redis", "valkey"))
    return storage_from_string(url, wrap_exceptions=True, **(patience if is_redis else {}))


def _scheme(url: str) -> str:
    return url.partition(":")[0].lower()


def _quoted(name: str) -> str:
    """The name as a string in a structured field."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
