"""The index of comments: when it is filled, and that nothing of a change or an erasure is left in it."""

import sqlite3
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any

import mongomock
import pytest
from attrs import evolve, frozen
from pymongo import MongoClient

from harken import (
    Content,
    Feedback,
    FeedbackQuery,
    Rating,
    SearchNotReady,
    StorageCorrupt,
    StorageUnavailable,
    Summary,
    TextSearch,
)
from harken.domain.feedback import Context
from harken.ports.storage import Storage
from harken.testing import NOON, a_feedback, a_series, accepted, with_content
from harken_adapters.storage import comment_index
from harken_adapters.storage.mongodb import comment_index as mongodb_index
from harken_adapters.storage.mongodb import mongo_storage
from harken_adapters.storage.sqlite import comment_index as sqlite_index
from harken_adapters.storage.sqlite import open_storage
from support import PATIENCE, eventually

SLOW = FeedbackQuery(text="slow")
Change = Callable[[], object]


@frozen
class Indexed:
    """A storage, and what its index has stored."""

    storage: Storage
    segments: Callable[[], int]
    #: Replaces the content of all segments.
    damage: Callable[[], object]
    #: Lets the notes of segments that are being built look as old as this.
    age: Callable[[timedelta], object]
    #: When the oldest of these notes was stored or renewed.
    begun: Callable[[], Any]


def distant_times() -> Iterator[datetime]:
    """Times that are so far apart that no write is under way."""
    return (datetime.now(UTC) + number * timedelta(minutes=11) for number in count())


def _mongo(client: Any, name: str) -> Indexed:
    comments = client[name]["harken_comment_segments"]
    return Indexed(
        mongo_storage(client, name, clock=distant_times().__next__),
        lambda: comments.count_documents({}),
        lambda: comments.update_many({}, {"$set": {f"words.{bucket}": b"\7\0" for bucket in range(128)}}),
        lambda age: comments.update_many({"begun": {"$exists": True}}, {"$set": {"begun": datetime.now(UTC) - age}}),
        lambda: min(one["begun"] for one in comments.find({"begun": {"$exists": True}})),
    )


@pytest.fixture(params=["sqlite", "mongomock", pytest.param("mongodb", marks=pytest.mark.slow)])
def indexed(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Indexed]:
    """A storage with segments of five entries, which is not filled by searches."""
    for name, value in {"ENTRIES": 5, "WALKED": 2, "SCANNED": 7, "_PAUSE": 0.0, "_RETRY": 0.01}.items():
        monkeypatch.setattr(comment_index, name, value)
    monkeypatch.setattr(comment_index.CommentIndexer, "wake", lambda *_: None)
    monkeypatch.setattr(sqlite_index, "_NEWEST", 2)
    if request.param == "sqlite":
        path = tmp_path / "feedback.db"
        with open_storage(f"sqlite:///{path}") as storage, closing(sqlite3.connect(path, isolation_level=None)) as file:
            yield Indexed(
                storage,
                lambda: int(file.execute("SELECT count(*) FROM comment_segment").fetchone()[0]),
                lambda: file.execute("UPDATE comment_words SET content = x'0700' WHERE place % 256 < 128"),
                lambda age: file.execute("UPDATE comment_segment SET begun = begun - ?", (age.total_seconds(),)),
                lambda: file.execute("SELECT min(begun) FROM comment_segment").fetchone()[0],
            )
    elif request.param == "mongomock":
        yield _mongo(mongomock.MongoClient(), "harken")
    else:
        with MongoClient[dict[str, Any]](request.getfixturevalue("mongodb_url")) as client:
            yield _mongo(client, client.get_default_database().name)


def comments(number: int) -> list[Feedback]:
    """Entries with comments, a day apart from each other."""
    return [
        evolve(with_content(one, comment=f"so slow {index}"), created_at=NOON - timedelta(days=99 - index))
        for index, one in enumerate(a_series(number))
    ]


@pytest.mark.parametrize("first", [1, 3, 100])
def test_results_between_segments(first: int, indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Comments of one millisecond are found once and in order, however many the index asks the storage for at once."""
    monkeypatch.setattr(comment_index, "_FIRST_PIECE", first)
    series = [evolve(one, created_at=NOON + timedelta(microseconds=place)) for place, one in enumerate(comments(9))]
    # Enough for the words to be looked up.
    later = a_series(100, created_at=NOON + timedelta(days=1))
    others = [evolve(one, created_at=one.created_at + timedelta(minutes=place)) for place, one in enumerate(later)]
    indexed.storage.feedback.add(accepted(*series, *others))
    indexed.storage.index_comments("default")
    assert indexed.storage.feedback.find(SLOW, limit=50).items == tuple(reversed(series))
    assert indexed.storage.feedback.count(SLOW, limit=50) == 9


def test_a_search_of_too_many_comments_tells_the_progress(indexed: Indexed) -> None:
    """It is refused until the comments are indexed, but what the newest entries answer is answered."""
    storage, series = indexed.storage, comments(30)
    storage.feedback.add(accepted(*series))
    assert storage.feedback.find(SLOW, limit=2).items == tuple(series[:-3:-1])
    with pytest.raises(SearchNotReady, match="0 of 30 entries are done") as raised:
        storage.feedback.find(FeedbackQuery(text="12"), limit=2)
    assert (raised.value.indexed, raised.value.total) == (0, 30)
    with pytest.raises(SearchNotReady):
        storage.feedback.summarize(SLOW)
    assert list(storage.feedback.stream(FeedbackQuery(text="12"))) == [series[12]]
    storage.index_comments("default")
    assert indexed.segments() >= 5
    assert storage.feedback.find(FeedbackQuery(text="12"), limit=2).items == (series[12],)
    assert storage.feedback.summarize(SLOW)[None].total == 30


def test_a_frequent_word_is_not_searched_in_too_many_comments_that_are_not_indexed(indexed: Indexed) -> None:
    """Neither if these are in many places, each of which has few."""
    storage, series = indexed.storage, comments(60)
    storage.feedback.add(accepted(*series))
    storage.index_comments("default")
    for one in series[2::10]:
        storage.feedback.erase(FeedbackQuery(feedback_id=one.id), at=NOON)
    assert indexed.segments() <= 6
    with pytest.raises(SearchNotReady):
        storage.feedback.count(SLOW, limit=50)
    storage.index_comments("default")
    assert storage.feedback.count(SLOW, limit=50) == 50


def test_the_progress_does_not_count_what_was_erased(indexed: Indexed) -> None:
    """At most as many entries are indexed as there are."""
    storage, series = indexed.storage, comments(60)
    silent = [with_content(one, comment="") for one in series[:40]]
    storage.feedback.add(accepted(*silent, series[40]))
    storage.index_comments("default")
    storage.feedback.erase(FeedbackQuery(has_comment=False), at=NOON)
    storage.feedback.add(accepted(*series[41:]))
    with pytest.raises(SearchNotReady) as raised:
        storage.feedback.find(FeedbackQuery(text="40"), limit=2)
    assert raised.value.indexed <= raised.value.total == 20
    assert raised.value.retry_after >= timedelta(0)


def test_searches_fill_the_index(indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search wakes the thread that builds the index, and later searches are answered."""
    monkeypatch.undo()
    for name, value in {"ENTRIES": 5, "WALKED": 2, "SCANNED": 7, "_PAUSE": 0.0, "_RETRY": 0.01}.items():
        monkeypatch.setattr(comment_index, name, value)
    monkeypatch.setattr(sqlite_index, "_NEWEST", 2)
    series = comments(30)
    indexed.storage.feedback.add(accepted(*series))

    def found() -> bool:
        with suppress(SearchNotReady):
            return indexed.storage.feedback.find(FeedbackQuery(text="12"), limit=2).items == (series[12],)
        return False

    eventually(found)


def test_an_erasure_leaves_no_segment_with_its_words(indexed: Indexed) -> None:
    """The segment of erased feedback is removed before the erasure returns; the others stay."""
    storage, series = indexed.storage, comments(30)
    storage.feedback.add(accepted(*series))
    storage.index_comments("default")
    before = indexed.segments()
    storage.feedback.erase(FeedbackQuery(feedback_id=series[7].id), at=NOON)
    assert indexed.segments() == before - 1
    assert storage.feedback.find(FeedbackQuery(text="7"), limit=2).items == ()
    assert storage.feedback.find(FeedbackQuery(text="8"), limit=2).items == (series[8],)
    storage.index_comments("default")
    assert indexed.segments() == before


@pytest.mark.parametrize(
    "filters",
    [
        {"agent_id": ["a", "c"]},
        {"agent_id": ["a", "c"], "session_id": "session"},
        {"agent_id": ["a", *(f"unknown-{number}" for number in range(99))]},
        {"agent_id": ["b"], "has_comment": True},
        {"has_comment": False},
        {"rating": [Rating.UP, Rating.NEUTRAL], "tag": ["x", "y"]},
        {"context": {"tier": ["gold", None]}, "agent_id": ["a", "b"]},
    ],
)
def test_words_are_found_with_several_values_of_filters(indexed: Indexed, filters: dict[str, Any]) -> None:
    """The index narrows the entries that other filters leave, whether these have an index or not."""
    storage, ratings = indexed.storage, list(Rating)
    series = [
        evolve(
            with_content(
                one,
                rating=ratings[number % 5 % 3],
                tags=("xyz"[number % 3],),
                context=Context({"tier": "gold"} if number % 4 else {}),
            ),
            target=evolve(one.target, agent_id="abcd"[number % 4]),
        )
        for number, one in enumerate(comments(40))
    ]
    storage.feedback.add(accepted(*series))
    storage.index_comments("default")
    for text in ("slow", "slow 3", "13", "unicorn"):
        query = FeedbackQuery(text=text, **filters)
        expected = tuple(one for one in reversed(series) if query.matches(one))
        assert storage.feedback.find(query, limit=50).items == expected
        pages = [storage.feedback.find(query, limit=2)]
        while pages[-1].next:
            pages.append(storage.feedback.find(query, limit=2, after=pages[-1].next))
        assert tuple(one for page in pages for one in page.items) == expected
        assert storage.feedback.count(query, limit=50) == len(expected)
        assert storage.feedback.summarize(query).get(None, Summary()) == Summary.fold(expected)
        rated = [one for one in expected if one.rating is not Rating.NEUTRAL]
        assert sum(one.given for one in storage.feedback.ratings_by_author(query, limit=50)) == len(rated)
        assert sum(one.given for one in storage.feedback.ratings_by_author(query, limit=2)) == min(2, len(rated))


def test_entries_of_one_millisecond_are_found_once(indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if a search goes through them in several steps: pages and counts have each of them once, in order."""
    monkeypatch.setattr(comment_index, "ENTRIES", 40)
    monkeypatch.setattr(comment_index, "SCANNED", 60)
    monkeypatch.setattr(comment_index, "_FIRST_PIECE", 1)
    # Otherwise all of so few entries are checked, one after the other.
    monkeypatch.setattr(comment_index, "_COST", 0)
    storage = indexed.storage
    together = [
        evolve(one, created_at=NOON - timedelta(days=200) + timedelta(microseconds=300 * number))
        for number, one in enumerate(comments(40))
    ]
    newer = [evolve(one, id=f"newer-{one.id}", created_at=one.created_at) for one in comments(9)]
    storage.feedback.add(accepted(*together, *newer))
    storage.index_comments("default")
    series = [*together, *newer]
    assert storage.feedback.find(SLOW, limit=50).items == tuple(reversed(series))
    assert storage.feedback.count(SLOW, limit=100) == len(series)
    assert storage.feedback.summarize(SLOW)[None].total == len(series)
    pages = [storage.feedback.find(SLOW, limit=3)]
    while pages[-1].next:
        pages.append(storage.feedback.find(SLOW, limit=3, after=pages[-1].next))
    assert [one for page in pages for one in page.items] == series[::-1]


def changes(storage: Storage, series: list[Feedback]) -> dict[str, Change]:
    """Changes of feedback in the first segment."""
    edited = series[2].revised(Content(Rating.DOWN, "fast"), at=NOON)
    late = evolve(with_content(a_feedback(), comment="late"), created_at=series[2].created_at)
    return {
        "erase": lambda: storage.feedback.erase(FeedbackQuery(feedback_id=series[2].id), at=NOON),
        "edit": lambda: storage.feedback.replace(edited, []),
        "add": lambda: storage.feedback.add(accepted(late)),
    }


@pytest.mark.parametrize("change", ["erase", "edit", "add"])
def test_a_change_while_a_segment_is_built_is_not_lost(
    indexed: Indexed, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A segment that was read before a change is not stored after it."""
    storage, series = indexed.storage, comments(30)
    storage.feedback.add(accepted(*series))
    pending = [changes(storage, series)[change]]
    add_all, stored = comment_index.SegmentBuilder.add_all, []

    def add_all_and_change(*arguments: Any) -> tuple[int, int]:
        result = add_all(*arguments)
        if pending:
            assert indexed.segments() == 1
            pending.pop()()
            stored.append(indexed.segments())
        return result

    monkeypatch.setattr(comment_index.SegmentBuilder, "add_all", add_all_and_change)
    storage.index_comments("default")
    assert stored == [0]
    for text in ("slow", "fast", "late", "2", "3"):
        query = FeedbackQuery(text=text)
        expected = [one for one in storage.feedback.stream(FeedbackQuery()) if query.matches(one)]
        assert storage.feedback.find(query, limit=50).items == tuple(reversed(expected))
    assert list(storage.rebuild()) == []


def leave_a_note(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Do what a process does that is killed while it builds a segment."""
    with monkeypatch.context() as killed:
        killed.setattr(comment_index.SegmentBuilder, "add_all", lambda *_: 1 / 0)
        for index in (sqlite_index.SqliteCommentIndex, mongodb_index.MongoCommentIndex):
            killed.setattr(index, "drop", lambda *_: False)
        with pytest.raises(ZeroDivisionError):
            storage.index_comments("default")


@pytest.mark.parametrize("age", [timedelta(seconds=10), timedelta(days=-365)])
def test_a_process_that_was_killed_does_not_stop_the_others(
    indexed: Indexed, age: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it was building is soon taken over; and at once if the clock was wrong when it began."""
    storage = indexed.storage
    storage.feedback.add(accepted(*comments(30)))
    leave_a_note(storage, monkeypatch)
    assert indexed.segments() == 1
    indexed.age(age)
    storage.index_comments("default")
    assert indexed.segments() >= 5


def test_an_interrupted_process_leaves_no_note(indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an error or Ctrl-C while a segment is built, others do not have to wait."""
    indexed.storage.feedback.add(accepted(*comments(30)))
    monkeypatch.setattr(comment_index.SegmentBuilder, "add_all", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        indexed.storage.index_comments("default")
    assert indexed.segments() == 0


def test_a_slow_process_keeps_its_note(indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The note of a segment that takes long is renewed, so that two slow processes do not stop each other."""
    indexed.storage.feedback.add(accepted(*comments(30)))
    monkeypatch.setattr(comment_index, "_RENEWAL", -1.0)
    add, seen = comment_index.SegmentBuilder.add, []

    def add_slowly(*arguments: Any) -> None:
        if not seen:
            indexed.age(timedelta(days=365))
        seen.append(indexed.begun())
        add(*arguments)

    monkeypatch.setattr(comment_index.SegmentBuilder, "add", add_slowly)
    indexed.storage.index_comments("default")
    assert seen[0] < seen[1]


def test_index_comments_waits_for_those_who_index(indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    """If a thread or another process is building a segment, it returns after that, and searches are answered."""
    storage, series = indexed.storage, comments(30)
    storage.feedback.add(accepted(*series))
    started, finish = Event(), Event()
    add_all = comment_index.SegmentBuilder.add_all

    def add_all_slowly(*arguments: Any) -> tuple[int, int]:
        if not started.is_set():
            started.set()
            assert finish.wait(20)
        return add_all(*arguments)

    monkeypatch.setattr(comment_index.SegmentBuilder, "add_all", add_all_slowly)
    for index in (sqlite_index.SqliteCommentIndex, mongodb_index.MongoCommentIndex):

        def begin(*arguments: Any, begin: Callable[..., object] = index.begin) -> object:
            key = begin(*arguments)
            if key is None:
                finish.set()
            return key

        monkeypatch.setattr(index, "begin", begin)
    with ThreadPoolExecutor() as threads:
        first = threads.submit(storage.index_comments, "default")
        assert started.wait(20)
        threads.submit(storage.index_comments, "default").result(timeout=PATIENCE)
        assert storage.feedback.find(FeedbackQuery(text="12"), limit=2).items == (series[12],)
        finish.set()
        first.result(timeout=PATIENCE)


def test_entries_that_are_too_new_to_be_indexed_are_scanned(indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many they are: nobody can index them, so a search does not wait for that."""
    monkeypatch.setattr(sqlite_index, "_NEWEST", 50)
    storage = indexed.storage
    series = [evolve(one, created_at=one.created_at + timedelta(days=9_000)) for one in comments(30)]
    storage.feedback.add(accepted(*series))
    storage.index_comments("default")
    assert indexed.segments() == 0
    assert storage.feedback.find(FeedbackQuery(text="12"), limit=2).items == (series[12],)
    assert storage.feedback.summarize(SLOW)[None].total == 30


@frozen
class Marked:
    """A storage of MongoDB with entries whose days are marked as being changed for two minutes."""

    storage: Storage
    series: list[Feedback]
    #: The times that its clock shows next; then it stands still.
    times: list[datetime]


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> Marked:
    """The clock stands still, and no search finds a word that is only in old entries."""
    for name, value in {"ENTRIES": 5, "WALKED": 2, "SCANNED": 7, "_PAUSE": 1e9, "_RETRY": 0.01}.items():
        monkeypatch.setattr(comment_index, name, value)
    times = [NOON]
    clock = lambda: times.pop(0) if len(times) > 1 else times[0]  # noqa: E731
    storage, series = mongo_storage(mongomock.MongoClient(), clock=clock), comments(30)
    storage.feedback.add(accepted(*series))
    return Marked(storage, series, times)


def test_index_comments_waits_until_writes_have_finished(marked: Marked) -> None:
    """After an import, it returns when the comments can be indexed, and are."""
    marked.times.extend(NOON + number * timedelta(seconds=1) for number in range(130))
    marked.storage.index_comments("default")
    assert marked.times == [NOON + timedelta(seconds=129)]
    assert marked.storage.feedback.find(FeedbackQuery(text="12"), limit=2).items == (marked.series[12],)


def test_index_comments_does_not_wait_for_ever(marked: Marked, monkeypatch: pytest.MonkeyPatch) -> None:
    """If writes never finish, it raises the error of a search, which says how long they may take."""
    monkeypatch.setattr(comment_index, "_PATIENCE", 0.0)
    for refused in (
        lambda: marked.storage.index_comments("default"),
        lambda: marked.storage.feedback.find(FeedbackQuery(text="12"), limit=2),
    ):
        with pytest.raises(SearchNotReady, match=r"0 of 30 .* about 120 s"):
            refused()


def test_comments_are_indexed_when_writes_have_finished(marked: Marked) -> None:
    """The thread that a search starts waits for them: no other search has to start it again."""

    def found() -> bool:
        with suppress(SearchNotReady):
            page = marked.storage.feedback.find(FeedbackQuery(text="12"), limit=2)
            return page.items == (marked.series[12],)
        return False

    assert not found()
    marked.times.append(NOON + timedelta(minutes=3))
    eventually(found)


def test_damage_is_found_and_corrected(indexed: Indexed) -> None:
    """``check`` reports an index that differs from the comments, and ``rebuild`` makes it again."""
    storage, series = indexed.storage, comments(30)
    storage.feedback.add(accepted(*series))
    storage.index_comments("default")
    assert list(storage.check()) == []
    before = indexed.segments()
    indexed.damage()
    assert "differs from its comments; run 'harken rebuild'" in str(storage.check())
    with pytest.raises(StorageCorrupt, match="run 'harken rebuild'"):
        storage.feedback.find(FeedbackQuery(text="12"), limit=2)
    assert list(storage.rebuild()) == ["The search index of 'default' differed from its comments, and was rebuilt"]
    assert indexed.segments() == before
    assert list(storage.check()) == []
    assert storage.feedback.find(FeedbackQuery(text="12"), limit=2).items == (series[12],)


def test_many_entries_of_one_time_and_long_comments_are_indexed(
    indexed: Indexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import may give all entries the same time; and a segment of long comments has fewer of them."""
    monkeypatch.setattr(comment_index, "_FULL", 50)
    storage = indexed.storage
    together = [evolve(one, created_at=NOON - timedelta(days=200)) for one in comments(12)]
    long = [with_content(one, comment=f"{one.comment} {'word ' * 9}end") for one in comments(12)]
    storage.feedback.add(accepted(*together, *(evolve(one, id=f"long-{one.id}") for one in long), *comments(9)))
    storage.index_comments("default")
    assert indexed.segments() > 33 // 5
    assert storage.feedback.find(FeedbackQuery(text="so slow end"), limit=50).next is None
    assert len(storage.feedback.find(FeedbackQuery(text="so slow end"), limit=50).items) == 12
    assert len(storage.feedback.find(FeedbackQuery(text="7"), limit=50).items) == 3


def test_comments_that_are_too_large_for_a_segment_are_scanned(
    indexed: Indexed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What many different words of one time need does not keep what is newer out of the index."""
    monkeypatch.setattr(comment_index, "_FULL", 300)
    monkeypatch.setattr(comment_index, "_LARGEST", 900)
    storage, series = indexed.storage, comments(40)
    words = " ".join(f"word{number}" for number in range(30))
    at = series[10].created_at
    many = [evolve(one, created_at=at) for one in (with_content(one, comment=words) for one in a_series(3))]
    long = [evolve(with_content(one, comment=f"{words} {one.id}"), created_at=at) for one in many]
    storage.feedback.add(accepted(*series[:10], *long, *series[11:]))
    storage.index_comments("default")
    assert indexed.segments() >= 5
    assert len(storage.feedback.find(FeedbackQuery(text="word7"), limit=9).items) == 3
    assert storage.feedback.find(FeedbackQuery(text="12"), limit=9).items == (series[12],)
    assert storage.check() == []


def test_a_segment_that_cannot_be_stored_leaves_no_note(indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next attempt does not have to wait for it."""
    indexed.storage.feedback.add(accepted(*comments(30)))

    def fail(*_: object) -> None:
        raise StorageUnavailable("The disk is full")

    with monkeypatch.context() as patched:
        for index in (sqlite_index.SqliteCommentIndex, mongodb_index.MongoCommentIndex):
            patched.setattr(index, "finish", fail)
        with pytest.raises(StorageUnavailable):
            indexed.storage.index_comments("default")
    assert indexed.segments() == 0
    indexed.storage.index_comments("default")
    assert indexed.segments() >= 5


def test_a_search_when_no_thread_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is answered, and the storage can be closed."""

    def fail(_: object) -> None:
        raise RuntimeError("can't start new thread")

    with open_storage(f"sqlite:///{tmp_path}/feedback.db") as storage:
        storage.feedback.add(accepted(*comments(3)))
        monkeypatch.setattr("threading.Thread.start", fail)
        assert len(storage.feedback.find(SLOW, limit=9).items) == 3


def test_a_check_during_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A segment that a change removes while it is compared with the comments does not count as wrong."""
    monkeypatch.setattr(comment_index, "ENTRIES", 5)
    monkeypatch.setattr(sqlite_index, "_NEWEST", 2)
    with open_storage(f"sqlite:///{tmp_path}/feedback.db") as storage:
        series = comments(12)
        storage.feedback.add(accepted(*series))
        storage.index_comments("default")
        entries = sqlite_index.SqliteCommentIndex.entries

        def change_before(index: Any, application: str, since: int, until: int) -> Iterator[comment_index.IndexedEntry]:
            if left:
                storage.feedback.erase(FeedbackQuery(feedback_id=left.pop().id), at=NOON)
            return entries(index, application, since, until)

        left = [series[1]]
        monkeypatch.setattr(sqlite_index.SqliteCommentIndex, "entries", change_before)
        assert storage.check() == []
        assert not left


@pytest.mark.parametrize("back", [timedelta(minutes=30), timedelta(hours=2)])
def test_feedback_after_the_clock_was_set_back_is_found(back: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that connects after the clock of MongoDB was set back finds what is stored then, also later."""
    monkeypatch.setattr(comment_index, "ENTRIES", 15)
    monkeypatch.setattr(comment_index, "WALKED", 2)
    client: MongoClient[Any] = mongomock.MongoClient()
    now = NOON
    storage = mongo_storage(client, "harken", clock=lambda: now)
    series = a_series(600)
    storage.feedback.add(
        accepted(*(evolve(one, created_at=NOON - timedelta(minutes=place)) for place, one in enumerate(series)))
    )
    now = NOON + timedelta(minutes=30)
    storage.index_comments("default")
    now -= back
    storage = mongo_storage(client, "harken", clock=lambda: now)
    needle = evolve(with_content(a_feedback(id="needle"), comment="needle"), created_at=now, updated_at=now)
    storage.feedback.add(accepted(needle))
    query = FeedbackQuery(text="needle")
    assert storage.feedback.find(query, limit=9).items == (needle,)
    now += timedelta(hours=5)
    storage.index_comments("default")
    assert storage.feedback.find(query, limit=9).items == (needle,)
    assert storage.check() == []


def test_a_word_is_looked_up_together_with_a_tag(indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    """A frequent word with a rare tag is not looked for in all comments; a change of tags is found."""
    monkeypatch.setattr(comment_index, "SCANNED", 20)
    storage = indexed.storage
    series = [
        with_content(one, comment="so slow", tags=("rude",) if place == 7 else ())
        for place, one in enumerate(comments(60))
    ]
    storage.feedback.add(accepted(*series))
    storage.index_comments("default")
    segments = indexed.segments()
    checked: list[str] = []
    is_in = TextSearch.is_in

    def record(search: TextSearch, comment: str) -> bool:
        checked.append(comment)
        return is_in(search, comment)

    monkeypatch.setattr(TextSearch, "is_in", record)
    assert storage.feedback.find(FeedbackQuery(text="slow", tag="rude"), limit=9).items == (series[7],)
    assert len(checked) < 20
    assert storage.feedback.count(FeedbackQuery(text="slow", tag=["rude", "other"]), limit=9) == 1
    retagged = series[9].revised(
        evolve(series[9].content, tags=("rude",)),
        target=series[9].target,
        moderation=series[9].moderation,
        at=series[9].updated_at + timedelta(seconds=1),
    )
    storage.feedback.replace(retagged, [])
    assert indexed.segments() < segments
    assert storage.feedback.find(FeedbackQuery(text="slow", tag="rude"), limit=9).items == (retagged, series[7])
    storage.index_comments("default")
    assert storage.feedback.find(FeedbackQuery(text="slow", tag="rude"), limit=9).items == (retagged, series[7])
    assert storage.check() == []


def test_an_index_of_another_version_is_not_used(indexed: Indexed, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an update of the rules for words, the index is rebuilt."""
    storage, series = indexed.storage, comments(30)
    storage.feedback.add(accepted(*series))
    storage.index_comments("default")
    before = indexed.segments()
    for module in ("sqlite", "mongodb"):
        monkeypatch.setattr(f"harken_adapters.storage.{module}.comment_index.SEARCH_VERSION", 2)
    monkeypatch.setattr(
        "harken_adapters.storage.mongodb.comment_index._COMPLETE", {"begun": {"$exists": False}, "version": 2}
    )
    with pytest.raises(SearchNotReady):
        storage.feedback.find(FeedbackQuery(text="12"), limit=2)
    storage.index_comments("default")
    assert indexed.segments() == before
    assert storage.feedback.find(FeedbackQuery(text="12"), limit=2).items == (series[12],)
