"""Counts of terms in SQLite are exact, also if other processes act between the reading and the storing of a record."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from harken import Feedback, FeedbackQuery, Rating
from harken.configuration.storage_urls import open_storage
from harken.domain.insight.terms import TOKENIZER_VERSION, TermCounts
from harken.domain.moderation import Moderation, ModerationStatus
from harken.ports.storage import Storage
from harken.testing import NOON, a_series, accepted, with_content
from harken_adapters.storage.sqlite import terms
from harken_adapters.storage.sqlite.database import Database
from harken_adapters.storage.term_counts import dump_counts, load_counts

CHUNK = 100
MINUTE = timedelta(minutes=1)
EVERYTHING = FeedbackQuery().in_any_state()
#: Written before the first reading, and between the first and the second.
OLD = [evolve(one, id=f"old-{number:03}") for number, one in enumerate(a_series(450, comment="lost luggage"))]
NEW = [
    evolve(one, id=f"new-{number:03}")
    for number, one in enumerate(a_series(300, comment="found wifi", rating=Rating.DOWN))
]
NEW = [evolve(one, created_at=one.created_at + timedelta(days=1)) for one in NEW]


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A file that two storages share."""
    return f"sqlite:///{tmp_path}/feedback.db"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The same file."""
    return tmp_path / "feedback.db"


@pytest.fixture
def ours(url: str) -> Iterator[Storage]:
    """A storage with entries of which the first are in a record."""
    with open_storage(url) as storage:
        storage.feedback.add(accepted(*OLD))
        storage.feedback.term_counts("default")
        storage.feedback.add(accepted(*NEW))
        yield storage


@pytest.fixture
def other(ours: Storage, url: str) -> Iterator[Storage]:
    """The same file, opened by another process."""
    with open_storage(url) as storage:
        yield storage


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes records of few comments."""
    monkeypatch.setattr(terms, "_ENOUGH", 50)
    monkeypatch.setattr(terms, "_CHUNK", CHUNK)


class Meanwhile:
    """Runs the next step each time before a record is stored."""

    def __init__(self) -> None:
        self.steps: Iterator[Callable[[], object]] = iter(())
        self.taken = 0

    def step(self) -> None:
        """Take a step, in which nothing else happens meanwhile."""
        steps, self.steps = self.steps, iter(())
        if step := next(steps, None):
            self.taken += 1
            step()
        self.steps = steps


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Meanwhile:
    """What happens between the reading and the storing of a record."""
    found, write = Meanwhile(), Database.write

    def write_after_a_step(self: Database, work: Any, *, durable: bool = True) -> object:
        if isinstance(work, partial) and work.func is terms._store:
            found.step()
        return write(self, work, durable=durable)

    monkeypatch.setattr(Database, "write", write_after_a_step)
    return found


def _fold(storage: Storage) -> TermCounts:
    return TermCounts.fold(storage.feedback.stream(FeedbackQuery()))


def _replace(storage: Storage, feedback_id: str, change: Callable[[Feedback], Feedback]) -> None:
    storage.feedback.replace(change(storage.feedback.get("default", feedback_id)), [])


def _reject(storage: Storage, feedback_id: str) -> None:
    rejected = Moderation(status=ModerationStatus.REJECTED)
    _replace(storage, feedback_id, lambda one: one.moderated(rejected, at=NOON))


def _edit(storage: Storage, feedback_id: str) -> None:
    _replace(storage, feedback_id, lambda one: one.revised(evolve(one.content, comment="edited zeppelin"), at=NOON))


def _erase(storage: Storage, *feedback_ids: str) -> None:
    for feedback_id in feedback_ids:
        storage.feedback.erase(FeedbackQuery(feedback_id=feedback_id).in_any_state(), at=NOON)


def _erase_and_restore(storage: Storage, feedback_id: str) -> None:
    """Replace feedback by another with the same id, version and time."""
    before = storage.feedback.get("default", feedback_id)
    _erase(storage, feedback_id)
    storage.feedback.add(accepted(with_content(before, comment="xylophone")))


def _erase_much(storage: Storage) -> None:
    storage.feedback.erase(FeedbackQuery(until=OLD[300].created_at).in_any_state(), at=NOON)


#: What another process does.
MEANWHILE: dict[str, Callable[[Storage], object]] = {
    "nothing": lambda _: None,
    "reads": lambda other: other.feedback.term_counts("default"),
    "rejects what is counted": lambda other: _reject(other, "old-003"),
    "rejects what is being counted": lambda other: _reject(other, "new-003"),
    "edits what is counted": lambda other: _edit(other, "old-003"),
    "edits what is being counted": lambda other: _edit(other, "new-003"),
    "withdraws": lambda other: _replace(other, "new-004", lambda one: one.withdraw(at=NOON)),
    "adds late": lambda other: other.feedback.add(accepted(*a_series(3, comment="late", created_at=NOON - MINUTE))),
    "adds between": lambda other: other.feedback.add(
        accepted(*a_series(3, comment="late", created_at=NEW[5].created_at))
    ),
    "erases what is counted": lambda other: _erase(other, "old-003"),
    "erases what is being counted": lambda other: _erase(other, "new-003"),
    "erases much": _erase_much,
    "erases much, and reads": lambda other: (_erase_much(other), other.feedback.term_counts("default")),
    "erases everything": lambda other: other.feedback.erase(EVERYTHING, at=NOON),
    "erases and restores": lambda other: _erase_and_restore(other, "new-003"),
    "erases and restores old": lambda other: _erase_and_restore(other, "old-003"),
    "rebuilds": lambda other: other.rebuild(),
}


@pytest.mark.parametrize("what", MEANWHILE)
def test_a_record_is_exact_if_another_process_acts_meanwhile(
    ours: Storage, other: Storage, meanwhile: Meanwhile, what: str
) -> None:
    """Another process acts between the reading and the storing of each part."""
    meanwhile.steps = iter([lambda: MEANWHILE[what](other)])
    ours.feedback.term_counts("default")
    assert meanwhile.taken == 1
    for storage in (ours, other):
        assert storage.feedback.term_counts("default") == _fold(other)
        assert storage.rebuild() == []


@pytest.mark.parametrize("feedback_id", ["old-003", "new-003"])
def test_constant_changes_do_not_delay_a_reading(
    ours: Storage, other: Storage, meanwhile: Meanwhile, feedback_id: str
) -> None:
    """Although feedback is edited whenever a part is stored, each part is counted once."""
    meanwhile.steps = (lambda: _edit(other, feedback_id) for _ in range(99))
    ours.feedback.term_counts("default")
    assert meanwhile.taken <= len(NEW) / CHUNK + 1
    assert ours.feedback.term_counts("default") == _fold(other)
    assert ours.rebuild() == []


def test_a_reading_does_not_wait_for_writers(url: str, path: Path) -> None:
    """While another process keeps the file locked, counts are returned although no record can be stored."""
    with open_storage(f"{url}?busy_timeout=0.05") as storage, closing(sqlite3.connect(path)) as writer:
        storage.feedback.add(accepted(*OLD[: CHUNK - 1]))
        writer.execute("BEGIN IMMEDIATE")
        assert storage.feedback.term_counts("default") == _fold(storage)
        assert writer.execute("SELECT count(*) FROM term_counts").fetchone() == (0,)
        writer.rollback()
        storage.feedback.term_counts("default")
        assert writer.execute("SELECT count(*) FROM term_counts").fetchone() == (1,)


def test_many_corrections_are_counted_in_parts(ours: Storage, path: Path) -> None:
    """An import of old feedback is not read at once."""
    ours.feedback.term_counts("default")
    late = a_series(3 * CHUNK + 1, comment="late", created_at=NOON - MINUTE)
    ours.feedback.add(accepted(*late))
    assert ours.feedback.term_counts("default") == _fold(ours)
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM term_correction").fetchone()[0] < CHUNK
    ours.feedback.add(accepted(*(evolve(one, id=f"{one.id} again") for one in late)))
    _erase(ours, late[0].id)
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM term_correction").fetchone()[0] == 0
    assert ours.feedback.term_counts("default") == _fold(ours)
    assert ours.rebuild() == []


def test_thumbs_without_comments_are_passed_over_once(url: str, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many of them move the time up to which the record counts; a comment that one gets later is counted."""
    monkeypatch.setattr(terms, "_ENOUGH_ENTRIES", 50)
    thumbs = a_series(3 * CHUNK - 1, comment="")
    with open_storage(url) as storage:
        storage.feedback.add(accepted(*thumbs))
        assert storage.feedback.term_counts("default") == TermCounts()
        with closing(sqlite3.connect(path)) as file:
            assert file.execute(
                "SELECT until > (SELECT max(created_at) FROM feedback) FROM term_counts"
            ).fetchall() == [(1,)]
        _edit(storage, thumbs[0].id)
        assert storage.feedback.term_counts("default") == _fold(storage) != TermCounts()
        assert storage.rebuild() == []


def test_a_power_cut_leaves_a_whole_record(ours: Storage, path: Path, tmp_path: Path) -> None:
    """Storing a record does not wait for the disk: one that is lost, or written in part, is rebuilt."""
    log = Path(f"{path}-wal")
    before = log.stat().st_size
    ours.feedback.term_counts("default")
    assert log.stat().st_size > before
    for number, size in enumerate(range(before, log.stat().st_size, 2_048)):
        copy = tmp_path / f"{number}.db"
        copy.write_bytes(path.read_bytes())
        Path(f"{copy}-wal").write_bytes(log.read_bytes()[:size])
        with open_storage(f"sqlite:///{copy}") as storage:
            assert storage.rebuild() == []
            assert storage.feedback.term_counts("default") == _fold(ours)


# --- damage, and other versions --------------------------------------------------------------------------------------


def _tamper(path: Path, statement: str, *parameters: object) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        file.execute(statement, parameters)


def test_a_rebuild_removes_wrong_corrections(ours: Storage, path: Path) -> None:
    """A correction of feedback that never was is reported, and not counted again."""
    ours.feedback.term_counts("default")
    _tamper(path, "INSERT INTO term_correction (application, sign, rating, comment) VALUES ('default', 1, 1, 'never')")
    assert ours.feedback.term_counts("default") != _fold(ours)
    assert ours.rebuild() == ["The counts of terms of 'default' differed from its feedback, and are counted again"]
    assert ours.feedback.term_counts("default") == _fold(ours)
    assert ours.rebuild() == []


def test_counts_of_another_version_are_counted_again(ours: Storage, other: Storage, path: Path) -> None:
    """They are neither used nor reported, nor are corrections of them; the next reading stores its own."""
    wrong = dump_counts(TermCounts({"old": 3}, {}, 3, 0))
    _tamper(path, "UPDATE term_counts SET tokenizer = ?, counts = ?", TOKENIZER_VERSION + 1, wrong)
    _edit(other, "old-003")
    assert ours.rebuild() == []
    assert ours.feedback.term_counts("default") == _fold(ours)
    with closing(sqlite3.connect(path)) as file:
        ((tokenizer, counts),) = file.execute("SELECT tokenizer, counts FROM term_counts").fetchall()
        assert file.execute("SELECT count(*) FROM term_correction").fetchone() == (0,)
    assert tokenizer == TOKENIZER_VERSION
    assert load_counts(counts) == _fold(ours)


def test_processes_of_two_versions_share_a_file(
    ours: Storage, other: Storage, meanwhile: Meanwhile, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While one counts, the other replaces the record with its own, and feedback is changed after it."""

    def read_as_another_version() -> None:
        with monkeypatch.context() as version:
            version.setattr(terms, "TOKENIZER_VERSION", TOKENIZER_VERSION + 1)
            assert other.feedback.term_counts("default") == _fold(other)
            _edit(other, "old-003")
            assert other.feedback.term_counts("default") == _fold(other)

    meanwhile.steps = (read_as_another_version for _ in range(3))
    assert ours.feedback.term_counts("default") == _fold(ours)
    read_as_another_version()
    assert ours.feedback.term_counts("default") == _fold(ours)
    assert ours.rebuild() == []


def test_a_damaged_record_does_not_prevent_an_erasure(ours: Storage, path: Path) -> None:
    """It is removed, as it may contain what was erased."""
    _tamper(path, "UPDATE term_counts SET counts = x'00'")
    _erase(ours, "old-003")
    assert ours.feedback.term_counts("default") == _fold(ours)
    assert ours.rebuild() == []
