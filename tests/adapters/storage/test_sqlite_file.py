"""The file of a ``sqlite:`` URL: ownership, content, damage, locks and missing files."""

import os
import re
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

import harken
from harken import (
    Cursor,
    FeedbackQuery,
    Rating,
    Sentiment,
    StorageClosed,
    StorageCorrupt,
    StorageError,
    StorageIncompatible,
    StorageUnavailable,
)
from harken.configuration.storage_urls import open_storage
from harken.domain.erasure import Erased
from harken.domain.events import DeliveryQuery, DeliveryState, Event, EventType
from harken.domain.insight.terms import TermCounts
from harken.ports.repository import Accepted
from harken.ports.state import StateEntry
from harken.testing import NOON, a_feedback, a_series, accepted, an_alert
from harken_adapters.storage.sqlite.schema import MIGRATIONS
from harken_adapters.storage.term_counts import dump_counts


def url_of(path: Path, **options: float) -> str:
    """Return the URL of a file in a test's folder."""
    return f"sqlite:///{path}" + "".join(f"?{name}={value}" for name, value in options.items())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of a test's database."""
    return tmp_path / "feedback.db"


def fill(path: Path, size: int = 300, **parts: Any) -> None:
    """Create a file with feedback, or add some."""
    with open_storage(url_of(path)) as storage:
        plain = {"comment": "some words " * 20, "agent_id": "helper"}
        storage.feedback.add(accepted(*a_series(size, **plain | parts)))


def tamper(path: Path, statement: str) -> None:
    """Change the file without Harken."""
    with sqlite3.connect(path) as connection:
        connection.execute(statement)
    connection.close()


def contents(folder: Path) -> bytes:
    """Return the bytes of all files in a folder. Another process reads them, as this one would drop SQLite's locks."""
    return subprocess.run(["cat", *folder.iterdir()], capture_output=True, check=True).stdout


# --- ownership -------------------------------------------------------------------------------------------------------


def _text(path: Path) -> None:
    path.write_text("id,rating,comment\n" * 20, encoding="utf-8")


def _short(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\x00")


def _foreign(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE theirs (secret TEXT)")
    connection.close()


def _foreign_in_wal_mode(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA application_id = 7")
        connection.execute("CREATE TABLE feedback (secret TEXT)")
    connection.close()


def _newer(path: Path) -> None:
    fill(path, 1)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 9000")
    connection.close()


@pytest.mark.parametrize("make", [_text, _short, _foreign, _foreign_in_wal_mode, _newer])
def test_a_foreign_file_is_refused_unchanged(path: Path, make: Callable[[Path], None]) -> None:
    """A file of another program or of a newer version is refused with a reason, and no byte of it changes."""
    make(path)
    before = path.read_bytes()
    with pytest.raises(StorageIncompatible, match="left untouched"):
        harken.connect(url_of(path))
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_an_empty_file_is_used(path: Path) -> None:
    """An empty file, as ``mktemp`` creates it, is treated like a missing one."""
    path.touch()
    with harken.connect(url_of(path)) as hk:
        hk.submit("session", "up")
    with harken.connect(url_of(path)) as hk:
        assert hk.summary().positive == 1


#: Statements that turn a file of this version into one of the previous version.
_UNDONE = {
    11: ("ALTER TABLE feedback DROP COLUMN extras",),
    10: (
        "DROP TRIGGER feedback_counted",
        *re.findall(r"CREATE TRIGGER feedback_counted.*?END", MIGRATIONS[0], re.DOTALL)[:1],
        "DROP TABLE uncounted",
    ),
    9: (
        *(f"DROP TRIGGER comment_{what}" for what in ("added", "changed", "removed")),
        "DROP TABLE comment_segment",
        "DROP TABLE comment_words",
        "DELETE FROM sqlite_stat1 WHERE tbl IN ('comment_segment', 'comment_words')",
    ),
    8: (
        "DROP INDEX delivery_list",
        "DROP INDEX delivery_dead",
        "DROP INDEX delivery_channel",
        "CREATE INDEX delivery_channel ON delivery (channel, state, late, due_at, id)",
        "ALTER TABLE delivery DROP COLUMN history",
        "ALTER TABLE delivery DROP COLUMN cause",
        "DELETE FROM sqlite_stat1 WHERE idx IN ('delivery_list', 'delivery_dead', 'delivery_channel')",
        "INSERT INTO sqlite_stat1 VALUES ('delivery', 'delivery_channel', '1000000 300000 100000 100000 1 1')",
    ),
    7: (
        "DROP TRIGGER terms_added",
        "DROP TRIGGER terms_removed",
        "DROP TRIGGER terms_removed_before_change",
        "DROP TRIGGER terms_added_after_change",
        "DROP TABLE term_correction",
        "DROP TABLE term_counts",
    ),
    6: (
        *(f"DROP TRIGGER delivery_{what}" for what in ("made", "revived", "ended", "gone")),
        "DROP TRIGGER feedback_forgotten",
        "DROP TABLE told",
        """
        CREATE TABLE old_event (
            application TEXT NOT NULL, feedback_id TEXT NOT NULL, version INTEGER NOT NULL, id TEXT NOT NULL,
            type TEXT NOT NULL, occurred_at INTEGER NOT NULL, PRIMARY KEY (application, feedback_id, version)
        ) STRICT, WITHOUT ROWID
        """,
        "INSERT INTO old_event SELECT application, feedback_id, version, id, type, occurred_at FROM event",
        "DROP TABLE event",
        "ALTER TABLE old_event RENAME TO event",
        "CREATE INDEX event_time ON event (occurred_at, feedback_id, version)",
        "DROP INDEX delivery_channel",
        "DROP INDEX delivery_order",
        "DROP INDEX alert_session",
        "DROP TRIGGER alert_listed",
        "DROP TRIGGER alert_relisted",
        "DROP TRIGGER alert_unlisted",
        "DROP TABLE alert_feedback",
        *(f"ALTER TABLE delivery DROP COLUMN {name}" for name in ("session_id", "awaits", "certain", "late")),
        "CREATE INDEX delivery_channel ON delivery (channel, state, due_at, id)",
        """
        INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
            ('event', 'event', '10000 10000 1 1'),
            ('event', 'event_time', '10000 1 1 1 1'),
            ('delivery', 'delivery_channel', '1000000 300000 100000 1 1')
        """,
        """
        CREATE TRIGGER feedback_forgotten AFTER DELETE ON feedback
        BEGIN
            DELETE FROM event WHERE application = OLD.application AND feedback_id = OLD.id;
            DELETE FROM delivery WHERE application = OLD.application AND feedback_id = OLD.id;
        END
        """,
    ),
    5: (
        "DROP INDEX feedback_key",
        """
        CREATE UNIQUE INDEX feedback_key ON feedback (application, session_id, idempotency_key)
        WHERE idempotency_key IS NOT NULL
        """,
        "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('feedback', 'feedback_key', '500000 500000 10 1')",
        "ALTER TABLE api_key DROP COLUMN agents",
        "ALTER TABLE api_key DROP COLUMN agent_scopes",
    ),
    4: (
        "DROP TABLE agent",
        "DROP TABLE message",
        "DELETE FROM sqlite_stat1 WHERE tbl IN ('agent', 'message')",
    ),
    3: (
        "DROP TABLE alert",
        "DROP TABLE document",
        "DROP INDEX event_time",
        "DROP INDEX delivery_channel",
        "ALTER TABLE delivery DROP COLUMN attempts_before",
        "CREATE INDEX delivery_due ON delivery (state, due_at, id)",
        "DELETE FROM sqlite_stat1 WHERE tbl IN ('event', 'delivery')",
        "UPDATE delivery SET id = event_id || '/' || channel",
    ),
    2: ("DROP INDEX feedback_changed", "DROP TABLE api_key", "DROP TABLE sqlite_stat1"),
}


def downgrade(path: Path, version: int) -> None:
    """Turn the file into one of an earlier version."""
    for later in range(max(_UNDONE), version, -1):
        for statement in (*_UNDONE[later], f"PRAGMA user_version = {later - 1}"):
            tamper(path, statement)


def schema_of(path: Path) -> list[tuple[str, ...]]:
    """Return all tables, indexes and triggers of a file, and its planning statistics."""
    with sqlite3.connect(path) as connection:
        made = connection.execute("SELECT type, name, tbl_name FROM sqlite_schema ORDER BY type, name").fetchall()
        made += connection.execute("SELECT tbl, idx, stat FROM sqlite_stat1 ORDER BY tbl, idx").fetchall()
        for table in ("event", "delivery", "api_key", "feedback"):
            made += connection.execute("SELECT name, type FROM pragma_table_info(?) ORDER BY name", (table,)).fetchall()
        made += connection.execute("SELECT sql FROM sqlite_schema WHERE name = 'feedback_key'").fetchall()
    connection.close()
    return made


def test_a_file_of_the_first_version_is_migrated(path: Path) -> None:
    """A file from before API keys and the feed of changes keeps its content and supports both."""
    with harken.connect(url_of(path)) as hk:
        first, other = (hk.submit("session", "up").feedback for _ in range(2))
        changed = hk.collection.reply("default", first.id, "Thanks")
    downgrade(path, 1)
    with open_storage(url_of(path)) as storage, harken.connect(storage) as hk:
        assert list(hk.export()) == [changed, other]
        assert list(storage.feedback.changes("default", since=changed.updated_at)) == [changed]
        made = hk.keys.create("default", ["read"])
        assert hk.keys.authenticate(made.text) == made.key
        assert hk.check() == []
    with harken.connect(url_of(path)) as hk:
        assert hk.keys.authenticate(made.text) == made.key


def test_a_file_of_the_second_version_is_migrated(path: Path) -> None:
    """A file from before alerts supports them, and delivers its waiting events with current ids."""
    later = NOON + timedelta(minutes=1)
    with open_storage(url_of(path)) as storage:
        storage.feedback.add(accepted(*a_series(3)))
        dead, pending, waiting = storage.outbox.events(limit=9)
        storage.outbox.fan_out([(dead, ["log"]), (pending, ["log", "mail"])], due_at=NOON)
        storage.outbox.bury(storage.outbox.claim("log", now=NOON, until=later, limit=1)[0], error="gone")
        before = {state: list(storage.outbox.deliveries(DeliveryQuery(state), limit=9)) for state in DeliveryState}
    downgrade(path, 2)
    with open_storage(url_of(path)) as storage:
        assert list(storage.outbox.events(limit=9)) == [waiting]
        assert {
            state: list(storage.outbox.deliveries(DeliveryQuery(state), limit=9)) for state in DeliveryState
        } == before
        revived = storage.outbox.replay(f"{before[DeliveryState.DEAD][0].event.id}:log", due_at=NOON)
        assert (revived.attempts, revived.tries) == (1, 0)
        alert = an_alert()
        assert storage.alerts.add(alert, alert.event())
        assert storage.state.put("route", StateEntry("one", {"channel": "log"}))
        assert storage.check() == []
    with open_storage(url_of(path)) as storage:
        assert storage.alerts.get("default", alert.id) == alert


def test_a_file_of_the_third_version_is_migrated(path: Path) -> None:
    """A file from before conversations keeps its content and supports them."""
    with harken.connect(url_of(path)) as hk:
        kept = hk.submit("session", "up").feedback
    downgrade(path, 3)
    with harken.connect(url_of(path)) as hk:
        assert list(hk.export()) == [kept]
        hk.conversations.append("default", "session", "helper", 0, {"text": "Hello"})
        assert hk.check() == []
    with harken.connect(url_of(path)) as hk:
        assert hk.conversations.message("default", "session", "helper", 0) == {"text": "Hello"}


def test_a_file_of_the_fourth_version_is_migrated(path: Path) -> None:
    """A file with keys per session keeps its feedback and API keys; each author now has separate keys."""
    with harken.connect(url_of(path)) as hk:
        kept = [hk.submit("s", "up", author=author, idempotency_key=f"k-{author}").feedback for author in ("ann", None)]
        key = hk.keys.create("default", ["read"])
    downgrade(path, 4)
    with harken.connect(url_of(path)) as hk:
        assert list(hk.export()) == kept
        assert hk.keys.authenticate(key.text) == key.key
        assert hk.submit("s", "up", author="ann", idempotency_key="k-ann").duplicate
        assert not hk.submit("s", "up", author="bob", idempotency_key="k-ann").duplicate
        assert hk.check() == []


def test_a_file_of_the_fifth_version_is_migrated(path: Path) -> None:
    """Deliveries from before the order was kept are ordered, and channels are notified of erasures."""
    later = NOON + timedelta(minutes=1)
    with open_storage(url_of(path)) as storage:
        one, other = a_series(2)
        storage.feedback.add(accepted(one, other))
        (first, second) = storage.outbox.events(limit=9)
        changed = one.answered("Thanks", at=NOON)
        storage.feedback.replace(changed, [Event.about(changed, EventType.UPDATED)])
        storage.outbox.fan_out([(first, ["log", "mail"])], due_at=later)
        changed_event = next(event for event in storage.outbox.events(limit=9) if event.version > 1)
        storage.outbox.fan_out([(changed_event, ["log", "mail"])], due_at=NOON)
        storage.outbox.settle(storage.outbox.claim("mail", now=later, until=later, limit=1))
        before = {state: list(storage.outbox.deliveries(DeliveryQuery(state), limit=9)) for state in DeliveryState}
    downgrade(path, 5)
    with open_storage(url_of(path)) as storage:
        assert list(storage.outbox.events(limit=9)) == [second]
        assert {
            state: list(storage.outbox.deliveries(DeliveryQuery(state), limit=9)) for state in DeliveryState
        } == before
        assert not storage.outbox.claim("log", now=NOON, until=later, limit=9)
        (claim,) = storage.outbox.claim("mail", now=NOON, until=later, limit=9)
        assert claim.event == changed_event
        storage.outbox.settle([claim])
        removed = storage.feedback.erase(FeedbackQuery().in_any_state(), at=later)
        assert removed == Erased(feedback=2, deliveries=4)
        (notice,) = storage.outbox.deliveries(DeliveryQuery(DeliveryState.PENDING), limit=9)
        assert (notice.channel, notice.event) == ("mail", Event.erasure(changed, at=later))
        assert storage.check() == []


def test_a_file_of_the_seventh_version_is_migrated(path: Path) -> None:
    """Deliveries from before attempts were stored have none; dead ones are grouped by their errors."""
    with open_storage(url_of(path)) as storage:
        storage.feedback.add(accepted(*a_series(3)))
        storage.outbox.fan_out([(event, ["log"]) for event in storage.outbox.events(limit=9)], due_at=NOON)
        first, second, third = storage.outbox.claim("log", now=NOON, until=NOON, limit=9)
        storage.outbox.bury(first, error="refused " * 20)
        storage.outbox.bury(second, error="refused " * 20)
        storage.outbox.settle([third])
        everything = list(storage.outbox.deliveries(DeliveryQuery(), limit=9))
        causes = storage.outbox.causes(DeliveryQuery())
    downgrade(path, 7)
    with open_storage(url_of(path)) as storage:
        assert list(storage.outbox.deliveries(DeliveryQuery(), limit=9)) == everything
        assert storage.outbox.causes(DeliveryQuery(application="default")) == causes
        assert [(one.cause, one.count) for one in causes] == [(("refused " * 20)[:100], 2)]
        assert storage.outbox.replay(first.id, due_at=NOON).history == ()
        assert storage.check() == []


def test_the_order_is_kept_while_the_previous_version_is_running(path: Path) -> None:
    """The previous version does not know the order; deliveries that it settles still release the next ones."""
    one = a_feedback()
    changed = one.answered("Thanks", at=NOON)
    columns = (
        "id, event_id, type, application, feedback_id, version, occurred_at, channel, state, attempts, due_at, error"
    )
    insert = f"INSERT INTO delivery ({columns}) VALUES (?, ?, ?, 'default', ?, ?, 0, 'log', 'pending', 0, 0, '')"
    event = "INSERT INTO event (id, type, application, feedback_id, version, occurred_at) VALUES ('e', ?, ?, ?, 3, 0)"
    with open_storage(url_of(path)) as storage, sqlite3.connect(path, isolation_level=None) as before:
        storage.feedback.add([Accepted(changed, ())])
        before.execute(event, ("feedback.updated", "default", one.id))
        assert [one.before for one in storage.outbox.events(limit=9)] == [None]
        for number, kind in ((2, "feedback.updated"), (1, "feedback.created")):
            before.execute(insert, (f"{number}:log", str(number), kind, one.id, number))
        (claim,) = storage.outbox.claim("log", now=NOON, until=NOON, limit=9)
        assert claim.id == "1:log"
        before.execute("UPDATE delivery SET state = 'delivered', leased_until = NULL WHERE id = '1:log'")
        (claim,) = storage.outbox.claim("log", now=NOON, until=NOON, limit=9)
        assert claim.id == "2:log"
        before.execute("DELETE FROM feedback")
        for state in DeliveryState:
            assert not storage.outbox.deliveries(DeliveryQuery(state), limit=9)
    before.close()


def test_the_previous_version_grants_nothing_to_a_limited_key(path: Path) -> None:
    """The previous version does not support keys limited to agents, and must not treat them as unlimited."""
    with harken.connect(url_of(path)) as hk:
        limited = hk.keys.create("default", ["read", "admin"], agents=["helper"]).key
        other = hk.keys.create("default", ["read"]).key
    with sqlite3.connect(path) as connection:
        known_before = "SELECT id, application, scopes, name, digest, created_at, revoked_at FROM api_key"
        scopes = {row[0]: row[2] for row in connection.execute(known_before)}
    connection.close()
    assert scopes == {limited.id: "[]", other.id: '["read"]'}


@pytest.mark.parametrize("version", range(1, max(_UNDONE)))
def test_a_migrated_file_equals_a_new_one(path: Path, version: int) -> None:
    """After migration from any version, a file has the same tables, indexes and statistics as a new one."""
    fill(path, 3)
    new = schema_of(path)
    downgrade(path, version)
    fill(path, 1)
    assert schema_of(path) == new


def test_a_file_of_the_tenth_version_is_migrated(path: Path) -> None:
    """A file from before extras keeps its feedback, which has none, and stores those of new feedback."""
    with harken.connect(url_of(path)) as hk:
        old = hk.submit("session", "up").feedback
    downgrade(path, 10)
    new = a_feedback()
    with open_storage(url_of(path)) as storage:
        storage.feedback.add(accepted(new, extras='{"n": 1}'))
        assert list(storage.feedback.stream(FeedbackQuery())) == sorted([old, new], key=Cursor.of)
        assert storage.feedback.extras("default", [old.id, new.id]) == {new.id: '{"n": 1}'}
        assert storage.check() == []


def test_a_process_of_the_tenth_version_continues(path: Path) -> None:
    """A process that opened the file before it was migrated stores and changes feedback, and keeps extras."""
    inserted = "application, id, session_id, rating, comment, tags, context, status, created_at, updated_at, version"
    with open_storage(url_of(path)) as storage:
        one = a_feedback()
        storage.feedback.add(accepted(one, extras='{"n": 1}'))
        with sqlite3.connect(path) as before:
            before.execute(
                f"INSERT INTO feedback ({inserted}, fingerprint, vote) "
                "VALUES ('default', 'two', 'session', 1, '', '[]', '{}', 'approved', 0, 0, 1, '', 0)"
            )
            before.execute("UPDATE feedback SET reply = 'Thanks', version = 2 WHERE id = ?", (one.id,))
        before.close()
        assert storage.feedback.extras("default", [one.id, "two"]) == {one.id: '{"n": 1}'}
        assert storage.feedback.get("default", one.id).reply == "Thanks"
        assert storage.check() == []


def test_an_invalid_path_raises_a_helpful_error(tmp_path: Path) -> None:
    """A missing folder and a folder in place of the file have different messages."""
    with pytest.raises(StorageUnavailable, match=r"the folder .* does not exist"):
        harken.connect(url_of(tmp_path / "missing" / "feedback.db"))
    with pytest.raises(StorageUnavailable, match="not a file"):
        harken.connect(url_of(tmp_path))


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [4096, 5000, 40_000])
def test_a_truncated_file_is_refused_and_left_untouched(path: Path, kept: int) -> None:
    """A file whose end is missing raises ``StorageCorrupt`` and is not changed, so that it can be repaired."""
    fill(path)
    path.write_bytes(path.read_bytes()[:kept])
    before = path.read_bytes()
    with pytest.raises(StorageCorrupt, match="damaged"):
        harken.connect(url_of(path))
    assert path.read_bytes() == before


@pytest.mark.parametrize("seed", range(5))
def test_a_garbled_file_is_refused_and_left_untouched(path: Path, seed: int) -> None:
    """A file with overwritten pages raises ``StorageCorrupt`` and is not changed."""
    fill(path)
    random = Random(seed)
    content = bytearray(path.read_bytes())
    for page in random.sample(range(1, len(content) // 4096), 3):
        content[page * 4096 : page * 4096 + 2048] = random.randbytes(2048)
    path.write_bytes(content)
    with pytest.raises(StorageCorrupt, match="damaged"):
        harken.connect(url_of(path))
    assert path.read_bytes() == content


@pytest.mark.slow
def test_a_check_finds_damage_of_an_open_file(path: Path) -> None:
    """``check`` reads the whole file and reports damage; without damage it reports nothing."""
    with harken.connect(url_of(path)) as hk:
        for number in range(40):
            hk.submit(f"session-{number}", "up", "some words " * 20)
        assert hk.check() == []
        # Into the main file, as the checkpoint at the close of the last connection would.
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.close()
        with path.open("r+b") as file:
            file.seek(4096 * 3)
            file.write(Random(1).randbytes(4096 * 4))
        problems = open_and_check(path)
    assert problems
    assert all(str(path) in problem for problem in problems)


def open_and_check(path: Path) -> list[str]:
    """Return the findings of a new process, as this one still has the good pages in its cache."""
    script = (
        "import sys; from pathlib import Path; from harken_adapters.storage.sqlite.database import Database\n"
        "import harken_adapters.storage.sqlite.opening as module; module._CHECKED_SIZE = 0\n"
        "print(*Database(Path(sys.argv[1]), busy_timeout=5).check(), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "change",
    [
        "positive = positive + 1",
        "positive = positive + 1 WHERE span = 'slot'",
        "positive = positive + 1 WHERE span = 'hour'",
        "agent_id = 'nobody' WHERE span = 'hour'",
    ],
)
def test_a_check_finds_changed_counters(path: Path, change: str) -> None:
    """``check`` recounts by agent and by slot, so that an edited counter is detected."""
    fill(path, 3)
    tamper(path, f"UPDATE counter SET {change}")
    with harken.connect(url_of(path)) as hk:
        problems = hk.check()
    assert problems
    assert all("recount" in problem for problem in problems)


@pytest.mark.parametrize(
    ("damage", "wrong"),
    [
        ("UPDATE counter SET positive = positive + 1, comments = 7", 4),
        ("UPDATE counter SET agent_id = 'nobody' WHERE span = 'hour' AND agent_id = 'a'", 2),
        ("UPDATE counter SET positive = 0, comments = 0, comment_characters = 0 WHERE span = 'slot'", 2),
        ("INSERT INTO counter VALUES ('gone', 'slot', '', 7, 1, 0, 0, 0, 0, 0, 0, 0)", 1),
        ("INSERT INTO counter VALUES ('default', 'hour', '', 0, 0, 0, 0, 0, 0, 0, 0, 0)", 1),
        ("DELETE FROM counter", 4),
    ],
)
def test_a_rebuild_corrects_changed_counters(path: Path, damage: str, wrong: int) -> None:
    """``rebuild`` recounts, reports each wrong counter, and keeps the correct ones."""
    fill(path, 3, agent_id="a")
    fill(path, 2, application="other", sentiment=Sentiment(0.5, 1))
    tamper(path, damage)
    with harken.connect(url_of(path)) as hk:
        corrected = hk.rebuild()
        assert len(corrected) == wrong
        assert all(one.startswith("The statistics of '") and "; a recount gives " in one for one in corrected)
        assert (hk.check(), hk.rebuild()) == ([], [])
    with harken.connect(url_of(path), application="other") as hk:
        assert hk.check() == []
        hk.submit("session", "down", "still counted")
        assert (hk.check(), hk.rebuild()) == ([], [])


def test_a_rebuild_creates_missing_triggers_and_indexes(path: Path) -> None:
    """``check`` names what was dropped; after ``rebuild`` it is there again, and everything is right."""
    fill(path, 3)
    with closing(sqlite3.connect(path)) as file:
        parts = file.execute("SELECT type, name FROM sqlite_schema WHERE type <> 'table' AND sql NOT NULL").fetchall()
        for kind, name in parts:
            file.execute(f"DROP {kind} {name}")
    with harken.connect(url_of(path)) as hk:
        # Not counted, as there is no trigger.
        hk.submit("session", "down", "still here")
        named = {f"{path}: the {kind} {name} is missing; run 'harken rebuild'" for kind, name in parts}
        assert named <= set(hk.check())
        created = {f"The {kind} {name} was missing and was recreated" for kind, name in parts}
        assert created < set(hk.rebuild())
        assert (hk.check(), hk.rebuild()) == ([], [])
        assert hk.summary().total == 4
        hk.submit("another", "down", "is counted")
        assert (hk.check(), hk.summary().total) == ([], 5)


def test_a_rebuild_lets_new_feedback_be_counted(path: Path) -> None:
    """If another program left what stops the counting, ``check`` finds what is missing, and ``rebuild`` ends it."""
    fill(path, 3)
    tamper(path, "INSERT INTO uncounted VALUES (1)")
    with harken.connect(url_of(path)) as hk:
        hk.submit("session", "up")
        assert hk.check()
        assert len(hk.rebuild()) == 2
        hk.submit("session", "up")
        assert (hk.check(), hk.rebuild(), hk.summary().total) == ([], [], 5)


def test_a_rebuild_reports_the_counts(path: Path) -> None:
    """The sentence names the application, the agent, the time, and the counts before and after."""
    fill(path, 3)
    tamper(path, "UPDATE counter SET positive = 1, comment_characters = 0 WHERE span = 'slot'")
    tamper(path, "DELETE FROM counter WHERE span = 'hour'")
    counted = "a recount gives positive 3, comments 3, comment_characters 660"
    with harken.connect(url_of(path)) as hk:
        by_hour, by_slot = hk.rebuild()
    assert by_hour == f"The statistics of 'default' for agent 'helper' at hour 12 UTC were nothing; {counted}"
    said = "were positive 1, comments 3"
    assert by_slot == f"The statistics of 'default' for agent 'helper' from 2026-01-01T12:00Z on {said}; {counted}"


@pytest.mark.parametrize(
    "counts",
    [dump_counts(TermCounts()), dump_counts(TermCounts({"some": 600, "worms": 600}, {}, 600, 0)), b"not compressed"],
)
def test_a_rebuild_corrects_counts_of_terms(path: Path, counts: bytes) -> None:
    """A damaged record of an application is reported, removed and counted again; others stay."""
    fill(path, 600, rating=Rating.UP)
    fill(path, 600, application="other", rating=Rating.UP)
    with harken.connect(url_of(path)) as hk:
        assert hk.check() == []
        assert harken.connect(url_of(path), application="other").check() == []
        assert hk.rebuild() == []
        right = hk.themes()
    tamper(path, f"UPDATE term_counts SET counts = x'{counts.hex()}' WHERE application = 'default'")
    with harken.connect(url_of(path)) as hk:
        (problem,) = hk.check()
        assert "ounts of terms" in problem
        assert hk.rebuild() == ["The counts of terms of 'default' differed from its feedback, and are counted again"]
        assert (hk.check(), hk.rebuild()) == ([], [])
        assert hk.themes() == right


def test_counts_of_terms_with_corrections_are_correct(path: Path) -> None:
    """Changes that the record does not contain yet are not taken for damage."""
    fill(path, 600, rating=Rating.UP)
    with harken.connect(url_of(path)) as hk:
        assert hk.check() == []
        for one in hk.feedback(limit=3).items:
            hk.collection.withdraw("default", one.id)
        hk.collection.change("default", hk.feedback(limit=1).items[0].id, harken.Change(comment="other words"))
        assert (hk.rebuild(), hk.check()) == ([], [])


# --- durability and erasure ------------------------------------------------------------------------------------------


def test_stored_data_remains_after_reopening(path: Path) -> None:
    """Feedback, statistics, metadata and events outlive the process that wrote them."""
    series = a_series(5, agent_id="helper")
    with open_storage(url_of(path)) as storage:
        storage.feedback.add(accepted(*series))
        storage.sessions.update("default", "session", {"user": "ann"})
        figures = storage.feedback.summarize(FeedbackQuery())
    with open_storage(url_of(path)) as storage:
        assert list(storage.feedback.stream(FeedbackQuery())) == series
        assert storage.feedback.summarize(FeedbackQuery()) == figures
        assert storage.sessions.get("default", "session") == {"user": "ann"}
        assert len(storage.outbox.events(limit=9)) == 5


def test_claims_are_visible_to_others_at_once(path: Path) -> None:
    """A claim does not wait for the disk, but other connections and later processes respect it."""
    later = NOON + timedelta(minutes=1)
    with open_storage(url_of(path)) as storage, open_storage(url_of(path)) as other:
        storage.feedback.add(accepted(*a_series(2)))
        storage.outbox.fan_out([(event, ["log"]) for event in other.outbox.events(limit=9)], due_at=NOON)
        first, second = storage.outbox.claim("log", now=NOON, until=later, limit=9)
        assert list(other.outbox.claim("log", now=NOON, until=later, limit=9)) == []
        storage.outbox.release([first])
        (again,) = other.outbox.claim("log", now=NOON, until=later, limit=9)
        assert list(storage.outbox.settle([again])) == []
    with open_storage(url_of(path)) as storage:
        assert list(storage.outbox.claim("log", now=NOON, until=later, limit=9)) == []
        assert list(storage.outbox.settle([second])) == []


def test_a_claim_without_due_deliveries_waits_for_no_writer(path: Path) -> None:
    """A relay that finds nothing due does not wait while another process writes."""
    fill(path, 3)
    with open_storage(url_of(path, busy_timeout=0.05)) as storage:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        assert list(storage.outbox.claim("log", now=NOON, until=NOON + timedelta(minutes=1), limit=9)) == []
        assert storage.outbox.forget(before=NOON) == 0
        storage.outbox.release([])
        assert list(storage.outbox.settle([])) == []
        assert list(storage.outbox.fan_out([], due_at=NOON)) == []
        other.close()


def test_the_file_is_in_wal_mode(path: Path) -> None:
    """The file is in WAL mode, so that readers and the writer do not block each other."""
    fill(path, 1)
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_erased_text_is_gone_from_the_disk(path: Path) -> None:
    """After an erasure, no file of the database contains the text, not even in free pages."""
    secret = "a very private matter that must not be readable again"
    with harken.connect(url_of(path)) as hk:
        hk.submit("kept", "up", "harmless")
        receipt = hk.submit("doomed", "down", secret, author="ann")
        hk.collection.change("default", receipt.feedback.id, harken.Change(comment=f"{secret}!"))
        assert hk.collection.erase(hk.query(author="ann").in_any_state()).feedback == 1
        found = contents(path.parent)
        assert secret.encode() not in found
        assert b"harmless" in found


@pytest.mark.parametrize("size", [1, 10_000])
def test_erased_extras_are_gone_from_the_disk(path: Path, size: int) -> None:
    """This holds for extras within the page of their feedback, and for those that need pages of their own."""
    with open_storage(url_of(path)) as storage:
        storage.feedback.add(accepted(a_feedback("doomed"), extras="".join(f"<secret {n}>" for n in range(size))))
        storage.feedback.add(accepted(a_feedback("kept"), extras="".join(f"<harmless {n}>" for n in range(size))))
        assert storage.feedback.erase(FeedbackQuery(session_id="doomed"), at=NOON).feedback == 1
        found = contents(path.parent)
        assert b"<secret " not in found
        assert b"<harmless " in found


def test_erased_text_is_gone_from_the_disk_despite_readers(path: Path) -> None:
    """Concurrent readers do not keep erased text in the write-ahead log."""
    secret = "a very private matter that must not be readable again"
    done = threading.Event()
    with harken.connect(url_of(path)) as hk, ThreadPoolExecutor(2) as pool:
        hk.submit("doomed", "down", secret)

        def read() -> None:
            while not done.is_set():
                hk.feedback(limit=10)

        readers = [pool.submit(read) for _ in range(2)]
        try:
            hk.collection.erase(hk.query(session_id="doomed").in_any_state())
        finally:
            done.set()
        for reader in readers:
            reader.result()
        hk.submit("other", "up")
        assert secret.encode() not in contents(path.parent)


def test_deleted_metadata_is_gone_from_the_disk(path: Path) -> None:
    """No file of the database contains deleted metadata."""
    with harken.connect(url_of(path)) as hk:
        hk.sessions.update("default", "session", {"phone": "a number that is nobody's business"})
        hk.sessions.delete("default", "session")
        assert b"nobody's business" not in contents(path.parent)
        hk.sessions.update("default", "session", {"user": {"name": "Ann", "phone": "nobody's business"}, "turns": 1})
        hk.sessions.delete("default", "session", ["user.phone"], paths=True)
        assert b"nobody's business" not in contents(path.parent)


@pytest.mark.slow
def test_a_damaged_file_keeps_its_log(path: Path) -> None:
    """A damaged file and the log of its last writes are not changed, so that they can be repaired."""
    script = """
import os, sys, harken
hk = harken.connect(sys.argv[1])
for number in range(200):
    hk.submit(f"session-{number}", "up", "some words " * 40)
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script, url_of(path)], check=True)
    content = bytearray(path.read_bytes())
    content[8192:40960] = Random(1).randbytes(32768)
    path.write_bytes(content)
    log = path.with_name(f"{path.name}-wal")
    before = (path.read_bytes(), log.read_bytes())
    with pytest.raises(StorageCorrupt, match="left untouched"):
        harken.connect(url_of(path))
    assert (path.read_bytes(), log.read_bytes()) == before


def test_an_impossible_name_raises_a_storage_error(tmp_path: Path) -> None:
    """Names that the operating system refuses raise Harken's error."""
    with pytest.raises(StorageUnavailable, match="cannot be"):
        harken.connect(url_of(tmp_path / ("a" * 300)))


# --- concurrency -----------------------------------------------------------------------------------------------------


def test_a_write_to_a_locked_file_times_out(path: Path) -> None:
    """While another process holds the write lock, reads succeed, and a write fails after its timeout."""
    fill(path, 3)
    with harken.connect(url_of(path, busy_timeout=0.05)) as hk:
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageUnavailable, match="locked by another process; nothing was written"):
            hk.submit("session", "up")
        assert hk.summary().total == 3
        other.execute("ROLLBACK")
        other.close()
        hk.submit("session", "up")
        assert hk.summary().total == 4


def test_a_read_that_fails_does_not_speak_of_writes(path: Path) -> None:
    """Another program can lock a file even for readers."""
    fill(path, 3)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageUnavailable, match="is locked by another process; try again") as caught:
            harken.connect(url_of(path, busy_timeout=0.05))
        assert "written" not in str(caught.value)


def test_a_write_waits_for_the_lock(path: Path) -> None:
    """A write to a locked file succeeds when the lock is released."""
    fill(path, 1)
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with harken.connect(url_of(path)) as hk:
        receipt = hk.submit_soon("session", "up")
        assert not receipt.done()
        other.execute("COMMIT")
        other.close()
        assert receipt.result(timeout=60).feedback.session_id == "session"


def test_reads_are_consistent(path: Path) -> None:
    """Statistics read during a write never contain half of a batch."""
    batches = [a_series(50, agent_id="helper") for _ in range(20)]
    done = threading.Event()
    totals = set()
    with open_storage(url_of(path)) as storage:

        def read() -> None:
            while not done.is_set():
                summary = storage.feedback.summarize(FeedbackQuery()).get(None)
                totals.add(summary.total if summary else 0)

        with ThreadPoolExecutor(2) as pool:
            readers = [pool.submit(read) for _ in range(2)]
            try:
                for batch in batches:
                    storage.feedback.add(accepted(*batch))
            finally:
                done.set()
        for reader in readers:
            reader.result()
    assert all(total % 50 == 0 for total in totals)


def test_a_closed_storage_raises(path: Path) -> None:
    """After closing, every call raises ``StorageClosed``, and closing again has no effect."""
    with open_storage(url_of(path)) as storage:
        storage.feedback.add(accepted(a_feedback()))
    with pytest.raises(StorageClosed):
        storage.feedback.find(FeedbackQuery(), limit=1)
    with pytest.raises(StorageClosed):
        storage.feedback.add(accepted(a_feedback()))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_a_forked_child_must_connect_again(path: Path) -> None:
    """A child process that uses its parent's storage gets ``StorageClosed``; the parent is not affected."""
    script = """
import os, sys, harken
hk = harken.connect(sys.argv[1])
hk.submit("parent", "up")
child = os.fork()
if child == 0:
    refused = 0
    for call in (hk.summary, lambda: hk.submit("child", "up")):
        try:
            call()
        except harken.StorageClosed:
            refused += 1
    hk.close()
    with harken.connect(sys.argv[1]) as own:
        own.submit("child", "up")
    os._exit(refused)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
hk.submit("parent", "up")
print(hk.summary().total)
"""
    done = subprocess.run([sys.executable, "-c", script, url_of(path)], capture_output=True, text=True, check=True)
    assert done.stdout == "3\n"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="only where processes fork")
def test_a_process_may_fork_at_any_time(path: Path) -> None:
    """Even while threads of the parent read or write, the child finds no lock that is never released."""
    script = """
import os, sys, threading, harken
hk = harken.connect(sys.argv[1])
ended = threading.Event()

def go_on(call):
    while not ended.is_set():
        call()

busy = [threading.Thread(target=go_on, args=[call]) for call in (lambda: hk.submit("parent", "up"), hk.summary)]
for thread in busy:
    thread.start()
for _ in range(15):
    child = os.fork()
    if child == 0:
        with harken.connect(sys.argv[1]) as own:
            own.submit("child", "up")
            own.collection.erase(own.query(session_id="missing"))
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
ended.set()
for thread in busy:
    thread.join()
print(hk.summary(session_id="child").total)
"""
    url = f"{url_of(path)}?busy_timeout=5"
    # Newer versions of Python warn about exactly this, as not all libraries support it.
    words = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", script, url]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("15\n", "")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="limits are set as POSIX has them")
def test_a_full_disk_loses_no_acknowledged_feedback(path: Path) -> None:
    """If the file cannot grow, submitting raises, acknowledged feedback stays, and reading works."""
    script = """
import resource, signal, sys, harken
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with harken.connect(sys.argv[1]) as hk:
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, 400_000))
    kept = 0
    try:
        while True:
            hk.submit(f"session-{kept}", "up", "some words " * 80)
            kept += 1
    except harken.StorageUnavailable:
        assert hk.summary().total == kept
        print(kept)
"""
    done = subprocess.run([sys.executable, "-c", script, url_of(path)], capture_output=True, text=True, check=True)
    with harken.connect(url_of(path)) as hk:
        assert hk.summary().total == int(done.stdout) > 0
        assert hk.check() == []
        hk.submit("session", "up")


def test_an_unknown_sqlite_error_is_a_storage_error(path: Path) -> None:
    """Errors of SQLite without a specific translation raise ``StorageError``."""
    with open_storage(url_of(path)) as storage:
        with sqlite3.connect(path) as other:
            other.execute("DROP TABLE session_metadata")
        other.close()
        with pytest.raises(StorageError, match="no such table"):
            storage.sessions.get("default", "session")
