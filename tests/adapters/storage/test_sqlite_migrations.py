"""Files of earlier versions: released migrations never change, and migrating does not damage a file."""

import sqlite3
import subprocess
import sys
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

import harken
from harken import FeedbackQuery, StorageIncompatible
from harken.configuration.storage_urls import open_storage
from harken.domain.erasure import Erased
from harken.testing import NOON
from harken_adapters.storage.sqlite.schema import APPLICATION_ID, MIGRATIONS

#: The digests of released migrations. A change of the schema is a new migration and a new line here.
DIGESTS = (
    "10c8ecbaceda4d76",
    "2f2e4a95116cb367",
    "52ee1b6bad3e6380",
    "f9d0384967813343",
    "1e9999d46391073f",
    "42d94397a61bc17a",
    "631d23a58d8b42d1",
    "be6376013a89033f",
    "37c47a6144a56607",
    "504eb4c8f8d43fb6",
    "6a9180ef05aa2369",
)


def old_file(path: Path, version: int) -> None:
    """Create an empty file as that version of Harken created it, in WAL mode."""
    connection = sqlite3.connect(path, isolation_level=None)
    for migration in MIGRATIONS[:version]:
        connection.executescript(migration)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()


def test_released_migrations_never_change() -> None:
    """Existing files were created by the released migrations, so these must stay the same."""
    assert tuple(sha256(migration.encode()).hexdigest()[:16] for migration in MIGRATIONS) == DIGESTS


@pytest.mark.slow
@pytest.mark.parametrize("version", range(len(MIGRATIONS)))
def test_a_process_killed_during_a_migration_does_no_harm(tmp_path: Path, version: int) -> None:
    """After ``kill -9`` before each statement, for a new file and each old one, the next process finds a valid file."""
    program = """
import os, shutil, signal, sqlite3, sys, harken

folder, old = sys.argv[1:]
plain = sqlite3.connect
left = None

class Dying(sqlite3.Connection):
    def execute(self, *arguments):
        global left
        if left is not None:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().execute(*arguments)

sqlite3.connect = lambda *arguments, **options: plain(*arguments, factory=Dying, **options)
died, statement = True, 0
while died:
    statement += 1
    path = f"{folder}/killed-{statement}.db"
    if os.path.exists(old):
        shutil.copy(old, path)
    child = os.fork()
    if child == 0:
        left = statement
        with harken.connect(f"sqlite:///{path}") as hk:
            left = None
        os._exit(0)
    died = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    with harken.connect(f"sqlite:///{path}") as hk:
        hk.submit("session", "up")
        assert (hk.summary().total, hk.check()) == (1, []), path
print(statement)
"""
    old = tmp_path / "old.db"
    if version:
        old_file(old, version)
    done = subprocess.run([sys.executable, "-c", program, tmp_path, old], capture_output=True, text=True, check=True)
    assert int(done.stdout) > 10


@pytest.mark.slow
@pytest.mark.parametrize("version", range(len(MIGRATIONS)))
def test_concurrent_processes_migrate_an_old_file_once(tmp_path: Path, version: int) -> None:
    """The first process migrates, the others wait, and all continue with the same file."""
    path = tmp_path / "feedback.db"
    if version:
        old_file(path, version)
    program = """
import sys, harken
sys.stdin.readline()
with harken.connect("sqlite:///" + sys.argv[1]) as hk:
    for _ in range(5):
        hk.submit("session", "up")
"""
    words = [sys.executable, "-c", program, str(path)]
    processes = [subprocess.Popen(words, stdin=subprocess.PIPE, text=True) for _ in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        process.communicate(timeout=120)
    assert [process.returncode for process in processes] == [0, 0, 0]
    with harken.connect(f"sqlite:///{path}") as hk:
        assert (hk.summary().total, hk.check()) == (15, [])


def test_old_content_is_treated_like_new_content(tmp_path: Path) -> None:
    """Deliveries from before the order was kept are claimed in order, and an erasure finds older alerts."""
    path = tmp_path / "feedback.db"
    old_file(path, 5)
    connection = sqlite3.connect(path)
    connection.executescript("""
        INSERT INTO feedback (application, id, session_id, rating, comment, tags, context, status, created_at,
                updated_at, version, fingerprint, vote)
            VALUES ('default', 'one', 'session', 1, '', '[]', '{}', 'approved', 0, 0, 3, '', 0);
        INSERT INTO delivery (id, event_id, type, application, feedback_id, version, occurred_at, channel, state,
                attempts, due_at, error)
            VALUES ('c:log', 'c', 'feedback.updated', 'default', 'one', 3, 0, 'log', 'pending', 0, 0, ''),
                ('a:log', 'a', 'feedback.created', 'default', 'one', 1, 0, 'log', 'pending', 0, 0, ''),
                ('b:log', 'b', 'feedback.updated', 'default', 'one', 2, 0, 'log', 'pending', 0, 0, '');
        INSERT INTO alert (application, id, rule, kind, subject_by, subject, message, figures, feedback_ids, began_at,
                raised_at, version)
            VALUES ('default', 'listing', 'r', 'streak', 'agent', 'a', 'Look', '{}', '["one","one","two"]', 0, 0, 1),
                ('default', 'about', 'r', 'streak', 'session', 'session', 'Look', '{}', '[]', 0, 0, 1),
                ('default', 'other', 'r', 'streak', 'session', 'other', 'Look', '{}', '["two"]', 0, 0, 1);
    """)
    connection.close()
    with open_storage(f"sqlite:///{path}") as storage:
        arrived = []
        while claimed := storage.outbox.claim("log", now=NOON, until=NOON + timedelta(minutes=1), limit=9):
            arrived.append([claim.id for claim in claimed])
            storage.outbox.settle(claimed)
        assert arrived == [["a:log"], ["b:log"], ["c:log"]]
        erased = storage.feedback.erase(FeedbackQuery(session_id="session"), at=NOON)
        assert erased == Erased(feedback=1, alerts=2, deliveries=3)
        empty = {alert.id for alert in storage.alerts.find("default", limit=9) if alert.is_empty}
        assert empty == {"listing", "about"}


# --- files left by a killed process -----------------------------------------------------------------------------------


def killed_while_writing(path: Path) -> None:
    """Let another process be killed in the middle of a transaction that has already changed the file."""
    program = """
import os, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA cache_size = 1")
connection.execute("BEGIN")
connection.execute("CREATE TABLE filler (text TEXT)")
connection.executemany("INSERT INTO filler VALUES (?)", [("x" * 400,)] * 3000)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", program, str(path)], check=False)


def test_an_unfinished_transaction_of_a_killed_process_is_rolled_back(tmp_path: Path) -> None:
    """A file that is not yet in WAL mode may have a rollback journal; it is applied when the file is opened."""
    path = tmp_path / "feedback.db"
    old_file(path, 1)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    killed_while_writing(path)
    assert path.with_name("feedback.db-journal").exists()
    with harken.connect(f"sqlite:///{path}") as hk:
        hk.submit("session", "up")
        assert (hk.summary().total, hk.check()) == (1, [])


def test_another_applications_unfinished_transaction_is_rolled_back_and_the_file_is_refused(tmp_path: Path) -> None:
    """The owner of the file is known only after the rollback, which the other program would also do first."""
    path = tmp_path / "theirs.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (secret TEXT)")
    connection.close()
    before = path.read_bytes()
    killed_while_writing(path)
    assert path.read_bytes() != before
    with pytest.raises(StorageIncompatible, match="another application"):
        harken.connect(f"sqlite:///{path}")
    assert path.read_bytes()[:4096] == before[:4096]


def test_a_file_without_tables_is_used(tmp_path: Path) -> None:
    """A process that was killed right after it created the file leaves one without tables."""
    path = tmp_path / "feedback.db"
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.close()
    assert path.stat().st_size
    with harken.connect(f"sqlite:///{path}") as hk:
        hk.submit("session", "up")
        assert hk.summary().total == 1
