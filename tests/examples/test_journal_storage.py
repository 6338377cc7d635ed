"""The example of a storage adapter passes the contract kit, and its changes survive crashes and a full disk."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib import import_module
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import harken
from harken import (
    ConfigurationError,
    ModerationStatus,
    StorageClosed,
    StorageCorrupt,
    StorageIncompatible,
    StorageUnavailable,
)
from harken.domain.events import DeliveryQuery, DeliveryState
from harken.domain.instants import EPOCH
from harken.domain.query import FeedbackQuery
from harken.ports.storage import Storage
from harken.testing import NOON, StorageContract, a_series, accepted
from harken.testing import strategies as hst
from support import PATIENCE

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "journal_storage"


@pytest.fixture(scope="module")
def journal() -> Iterator[ModuleType]:
    """The module of the example."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        yield import_module("journal_storage")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the journal."""
    return tmp_path / "feedback.journal"


def read_all(storage: Storage) -> list[object]:
    """The whole content of a storage."""
    applications = {*storage.feedback.applications(), *hst.APPLICATIONS, "default"}
    queries = [
        FeedbackQuery(application=name, withdrawn=None, statuses=frozenset(ModerationStatus))
        for name in sorted(applications)
    ]
    sessions = list(storage.conversations.sessions())
    agents = [(*place, name) for place in sessions for name in storage.conversations.agents(*place)]
    return [
        [list(storage.feedback.stream(query)) for query in queries],
        [storage.feedback.summarize(query) for query in queries],
        [list(storage.feedback.changes(query.application, since=EPOCH)) for query in queries],
        list(storage.sessions.stream()),
        storage.outbox.events(limit=9_999),
        [list(storage.outbox.deliveries(DeliveryQuery(state), limit=9_999)) for state in DeliveryState],
        storage.keys.keys(),
        [list(storage.alerts.find(query.application, limit=9_999)) for query in queries],
        [storage.state.all(kind) for kind in (*hst.KINDS, "kind", "route", "channel")],
        [(storage.conversations.agents(*place), storage.conversations.count(*place)) for place in sessions],
        [storage.conversations.speakers(*place) for place in sessions],
        [list(storage.conversations.messages(*agent, limit=9_999)) for agent in agents],
    ]


@pytest.mark.slow
class TestJournal(StorageContract):
    """After each test of the contract, the reopened file has the same content, and reading adds no line."""

    @pytest.fixture(autouse=True)
    def quick(self) -> Iterator[None]:
        """Use the quick profile: the memory storage is tested thoroughly elsewhere."""
        before = settings.get_current_profile_name()
        settings.load_profile("quick")
        yield
        settings.load_profile(before)

    @pytest.fixture(autouse=True)
    def folder(self, journal: ModuleType, tmp_path: Path) -> None:
        self._journal = journal
        self._paths = (tmp_path / str(number) for number in count())

    def open_storage(self) -> AbstractContextManager[Storage]:
        return self._open_twice(next(self._paths))

    @contextmanager
    def _open_twice(self, path: Path) -> Iterator[Storage]:
        url = f"journal:///{path}"
        with self._journal.open_storage(url) as storage:
            yield storage
            size = path.stat().st_size
            before = read_all(storage)
        with self._journal.open_storage(url) as again:
            assert read_all(again) == before
        assert path.stat().st_size == size


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lost=st.integers(0))
def test_a_truncated_line_is_removed(journal: ModuleType, path: Path, lost: int) -> None:
    """If the file is truncated at any byte, complete lines are kept and the next change is stored."""
    path.unlink(missing_ok=True)
    url, ends = f"journal:///{path}", [0]
    series = a_series(4)
    with journal.open_storage(url) as storage:
        ends[0] = path.stat().st_size
        for one in series[:-1]:
            storage.feedback.add(accepted(one))
            ends.append(path.stat().st_size)
    whole = path.read_bytes()
    left = len(whole) - lost % (len(whole) + 1)
    path.write_bytes(whole[:left])
    with journal.open_storage(url) as storage:
        complete = [one for one, end in zip(series, ends[1:], strict=False) if end <= left]
        assert list(storage.feedback.stream(FeedbackQuery())) == complete
        storage.feedback.add(accepted(series[-1]))
    with journal.open_storage(url) as storage:
        assert list(storage.feedback.stream(FeedbackQuery())) == [*complete, series[-1]]


def test_damage_before_the_last_line_is_reported(journal: ModuleType, path: Path) -> None:
    """A damaged line before the last one raises an error, and the file stays unchanged."""
    with journal.open_storage(f"journal:///{path}") as storage:
        for one in a_series(3):
            storage.feedback.add(accepted(one))
    damaged = path.read_bytes().replace(b'"up"', b'"UP"', 1)
    path.write_bytes(damaged)
    with pytest.raises(StorageCorrupt, match="is damaged at byte 17"), journal.open_storage(f"journal:///{path}"):
        pass
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("content", [b"Dear diary\n", b"harken-journal 2\n{}\n", b"h\n"])
def test_a_file_that_is_not_a_journal_stays_unchanged(journal: ModuleType, path: Path, content: bytes) -> None:
    """Another file raises an error and is not changed."""
    path.write_bytes(content)
    with pytest.raises(StorageIncompatible, match="is not a journal"), journal.open_storage(f"journal:///{path}"):
        pass
    assert path.read_bytes() == content


def test_a_file_can_be_opened_once_only(journal: ModuleType, path: Path) -> None:
    """A second process cannot open the file, because each would miss the changes of the other."""
    url = f"journal:///{path}"
    unavailable = pytest.raises(StorageUnavailable, match="is open in another process")
    with journal.open_storage(url), unavailable, journal.open_storage(url):
        pass
    with journal.open_storage(url) as storage:
        pass
    with pytest.raises(StorageClosed):
        storage.feedback.add(accepted(*a_series(1)))


@pytest.mark.parametrize("replaced", [False, True])
def test_a_file_that_is_moved_accepts_no_changes(
    journal: ModuleType, path: Path, replaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A write is not acknowledged after the file was moved, also if the path is relative."""
    monkeypatch.chdir(path.parent)
    first, second = a_series(2)
    with journal.open_storage(f"journal:///{path.name}") as storage:
        monkeypatch.chdir("/")
        storage.feedback.add(accepted(first))
        path.rename(path.with_suffix(".moved"))
        if replaced:
            path.touch()
        with pytest.raises(StorageUnavailable):
            storage.feedback.add(accepted(second))


def test_a_missing_folder(journal: ModuleType, path: Path) -> None:
    """Errors of the operating system become Harken's."""
    with pytest.raises(StorageUnavailable, match="cannot be used"), journal.open_storage(f"journal:///{path}/x"):
        pass


@pytest.mark.parametrize("url", ["journal://feedback", "journal:///", "journal:////", "other:///x", "journal:///a%00b"])
def test_a_url_without_a_file(journal: ModuleType, url: str) -> None:
    """An invalid URL is rejected with an example of a valid one."""
    with (
        pytest.raises(ConfigurationError, match=r"something like 'journal:///feedback\.journal'"),
        journal.open_storage(url),
    ):
        pass


def test_a_claim_without_due_deliveries_adds_no_line(journal: ModuleType, path: Path) -> None:
    """A polling relay does not fill the disk."""
    with journal.open_storage(f"journal:///{path}") as storage:
        before = path.stat().st_size
        assert not storage.outbox.claim("log", now=NOON, until=NOON, limit=9)
        assert path.stat().st_size == before


_WRITER = """
import resource, sys
sys.path.insert(0, sys.argv[1])
import harken, journal_storage
with journal_storage.open_storage(sys.argv[2]) as storage, harken.connect(storage) as hk:
    if limit := int(sys.argv[3]):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    try:
        while True:
            print(hk.submit("session", "up", "Thanks").feedback.id, flush=True)
    except harken.StorageUnavailable:
        print(f"full after {hk.summary().total}", flush=True)
"""


def _start_writer(path: Path, *, limit: int = 0) -> subprocess.Popen[str]:
    """Start a process that submits and prints ids, until it is killed or the file reaches ``limit`` bytes."""
    words = [sys.executable, "-c", _WRITER, str(EXAMPLE), f"journal:///{path}", str(limit)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def _ids(journal: ModuleType, path: Path) -> list[str]:
    with journal.open_storage(f"journal:///{path}") as storage, harken.connect(storage) as hk:
        return [one.id for one in hk.export()]


@pytest.mark.slow
def test_acknowledged_feedback_survives_a_kill(journal: ModuleType, path: Path) -> None:
    """After a process is killed, all acknowledged entries are stored, and at most one more."""
    for _ in range(2):
        with _start_writer(path) as writer:
            assert writer.stdout is not None
            acknowledged = [writer.stdout.readline().strip() for _ in range(50)]
            writer.kill()
            acknowledged += writer.stdout.read().split()
        stored = _ids(journal, path)
        last = stored.index(acknowledged[-1])
        assert stored[last - len(acknowledged) + 1 : last + 1] == acknowledged
        assert len(stored) - last - 1 <= 1


@pytest.mark.slow
def test_a_full_disk_loses_nothing(journal: ModuleType, path: Path) -> None:
    """If a line cannot be written, the change fails, earlier entries are kept, and the file can be reopened."""
    with _start_writer(path, limit=20_000) as writer:
        *acknowledged, last = writer.communicate(timeout=PATIENCE)[0].splitlines()
    assert last == f"full after {len(acknowledged)}"
    assert path.stat().st_size == 20_000
    assert _ids(journal, path) == acknowledged


def test_the_page_shows_the_example() -> None:
    """The page includes all files of the example."""
    page = (ROOT / "docs" / "writing-a-storage-adapter.md").read_text(encoding="utf-8")
    included = re.findall(r"^```\{literalinclude\} \.\./examples/journal_storage/([\w.]+)$", page, re.MULTILINE)
    assert sorted(included) == sorted(path.name for path in EXAMPLE.iterdir() if path.is_file())


def test_the_example_needs_only_public_modules() -> None:
    """A storage adapter needs ``harken.ports`` only; the example also opens the memory storage."""
    source = "\n".join(path.read_text(encoding="utf-8") for path in EXAMPLE.glob("*.py"))
    imported = set(re.findall(r"^(?:from|import) (harken[\w.]*)", source, re.MULTILINE))
    assert imported == {"harken", "harken.ports"}
