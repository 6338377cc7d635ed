"""The worked example of a storage adapter keeps the contract, and what it acknowledged survives whatever happens."""

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
from harken.domain.events import DeliveryState
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
    """The example, as its readers import it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(EXAMPLE))
        yield import_module("journal_storage")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "feedback.journal"


def everything(storage: Storage) -> list[object]:
    """All that a storage tells when it is asked."""
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
        [list(storage.outbox.deliveries(state, limit=9_999)) for state in DeliveryState],
        storage.keys.keys(),
        [list(storage.alerts.find(query.application, limit=9_999)) for query in queries],
        [storage.state.all(kind) for kind in (*hst.KINDS, "kind", "route", "channel")],
        [(storage.conversations.agents(*place), storage.conversations.count(*place)) for place in sessions],
        [storage.conversations.speakers(*place) for place in sessions],
        [list(storage.conversations.messages(*agent, limit=9_999)) for agent in agents],
    ]


@pytest.mark.slow
class TestJournal(StorageContract):
    """Whatever the contract does, the file says the same when it is opened again, and reading it leaves no line."""

    @pytest.fixture(autouse=True)
    def quick(self) -> Iterator[None]:
        """Memory does the work, and is tested thoroughly elsewhere."""
        before = settings.get_current_profile_name()
        settings.load_profile("quick")
        yield
        settings.load_profile(before)

    @pytest.fixture(autouse=True)
    def folder(self, journal: ModuleType, tmp_path: Path) -> None:
        self._journal = journal
        self._paths = (tmp_path / str(number) for number in count())

    def open_storage(self) -> AbstractContextManager[Storage]:
        return self._opened_twice(next(self._paths))

    @contextmanager
    def _opened_twice(self, path: Path) -> Iterator[Storage]:
        url = f"journal:///{path}"
        with self._journal.open_storage(url) as storage:
            yield storage
            size = path.stat().st_size
            before = everything(storage)
        with self._journal.open_storage(url) as again:
            assert everything(again) == before
        assert path.stat().st_size == size


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(lost=st.integers(0))
def test_a_torn_line_is_cut_off(journal: ModuleType, path: Path, lost: int) -> None:
    """However little of the last lines a crash left, what stood before them is there, and the next change is kept."""
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
        kept = [one for one, end in zip(series, ends[1:], strict=False) if end <= left]
        assert list(storage.feedback.stream(FeedbackQuery())) == kept
        storage.feedback.add(accepted(series[-1]))
    with journal.open_storage(url) as storage:
        assert list(storage.feedback.stream(FeedbackQuery())) == [*kept, series[-1]]


def test_damage_in_the_middle_is_told(journal: ModuleType, path: Path) -> None:
    """A line that was acknowledged and is not what it was is no torn one: nothing is cut off."""
    with journal.open_storage(f"journal:///{path}") as storage:
        for one in a_series(3):
            storage.feedback.add(accepted(one))
    damaged = path.read_bytes().replace(b'"up"', b'"UP"', 1)
    path.write_bytes(damaged)
    with pytest.raises(StorageCorrupt, match="is damaged at byte 17"), journal.open_storage(f"journal:///{path}"):
        pass
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("content", [b"Dear diary\n", b"harken-journal 2\n{}\n", b"h\n"])
def test_what_is_no_journal_is_left_alone(journal: ModuleType, path: Path, content: bytes) -> None:
    """A file of somebody else's is neither read nor cut off."""
    path.write_bytes(content)
    with pytest.raises(StorageIncompatible, match="is no journal"), journal.open_storage(f"journal:///{path}"):
        pass
    assert path.read_bytes() == content


def test_a_file_is_open_once(journal: ModuleType, path: Path) -> None:
    """Two processes that both append would each miss what the other one did, so the second is refused."""
    url = f"journal:///{path}"
    refused = pytest.raises(StorageUnavailable, match="is open in another process")
    with journal.open_storage(url), refused, journal.open_storage(url):
        pass
    with journal.open_storage(url) as storage:
        pass
    with pytest.raises(StorageClosed):
        storage.feedback.add(accepted(*a_series(1)))


@pytest.mark.parametrize("put_there", [False, True])
def test_a_file_that_is_moved_takes_nothing_more(
    journal: ModuleType, path: Path, put_there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written to a file that the path no longer leads to is not acknowledged, from whatever folder."""
    monkeypatch.chdir(path.parent)
    first, second = a_series(2)
    with journal.open_storage(f"journal:///{path.name}") as storage:
        monkeypatch.chdir("/")
        storage.feedback.add(accepted(first))
        path.rename(path.with_suffix(".moved"))
        if put_there:
            path.touch()
        with pytest.raises(StorageUnavailable):
            storage.feedback.add(accepted(second))


def test_a_folder_that_is_not_there(journal: ModuleType, path: Path) -> None:
    """No error of the operating system gets out, whatever is wrong with the place."""
    with pytest.raises(StorageUnavailable, match="cannot be used"), journal.open_storage(f"journal:///{path}/x"):
        pass


@pytest.mark.parametrize("url", ["journal://feedback", "journal:///", "journal:////", "other:///x", "journal:///a%00b"])
def test_a_url_that_names_no_file(journal: ModuleType, url: str) -> None:
    """What cannot be meant is refused, with an example of what can."""
    with (
        pytest.raises(ConfigurationError, match=r"something like 'journal:///feedback\.journal'"),
        journal.open_storage(url),
    ):
        pass


def test_asking_for_nothing_leaves_no_line(journal: ModuleType, path: Path) -> None:
    """A relay that asks and asks does not fill the disk."""
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


def _writer(path: Path, *, limit: int = 0) -> subprocess.Popen[str]:
    """A process that submits until it is stopped, or the file has grown to the limit, and prints what was accepted."""
    words = [sys.executable, "-c", _WRITER, str(EXAMPLE), f"journal:///{path}", str(limit)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, text=True)


def _ids(journal: ModuleType, path: Path) -> list[str]:
    with journal.open_storage(f"journal:///{path}") as storage, harken.connect(storage) as hk:
        return [one.id for one in hk.stream()]


@pytest.mark.slow
def test_what_was_acknowledged_survives_a_kill(journal: ModuleType, path: Path) -> None:
    """A process that is killed while it writes leaves all that it acknowledged, and at most one thing more."""
    for _ in range(2):
        with _writer(path) as writer:
            assert writer.stdout is not None
            acknowledged = [writer.stdout.readline().strip() for _ in range(50)]
            writer.kill()
            acknowledged += writer.stdout.read().split()
        kept = _ids(journal, path)
        last = kept.index(acknowledged[-1])
        assert kept[last - len(acknowledged) + 1 : last + 1] == acknowledged
        assert len(kept) - last - 1 <= 1


@pytest.mark.slow
def test_a_full_disk_loses_nothing(journal: ModuleType, path: Path) -> None:
    """Where a line does not fit, the change is refused, what was accepted stays, and the file can be opened again."""
    with _writer(path, limit=20_000) as writer:
        *acknowledged, last = writer.communicate(timeout=PATIENCE)[0].splitlines()
    assert last == f"full after {len(acknowledged)}"
    assert path.stat().st_size == 20_000
    assert _ids(journal, path) == acknowledged


def test_the_page_shows_the_example() -> None:
    """What the page has its readers type in is what these tests run."""
    page = (ROOT / "docs" / "a-storage-of-your-own.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", page, flags=re.DOTALL))
    for name in ("journal_lines.py", "journal_storage.py", "pyproject.toml"):
        assert shown[name] == (EXAMPLE / name).read_text(encoding="utf-8"), name
