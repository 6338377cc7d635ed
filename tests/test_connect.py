"""Connecting: which storage is opened, who closes it, and which parts can be replaced."""

import doctest
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from dependency_injector.errors import Error as InjectionError
from dependency_injector.providers import Object

import harken
from harken import (
    ConfigurationError,
    Container,
    FeedbackRejected,
    MissingExtra,
    StorageClosed,
    connect,
    open_harken,
)
from harken.configuration.settings import Settings
from harken.configuration.storage_urls import scheme_of, with_absolute_path
from harken.domain.errors import StorageUnavailable
from harken.ports.storage import Storage
from harken_adapters.storage.memory import open_storage
from support import NOON, ManualClock

Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs a package of a third party, by default, with a storage for its own scheme."""

    def make(scheme: str, code: str, target: str = "opener", package: str = "stranger") -> None:
        module = f"stranger_{scheme.partition('+')[0]}_{tmp_path.name.replace('-', '_')}"
        (tmp_path / f"{module}.py").write_text(code)
        info = tmp_path / f"{module}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[harken.storage]\n{scheme} = {module}:{target}\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    return make


@pytest.fixture(autouse=True)
def _plain_surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No test uses settings or a storage of the machine that it runs on."""
    for name in Settings.__annotations__:
        monkeypatch.delenv(f"HARKEN_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


class Watched:
    """A storage that counts how often it was opened and closed."""

    def __init__(self) -> None:
        self.opened = self.closed = 0

    @contextmanager
    def open(self, url: str = "memory://") -> Iterator[Storage]:
        with open_storage() as storage:
            self.opened += 1
            try:
                yield storage
            finally:
                self.closed += 1


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """The storage for memory:// during a test."""
    watched = Watched()
    monkeypatch.setattr("harken_adapters.storage.memory.open_storage", watched.open)
    return watched


class TestFindingTheStorage:
    @pytest.mark.parametrize(
        ("url", "scheme"),
        [
            ("memory://", "memory"),
            ("SQLite:///Feedback.db", "sqlite"),
            ("mongodb+srv://user:p@host/db?x=y", "mongodb+srv"),
            ("a://b://c", "a"),
        ],
    )
    def test_schemes(self, url: str, scheme: str) -> None:
        """The part before :// names the storage, in upper or lower case."""
        assert scheme_of(url) == scheme

    @pytest.mark.parametrize("url", ["", "feedback.db", "://x", "memory:", "memory:/"])
    def test_no_scheme(self, url: str) -> None:
        """The error for a text that is not a URL has an example."""
        with pytest.raises(ConfigurationError, match=r"is not a storage URL; expected something like 'sqlite:///"):
            connect(url)

    def test_an_unknown_scheme(self) -> None:
        """The message lists the supported schemes, and the extras that they need."""
        with pytest.raises(
            ConfigurationError,
            match=r"^No installed package supports redis://; supported are .*memory://, "
            r"mongodb:// \(needs the extra mongodb\), mongodb\+srv:// \(needs the extra mongodb\), .*sqlite://",
        ):
            connect("redis://localhost")

    @pytest.mark.parametrize(
        ("url", "meant"),
        [
            ("sqlite:///feedback.db", "sqlite:////here/feedback.db"),
            ("sqlite:///a%20b/f.db?busy_timeout=5", "sqlite:////here/a%20b/f.db?busy_timeout=5"),
            ("journal:///feedback", "journal:////here/feedback"),
            ("sqlite:////there/f.db", "sqlite:////there/f.db"),
            ("memory://", "memory://"),
            ("mongodb://host/name", "mongodb://host/name"),
            ("sqlite:///:memory:", "sqlite:///:memory:"),
            (r"sqlite:///C:\f.db", r"sqlite:///C:\f.db"),
            ("sqlite:///f.db#x", "sqlite:///f.db#x"),
        ],
    )
    def test_a_relative_path_can_be_made_absolute(self, url: str, meant: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """A URL that is opened later, perhaps from another working directory, still names the same file."""
        monkeypatch.setattr("os.getcwd", lambda: "/here")
        assert with_absolute_path(url) == meant

    def test_a_third_party_storage(self, install: Install) -> None:
        """Any installed package can add a storage for its own scheme."""
        install(
            "mine",
            "from contextlib import contextmanager\n"
            "from harken_adapters.storage.memory import open_storage\n"
            "@contextmanager\n"
            "def opener(url):\n"
            "    assert url == 'Mine://anything'\n"
            "    with open_storage() as storage:\n"
            "        yield storage\n",
        )
        with connect("Mine://anything") as hk:
            assert hk.submit("s", "up").feedback.is_counted

    def test_a_missing_extra(self, install: Install) -> None:
        """The error for a missing driver says what to install, and for what."""
        install("cloud+srv", "import a_driver_that_is_not_there\n", package="harken")
        with pytest.raises(MissingExtra) as caught:
            connect("cloud+srv://")
        assert str(caught.value) == (
            "cloud+srv:// needs the package 'a_driver_that_is_not_there', which is not installed; "
            'try pip install "harken[cloud]"'
        )
        assert isinstance(caught.value.__cause__, ModuleNotFoundError)

    def test_a_third_party_storage_without_its_driver(self, install: Install) -> None:
        """If the storage of another package lacks its driver, no extra of Harken is suggested."""
        install("cloud", "import a_driver_that_is_not_there\n")
        with pytest.raises(MissingExtra, match="install the dependencies of stranger"):
            connect("cloud://")

    @pytest.mark.parametrize("code", ["something_else = 1\n", "from json import nothing_of_that_name\n"])
    def test_a_broken_third_party_storage(self, install: Install, code: str) -> None:
        """If another package cannot be imported, the error is clear."""
        install("cloud", code)
        with pytest.raises(ConfigurationError, match="serves cloud:// cannot be used"):
            connect("cloud://")

    def test_errors_about_the_url(self) -> None:
        """A storage that cannot use its URL says so."""
        with pytest.raises(ConfigurationError, match="memory:// has no options"):
            connect("memory://somewhere")

    @pytest.mark.parametrize("storage", [Path("feedback.db"), b"memory://", 7])
    def test_no_url_at_all(self, storage: str, tmp_path: Path) -> None:
        """A value that is neither a URL nor a storage is refused, and no other storage is opened."""
        with pytest.raises(ConfigurationError, match="storage must be of type str"):
            connect(storage)
        assert not list(tmp_path.iterdir())

    def test_from_the_settings(self, monkeypatch: pytest.MonkeyPatch, watched: Watched, tmp_path: Path) -> None:
        """Without arguments, all settings come from the environment and the file in the current directory."""
        (tmp_path / "harken.toml").write_text('application = "shop"\nmax_comment_length = 3\n')
        monkeypatch.setenv("HARKEN_STORAGE", "memory://")
        with connect() as hk:
            assert hk.submit("s", "up").feedback.application == "shop"
            with pytest.raises(FeedbackRejected, match="Comment too long: 4 characters"):
                hk.submit("s", "up", "long")
        assert (watched.opened, watched.closed) == (1, 1)


class TestClosing:
    def test_closes_what_it_opened(self, watched: Watched) -> None:
        """A URL is opened once and closed once, with any number of closes; afterwards everything is refused."""
        hk = connect("memory://")
        hk.submit("s", "up")
        assert (watched.opened, watched.closed) == (1, 0)
        for _ in range(3):
            hk.close()
        assert (watched.opened, watched.closed) == (1, 1)
        with pytest.raises(StorageClosed):
            hk.submit("s", "up")
        with pytest.raises(StorageClosed):
            hk.summary()

    def test_closes_after_an_error_inside(self, watched: Watched) -> None:
        """The with block closes after an error."""
        with pytest.raises(ZeroDivisionError), connect("memory://"):
            raise ZeroDivisionError
        assert watched.closed == 1

    def test_does_not_close_a_storage_that_was_passed(self, watched: Watched) -> None:
        """The caller who opened a storage closes it: several Harkens can use it, one after another."""
        with watched.open() as storage:
            with connect(storage) as hk:
                feedback = hk.submit("s", "up").feedback
            with pytest.raises(StorageClosed):
                hk.submit("s", "up")
            assert watched.closed == 0
            with connect(storage) as again:
                assert again.collection.get("default", feedback.id) == feedback
        assert watched.opened == 1

    def test_closes_after_a_failed_construction(self, watched: Watched) -> None:
        """A construction that fails half-way leaves nothing open."""
        container = Container()
        container.config.from_dict({"storage": "memory://"})
        with pytest.raises(InjectionError):
            open_harken(container)
        assert (watched.opened, watched.closed) == (1, 1)

    def test_a_storage_that_does_not_open(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An error of the storage is raised unchanged."""

        def fail(url: str) -> None:
            raise StorageUnavailable(url)

        monkeypatch.setattr("harken_adapters.storage.memory.open_storage", fail)
        with pytest.raises(StorageUnavailable):
            connect("memory://")

    def test_pending_writes_are_finished(self) -> None:
        """Submissions before closing are answered and stored."""
        with open_storage() as storage:
            with connect(storage) as hk:
                futures = [hk.submit_soon("s", "up") for _ in range(50)]
            assert all(future.done() for future in futures)
            with connect(storage) as again:
                assert again.summary().total == 50


class TestReplacing:
    def test_clock_and_ids(self) -> None:
        """Time and ids can come from the caller."""
        with connect("memory://", clock=ManualClock(), new_id=lambda: "mine") as hk:
            feedback = hk.submit("s", "up").feedback
        assert (feedback.id, feedback.created_at) == ("mine", NOON)

    def test_ids_sort_by_time(self) -> None:
        """Ids are UUIDs of version 7, each sorts after the one before."""
        with connect("memory://") as hk:
            ids = [hk.submit("s", "up").feedback.id for _ in range(200)]
        assert ids == sorted(set(ids))
        assert all(len(one) == 36 and one[14] == "7" for one in ids)

    def test_providers_can_be_overridden(self) -> None:
        """A provider can be overridden before its first use."""
        container = Container()
        container.config.from_dict({name: getattr(Settings(), name) for name in Settings.__annotations__})
        container.config.storage.from_value("memory://")
        container.clock.override(Object(ManualClock()))
        container.spam_filter.override(Object(type("All", (), {"is_spam": lambda self, submission: True})()))
        with open_harken(container) as hk:
            with pytest.raises(FeedbackRejected, match="Spam detected"):
                hk.submit("s", "up")
            assert hk is container.harken()

    def test_each_connection_is_its_own(self) -> None:
        """Two connections share neither storage nor settings."""
        with connect("memory://") as one, connect("memory://", spam="allow") as other:
            other.submit("s", "up", "casino")
            with pytest.raises(FeedbackRejected):
                one.submit("s", "up", "casino")
            assert (one.summary().total, other.summary().total) == (0, 1)


def test_the_example_in_the_package_works() -> None:
    """The example in the package's docstring is correct."""
    assert doctest.testmod(harken).attempted >= 2
    assert doctest.testmod(harken).failed == 0


def test_all_public_names_are_there() -> None:
    """All names of ``__all__`` can be imported."""
    assert [name for name in harken.__all__ if not hasattr(harken, name)] == []


@pytest.mark.slow
def test_the_core_needs_no_extra() -> None:
    """Importing and using the core loads none of the optional packages."""
    program = """
import sys, harken
with harken.connect("memory://") as hk:
    hk.submit("s", "up")
print(*{"typer", "rich", "hypothesis", "pytest"} & sys.modules.keys())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.split() == []


def test_memory_is_closed_after_an_error() -> None:
    """A memory storage is closed after an error, like any other."""
    with pytest.raises(KeyError), open_storage() as storage:
        raise KeyError
    with pytest.raises(harken.StorageClosed):
        storage.sessions.get("default", "s")
