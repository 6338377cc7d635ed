"""Rate limits: parsing, headers, and counting in one process and together with others."""

import logging
import re
import subprocess
import sys
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from threading import Event, Lock
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limits.storage import Storage
from pymongo import MongoClient

import harken
import mongod
from harken.domain.errors import ConfigurationError
from harken_adapters.hosts.http.guards.rate_limits import PAUSE, Limit, RateLimiter, Verdict, rate_headers
from support import ManualClock, eventually, in_threads

FIVE = Limit(5, 60)
MANY = Limit(1_000, 60)


def check_one(limiter: RateLimiter, name: str, limit: Limit, subject: str) -> Verdict:
    """Check a single limit."""
    (verdict,) = limiter.check([(name, limit, subject)])
    return verdict


def check_one_soon(limiter: RateLimiter, name: str, limit: Limit, subject: str) -> Verdict | None:
    """Check a single limit without blocking."""
    verdicts = limiter.check_soon([(name, limit, subject)])
    return None if verdicts is None else verdicts[0]


class Server:
    """A storage server in this process that can be down, or hang while ``hangs`` is held."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.counts: Counter[str] = Counter()
        self.kept: dict[str, int] = {}
        self.asked = 0
        self.is_down = False
        self.hangs = Lock()

    def add(self, key: str, seconds: int, amount: int) -> int:
        """Count, like any shared storage."""
        self.asked += 1
        with self.hangs:
            if self.is_down:
                raise ConnectionError("the server is down")
            self.kept.setdefault(key, seconds)
            self.counts[key] += amount
            return self.counts[key]


SERVERS: dict[str, Server] = {}


class ServedStorage(Storage):
    """The storage that ``limits`` opens for ``served://``: one for each process, with the same server."""

    STORAGE_SCHEME = ["served"]  # noqa: RUF012 - as in all storages of the library
    base_exceptions = ConnectionError

    def __init__(self, uri: str, **options: Any) -> None:
        super().__init__(uri, **options)
        self._server = SERVERS[uri]

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        return self._server.add(key, expiry, amount)

    def get(self, key: str) -> int:
        return self._server.counts[key]

    def get_expiry(self, key: str) -> float:
        return self._server.kept[key]

    def check(self) -> bool:
        return not self._server.is_down

    def reset(self) -> int | None:
        return None

    def clear(self, key: str) -> None:
        del self._server.counts[key]


@contextmanager
def a_server() -> Iterator[Server]:
    """A new server, for the duration of the context."""
    server = Server(f"served://{uuid4()}")
    SERVERS[server.url] = server
    try:
        yield server
    finally:
        del SERVERS[server.url]


@pytest.fixture
def server() -> Iterator[Server]:
    """A new server."""
    with a_server() as started:
        yield started


def allowed(verdicts: Sequence[Verdict]) -> int:
    """The number of allowed hits."""
    return sum(verdict.allowed for verdict in verdicts)


class TestLimit:
    @pytest.mark.parametrize(
        ("text", "limit"),
        [
            ("5/minute", Limit(5, 60)),
            ("1 per second", Limit(1, 1)),
            ("100 per 2 hours", Limit(100, 7_200)),
            (" 10/30 seconds ", Limit(10, 30)),
            ("7/day", Limit(7, 86_400)),
            ("1000000000/YEAR", Limit(1_000_000_000, 360 * 86_400)),
        ],
    )
    def test_is_read_from_a_setting(self, text: str, limit: Limit) -> None:
        """A limit can be written in the usual notations."""
        assert Limit.parse(text) == limit

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("", "'' is not a rate limit; expected one such as 5/minute"),
            ("often", "'often' is not a rate limit; expected"),
            ("5/fortnight", "is not a rate limit; expected"),
            ("-5/minute", "is not a rate limit; expected"),
            ("1.5/minute", "is not a rate limit; expected"),
            ("5/minute; 100/hour", "has 2 rate limits; expected one"),
            ("0/minute", "must be 1 to 1000000000 hits .* got 0 in 60"),
            ("1000000001/minute", "got 1000000001 in 60"),
            ("1/2 years", "got 1 in 62208000"),
            (f"{'9' * 5_000}/minute", "is not a rate limit"),
            (5, "5 is not a rate limit"),
        ],
    )
    def test_says_what_is_wrong(self, text: Any, says: str) -> None:
        """An error repeats the invalid setting and says what was expected."""
        with pytest.raises(ConfigurationError, match=says):
            Limit.parse(text)


class TestHeaders:
    def test_have_what_is_left(self) -> None:
        """The headers have each limit, its remaining hits and the time left, as structured fields."""
        fine = Verdict(name="address", limit=FIVE, allowed=True, remaining=3, reset=42)
        plenty = Verdict(name="key", limit=MANY, allowed=True, remaining=999, reset=42)
        assert rate_headers([plenty, fine]) == {
            "RateLimit-Policy": '"address";q=5;w=60, "key";q=1000;w=60',
            "RateLimit": '"address";r=3;t=42, "key";r=999;t=42',
        }

    def test_begin_with_the_exceeded_limit(self) -> None:
        """An exceeded limit comes first, and Retry-After is the time after which all exceeded limits allow a hit."""
        fine = Verdict(name="key", limit=MANY, allowed=True, remaining=0, reset=60)
        soon = Verdict(name="second", limit=Limit(1, 1), allowed=False, remaining=0, reset=1)
        late = Verdict(name="day", limit=Limit(9, 86_400), allowed=False, remaining=0, reset=777)
        assert rate_headers([fine, soon, late]) == {
            "RateLimit-Policy": '"day";q=9;w=86400, "second";q=1;w=1, "key";q=1000;w=60',
            "RateLimit": '"day";r=0;t=777, "second";r=0;t=1, "key";r=0;t=60',
            "Retry-After": "777",
        }

    def test_retry_after_is_at_least_one_second(self) -> None:
        """Retry-After is at least one second, even at the end of a window."""
        over = Verdict(name="key", limit=FIVE, allowed=False, remaining=0, reset=0)
        assert rate_headers([over])["Retry-After"] == "1"

    def test_are_not_there_without_limits(self) -> None:
        """Without limits, there are no headers."""
        assert rate_headers([]) == {}

    def test_quote_names(self) -> None:
        """Quotes in a name are escaped."""
        verdict = check_one(RateLimiter(), 'the "best" \\ one', FIVE, "me")
        assert rate_headers([verdict])["RateLimit-Policy"] == '"the \\"best\\" \\\\ one";q=5;w=60'

    @pytest.mark.parametrize("name", ["", " ", "größe", "a\nb", "a\x7f"])
    def test_need_plain_names(self, name: str) -> None:
        """A name that is not valid in a header is rejected on first use."""
        with pytest.raises(ConfigurationError, match="printable ASCII"):
            check_one(RateLimiter(), name, FIVE, "me")


steps = st.lists(st.tuples(st.integers(0, 40).map(lambda tenths: tenths * 6), st.sampled_from("ab")), max_size=80)


class TestAlone:
    @given(steps, st.integers(1, 6))
    def test_counts_in_windows(self, hits: list[tuple[int, str]], amount: int) -> None:
        """In each window, every subject has the whole limit, and rejected hits are not counted.

        All windows begin at multiples of their length.
        """
        clock, limit, used = ManualClock(), Limit(amount, 60), Counter[tuple[int, str]]()
        limiter = RateLimiter(clock=clock)
        for seconds, subject in hits:
            clock.turn(seconds=seconds)
            now = int(clock.now.timestamp())
            place = now // 60, subject
            fits = used[place] < amount
            used[place] += fits
            remaining, reset = amount - used[place], 60 - now % 60
            assert check_one_soon(limiter, "n", limit, subject) == Verdict(
                name="n", limit=limit, allowed=fits, remaining=remaining, reset=reset
            )

    def test_rounds_up_to_whole_seconds(self) -> None:
        """The reset time is rounded up to whole seconds."""
        clock = ManualClock()
        clock.turn(seconds=59, microseconds=1)
        verdict = check_one(RateLimiter(clock=clock), "n", FIVE, "me")
        assert (verdict.reset, verdict.retry_after) == (1, 1)

    def test_names_and_limits_are_counted_apart(self) -> None:
        """Each name and limit is counted separately."""
        limiter = RateLimiter(clock=ManualClock())
        for name, limit in (("a", FIVE), ("b", FIVE), ("a", Limit(5, 61))):
            assert allowed([check_one(limiter, name, limit, "me") for _ in range(6)]) == 5

    def test_a_clock_that_is_corrected(self) -> None:
        """Counts of a window in the future are discarded when the clock is corrected."""
        clock = ManualClock()
        limiter = RateLimiter(clock=clock)
        clock.turn(days=365)
        assert allowed([check_one(limiter, "n", FIVE, "me") for _ in range(6)]) == 5
        clock.turn(days=-365)
        assert check_one(limiter, "n", FIVE, "me").allowed

    def test_threads_never_get_more(self) -> None:
        """Concurrent threads never exceed the limit."""
        limiter, limit = RateLimiter(clock=ManualClock()), Limit(500, 60)
        counts = in_threads([lambda: allowed([check_one(limiter, "n", limit, "me") for _ in range(200)])] * 8)
        assert counts != [200] * 8
        assert sum(counts) == 500  # type: ignore[arg-type]

    @pytest.mark.slow
    def test_memory_is_bounded(self) -> None:
        """A flood of new subjects uses only as much memory as the maximum number of subjects."""
        limiter = RateLimiter(clock=ManualClock(), max_subjects=1_000)
        tracemalloc.start()
        try:
            for number in range(30_000):
                check_one(limiter, "n", FIVE, f"{number}" * 50)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert peak < 1_000_000

    @given(st.integers(2, 50), st.integers(1, 300))
    def test_a_frequent_subject_is_not_discarded(self, most: int, others: int) -> None:
        """A flood of other subjects does not reset the count of a subject that keeps calling."""
        limiter = RateLimiter(clock=ManualClock(), max_subjects=most)
        mine = []
        for number in range(others):
            check_one(limiter, "n", FIVE, f"other {number}")
            mine.append(check_one(limiter, "n", FIVE, "me"))
        assert allowed(mine) == min(5, others)

    def test_takes_any_text(self) -> None:
        """Text with a lone surrogate is accepted."""
        limiter = RateLimiter(secret="\udcff")
        assert check_one(limiter, "n", FIVE, "\ud800").allowed
        limiter.close()

    def test_must_track_subjects(self) -> None:
        """A limiter must track at least two subjects."""
        with pytest.raises(ConfigurationError, match="max_subjects must be at least 2, got 1"):
            RateLimiter(max_subjects=1)


class TestTogether:
    @given(st.integers(1, 450), st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=600))
    def test_never_more_than_the_limit(self, amount: int, calls: list[tuple[int, bool]]) -> None:
        """Several processes together allow what one would; a small limit is exact."""
        with a_server() as server:
            clock, limit = ManualClock(), Limit(amount, 60)
            limiters = [RateLimiter(server.url, clock=clock) for _ in range(3)]
            verdicts = []
            for who, soon in calls:
                found = (
                    check_one_soon(limiters[who], "n", limit, "me")
                    if soon
                    else check_one(limiters[who], "n", limit, "me")
                )
                verdicts.append(found or check_one(limiters[who], "n", limit, "me"))
            assert allowed(verdicts) <= amount
            spare = 2 * (limit.chunk - 1)
            assert allowed(verdicts) >= min(amount - spare, len(calls))

    @given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 9), st.integers(0, 40)), max_size=60))
    def test_never_more_in_any_window(self, calls: list[tuple[int, int, int]]) -> None:
        """For any sequence of hits and windows, no window exceeds the limit."""
        with a_server() as server:
            clock, limit = ManualClock(), Limit(20, 60)
            limiters = [RateLimiter(server.url, clock=clock) for _ in range(2)]
            spent = Counter[int]()
            for who, hits, seconds in calls:
                clock.turn(seconds=seconds)
                verdicts = [check_one(limiters[who], "n", limit, "me") for _ in range(hits)]
                spent[int(clock.now.timestamp()) // 60] += allowed(verdicts)
                assert all(0 <= verdict.remaining <= 20 for verdict in verdicts)
            assert max(spent.values(), default=0) <= 20

    def test_one_in_a_hundred_needs_a_round_trip(self, server: Server) -> None:
        """Hits of a large limit are leased in chunks, and leased hits need no round trip."""
        limiter = RateLimiter(server.url, clock=ManualClock())
        verdicts = [check_one(limiter, "n", MANY, "me") for _ in range(1_100)]
        assert [verdict.remaining for verdict in verdicts] == [*range(999, -1, -1), *[0] * 100]
        assert allowed(verdicts) == 1_000
        assert server.asked == 100

    def test_check_soon_does_not_block(self, server: Server) -> None:
        """A hit that needs a round trip is not counted by ``check_soon``; other hits need no storage."""
        limiter = RateLimiter(server.url, clock=ManualClock())
        assert check_one_soon(limiter, "n", MANY, "me") is None
        assert check_one(limiter, "n", MANY, "me").remaining == 999
        soon = [check_one_soon(limiter, "n", MANY, "me") for _ in range(10)]
        assert [verdict and verdict.remaining for verdict in soon] == [*range(998, 989, -1), None]
        assert server.asked == 1

    def test_all_or_none_are_counted(self, server: Server) -> None:
        """Several limits are checked together; if one needs a round trip, no hit is counted against the others."""
        limiter = RateLimiter(server.url, clock=ManualClock())
        check_one(limiter, "a", MANY, "me")
        hits = [("a", MANY, "me"), ("b", MANY, "me")]
        assert limiter.check_soon(hits) is None
        check_one(limiter, "b", MANY, "me")
        verdicts = limiter.check_soon(hits)
        assert verdicts is not None
        assert [(verdict.name, verdict.remaining) for verdict in verdicts] == [("a", 998), ("b", 998)]

    def test_rejections_need_no_round_trip(self, server: Server) -> None:
        """Once the limit is used up, rejections need no round trip until the next window."""
        clock = ManualClock()
        limiter, other = RateLimiter(server.url, clock=clock), RateLimiter(server.url, clock=clock)
        assert allowed([check_one(limiter, "n", FIVE, "me") for _ in range(5)]) == 5
        assert not check_one(other, "n", FIVE, "me").allowed
        asked = server.asked
        refused = [check_one_soon(found, "n", FIVE, "me") for found in (limiter, other) * 50]
        assert {verdict and verdict.allowed for verdict in refused} == {False}
        assert server.asked == asked
        clock.turn(seconds=60)
        assert check_one(other, "n", FIVE, "me").allowed

    def test_remaining_hits_are_shared(self, server: Server) -> None:
        """The remaining hits are those of the shared limit, as of the last lease."""
        clock = ManualClock()
        limiter, other = RateLimiter(server.url, clock=clock), RateLimiter(server.url, clock=clock)
        asked = [check_one(found, "n", FIVE, "me").remaining for found in (limiter, other, other, limiter)]
        assert asked == [4, 3, 2, 1]
        limiter.close()
        other.close()

    def test_a_lease_lapses_with_its_window(self, server: Server) -> None:
        """Unused hits of a lease expire with their window."""
        clock, limit = ManualClock(), Limit(1_000, 60)
        limiters = [RateLimiter(server.url, clock=clock) for _ in range(3)]
        for limiter in limiters:
            check_one(limiter, "n", limit, "me")
        clock.turn(seconds=60)
        assert allowed([check_one(limiter, "n", limit, "me") for limiter in limiters for _ in range(500)]) == 1_000

    def test_the_storage_has_no_subjects(self, server: Server) -> None:
        """The storage contains digests only, which need the secret to be recomputed."""
        clock = ManualClock()
        check_one(RateLimiter(server.url, clock=clock), "n", FIVE, "192.0.2.1")
        check_one(RateLimiter(server.url, clock=clock, secret="ours"), "n", FIVE, "192.0.2.1")
        check_one(RateLimiter(server.url, clock=clock, secret="ours"), "n", FIVE, "192.0.2.1")
        counts = server.counts
        assert sorted(counts.values()) == [1, 2]
        assert "192" not in "".join(counts)
        assert all(60 < seconds <= 180 for seconds in server.kept.values())

    def test_discarded_leases_are_lost(self, server: Server) -> None:
        """A subject that is discarded locally is still counted in the storage, so rotating subjects gain nothing."""
        limiter, limit, mine = RateLimiter(server.url, clock=ManualClock(), max_subjects=2), Limit(300, 60), []
        for number in range(1_000):
            mine.append(check_one(limiter, "n", limit, "me"))
            check_one(limiter, "n", limit, f"one {number}")
            check_one(limiter, "n", limit, f"other {number}")
        # Each subject had used one hit of a chunk of three.
        assert allowed(mine) == 100


class TestOutage:
    @given(st.lists(st.tuples(st.integers(0, 1), st.integers(1, 3), st.integers(0, 4), st.booleans()), max_size=80))
    def test_each_counts_for_itself(self, calls: list[tuple[int, int, int, bool]]) -> None:
        """Through any sequence of outages, no error is raised, and no process exceeds the limit."""
        with a_server() as server:
            clock, limit = ManualClock(), Limit(20, 60)
            limiters = [RateLimiter(server.url, clock=clock) for _ in range(2)]
            spent = Counter[tuple[int, int]]()
            for who, hits, seconds, server.is_down in calls:
                clock.turn(seconds=seconds)
                verdicts = [check_one(limiters[who], "n", limit, "me") for _ in range(hits)]
                spent[who, int(clock.now.timestamp()) // 60] += allowed(verdicts)
            assert max(spent.values(), default=0) <= 20

    def test_is_logged_once(self, server: Server, caplog: pytest.LogCaptureFixture) -> None:
        """An outage is logged once as a warning, and its end once as info, not for each call."""
        clock = ManualClock()
        limiter = RateLimiter(server.url, clock=clock)
        with caplog.at_level(logging.INFO):
            for server.is_down in (True, False, True):
                for _ in range(20):
                    # Below 200, each hit needs a round trip.
                    check_one(limiter, "n", Limit(100, 60), "me")
                    clock.turn(seconds=PAUSE / 4)
        levels = [record.levelname for record in caplog.records]
        assert levels == ["WARNING", "INFO", "WARNING"]
        assert "the server is down" in caplog.text

    def test_pauses_the_storage(self, server: Server) -> None:
        """After a failure, the storage is paused; then one caller retries, and all hits are answered at once."""
        clock = ManualClock()
        limiter = RateLimiter(server.url, clock=clock)
        server.is_down = True
        check_one(limiter, "n", MANY, "me")
        assert [check_one_soon(limiter, "n", MANY, "me") is None for _ in range(3)] == [False] * 3
        clock.turn(seconds=PAUSE)
        assert check_one_soon(limiter, "n", MANY, "me") is None
        assert check_one(limiter, "n", MANY, "me").remaining == 995
        assert server.asked == 2
        assert check_one_soon(limiter, "n", MANY, "me") is not None

    def test_only_one_caller_retries(self, server: Server) -> None:
        """While one caller waits for a hanging storage, the others are answered without it."""
        clock = ManualClock()
        limiter = RateLimiter(server.url, clock=clock)
        server.is_down = True
        check_one(limiter, "n", MANY, "me")
        clock.turn(seconds=PAUSE)
        asking = Event()

        def ask() -> Verdict:
            asking.set()
            return check_one(limiter, "n", MANY, "me")

        def others() -> int:
            asking.wait()
            eventually(lambda: check_one_soon(limiter, "n", Limit(7, 60), "you"))
            found = allowed([check_one(limiter, "n", FIVE, "me") for _ in range(9)])
            server.hangs.release()
            return found

        server.hangs.acquire()
        verdict, count = in_threads([ask, others])
        assert isinstance(verdict, Verdict)
        assert verdict.allowed
        assert count == 5

    def test_hits_during_an_outage_count(self, server: Server) -> None:
        """A subject that used up the limit during an outage gets no more hits after it."""
        clock = ManualClock()
        limiter = RateLimiter(server.url, clock=clock)
        server.is_down = True
        assert allowed([check_one(limiter, "n", FIVE, "me") for _ in range(9)]) == 5
        server.is_down = False
        clock.turn(seconds=PAUSE)
        verdict = check_one_soon(limiter, "n", FIVE, "me")
        assert verdict is not None
        assert not verdict.allowed
        assert not server.counts

    def test_a_clock_that_is_set_back_makes_no_long_pause(self, server: Server) -> None:
        """The storage is used again even if the clock was set back."""
        clock = ManualClock()
        limiter = RateLimiter(server.url, clock=clock)
        server.is_down = True
        check_one(limiter, "n", MANY, "me")
        server.is_down = False
        clock.turn(days=-1)
        check_one(limiter, "n", MANY, "me")
        assert server.asked == 2

    @pytest.mark.parametrize("is_down", [False, True])
    def test_a_late_chunk_is_not_added(self, server: Server, is_down: bool) -> None:
        """A chunk that arrives after its window has ended answers one hit, and is not added to another window."""
        clock = ManualClock()
        limiter, limit = RateLimiter(server.url, clock=clock), Limit(500, 60)
        server.hangs.acquire()

        def turn() -> None:
            eventually(lambda: server.asked)
            clock.turn(seconds=60)
            server.is_down = is_down
            server.hangs.release()

        late, _ = in_threads([lambda: check_one(limiter, "n", limit, "me"), turn])
        assert isinstance(late, Verdict)
        assert late.allowed
        assert allowed([check_one(limiter, "n", limit, "me") for _ in range(600)]) == 500 - is_down


#: An option of a URL, so that the processes also count together on a busy machine.
PATIENT = "timeoutMS=60000"


@pytest.mark.slow
class TestMongoDB:
    def test_processes_share_counts(self, mongodb_url: str) -> None:
        """Two processes with many threads together allow exactly the limit."""
        with two(f"{mongodb_url}&{PATIENT}", ManualClock()) as limiters:
            for limit in (Limit(30, 86_400), Limit(700, 86_400)):
                calls = [lambda one=one, limit=limit: hammer(one, limit, 200) for one in limiters * 4]
                counts = in_threads(calls)
                assert sum(counts) == limit.amount  # type: ignore[arg-type]

    def test_windows_pass(self, mongodb_url: str) -> None:
        """The next window starts at zero, by the given clock, and unused hits of the last one expire."""
        clock = ManualClock()
        with two(f"{mongodb_url}&{PATIENT}", clock) as limiters:
            for _ in range(3):
                assert hammer(limiters[0], FIVE, 3) == 3
                assert hammer(limiters[1], FIVE, 3) == 2
                clock.turn(seconds=60)

    def test_counts_expire(self, mongodb_url: str) -> None:
        """The server removes expired counts and has no addresses, and can share a database with Harken's storage."""
        with two(mongodb_url, ManualClock()) as (limiter, _), closing(MongoClient[Any](mongodb_url)) as client:
            check_one(limiter, "address", FIVE, "192.0.2.1")
            (collection,) = client.get_default_database().list_collections()
            found = client.get_default_database()[collection["name"]]
            (document,) = found.find()
            assert document["count"] == 1
            assert "192.0.2.1" not in str(document)
            assert found.index_information()["expireAt_1"]["expireAfterSeconds"] == 0
        with harken.connect(mongodb_url) as hk:
            assert hk.submit("s", "up").feedback.id

    def test_leaves_no_connection_open(self, mongodb_url: str) -> None:
        """Closing a limiter closes its connections, and later checks count in the process."""
        with closing(MongoClient[Any](mongodb_url)) as client:
            limiter = RateLimiter(mongodb_url, clock=ManualClock())
            check_one(limiter, "n", FIVE, "me")
            assert connections(client)
            limiter.close()
            limiter.close()
            eventually(lambda: not connections(client))
            assert hammer(limiter, FIVE, 9) == 4
            eventually(lambda: not connections(client))

    def test_a_server_that_hangs(self) -> None:
        """While the server hangs, each process counts separately, and together again when it recovers."""
        clock = ManualClock()
        with mongod.replica_set() as started, two(mongod.with_database(started.url, "limits"), clock) as limiters:
            assert [hammer(limiter, FIVE, 2) for limiter in limiters] == [2, 2]
            clock.turn(seconds=60)
            started.members[0].pause()
            assert [hammer(limiter, FIVE, 9) for limiter in limiters] == [5, 5]
            started.members[0].resume()
            clock.turn(seconds=60 + PAUSE)
            assert sum(hammer(limiter, FIVE, 9) for limiter in limiters) == 5

    def test_a_server_that_is_not_there(self) -> None:
        """A limiter starts without its server, and enforces limits."""
        with closing(RateLimiter("mongodb://127.0.0.1:1/limits", clock=ManualClock())) as limiter:
            assert hammer(limiter, FIVE, 9) == 5

    def test_a_timeout_in_the_url(self, caplog: pytest.LogCaptureFixture) -> None:
        """A timeout in the URL replaces the default of a second."""
        with closing(RateLimiter("mongodb://127.0.0.1:1/limits?timeoutMS=10", clock=ManualClock())) as limiter:
            hammer(limiter, FIVE, 1)
        # What was left of 10 milliseconds.
        left = re.search(r"Timeout: ([-+.\de]+)s", caplog.text)
        assert left is not None
        assert float(left[1]) <= 0.01


@contextmanager
def two(url: str, clock: ManualClock) -> Iterator[list[RateLimiter]]:
    """Two limiters, like two processes, closed at the end."""
    with ExitStack() as ends:
        yield [ends.enter_context(closing(RateLimiter(url, clock=clock))) for _ in range(2)]


def hammer(limiter: RateLimiter, limit: Limit, times: int) -> int:
    """The number of allowed hits out of many."""
    return allowed([check_one(limiter, "n", limit, "me") for _ in range(times)])


def connections(client: MongoClient[Any]) -> int:
    """The number of connections of limiters to the server."""
    running = client.admin.aggregate([{"$currentOp": {"allUsers": True, "idleConnections": True}}])
    return sum(found.get("appName") == "harken rate limits" for found in running)


class TestUrls:
    @pytest.mark.parametrize("url", ["memory://", "MEMORY://", "memory:"])
    def test_memory_needs_no_round_trip(self, url: str) -> None:
        """Without a shared storage, nothing needs a round trip."""
        limiter = RateLimiter(url, clock=ManualClock())
        assert check_one_soon(limiter, "n", FIVE, "me")
        limiter.close()

    @pytest.mark.parametrize(
        ("url", "says"),
        [
            ("", "unknown storage scheme"),
            ("nonsense://someone:secret@host", "'nonsense://host' as rate limit storage: unknown storage scheme"),
            ("async+memory://", "leave out 'async\\+'"),
            ("mongodb://", "at least one hostname"),
            ("mongodb://someone:secret@/limits", "'mongodb:///limits'"),
            ("mongodb://someone:secr%t@host/limits", "must be escaped"),
            ("mongodb://[::1/limits", "Invalid IPv6 URL"),
            ("mongodb://host/a%20b", "Bad database name"),
            ("memcached://someone:secret@host", "'memcached://host' as rate limit storage: Missing host or port"),
        ],
    )
    def test_that_are_invalid(self, url: str, says: str) -> None:
        """An invalid URL is an error on start, without the password."""
        with pytest.raises(ConfigurationError, match=says) as caught:
            RateLimiter(url)
        assert "secr" not in str(caught.value)

    @pytest.mark.slow
    def test_without_the_driver(self) -> None:
        """Without PyMongo, counting in MongoDB is an error that says what to install; memory needs no package."""
        program = (
            "import sys; sys.modules['pymongo'] = None\n"
            "from harken_adapters.hosts.http.guards.rate_limits import *\n"
            "RateLimiter()\n"
            "try: RateLimiter('mongodb://host/limits')\n"
            "except MissingExtra as error: print(error)"
        )
        ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert 'try pip install "harken[mongodb]"' in ran.stdout


def test_a_rejected_hit_counts_against_no_other_limit(clock: ManualClock) -> None:
    """Once a limit is exceeded, nothing is counted against the others, and the shared storage is not used for them."""
    limiter = RateLimiter(clock=clock)
    tight, wide = Limit(1, 60), Limit(9, 60)
    hits = [("wide", wide, "w"), ("tight", tight, "t"), ("other", wide, "o")]
    assert [one.remaining for one in limiter.check(hits)] == [8, 0, 8]
    for check in (limiter.check, limiter.check_soon):
        refused = check(hits)
        assert refused is not None
        assert [(one.name, one.allowed) for one in refused] == [("tight", False)]
    assert [one.remaining for one in limiter.check(hits[::2])] == [7, 7]
