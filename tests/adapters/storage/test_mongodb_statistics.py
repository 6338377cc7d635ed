"""Statistics from day documents are counted once and always equal a fold over the feedback."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from random import Random
from threading import Event, Lock
from time import monotonic
from typing import Any

import pytest
from attrs import evolve
from pymongo import MongoClient
from pymongo.monitoring import CommandListener

import harken
from harken import Content, Feedback, FeedbackQuery, GroupBy, Harken, ModerationStatus, Rating, Summary
from harken.clock import utc_now
from harken.domain.insight.terms import TOKENIZER_VERSION, TermCounts
from harken.domain.instants import SLOT
from harken.domain.moderation import Moderation
from harken.domain.query import Dimension, GroupKey
from harken.ports.storage import Storage
from harken.testing import accepted
from harken_adapters.storage.mongodb import mongo_storage
from harken_adapters.storage.mongodb.clock import server_clock
from harken_adapters.storage.mongodb.database import Database
from harken_adapters.storage.mongodb.documents import decode_content
from harken_adapters.storage.mongodb.statistics import terms
from harken_adapters.storage.term_counts import dump_counts
from support import NOON, ManualClock, a_feedback, in_threads

pytestmark = pytest.mark.slow

GROUPINGS = (None, GroupBy(Dimension.AGENT), GroupBy(Dimension.SLOT))


class Aggregations(CommandListener):
    """Records the ranges of creation time in which feedback was counted."""

    def __init__(self) -> None:
        self.counted: list[dict[str, Any]] = []

    def started(self, event: Any) -> None:
        if event.command.get("aggregate") == "harken_feedback":
            match = event.command["pipeline"][0]["$match"]
            self.counted += [way["created_at"] for way in match["$or"]]

    def succeeded(self, event: Any) -> None:
        pass

    def failed(self, event: Any) -> None:
        pass


@pytest.fixture
def aggregations() -> Aggregations:
    """The ranges that the client below counts."""
    return Aggregations()


@pytest.fixture
def client(mongodb_url: str, aggregations: Aggregations) -> Iterator[MongoClient[dict[str, Any]]]:
    """A client of the test's database."""
    with MongoClient[dict[str, Any]](mongodb_url, event_listeners=[aggregations]) as opened:
        yield opened


@pytest.fixture
def name(client: MongoClient[dict[str, Any]]) -> str:
    """The database of the test."""
    return client.get_default_database().name


@pytest.fixture
def storage(client: MongoClient[dict[str, Any]], name: str, clock: ManualClock) -> Storage:
    """A storage whose clock stays at noon until it is changed."""
    return mongo_storage(client, name, clock=clock)


def _series(size: int, *, days: int = 30) -> list[Feedback]:
    """Return feedback of the days before noon, from three agents, with every counted field."""
    random = Random(size)
    return [
        a_feedback(
            f"f{number:05}",
            random.choice(list(Rating)),
            "x" * random.randrange(5),
            created_at=NOON - timedelta(seconds=random.randrange(days * 86_400)),
            agent_id=random.choice(("one", "two", None)),
            session_id=f"s{number % 7}",
        )
        for number in range(size)
    ]


def _fold(storage: Storage, query: FeedbackQuery, group_by: GroupBy | None) -> dict[GroupKey, Summary]:
    groups: dict[GroupKey, Summary] = {}
    for feedback in storage.feedback.stream(query):
        for key in group_by.keys(feedback) if group_by else (None,):
            groups[key] = groups.get(key, Summary()) + Summary.of(feedback)
    return groups


def _check_statistics(storage: Storage) -> None:
    spans: list[dict[str, Any]] = [
        {},
        {"since": NOON - timedelta(days=9, minutes=7)},
        {"since": NOON - timedelta(days=12), "until": NOON - timedelta(days=2, seconds=1)},
    ]
    for query in (
        FeedbackQuery(**span, **agent)
        for span in spans
        for agent in ({}, {"agent_id": "one"}, {"agent_id": ["one", "two", "gone"]})
    ):
        for group_by in GROUPINGS:
            assert storage.feedback.summarize(query, group_by) == _fold(storage, query, group_by)


def test_settled_slots_are_counted_once(storage: Storage, clock: ManualClock, aggregations: Aggregations) -> None:
    """After the first read, only the feedback of the last minutes is counted again."""
    with harken.connect(storage) as hk:
        hk.collection.restore(_series(300))
        clock.turn(minutes=3)
        _check_statistics(storage)
        aggregations.counted.clear()
        for query in (FeedbackQuery(), FeedbackQuery(agent_id=("one", "two"))):
            for group_by in GROUPINGS:
                storage.feedback.summarize(query, group_by)
        settled = (clock.now - timedelta(minutes=10)).replace(tzinfo=None)
        assert len(aggregations.counted) == 2 * len(GROUPINGS)
        assert min(span["$gte"] for span in aggregations.counted) > settled - SLOT


def test_a_change_to_old_feedback_is_counted_at_once(storage: Storage, clock: ManualClock) -> None:
    """Moderation, withdrawal, another agent, erasure and late arrivals change the statistics immediately."""
    with harken.connect(storage, clock=clock) as hk:
        hk.collection.restore(_series(200))
        clock.turn(minutes=3)
        _check_statistics(storage)
        for number in range(0, 60, 5):
            before = hk.summary().total
            hk.moderation.decide("default", f"f{number:05}", ModerationStatus.REJECTED)
            hk.collection.withdraw("default", f"f{number + 1:05}")
            old = hk.collection.get("default", f"f{number + 2:05}")
            moved = evolve(old, target=evolve(old.target, agent_id="three"), version=old.version + 1)
            storage.feedback.replace(moved, [])
            hk.collection.erase(FeedbackQuery(feedback_id=f"f{number + 3:05}").in_any_state())
            hk.collection.restore([a_feedback(f"late-{number}", created_at=NOON - timedelta(days=number % 31 + 1))])
            assert hk.summary().total == before - 2
            _check_statistics(storage)
            clock.turn(minutes=number % 4)
        _check_statistics(storage)


def test_an_import_into_counted_days_is_counted(storage: Storage, clock: ManualClock) -> None:
    """Imports of many entries into few days, or few into many, are counted at once and after all is settled."""
    series = _series(900)
    crowded = [evolve(one, created_at=NOON - timedelta(seconds=number)) for number, one in enumerate(series[300:700])]
    with harken.connect(storage) as hk:
        for part in (series[:300], crowded, series[700:]):
            hk.collection.restore(part)
            _check_statistics(storage)
            clock.turn(minutes=3)
            _check_statistics(storage)
        assert hk.summary().total == 900


def test_a_new_day_is_added_to_the_counted_days(storage: Storage, clock: ManualClock) -> None:
    """As time passes, settled slots are added to the day documents, and newer ones are counted from the feedback."""
    with harken.connect(storage, clock=clock) as hk:
        for number in range(60):
            hk.submit(f"s{number}", ("up", "down")[number % 2], "why", agent_id=("one", "two")[number % 3 == 0])
            clock.turn(minutes=37)
            assert hk.summary() == Summary.fold(hk.collection.stream(hk.query()))
        for group_by in GROUPINGS:
            query = FeedbackQuery()
            assert storage.feedback.summarize(query, group_by) == _fold(storage, query, group_by)


class Leaps:
    """A clock that advances by eleven minutes at each reading, so that everything settles."""

    def __init__(self) -> None:
        self._number = count()
        self._lock = Lock()

    def __call__(self) -> datetime:
        with self._lock:
            return datetime.now(UTC) + next(self._number) * timedelta(minutes=11)


def test_statistics_are_correct_during_writes(client: MongoClient[dict[str, Any]], name: str) -> None:
    """A reader sees everything acknowledged before its call, and nothing that was never sent."""
    feedback = _series(600, days=3)
    sent, kept = 0, 0
    lock, done = Lock(), Event()

    def write(part: list[Feedback]) -> None:
        nonlocal sent, kept
        with harken.connect(mongo_storage(client, name, clock=Leaps())) as hk:
            for start in range(0, len(part), 5):
                batch = part[start : start + 5]
                with lock:
                    sent += len(batch)
                hk.collection.restore(batch)
                with lock:
                    kept += len(batch)

    def read(group_by: GroupBy | None) -> int:
        looks = 0
        storage = mongo_storage(client, name, clock=Leaps())
        while not done.is_set():
            with lock:
                at_least = kept
            total = sum(group.total for group in storage.feedback.summarize(FeedbackQuery(), group_by).values())
            with lock:
                at_most = sent
            assert at_least <= total <= at_most
            looks += 1
        return looks

    def write_all() -> None:
        try:
            results = in_threads([lambda part=feedback[number::2]: write(part) for number in range(2)])
            assert results == [None, None]
        finally:
            done.set()

    results = in_threads([write_all, *(lambda by=group_by: read(by) for group_by in GROUPINGS)])
    assert [one for one in results if isinstance(one, BaseException)] == []
    _check_statistics(mongo_storage(client, name, clock=Leaps()))
    assert sum(group.total for group in _totals(client, name).values()) == len(feedback)


def _totals(client: MongoClient[dict[str, Any]], name: str) -> dict[GroupKey, Summary]:
    return dict(mongo_storage(client, name).feedback.summarize(FeedbackQuery()))


def test_statistics_equal_the_fold_after_concurrent_changes(client: MongoClient[dict[str, Any]], name: str) -> None:
    """Concurrent writers that add, moderate, withdraw and erase in the same days leave exact statistics."""
    feedback = _series(400, days=2)
    with harken.connect(mongo_storage(client, name, clock=Leaps())) as hk:
        hk.collection.restore(feedback[:200])

        def moderate(number: int) -> None:
            hk.moderation.decide("default", f"f{number:05}", ModerationStatus.REJECTED)
            hk.moderation.undo("default", f"f{number:05}")

        def withdraw(number: int) -> None:
            hk.collection.withdraw("default", f"f{number:05}")

        def erase(number: int) -> None:
            hk.collection.erase(FeedbackQuery(feedback_id=f"f{number:05}"))

        def add(number: int) -> None:
            hk.collection.restore(feedback[200 + number : 204 + number])

        def read(_: int) -> None:
            hk.summary()

        def again_and_again(act: Callable[[int], None], first: int) -> None:
            for number in range(first, 200, 4):
                act(number)

        acts = ((moderate, 0), (withdraw, 1), (erase, 2), (add, 0), (read, 0))
        results = in_threads([partial(again_and_again, *act) for act in acts])
        assert [one for one in results if one is not None] == []
        assert hk.summary().total == 400 - 50 - 50
    _check_statistics(mongo_storage(client, name, clock=Leaps()))


def test_clock_differences_are_corrected(client: MongoClient[dict[str, Any]], name: str) -> None:
    """Processes with wrong clocks agree with all others on when a mark has expired."""
    database = Database(client, name, timeout=5)
    clocks = [server_clock(database, lambda by=hours: utc_now() + timedelta(hours=by)) for hours in (-7, 0, 7)]
    times = [clock() for clock in clocks]
    assert max(times) - min(times) < timedelta(seconds=20)


def _damage(client: MongoClient[dict[str, Any]], name: str, hk: Harken) -> None:
    database = client[name]
    days = list(database["harken_days"].find({"agents": {"$gt": 0}}).sort("day", 1))
    database["harken_days"].update_one({"_id": days[1]["_id"]}, {"$inc": {"total.0": 5}})
    database["harken_figures"].delete_one({"day": days[3]["day"]})
    database["harken_days"].delete_one({"_id": days[5]["_id"]})
    database["harken_feedback"].update_one(
        {"slot": {"$gte": days[7]["day"] * 96, "$lt": days[7]["day"] * 96 + 96}}, {"$set": {"comment_length": 999}}
    )
    assert hk.check() != []


@pytest.mark.parametrize("damage", [dump_counts(TermCounts({"zzz": 1}, {}, 1, 0)), b"not compressed"])
def test_a_rebuild_corrects_counts_of_terms(
    client: MongoClient[dict[str, Any]], name: str, storage: Storage, clock: ManualClock, damage: bytes
) -> None:
    """Damaged counts of terms of a day are reported, removed and counted again."""
    with harken.connect(storage) as hk:
        hk.collection.restore(_series(100))
        clock.turn(minutes=3)
        hk.check()
        assert (hk.check(), hk.rebuild()) == ([], [])
        day = client[name]["harken_days"].find_one({"terms": {"$exists": True}})
        assert day is not None
        client[name]["harken_days"].update_one({"_id": day["_id"]}, {"$set": {"terms": damage}})
        assert len(hk.check()) == 1
        (corrected,) = hk.rebuild()
        assert corrected.endswith(" had counts of terms that differ from its feedback")
        assert (hk.check(), hk.rebuild()) == ([], [])


def test_a_rebuild_corrects_damaged_days(
    client: MongoClient[dict[str, Any]], name: str, storage: Storage, clock: ManualClock
) -> None:
    """A rebuild reports and corrects every day document that was damaged in any way."""
    with harken.connect(storage) as hk:
        hk.collection.restore(_series(300))
        clock.turn(minutes=3)
        hk.summary()
        assert hk.rebuild() == []
        _damage(client, name, hk)
        assert len(hk.rebuild()) == 4
        assert hk.rebuild() == []
    counted = storage.feedback.summarize(FeedbackQuery())[None]
    assert counted.total == 300


# --- counts of terms -------------------------------------------------------------------------------------------------


def _commented(size: int, comment: str = "lost luggage", *, days: int = 3) -> list[Feedback]:
    """Rated comments of the days before that of noon."""
    step, end = timedelta(days=days) / size, NOON.replace(hour=0)
    ratings = (Rating.UP, Rating.DOWN)
    return [
        a_feedback(f"c{number:05}", ratings[number % 2], comment, created_at=end - step * (number + 1))
        for number in range(size)
    ]


def _fold_terms(storage: Storage) -> TermCounts:
    return TermCounts.fold(storage.feedback.stream(FeedbackQuery()))


def _days_with_terms(client: MongoClient[dict[str, Any]], name: str) -> int:
    return client[name]["harken_days"].count_documents({"terms": {"$exists": True}})


def test_counts_of_another_version_are_counted_again(
    client: MongoClient[dict[str, Any]], name: str, storage: Storage, clock: ManualClock
) -> None:
    """They are neither used nor reported; the next reading stores its own."""
    storage.feedback.add(accepted(*_commented(30)))
    clock.turn(minutes=3)
    right = storage.feedback.term_counts("default")
    days, wrong = client[name]["harken_days"], dump_counts(TermCounts({"old": 3}, {}, 3, 0))
    days.update_many({}, {"$set": {"tokenizer": TOKENIZER_VERSION + 1, "terms": wrong}})
    assert storage.rebuild() == []
    assert storage.feedback.term_counts("default") == right == _fold_terms(storage)
    assert {one["tokenizer"] for one in days.find({})} == {TOKENIZER_VERSION}
    assert wrong not in [one["terms"] for one in days.find({})]


def test_a_day_with_too_many_words_is_counted_by_each_process(
    client: MongoClient[dict[str, Any]], name: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A document has a maximum size. Counts that would exceed it are not stored."""
    mongo_storage(client, name, clock=clock).feedback.add(accepted(*_commented(30)))
    clock.turn(minutes=3)
    monkeypatch.setattr(terms, "_MOST", 20)
    for _ in range(2):
        storage = mongo_storage(client, name, clock=clock)
        assert storage.feedback.term_counts("default") == _fold_terms(storage)
        assert _days_with_terms(client, name) == 0
    monkeypatch.undo()
    storage = mongo_storage(client, name, clock=clock)
    assert storage.feedback.term_counts("default") == _fold_terms(storage)
    assert _days_with_terms(client, name) == 3


def _decide(storage: Storage, feedback_id: str) -> None:
    one = storage.feedback.get("default", feedback_id)
    rejected = Moderation(status=ModerationStatus.REJECTED)
    storage.feedback.replace(one.moderated(rejected, at=NOON), [])


def _edit(storage: Storage, feedback_id: str) -> None:
    one = storage.feedback.get("default", feedback_id)
    storage.feedback.replace(one.revised(evolve(one.content, comment="edited zeppelin"), at=NOON), [])


def _erase(storage: Storage, **which: Any) -> None:
    storage.feedback.erase(FeedbackQuery(**which).in_any_state(), at=NOON)


#: What another process does while a day is counted.
MEANWHILE: dict[str, Callable[[Storage], object]] = {
    "nothing": lambda _: None,
    "reads": lambda other: other.feedback.term_counts("default"),
    "rejects": lambda other: _decide(other, "c00003"),
    "edits": lambda other: _edit(other, "c00003"),
    "adds": lambda other: other.feedback.add(accepted(a_feedback("late", comment="late", created_at=DAYS_AGO))),
    "erases": lambda other: _erase(other, feedback_id="c00003"),
    "erases, and reads": lambda other: (
        _erase(other, feedback_id="c00003"),
        other.feedback.term_counts("default"),
    ),
    "erases everything": _erase,
    "rebuilds": lambda other: other.rebuild(),
}
DAYS_AGO = NOON - timedelta(days=2)


@pytest.fixture
def both(storage: Storage, client: MongoClient[dict[str, Any]], name: str, clock: ManualClock) -> tuple[Storage, ...]:
    """The storage, opened by two processes."""
    return storage, mongo_storage(client, name, clock=clock)


@pytest.mark.parametrize("what", MEANWHILE)
@pytest.mark.parametrize("before", [0, 1, 2])
def test_counts_are_exact_if_another_process_acts_meanwhile(
    both: tuple[Storage, Storage], clock: ManualClock, monkeypatch: pytest.MonkeyPatch, what: str, before: int
) -> None:
    """Another process acts before the counts of the first, second or third day are stored."""
    ours, other = both
    ours.feedback.add(accepted(*_commented(90)))
    clock.turn(minutes=3)
    steps = iter([*[lambda: None] * before, lambda: MEANWHILE[what](other)])

    def dump(counts: TermCounts) -> bytes:
        if step := next(steps, None):
            step()
        return dump_counts(counts)

    monkeypatch.setattr(terms, "dump_counts", dump)
    ours.feedback.term_counts("default")
    assert next(steps, None) is None
    for _ in range(3):
        for one in both:
            assert one.feedback.term_counts("default") == _fold_terms(other)
            assert one.rebuild() == []
        clock.turn(minutes=1)


def test_a_large_day_is_counted_although_it_takes_longer_than_a_call_may(
    client: MongoClient[dict[str, Any]], name: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit of time is for each request, not for all comments of a day."""
    seen = count()

    def decode(document: dict[str, Any]) -> Content:
        if next(seen) % 1_000 == 0:
            # A second for a thousand comments.
            deadline = monotonic() + 1
            while monotonic() < deadline:
                pass
        return decode_content(document)

    storage = mongo_storage(client, name, clock=clock, timeout=2)
    storage.feedback.add(accepted(*_commented(3_000, days=1)))
    clock.turn(minutes=3)
    monkeypatch.setattr(terms, "decode_content", decode)
    assert storage.feedback.term_counts("default") == _fold_terms(storage)


# --- what a process keeps ---------------------------------------------------------------------------------------------


class Decoded:
    """Counts the comments whose terms are counted."""

    def __init__(self) -> None:
        self.comments: list[str] = []

    def __call__(self, document: dict[str, Any]) -> Content:
        self.comments.append(document["comment"])
        return decode_content(document)

    def again(self) -> list[str]:
        """The comments since the last call."""
        comments, self.comments = self.comments, []
        return comments


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Decoded:
    """The comments whose terms are counted."""
    decoded = Decoded()
    monkeypatch.setattr(terms, "decode_content", decoded)
    return decoded


def test_a_process_counts_a_comment_once(storage: Storage, clock: ManualClock, decoded: Decoded) -> None:
    """Readings of the same process count only what is new, also of the current day, and of a day with open slots."""
    storage.feedback.add(accepted(*_commented(30)))
    storage.feedback.term_counts("default")
    assert len(decoded.again()) == 30
    for number in range(6):
        new = a_feedback(f"new-{number}", comment=f"new {number}", created_at=clock.now)
        storage.feedback.add(accepted(new))
        assert storage.feedback.term_counts("default") == _fold_terms(storage)
        assert decoded.again() == [new.comment]
    # A slot that settles is counted once more, as it goes from the newer comments to those of its day.
    clock.turn(minutes=40)
    storage.feedback.term_counts("default")
    assert decoded.again().count("lost luggage") == 30
    storage.feedback.term_counts("default")
    assert decoded.again() == []
    _edit(storage, "c00003")
    storage.feedback.term_counts("default")
    # Those of its day.
    assert decoded.again().count("lost luggage") == 9
    for _ in range(3):
        storage.feedback.term_counts("default")
    assert decoded.again() == []
    clock.turn(minutes=3)
    assert storage.feedback.term_counts("default") == _fold_terms(storage)
    assert decoded.again().count("lost luggage") == 0


def test_a_process_fetches_stored_counts_once(
    client: MongoClient[dict[str, Any]], name: str, storage: Storage, clock: ManualClock, decoded: Decoded
) -> None:
    """A new process reads the stored counts, and then only those of days that changed."""
    storage.feedback.add(accepted(*_commented(30)))
    clock.turn(minutes=3)
    right = storage.feedback.term_counts("default")
    other = mongo_storage(client, name, clock=clock)
    decoded.again()
    assert other.feedback.term_counts("default") == right
    client[name]["harken_days"].update_many({}, {"$set": {"terms": b"not compressed"}})
    assert other.feedback.term_counts("default") == right
    assert decoded.again() == []


def _meanwhile_by_an_older_version(client: MongoClient[dict[str, Any]], name: str, clock: ManualClock) -> None:
    """Change feedback as versions before the counts of terms did, which did not remove them."""
    old = client[name]["harken_feedback"].find_one({"id": "c00003"})
    assert old is not None
    number, slot = divmod(old["slot"], 96)
    until = (clock.now + timedelta(minutes=2)).replace(tzinfo=None)
    mark = {"$inc": {"generation": 1}, "$addToSet": {"dirty": slot}, "$max": {"open_until": until}}
    client[name]["harken_days"].update_one({"day": number}, mark)
    client[name]["harken_feedback"].update_one({"id": "c00003"}, {"$set": {"comment": "edited zeppelin"}})


def test_stored_counts_are_not_used_after_a_change_by_an_older_version(
    both: tuple[Storage, ...], client: MongoClient[dict[str, Any]], name: str, clock: ManualClock
) -> None:
    """A process that has had the database open since before the migration changes feedback without removing counts."""
    both[0].feedback.add(accepted(*_commented(30)))
    clock.turn(minutes=3)
    both[0].feedback.term_counts("default")
    _meanwhile_by_an_older_version(client, name, clock)
    for _ in range(4):
        for one in (*both, mongo_storage(client, name, clock=clock)):
            counts = one.feedback.term_counts("default")
            assert counts == _fold_terms(one)
            assert counts.ups.get("zeppelin", 0) + counts.downs.get("zeppelin", 0) == 1
        clock.turn(minutes=1)


@pytest.mark.parametrize("what", MEANWHILE)
@pytest.mark.parametrize("minutes", [0, 40])
def test_what_a_process_keeps_is_right_after_another_acts(
    both: tuple[Storage, ...], clock: ManualClock, what: str, minutes: int
) -> None:
    """A process that has read the counts reads right ones after another process acted, at once and later."""
    ours, other = both
    ours.feedback.add(accepted(*_commented(90)))
    clock.turn(minutes=minutes)
    for one in both:
        one.feedback.term_counts("default")
    MEANWHILE[what](other)
    for _ in range(4):
        for one in both:
            assert one.feedback.term_counts("default") == _fold_terms(other)
        clock.turn(minutes=1)
    assert ours.rebuild() == []


@pytest.mark.parametrize("seed", range(3))
def test_processes_that_keep_counts_agree_with_the_fold(
    both: tuple[Storage, ...], clock: ManualClock, seed: int
) -> None:
    """After any sequence of additions, changes, erasures and rebuilds in two processes, both read the fold."""
    random = Random(seed)
    ids: list[str] = []

    def add(one: Storage) -> None:
        ages = [
            timedelta(minutes=random.randrange(random.choice((20, 3_000)))) for _ in range(random.choice((1, 3, 60)))
        ]
        new = [
            a_feedback(
                f"r{len(ids) + number}",
                random.choice(list(Rating)),
                " ".join(random.choices(("lost", "found", "late", ""), k=3)),
                created_at=clock.now - age,
            )
            for number, age in enumerate(ages)
        ]
        one.feedback.add(accepted(*new))
        ids.extend(each.id for each in new)

    def change(one: Storage) -> None:
        random.choice((_decide, _edit))(one, ids[-1])

    def erase(one: Storage) -> None:
        _erase(one, feedback_id=ids.pop(random.randrange(len(ids))))

    for _ in range(40):
        add(both[0])
        act = random.choice((add, change, erase, lambda one: one.rebuild()))
        act(random.choice(both))
        if random.random() < 0.3:
            clock.turn(minutes=random.choice((1, 3, 14, 60, 1_500)))
        for one in random.sample(both, random.randrange(3)):
            assert one.feedback.term_counts("default") == _fold_terms(one)
    for one in both:
        assert one.feedback.term_counts("default") == _fold_terms(one)
        assert one.rebuild() == []


def test_an_erasing_process_keeps_no_term_of_what_it_erased(storage: Storage, clock: ManualClock) -> None:
    """Not even until its next reading."""
    storage.feedback.add(accepted(*_commented(30)))
    clock.turn(minutes=3)
    storage.feedback.term_counts("default")
    storage.feedback.add(accepted(a_feedback("new", comment="zeppelin", created_at=clock.now)))
    storage.feedback.term_counts("default")
    assert _kept(storage)["default"].newer.total == 1
    _erase(storage, feedback_id="new")
    assert _kept(storage)["default"] == terms._Known()


def test_a_process_keeps_the_counts_of_few_applications(storage: Storage) -> None:
    """The memory that counts take is bounded; all of them are right."""
    names = [f"app-{number}" for number in range(7)]
    for number, application in enumerate(names):
        storage.feedback.add(
            accepted(*(a_feedback(f"c{each}", comment="why", application=application) for each in range(number)))
        )
    for _ in range(2):
        for number, application in enumerate(names):
            assert storage.feedback.term_counts(application).total == number
        assert list(_kept(storage)) == names[-4:]


def _kept(storage: Storage) -> dict[str, Any]:
    """What no public method shows."""
    return dict(storage.feedback._terms._known)  # type: ignore[attr-defined]


def test_a_process_keeps_few_comments(storage: Storage, clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> None:
    """The comments that it keeps have a total length; others are counted at each reading."""
    monkeypatch.setattr(terms, "_NEWER", 1_200)
    storage.feedback.add(
        accepted(
            *(a_feedback(f"n{number}", comment=f"w{number % 20 + 10:04}", created_at=clock.now) for number in range(50))
        )
    )
    for _ in range(2):
        assert storage.feedback.term_counts("default") == _fold_terms(storage)
        assert len(_kept(storage)["default"].rows) == 11
    _erase(storage, feedback_id="n0")
    assert storage.feedback.term_counts("default") == _fold_terms(storage)


def test_a_rebuild_corrects_what_other_processes_keep(
    both: tuple[Storage, ...], client: MongoClient[dict[str, Any]], name: str, clock: ManualClock
) -> None:
    """A process that has read wrong counts reads right ones after another process has corrected them."""
    ours, other = both
    ours.feedback.add(accepted(*_commented(30)))
    clock.turn(minutes=3)
    ours.feedback.term_counts("default")
    wrong = {"terms": dump_counts(TermCounts({"zzz": 1}, {}, 1, 0))}
    client[name]["harken_days"].update_many({"terms": {"$exists": True}}, {"$set": wrong})
    assert "zzz" in other.feedback.term_counts("default").ups
    assert len(ours.rebuild()) == 3
    assert other.feedback.term_counts("default") == _fold_terms(other)


def test_a_rebuild_makes_other_processes_count_what_is_not_stored(
    both: tuple[Storage, ...], client: MongoClient[dict[str, Any]], name: str, clock: ManualClock
) -> None:
    """After changes by hand to the current day, all processes count it again, and nothing wrong is stored later."""
    ours, other = both
    ours.feedback.add(accepted(*(a_feedback(f"c{number}", comment="late", created_at=NOON) for number in range(3))))
    clock.turn(minutes=40)
    assert other.feedback.term_counts("default").ups["late"] == 3
    client[name]["harken_feedback"].update_one({"id": "c1"}, {"$set": {"comment": "kind"}})
    assert ours.rebuild() == []
    for minutes in (0, 1_500):
        clock.turn(minutes=minutes)
        assert other.feedback.term_counts("default") == _fold_terms(other)


def test_threads_that_read_while_others_erase_keep_nothing_wrong(storage: Storage, clock: ManualClock) -> None:
    """Readings in several threads of a process leave the counts of what is stored."""
    storage.feedback.add(accepted(*_commented(60)))
    clock.turn(minutes=3)

    def read() -> None:
        for _ in range(12):
            storage.feedback.term_counts("default")

    def erase(first: int) -> None:
        for number in range(first, 60, 6):
            _erase(storage, feedback_id=f"c{number:05}")

    assert in_threads([read, read, lambda: erase(0), lambda: erase(3)]) == [None] * 4
    counts = storage.feedback.term_counts("default")
    assert (counts.total, counts) == (40, _fold_terms(storage))
