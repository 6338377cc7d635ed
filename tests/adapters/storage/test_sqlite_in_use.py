"""An SQLite file that is opened twice, moved, replaced or restored during use loses no acknowledged feedback."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import harken
from harken import Harken, StorageUnavailable
from harken.configuration.storage_urls import open_storage
from harken.testing import a_series, accepted
from harken_adapters.storage.sqlite import files


def url_of(path: Path) -> str:
    """Return the URL of a file in a test's folder."""
    return f"sqlite:///{path}"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a test's database, in a folder that can be renamed."""
    (tmp_path / "data").mkdir()
    return tmp_path / "data" / "feedback.db"


def elsewhere(code: str, *arguments: object) -> str:
    """Return what another process prints that connects to the file, its first argument, as ``hk``."""
    script = f"import os, sys, harken\nhk = harken.connect('sqlite:///' + sys.argv[1])\n{code}"
    words = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


def content(path: Path) -> bytes:
    """Return the bytes of a file if it exists, read by another process: reading them here would drop SQLite's locks."""
    return subprocess.run(["cat", path], capture_output=True, check=False).stdout


def stored(path: Path) -> int:
    """Return how much feedback another process finds in an undamaged file."""
    total, problems = elsewhere("print(hk.summary().total, hk.check())", path).split(" ", 1)
    assert problems == "[]"
    return int(total)


def acknowledged(hk: Harken, tries: int = 20) -> int:
    """Return how many submissions were acknowledged; the others must raise ``StorageUnavailable``."""
    count = 0
    for number in range(tries):
        try:
            hk.submit(f"later-{number}", "up")
            count += 1
        except StorageUnavailable:
            pass
    return count


# --- opened twice ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_file_opened_twice_by_one_process_keeps_everything(path: Path) -> None:
    """A second connection, for another application, releases no lock of the first, also with other processes."""
    first = harken.connect(url_of(path))
    first.submit("first", "up")
    second = harken.connect(url_of(path), application="other")
    elsewhere("hk.submit('elsewhere', 'up'); hk.close()", path)
    for _ in range(20):
        first.submit("first", "up")
        second.submit("second", "up", application="default")
    assert stored(path) == 42
    second.close()
    elsewhere("hk.submit('elsewhere', 'up'); hk.close()", path)
    first.submit("first", "up")
    assert stored(path) == 44
    first.close()
    assert stored(path) == 44


@pytest.mark.slow
def test_a_refused_command_releases_no_lock_of_the_users(path: Path) -> None:
    """A command that would overwrite the database checks it first; other processes may connect afterwards."""
    from harken_adapters.hosts.cli.files import refuse_database  # noqa: PLC0415
    from harken_adapters.hosts.cli.options import WrongUsage  # noqa: PLC0415

    with harken.connect(url_of(path)) as hk:
        hk.submit("here", "up")
        for number, name in enumerate((path.name, f"{path.name}-wal", f"{path.name}-shm")):
            link = path.with_name(f"link-{number}.jsonl")
            link.symlink_to(path.with_name(name))
            for target in (path.with_name(name), link):
                with pytest.raises(WrongUsage, match="choose another file"):
                    refuse_database(target)
        elsewhere("hk.submit('elsewhere', 'up'); hk.close()", path)
        hk.submit("here", "up")
        assert stored(path) == 3


# --- moved files -----------------------------------------------------------------------------------------------------


def _delete(path: Path) -> None:
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink()


def _delete_main(path: Path) -> None:
    path.unlink()


def _rename(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))


def _rename_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_suffix(".moved"))


def _replace_by_backup(path: Path) -> None:
    backup = path.with_suffix(".backup")
    with sqlite3.connect(path) as other:
        other.execute(f"VACUUM INTO '{backup}'")
    other.close()
    backup.replace(path)


def _replace_by_new(path: Path) -> None:
    _delete(path)
    elsewhere("hk.submit('new', 'up'); hk.close()", path)


def _rotate(path: Path) -> None:
    _rename(path)
    path.touch()


def _delete_log(path: Path) -> None:
    Path(f"{path}-wal").unlink()


def _delete_index(path: Path) -> None:
    Path(f"{path}-shm").unlink()


MOVES: list[tuple[Callable[[Path], None], str]] = [
    (_delete, "was deleted or renamed"),
    (_delete_main, "was deleted or renamed"),
    (_rename, "was deleted or renamed"),
    (_rename_folder, "was deleted or renamed"),
    (_replace_by_backup, "was replaced by another file"),
    (_replace_by_new, "was replaced by another file"),
    (_rotate, "was replaced by another file"),
    (_delete_log, "lost its -wal or -shm file"),
    (_delete_index, "lost its -wal or -shm file"),
]


@pytest.mark.parametrize(("move", "reason"), MOVES)
def test_nothing_is_acknowledged_after_a_move(path: Path, move: Callable[[Path], None], reason: str) -> None:
    """When the path no longer leads to the open file, every call raises, and none reads or writes another file."""
    hk = harken.connect(url_of(path))
    for _ in range(5):
        feedback = hk.submit("before", "up", "words").feedback
    hk.summary()
    move(path)
    calls: list[Callable[[], Any]] = [
        lambda: hk.submit("after", "up"),
        lambda: hk.submit_soon("after", "up").result(),
        hk.summary,
        lambda: hk.collection.get("default", feedback.id),
        lambda: hk.collection.withdraw("default", feedback.id),
        lambda: hk.collection.erase(hk.query().in_any_state()),
        lambda: hk.sessions.update("default", "s", {"name": 1}),
    ]
    with pytest.raises(StorageUnavailable, match=reason):
        calls[0]()
    for call in calls:
        with pytest.raises(StorageUnavailable):
            call()
    there = content(path)
    hk.close()
    assert content(path) == there


@pytest.mark.slow
@pytest.mark.parametrize(("move", "reason"), MOVES)
def test_a_late_move_is_detected(path: Path, move: Callable[[Path], None], reason: str) -> None:
    """If the folder has not changed for some time, fewer checks are made, but a change is detected at once."""
    with harken.connect(url_of(path)) as hk:
        hk.submit("before", "up")
        # Until the last change of the folder is old.
        while time.time() - path.parent.stat().st_ctime < 1.5:
            hk.submit("before", "up")
            hk.summary()
        move(path)
        with pytest.raises(StorageUnavailable, match=reason):
            hk.submit("after", "up")
        with pytest.raises(StorageUnavailable):
            hk.summary()


@pytest.mark.slow
@pytest.mark.parametrize("notices", [True, False])
def test_a_restored_backup_is_not_damaged_by_the_old_log(path: Path, notices: bool) -> None:
    """A backup that replaces an open file stays unchanged, whether the old process notices it or only ends."""
    hk = harken.connect(url_of(path))
    for number in range(30):
        hk.submit(f"session-{number}", "up", "some words " * 20)
    _replace_by_backup(path)
    if notices:
        assert acknowledged(hk) == 0
    else:
        hk.close()
    assert stored(path) == 30
    elsewhere("[hk.submit('new', 'up') for _ in range(10)]", path)
    if notices:
        assert acknowledged(hk) == 0
        hk.close()
    assert stored(path) == 40


@pytest.mark.slow
def test_a_file_renamed_during_use_is_complete(path: Path) -> None:
    """Acknowledged feedback moves with the file, including that in the log."""
    hk = harken.connect(url_of(path))
    for _ in range(30):
        hk.submit("session", "up", "some words")
    _rename(path)
    assert acknowledged(hk) == 0
    hk.close()
    assert stored(path.with_suffix(".moved")) == 30


@pytest.mark.slow
def test_a_file_that_is_moved_back_is_used_again(path: Path) -> None:
    """A file that was missing for a moment is used again when it is back, with all its content."""
    with harken.connect(url_of(path)) as hk:
        hk.submit("before", "up")
        moved = path.with_suffix(".moved")
        path.rename(moved)
        assert acknowledged(hk) == 0
        assert not path.exists()
        moved.rename(path)
        assert acknowledged(hk) == 20
        assert stored(path) == 21


@pytest.mark.slow
def test_a_replaced_file_can_be_connected_to_again(path: Path) -> None:
    """A new connection of the same process uses the new file, while the old connection keeps refusing."""
    old = harken.connect(url_of(path))
    old.submit("old", "up")
    _replace_by_new(path)
    assert acknowledged(old) == 0
    with harken.connect(url_of(path)) as new:
        new.submit("new", "up")
        assert (new.summary().total, acknowledged(old)) == (2, 0)
    old.close()
    assert stored(path) == 2


@pytest.mark.slow
def test_a_changed_link_is_detected(path: Path) -> None:
    """If the path is a link that is changed to another database, the old database is not written to."""
    link, one, two = (path.with_name(name) for name in ("link.db", "one.db", "two.db"))
    for target in (one, two):
        with harken.connect(url_of(target)) as made:
            made.submit("before", "up")
    link.symlink_to(one)
    with harken.connect(url_of(link)) as hk:
        hk.submit("before", "up")
        other = path.with_name("other")
        other.symlink_to(two)
        other.replace(link)
        assert acknowledged(hk) == 0
    assert (stored(one), stored(two)) == (2, 1)


@pytest.mark.slow
@pytest.mark.parametrize("notices", [True, False])
def test_a_removed_log_does_not_affect_another_process(path: Path, notices: bool) -> None:
    """What another process acknowledged after the log was removed is stored when all have ended.

    The process that still has the removed log must not move it into the file, nor delete the other's.
    """
    script = """
import sys, harken
hk = harken.connect("sqlite:///" + sys.argv[1])
hk.submit("before", "up")
print("ready", flush=True)
if sys.stdin.readline() == "try\\n":
    try:
        hk.submit("never", "up")
    except harken.StorageUnavailable:
        pass
"""
    idle = subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert idle.stdout is not None
    assert idle.stdout.readline() == "ready\n"
    with sqlite3.connect(path) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    other.close()
    _delete_log(path)
    _delete_index(path)
    assert elsewhere("print(sum(not hk.submit('other', 'up').duplicate for _ in range(30)))", path) == "30"
    idle.communicate("try\n" if notices else "end\n", timeout=60)
    assert idle.returncode == 0
    assert stored(path) == 31


@pytest.mark.slow
def test_feedback_acknowledged_during_a_move_is_in_one_of_the_files(path: Path) -> None:
    """The file may be moved and replaced at any moment of a submission."""
    for number in range(25):
        ids: list[str] = []
        old = path.with_name(f"old-{number}.db")
        hk = harken.connect(url_of(path))
        begun = threading.Event()

        def submit(hk: Harken = hk, ids: list[str] = ids, begun: threading.Event = begun) -> None:
            try:
                while len(ids) < 10_000:
                    ids.append(hk.submit("session", "up").feedback.id)
                    begun.set()
            except StorageUnavailable:
                pass

        thread = threading.Thread(target=submit)
        thread.start()
        assert begun.wait(60)
        if number % 2:
            path.rename(old)
        else:
            os.link(path, old)
            with harken.connect(url_of(path.with_name("fresh.db"))):
                pass
            path.with_name("fresh.db").replace(path)
        thread.join()
        hk.close()
        with open_storage(url_of(old)) as storage, harken.connect(storage) as moved:
            assert set(ids) <= {feedback.id for feedback in moved.export()}
            assert moved.check() == []
        path.unlink(missing_ok=True)


@pytest.mark.slow
def test_pending_submissions_are_written_before_the_process_ends(path: Path) -> None:
    """A program may end right after ``submit_soon``, without closing: the storage is closed after the last write."""
    script = "[hk.submit_soon('session', 'up') for _ in range(100)]"
    elsewhere(script, path)
    assert stored(path) == 100


# --- files that replace moved ones -----------------------------------------------------------------------------------


class Idle:
    """Another process that has the file open, and does nothing until it is asked to."""

    _SCRIPT = """
import sys, harken
hk = harken.connect("sqlite:///" + sys.argv[1])
hk.submit("idle", "up")
print("ready", flush=True)
for command in sys.stdin:
    try:
        hk.submit("never", "up")
        print("acknowledged", flush=True)
    except harken.StorageUnavailable:
        print("refused", flush=True)
"""

    def __init__(self, path: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._SCRIPT, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._read() == "ready"

    def submit(self) -> str:
        """Return whether a submission is ``acknowledged`` or ``refused``."""
        assert self._process.stdin is not None
        print("submit", file=self._process.stdin, flush=True)
        return self._read()

    def end(self) -> None:
        """End the process as usual."""
        self._process.communicate(timeout=60)
        assert self._process.returncode == 0

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


@pytest.mark.slow
@pytest.mark.parametrize("notices", [True, False])
@pytest.mark.parametrize("move", [_rename, _delete_main])
def test_a_new_file_does_not_share_the_log_of_a_moved_one(
    path: Path, move: Callable[[Path], None], notices: bool
) -> None:
    """No new file is created while any connection has the moved one open; then the new one is complete."""
    one, two = harken.connect(url_of(path)), harken.connect(url_of(path))
    for _ in range(50):
        one.submit("old", "up")
    two.submit("old", "up")
    move(path)
    assert acknowledged(one, tries=1) == 0
    with pytest.raises(StorageUnavailable, match="stop the programs that use it under another name"):
        harken.connect(url_of(path))
    one.close()
    if notices:
        assert acknowledged(two, tries=1) == 0
    two.close()
    with harken.connect(url_of(path)) as new:
        new.submit("new", "up")
    assert stored(path) == 1
    if move is not _delete_main:
        assert stored(path.with_suffix(".moved")) == 51


@pytest.mark.slow
@pytest.mark.parametrize("notices", [True, False])
@pytest.mark.parametrize("move", [_rotate, _replace_by_backup])
def test_connections_to_a_replaced_file_do_not_affect_the_new_one(
    path: Path, move: Callable[[Path], None], notices: bool
) -> None:
    """When one connection has noticed, the new file can be used, whether another one notices it later or is closed."""
    one, two = harken.connect(url_of(path)), harken.connect(url_of(path))
    one.submit("old", "up")
    two.submit("old", "up")
    move(path)
    assert acknowledged(one, tries=1) == 0
    with harken.connect(url_of(path)) as new:
        before = new.summary().total
        for _ in range(50):
            new.submit("new", "up")
        if notices:
            assert acknowledged(two, tries=1) == 0
        two.close()
        one.close()
        new.submit("new", "up")
    assert stored(path) == before + 51


@pytest.mark.slow
@pytest.mark.parametrize("notices", [True, False])
def test_a_renamed_file_and_its_successor_keep_everything(path: Path, notices: bool) -> None:
    """A process that still has the renamed file open moves nothing of the new file into it."""
    idle = Idle(path)
    with harken.connect(url_of(path)) as hk:
        for _ in range(50):
            hk.submit("old", "up")
        _rename(path)
        assert acknowledged(hk, tries=1) == 0
    elsewhere("[hk.submit('new', 'up') for _ in range(20)]", path)
    if notices:
        assert idle.submit() == "refused"
    idle.end()
    assert (stored(path), stored(path.with_suffix(".moved"))) == (20, 51)


@pytest.mark.slow
@pytest.mark.parametrize("notices", [True, False])
def test_a_backup_does_not_adopt_the_log_of_the_replaced_file(path: Path, notices: bool) -> None:
    """A backup cannot be opened while the log of the file that it replaced is there, and is unchanged afterwards."""
    idle = Idle(path)
    _replace_by_backup(path)
    elsewhere_again = "try:\n    harken.connect('sqlite:///' + sys.argv[2])\nexcept harken.StorageUnavailable as error:"
    other = path.with_name("other.db")
    refusal = elsewhere(f"{elsewhere_again}\n    print(error)", other, path)
    assert "replaced another file whose log, feedback.db-wal, is still there; stop the programs" in refusal
    if notices:
        assert idle.submit() == "refused"
        elsewhere("[hk.submit('new', 'up') for _ in range(20)]", path)
        assert idle.submit() == "refused"
    idle.end()
    assert stored(path) == (21 if notices else 1)


@pytest.mark.slow
def test_a_log_of_a_killed_process_is_not_applied_to_a_backup(path: Path) -> None:
    """A backup that replaces only the database of a killed process is refused until the log is removed."""
    elsewhere("hk.submit('session', 'up')", path)
    backup = path.with_suffix(".backup")
    shutil.copy(path, backup)
    elsewhere("[hk.submit('session', 'up') for _ in range(10)]; os._exit(0)", path)
    backup.replace(path)
    with pytest.raises(StorageUnavailable, match="replaced another file"):
        harken.connect(url_of(path))
    _delete_log(path)
    _delete_index(path)
    assert stored(path) == 1


@pytest.mark.slow
def test_copies_of_all_three_files_can_be_opened(path: Path) -> None:
    """A copy of the files of a killed process, extended attributes included, is complete."""
    elsewhere("[hk.submit('session', 'up') for _ in range(10)]; os._exit(0)", path)
    copy = path.parent.with_name("copy")
    shutil.copytree(path.parent, copy)
    assert stored(copy / path.name) == 10


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has extended attributes of this kind")
def test_a_log_with_an_invalid_owner_is_used(path: Path) -> None:
    """An extended attribute that another program has written does not prevent the use of the file."""
    elsewhere("[hk.submit('session', 'up') for _ in range(10)]; os._exit(0)", path)
    os.setxattr(f"{path}-wal", "user.harken.database", b"invalid")
    assert stored(path) == 10


def test_threads_notice_changes_of_the_folder_together(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reads of several threads do not fail because another file is created in the folder."""
    # So short that a folder is often settled, and often is not.
    monkeypatch.setattr(files, "_SETTLING_NS", 2_000_000)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    over = threading.Event()
    try:
        with harken.connect(url_of(path)) as hk, ThreadPoolExecutor(4) as pool:
            hk.submit("session", "up")

            def read() -> int:
                total = 1
                while not over.is_set():
                    total = min(total, hk.summary().total)
                return total

            totals = [pool.submit(read) for _ in range(4)]
            for number in range(300):
                path.with_name(f"other-{number}").touch()
                hk.summary()
            over.set()
            assert [total.result() for total in totals] == [1, 1, 1, 1]
    finally:
        over.set()
        sys.setswitchinterval(interval)


# --- other names -----------------------------------------------------------------------------------------------------


def test_a_file_with_two_names_is_refused(path: Path) -> None:
    """SQLite would keep one log for each name, and the two would destroy the file."""
    other = path.with_name("other.db")
    with harken.connect(url_of(path)) as hk:
        hk.submit("session", "up")
        os.link(path, other)
        with pytest.raises(StorageUnavailable, match="hard link"):
            harken.connect(url_of(other))
        hk.submit("session", "up")
    other.unlink()
    with harken.connect(url_of(path)) as hk:
        assert (hk.summary().total, hk.check()) == (2, [])


@pytest.mark.slow
@pytest.mark.parametrize("put_there", [False, True])
def test_the_log_of_a_renamed_file_is_not_deleted(path: Path, put_there: bool) -> None:
    """If the file was renamed without its log, creating a new file would lose the content of the log."""
    moved = path.with_suffix(".moved")
    elsewhere("[hk.submit('session', 'up') for _ in range(10)]; os._exit(0)", path)
    path.rename(moved)
    if put_there:
        path.touch()
    with pytest.raises(StorageUnavailable, match="restore the file"):
        harken.connect(url_of(path))
    moved.replace(path)
    assert stored(path) == 10


def test_names_that_are_not_utf_8_are_distinguished(tmp_path: Path) -> None:
    """Percent escapes in a URL are bytes of the name, even if they are not valid text."""
    for number, name in enumerate(("%FE", "%FF"), start=1):
        with harken.connect(f"sqlite:///{tmp_path}/{name}.db") as hk:
            for _ in range(number):
                hk.submit("session", "up")
            assert hk.summary().total == number


# --- readers ---------------------------------------------------------------------------------------------------------


def test_readers_create_no_file(path: Path) -> None:
    """A reader that opens a deleted file does not create an empty one."""
    with harken.connect(url_of(path)) as hk:
        hk.submit("session", "up")
        _delete(path)
        with pytest.raises(StorageUnavailable, match="deleted"):
            hk.summary()
        with pytest.raises(StorageUnavailable, match="deleted"):
            hk.check()
    assert list(path.parent.iterdir()) == []


@pytest.mark.slow
def test_a_relative_path_is_resolved_when_it_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections opened after a change of the working directory still use the same file."""
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    monkeypatch.chdir(folders[0])
    with harken.connect("sqlite:///feedback.db") as hk:
        monkeypatch.chdir(folders[1])
        hk.submit("session", "up")
        assert hk.summary().total == 1
    assert list(folders[1].iterdir()) == []
    assert stored(folders[0] / "feedback.db") == 1


# --- backups ---------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_backup_can_be_restored_while_the_file_is_closed(path: Path) -> None:
    """The documented procedure works: stop, remove all three files, copy the backup, start."""
    backup = path.with_suffix(".backup")
    with open_storage(url_of(path)) as storage:
        storage.feedback.add(accepted(*a_series(10)))
        with sqlite3.connect(path) as source:
            source.execute(f"VACUUM INTO '{backup}'")
        source.close()
        storage.feedback.add(accepted(*a_series(5)))
    elsewhere("hk.submit('killed', 'up'); os._exit(0)", path)
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        name.unlink(missing_ok=True)
    shutil.copy(backup, path)
    assert stored(path) == 10
