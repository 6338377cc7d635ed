"""The command migrate."""

import json
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bson
import pytest
from attrs import field, frozen
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

import harken
from harken import FeedbackQuery, StorageUnavailable
from harken_adapters.formats import mongodb
from harken_adapters.formats.migrated_collections import is_migrated
from session_documents import Document, Expected, session_documents

MIGRATE = ("migrate", "mongodb-sessions", "--from", "mongodb://host/db", "--collection", "sessions")


@frozen
class FakeSource:
    """Documents of a collection, optionally followed by an error."""

    found: list[Document]
    error: BaseException | None = None
    database: str = "db"
    collection_id: str = "id"
    asked: list[str | None] = field(factory=list)

    def count(self) -> int:
        """The number of documents."""
        return len(self.found)

    def documents(self, fields: Sequence[str], after: str | None = None) -> Iterator[Document]:
        """All documents; then the error, after the second time, when they are imported."""
        self.asked.append(after)
        for document in self.found:
            yield {name: document[name] for name in fields if name in document}
        if self.error and len(self.asked) > 1:
            raise self.error

    @contextmanager
    def opened(self, *_: object, **__: object) -> Iterator["FakeSource"]:
        """Replaces ``mongodb.open_collection``."""
        yield self


Given = Callable[..., FakeSource]


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Given:
    """Replaces the database by documents."""

    def give(*documents: Document, error: BaseException | None = None) -> FakeSource:
        source = FakeSource(list(documents), error)
        monkeypatch.setattr(mongodb, "open_collection", source.opened)
        return source

    return give


def rejects(folder: Path, name: str = "sessions.rejected.jsonl") -> list[Any]:
    """The rejected entries."""
    return [json.loads(line) for line in (folder / name).read_text(encoding="ascii").splitlines()]


# --- without a database -----------------------------------------------------------------------------------------------


COUNTS = ("read", "added", "duplicates", "rejected")


def counts(record: Any) -> list[int]:
    """The number of entries that were read, added, duplicates and rejected."""
    return [record[name] for name in COUNTS]


def test_a_migration_prints_counts(cli: Any, given: Given, tmp_path: Path) -> None:
    """Rejected entries are written to a file, each with its session, position and reason; the exit code is 3."""
    given(
        {
            "_id": "s",
            "feedbacks": [{"rating": "up"}, {"rating": "up", "comment": ["a"]}],
            "metadata": {"tier": "gold", "n\x07": 1},
        },
        {"_id": "t"},
    )
    ran = cli(*MIGRATE, "--json")
    assert (ran.code, ran.err) == (3, "")
    assert (ran.json["documents"], ran.json["rejected_file"]) == (2, "sessions.rejected.jsonl")
    assert (counts(ran.json["feedback"]), counts(ran.json["metadata"])) == ([2, 1, 0, 1], [2, 1, 0, 1])
    assert ran.json["understood"]["fields"] == {"rating": "rating", "comment": "comment", "session_id": "session_id"}
    reason = "comment must be a string, got list"
    place = {"application": "default", "session": "s"}
    name = rejects(tmp_path)[0]["reason"]
    assert name.startswith("metadata name 'n\\x07'")
    assert rejects(tmp_path) == [
        {**place, "position": None, "reason": name, "row": {"metadata": {"n\x07": 1}}},
        {**place, "position": 1, "reason": reason, "row": {"rating": "up", "comment": ["a"]}},
    ]
    lines = cli(*MIGRATE).out.splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("2 sessions read in "))
    assert lines[0] == "sessions: feedback in documents; 2 rows"
    assert lines[start + 1 :] == [
        "Sessions by application: default 2",
        "Feedback of default: 2 read: 0 added, 1 duplicate, 1 rejected",
        "values            read  added  duplicates  rejected",
        "sessions             0      0           0         0",
        "agents               0      0           0         0",
        "messages             0      0           0         0",
        "guardrail events     0      0           0         0",
        "feedback             2      0           1         1",
        "metadata             2      0           1         1",
        "",
        "Reasons for rejected rows:",
        f"  1  {reason} (session s)",
        f"  1  {name} (session s)",
        "Passwords for the session viewer are not migrated: they are secrets of another application",
        "Rejected values, with reasons, are in sessions.rejected.jsonl",
    ]
    given({"_id": "s", "feedbacks": [{"rating": "up"}]})
    clean = cli(*MIGRATE, "--json").json
    assert (clean["rejected_file"], clean["earlier_rejected_file"]) == (None, "sessions.rejected.jsonl")
    assert len(rejects(tmp_path)) == 2


@pytest.mark.parametrize(
    ("documents", "code", "message"),
    [
        (
            [{"_id": "s", "feedbacks": [7], "metadata": {"n\x07": 1}}],
            2,
            "nothing was imported; see sessions.rejected.jsonl",
        ),
        ([{"_id": "s", "feedbacks": [7]}, {"_id": "t"}], 2, "nothing was imported; see sessions.rejected.jsonl"),
        ([{"_id": "s", "feedbacks": [{"rating": "up"}], "metadata": {"n\x07": 1}}], 3, ""),
        ([{"_id": "s", "feedbacks": [7], "metadata": {"tier": "gold"}}], 3, ""),
        ([{"_id": "s", "feedbacks": [{"rating": "up"}]}], 0, ""),
        ([{"_id": "s", "feedbacks": []}], 2, "No document of 'sessions' has agents, feedback or metadata"),
        ([], 2, "No document of 'sessions' has agents, feedback or metadata"),
    ],
)
def test_the_exit_code(cli: Any, given: Given, documents: list[Document], code: int, message: str) -> None:
    """0 if everything is imported, 3 if something was rejected, 2 if nothing was imported; also in a second run."""
    for _ in range(2):
        given(*documents)
        ran = cli(*MIGRATE)
        assert (ran.code, message in ran.err) == (code, True)


def test_whole_sessions_are_migrated(cli: Any, given: Given, tmp_path: Path) -> None:
    """Each kind of value is counted, also as JSON; what is rejected has its place; passwords are not migrated."""
    numbers = (0, 1, 1, 2)
    messages: list[Any] = [{"message_id": number, "role": "user", "content": f"{number}"} for number in numbers]
    document = {
        "_id": "s",
        "session_type": "AGENT",
        "session_viewer_password": "secret",
        "agents": {"helper": {"agent_data": {"state": {}}, "messages": [*messages, "lost"]}, "session:x": {}},
        "guardrail_events": [7],
    }
    given(document)
    ran = cli(*MIGRATE, "--json")
    assert (ran.code, ran.json["renumbered"], ran.json["not_migrated"]) == (3, 2, ["session_viewer_password"])
    kinds = ("sessions", "agents", "messages", "guardrail_events", "feedback", "metadata")
    found = [counts(ran.json[kind]) for kind in kinds]
    assert found == [[1, 1, 0, 0], [2, 1, 0, 1], [5, 4, 0, 1], [1, 0, 0, 1], [0] * 4, [0] * 4]
    assert [row["row"] for row in rejects(tmp_path)] == [
        {"agent": "helper", "message": "lost"},
        {"agent": "session:x", "value": {}},
        {"guardrail_event": 7},
    ]
    out = cli(*MIGRATE).out
    assert re.search(r"^messages +5 +0 +4 +1$", out, re.MULTILINE)
    assert "2 messages have another number than in the documents" in out
    assert not any("secret" in path.read_text(errors="replace") for path in tmp_path.iterdir())


def test_a_migrated_collection_is_marked(cli: Any, given: Given) -> None:
    """At the end of a migration, so that session managers open it.

    Not in a dry run, nor with --after, nor if nothing was accepted.
    """

    def is_marked() -> bool:
        with harken.connect("sqlite:///feedback.db") as hk:
            return is_migrated(hk.state, "db", "sessions", "id")

    given({"_id": "s", "session_type": "AGENT", "feedbacks": [7]})
    cli(*MIGRATE, "--dry-run")
    assert not is_marked()
    given({"_id": "s", "feedbacks": [7]})
    assert cli(*MIGRATE).code == 2
    assert not is_marked()
    given({"_id": "s", "session_type": "AGENT"}, error=KeyboardInterrupt())
    assert cli(*MIGRATE).code == 130
    assert not is_marked()
    given({"_id": "s", "session_type": "AGENT"})
    assert "Repeat the migration without --after" in cli(*MIGRATE, "--after", "r").err
    assert not is_marked()
    given({"_id": "s", "session_type": "AGENT", "feedbacks": [7]})
    assert cli(*MIGRATE).code == 3
    assert is_marked()


def test_each_application_has_a_line(cli: Any, given: Given) -> None:
    """And the total follows."""
    given(
        {"_id": "s", "application_name": "shop", "feedbacks": [{"rating": "up"}]},
        {"_id": "t", "feedbacks": [{"rating": 1}]},
    )
    out = cli(*MIGRATE).out
    assert "Sessions by application: shop 1, default 1\n" in out
    assert "Feedback of shop: 1 read: 1 added, 0 duplicates, 0 rejected\n" in out
    assert "Feedback of default: 1 read: 0 added, 0 duplicates, 1 rejected\n" in out
    assert re.search(r"^feedback +2 +1 +0 +1$", out, re.MULTILINE)


def test_ratings_and_dates_are_read_as_in_an_import(cli: Any, given: Given) -> None:
    """Scales, single values and zones; a mapped name that occurs nowhere is refused, as is an ambiguous column."""
    documents = [{"_id": "s", "feedbacks": [{"stars": 5, "at": "2026-01-01T00:00"}, {"stars": 1, "at": "2026-01-01"}]}]
    given(*documents)
    ran = cli(*MIGRATE, "--map", "rating=score")
    assert (ran.code, "Column 'score', which is mapped to rating, is missing" in ran.err) == (2, True)
    given(*documents)
    ran = cli(*MIGRATE, "--map", "rating=stars")
    assert (ran.code, "--scale stars" in ran.err) == (2, True)
    given(*documents)
    options = ("--map", "rating=stars", "--scale", "stars", "--map", "created_at=at", "--zone", "Asia/Tokyo")
    assert cli(*MIGRATE, *options).code == 0
    with harken.connect("sqlite:///feedback.db") as hk:
        assert {one.rating.word for one in hk.export()} == {"up", "down"}
        assert {f"{one.created_at:%d %H:%M}" for one in hk.export()} == {"31 15:00"}


@pytest.mark.parametrize(
    ("error", "code"), [(StorageUnavailable("MongoDB does not answer: gone"), 5), (KeyboardInterrupt(), 130)]
)
def test_an_interrupted_migration_says_how_to_continue(
    cli: Any, given: Given, tmp_path: Path, error: BaseException, code: int
) -> None:
    """The message has the last complete session; the file keeps the entries rejected before."""
    documents = [{"_id": f"it's {number:04}", "feedbacks": [{"rating": "up"}]} for number in range(1_500)]
    documents[0]["feedbacks"] = [{"rating": "meh"}]
    source = given(*documents, error=error)
    ran = cli(*MIGRATE)
    assert ran.code == code
    assert "1,000 sessions are done; continue with --after 'it'\"'\"'s 0999'" in ran.err
    assert cli("stats", "--json").json["total_feedbacks"] == 999
    given(*documents[1_000:], {"_id": "last", "feedbacks": [7]})
    source = given(*documents[1_000:], {"_id": "last", "feedbacks": [7]})
    assert cli(*MIGRATE, "--after", "it's 0999", "--json").json["feedback"]["added"] == 500
    assert source.asked == ["it's 0999"] * 2
    assert [(row["session"], row["position"]) for row in rejects(tmp_path)] == [("it's 0000", 0), ("last", 0)]
    given({"_id": "z", "feedbacks": []})
    assert cli(*MIGRATE, "--after", "last").code == 0
    assert len(rejects(tmp_path)) == 2


def test_error_at_the_start(cli: Any, given: Given) -> None:
    """If nothing is done yet the message has no --after; with --json an error is one JSON document."""
    given(error=StorageUnavailable("MongoDB does not answer: gone"))
    error = cli(*MIGRATE, "--json").error
    assert (error["error"], error["message"]) == ("StorageUnavailable", "MongoDB does not answer: gone")
    given(error=KeyboardInterrupt())
    ran = cli(*MIGRATE)
    assert (ran.code, ran.out, ran.err) == (130, "", "")
    given({"_id": True}, error=KeyboardInterrupt())
    assert cli(*MIGRATE).err == ""


def test_options_shared_with_import(cli: Any, given: Given) -> None:
    """--map, --check-rules and --application work as in an import; --application overrides that of the documents."""
    given({"_id": "s", "application_name": "shop", "feedbacks": [{"text": "click here"}]})
    options = ("--map", "comment=text", "--json")
    strict = cli(*MIGRATE, *options, "--check-rules").json["feedback"]
    assert (strict["added"], strict["rejected"]) == (0, 1)
    assert cli(*MIGRATE, *options).json["feedback"]["added"] == 1
    assert cli("--application", "mine", *MIGRATE, *options).json["feedback"]["added"] == 1
    for application in ("shop", "mine"):
        assert "click here" in cli("--application", application, "list").out


def test_a_dry_run_writes_nothing(cli: Any, given: Given, tmp_path: Path) -> None:
    """All entries and metadata are checked and counted; the exit code is that of the migration."""
    document = {
        "_id": "s",
        "feedbacks": [
            {"rating": "up"},
            {"rating": "down", "comment": "click here"},
            {"rating": "up", "comment": ["a"]},
        ],
        "metadata": {"tier": "gold", "n\x07": 1},
    }
    given(document)
    ran = cli(*MIGRATE, "--dry-run", "--json")
    assert (ran.code, ran.json["dry_run"], ran.json["rejected_file"]) == (3, True, None)
    assert (counts(ran.json["feedback"]), counts(ran.json["metadata"])) == ([3, 2, 0, 1], [2, 1, 0, 1])
    assert ran.json["feedback"]["rules_not_applied"] == {"spam phrases": 1}
    assert ran.json["applications"]["default"]["import_id"] is None
    assert [*tmp_path.iterdir()] == []
    assert cli(*MIGRATE, "--dry-run", "--check-rules", "--json").json["feedback"]["rejected"] == 2
    out = cli(*MIGRATE, "--dry-run").out
    assert "Feedback of default: 3 read: 2 would be imported, 1 rejected\n" in out
    assert out.endswith("This was a dry run: nothing was written, and duplicates were not looked up\n")
    given({"_id": "s", "feedbacks": [7]})
    ran = cli(*MIGRATE, "--dry-run")
    assert (ran.code, ran.err) == (2, "Error: Everything was rejected, nothing was imported\n")


def test_the_feedback_of_each_application_is_an_import(cli: Any, given: Given) -> None:
    """It is listed with its counts, and can be undone without the others, as the output says."""
    given(
        {"_id": "s", "application_name": "shop", "feedbacks": [{"rating": "up"}, {"rating": "down"}]},
        {"_id": "t", "feedbacks": [{"rating": 1}, {"rating": "up"}]},
        {"_id": "u", "application_name": "a\x00b", "feedbacks": [{"rating": "up"}]},
        {"_id": "v", "application_name": "empty", "feedbacks": []},
    )
    ran = cli(*MIGRATE, "--json")
    ids = {name: one["import_id"] for name, one in ran.json["applications"].items()}
    assert (set(ids), ids["a\x00b"]) == ({"shop", "default", "a\x00b"}, None)
    [shop] = cli("--application", "shop", "imports", "--json").json["items"]
    [default] = cli("imports", "--json").json["items"]
    assert cli("--application", "empty", "imports", "--json").json["items"] == []
    assert (shop["id"], default["id"]) == (ids["shop"], ids["default"])
    assert (counts(shop), counts(default)) == ([2, 2, 0, 0], [2, 1, 0, 1])
    assert (shop["files"], shop["finished_at"] is None) == (["sessions"], False)
    assert cli("--application", "shop", "erase", "--import", shop["id"], "--yes").code == 0
    assert [cli("--application", name, "stats", "--json").json["total_feedbacks"] for name in ("shop", "default")] == [
        0,
        1,
    ]
    last = cli(*MIGRATE).out.splitlines()[-1]
    [listed] = cli("--application", "shop", "imports", "--json").json["items"]
    assert last.startswith(f"Import {listed['id']}; to undo it: harken ")
    assert last.endswith(f" --application shop erase --import {listed['id']}")


def test_corrected_entries_are_imported_into_their_application(cli: Any, given: Given, tmp_path: Path) -> None:
    """Each rejected entry has its application; an import into another one rejects it, and says what to add."""
    given({"_id": "s", "application_name": "shop", "feedbacks": [{"score": 5}, {"score": 1}, {"score": 77}]})
    assert cli(*MIGRATE, "--map", "rating=score", "--scale", "stars").code == 3
    [rejected] = rejects(tmp_path)
    assert (rejected["application"], rejected["mapping"]["scale"]) == ("shop", "stars")
    path = tmp_path / "sessions.rejected.jsonl"
    path.write_text(path.read_text().replace("77", "4"))
    wrong = cli("import", path.name, "--rejected", "again.jsonl")
    assert wrong.code == 2
    assert "it belongs to application 'shop'; import it with --application shop" in " ".join(wrong.out.split())
    ran = cli("--application", "shop", "import", "again.jsonl", "--json")
    assert (ran.code, ran.json["added"]) == (0, 1)
    assert cli("--application", "shop", "import", path.name, "--json").json["duplicates"] == 1
    assert cli("--application", "shop", "stats", "--json").json["positive"] == 2


def test_entries_that_are_rejected_again_keep_their_session(cli: Any, given: Given, tmp_path: Path) -> None:
    """Also what is not an object, and what can only be corrected elsewhere: corrected later, it is in its session."""
    given({"_id": "s9", "feedbacks": ["great!", {"rating": "up", "comment": ["a"]}], "metadata": {"n\x07": 1}})
    assert cli(*MIGRATE, "--set", "author=ann").code == 2
    assert cli("import", "sessions.rejected.jsonl", "--rejected", "again.jsonl").code == 2
    places = [{name: row[name] for name in row.keys() - {"reason", "row"}} for row in rejects(tmp_path)]
    again = rejects(tmp_path, "again.jsonl")
    assert [{name: row[name] for name in row.keys() - {"reason", "row"}} for row in again] == places
    path = tmp_path / "again.jsonl"
    path.write_text(path.read_text().replace('"great!"', '{"rating": "down"}'))
    assert cli("import", path.name, "--json").json["added"] == 1
    with harken.connect("sqlite:///feedback.db") as hk:
        [entry] = hk.collection.stream(hk.query())
    assert (entry.session_id, entry.author, entry.rating.word) == ("s9", "ann", "down")


def test_entries_with_another_mapping_are_refused(cli: Any, given: Given) -> None:
    """The entries of each application are recognised, and the message says how to undo the earlier migration."""
    given(
        {"_id": "s", "application_name": "shop", "feedbacks": [{"score": 5, "text": "hi"}]},
        {"_id": "t", "feedbacks": [{"score": 1, "text": "ho"}]},
    )
    assert cli(*MIGRATE, "--map", "comment=text", "--set", "rating=neutral").code == 0
    ran = cli(*MIGRATE, "--map", "comment=text", "--map", "rating=score", "--scale", "stars")
    assert (ran.code, "with another mapping" in ran.err) == (2, True)
    words = shlex.split(ran.err.partition("or undo it with ")[2].replace("\n", " "))
    assert words[-5:-1] == ["--application", "shop", "erase", "--import"]
    assert cli(*words[-5:], "--yes").code == 0
    assert cli(*MIGRATE, "--map", "comment=text", "--set", "rating=neutral", "--json").json["feedback"]["added"] == 1


def test_a_named_import_can_be_continued_with_the_same_options(cli: Any, given: Given) -> None:
    """Its counts are added up; other options are refused, as is an invalid id, and nothing is stored."""
    document = {"_id": "s", "feedbacks": [{"rating": "up"}, {"rating": "down"}]}
    given(document)
    for _ in range(2):
        assert cli(*MIGRATE, "--import-id", "mine").code == 0
    [listed] = cli("imports", "--json").json["items"]
    assert (listed["id"], counts(listed)) == ("mine", [4, 2, 2, 0])
    ran = cli(*MIGRATE, "--import-id", "mine", "--set", "author=ann")
    assert (ran.code, "with another mapping" in ran.err) == (2, True)
    assert cli(*MIGRATE, "--import-id", "").code == 2
    assert cli("stats", "--json").json["total_feedbacks"] == 2


def test_an_interrupted_migration_can_be_undone(cli: Any, given: Given) -> None:
    """Its import is listed as unfinished, with the counts of what is stored."""
    documents = [{"_id": f"s{number:04}", "feedbacks": [{"rating": "up"}]} for number in range(1_500)]
    given(*documents, error=KeyboardInterrupt())
    assert cli(*MIGRATE).code == 130
    [listed] = cli("imports", "--json").json["items"]
    assert (counts(listed), listed["finished_at"]) == ([1_000, 1_000, 0, 0], None)
    assert cli("erase", "--import", listed["id"], "--yes", "--json").json["removed"]["feedback"] == 1_000


def test_values_for_entries_without_a_field(cli: Any, given: Given) -> None:
    """--set works as in an import."""
    given({"_id": "s", "feedbacks": [{"rating": "up"}, {"rating": "up", "author": "bob"}]})
    assert cli(*MIGRATE, "--set", "author=ann").code == 0
    with harken.connect("sqlite:///feedback.db") as hk:
        assert {one.author for one in hk.export()} == {"ann", "bob"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--map", "comment"), "'comment' has no '='"),
        (("--map", "colour=red"), "Unknown field 'colour'"),
        (("--map", "session_id=key"), "session_id is always read from _id"),
        (("--set", "session_id=key"), "session_id is always read from _id"),
        (("--rejected", "feedback.db"), "feedback.db is an SQLite database"),
        (("--rejected", "no/where"), "choose another path with --rejected"),
    ],
)
def test_wrong_usage_says_what_to_type(cli: Any, given: Given, arguments: tuple[str, ...], message: str) -> None:
    """The exit code is 2, and the error says what to change."""
    given({"_id": "s", "feedbacks": [7]})
    ran = cli(*MIGRATE, *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err


def test_rejected_entries_of_an_earlier_migration_are_kept(cli: Any, given: Given, tmp_path: Path) -> None:
    """Under another name, such as those of another database with the same collection."""
    given({"_id": "s", "feedbacks": [7]})
    cli(*MIGRATE)
    given({"_id": "t", "feedbacks": [8]})
    ran = cli(*MIGRATE)
    assert "Rejected rows of an earlier run differ, and are now in sessions.rejected.1.jsonl\n" in ran.out
    assert [rejects(tmp_path, f"sessions.rejected{one}.jsonl")[0]["session"] for one in (".1", "")] == ["s", "t"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_rejected_entries_that_cannot_be_written(cli: Any, given: Given) -> None:
    """The error names the file, and says how many entries were stored; the exit code is 1."""
    given({"_id": "s", "feedbacks": [{"rating": "up"}, {"rating": "up", "comment": ["a"]}]})
    ran = cli(*MIGRATE, "--rejected", "/dev/full")
    message = (
        "Cannot write rejected rows to /dev/full: No space left on device. 1 entry was stored; repeat the migration"
    )
    assert (ran.code, message in ran.err) == (1, True)


def test_the_default_file_of_rejected_entries(cli: Any, given: Given, tmp_path: Path) -> None:
    """It is named after the collection, without characters such as ``/``."""
    given({"_id": "s", "feedbacks": [7]})
    cli("migrate", "mongodb-sessions", "--from", "mongodb://host/db", "--collection", "../x y")
    assert len(rejects(tmp_path, ".._x_y.rejected.jsonl")) == 1


@pytest.mark.parametrize(
    ("url", "collection", "message"),
    [
        ("mongodb://127.0.0.1", "sessions", "The URL names no database; expected one such as mongodb://host/"),
        ("postgres://host/db", "sessions", "Invalid URI scheme"),
        ("mongodb://host:port/db", "sessions", "Port contains non-digit characters"),
        ("mongodb://me:s3:cret@host/db", "sessions", "must be escaped"),
        ("mongodb://127.0.0.1/db", "", "collection names cannot be empty"),
        ("mongodb://127.0.0.1/a b", "sessions", "Bad database name"),
    ],
)
def test_invalid_urls(cli: Any, url: str, collection: str, message: str) -> None:
    """The error names the problem, without the password and without a traceback."""
    ran = cli("migrate", "mongodb-sessions", "--from", url, "--collection", collection)
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert "cret" not in ran.err


def test_a_database_that_does_not_answer(cli: Any) -> None:
    """If no server answers, the exit code is 5 and the error is one line."""
    url = "mongodb://127.0.0.1:1/db?serverSelectionTimeoutMS=50"
    ran = cli("migrate", "mongodb-sessions", "--from", url, "--collection", "sessions")
    assert (ran.code, ran.out) == (5, "")
    assert ran.err.startswith("Error: MongoDB does not answer: 127.0.0.1:1: ")
    assert len(ran.err.splitlines()) == 1
    assert "Topology" not in ran.err


@pytest.mark.slow
def test_a_missing_extra_says_what_to_install() -> None:
    """Without PyMongo the error has the command that installs it."""
    program = "import sys; sys.modules['pymongo'] = None\nfrom harken_adapters.hosts.cli import main; sys.exit(main())"
    ran = subprocess.run([sys.executable, "-c", program, *MIGRATE], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert 'pip install "harken[mongodb]"' in ran.stderr
    assert "Traceback" not in ran.stderr


# --- with a database --------------------------------------------------------------------------------------------------


def filled(url: str, documents: Iterator[Document]) -> None:
    """Put sessions into a database."""
    with MongoClient[Document](url, uuidRepresentation="standard") as client:
        client.get_default_database()["sessions"].insert_many(documents)


def from_database(cli: Any, url: str, *arguments: str) -> Any:
    """Migrate the sessions of a database."""
    return cli("migrate", "mongodb-sessions", "--from", url, "--collection", "sessions", *arguments)


@pytest.mark.slow
def test_every_entry_of_a_database_is_accounted_for(cli: Any, mongodb_url: str, tmp_path: Path) -> None:
    """10,000 sessions with ids of many types and invalid entries: each entry is imported or rejected exactly once."""
    expected = Expected()
    filled(mongodb_url, session_documents(10_000, expected, seed=2))
    kept = expected.kept.total()
    report = from_database(cli, mongodb_url, "--json").json
    assert report["documents"] == 10_000
    rejected = expected.entries - kept
    assert counts(report["feedback"]) == [expected.entries, kept, 0, rejected]
    values_rejected = expected.values - expected.values_kept
    assert counts(report["metadata"]) == [expected.values, expected.values_kept, 0, values_rejected]
    assert Counter((row["session"], row["position"]) for row in rejects(tmp_path)) == Counter(expected.rejected)
    with harken.connect(f"sqlite:///{tmp_path}/feedback.db") as hk:
        stored = Counter(
            (name, feedback.session_id)
            for name in ("default", "shop")
            for feedback in hk.collection.stream(FeedbackQuery(application=name))
        )
        assert stored == expected.kept
    again = from_database(cli, mongodb_url, "--json").json
    assert (again["feedback"]["added"], again["feedback"]["duplicates"]) == (0, kept)
    assert again["metadata"]["added"] == 0


@pytest.mark.slow
def test_sessions_are_read_in_order_from_anywhere(mongodb_url: str) -> None:
    """For any type of id, reading continues exactly after it, even if its document was deleted."""
    ids: list[object] = [7, 7.5, bson.Int64(2**60), "65f0c0ffee65f0c0ffee65f0", "7", "a", "zz", '{"x', '"', {"k": 1}]
    ids += [b"bin", bson.ObjectId(), True, bson.DatetimeMS(0), bson.DatetimeMS(2**62), None]
    filled(mongodb_url, ({"_id": one} for one in ids))
    with mongodb.open_collection(mongodb_url, "sessions") as source:
        order = [document["_id"] for document in source.documents(["_id"])]
        assert (source.count(), len(order)) == (len(ids), len(ids))
        places = [mongodb.place_of(one) for one in order]
        assert [one for one, place in zip(order, places, strict=True) if place is None] == [None, True]
        for number, place in enumerate(places, 1):
            if place is not None:
                assert [document["_id"] for document in source.documents(["_id"], place)] == order[number:]
        assert [document["_id"] for document in source.documents(["_id"], "b")] == order[order.index("a") + 1 :]
        with pytest.raises(harken.ConfigurationError, match="is not a valid session"):
            list(source.documents(["_id"], "{nonsense"))


@pytest.mark.slow
def test_unreadable_values_affect_only_their_entry(cli: Any, mongodb_url: str, tmp_path: Path) -> None:
    """A date out of range or text that is not UTF-8 is rejected without affecting other entries."""
    entry: Document = {"rating": "up", "comment": "XXXX"}
    spoilt = bson.encode({"_id": "spoilt", "feedbacks": [entry, {"rating": "up"}]}).replace(b"XXXX", b"\xff\xfe!!")
    too_late = {"rating": "up", "created_at": bson.DatetimeMS(2**62)}
    filled(
        mongodb_url,
        iter([{"_id": "late", "feedbacks": [too_late, {"rating": "up", "created_at": bson.DatetimeMS(0)}]}]),
    )
    with MongoClient[Document](mongodb_url) as client:
        client.get_default_database().command({"insert": "sessions", "documents": [RawBSONDocument(spoilt)]})
    report = from_database(cli, mongodb_url, "--json").json["feedback"]
    assert counts(report) == [4, 2, 0, 2]
    late, text = rejects(tmp_path)
    assert (late["session"], late["position"]) == ("late", 0)
    assert late["reason"].startswith("created_at is not a date")
    assert (text["reason"], text["row"]["comment"]) == (
        "comment contains a lone surrogate, which is not valid Unicode text",
        "\udcff\udcfe!!",
    )


@pytest.mark.slow
def test_the_database_option(cli: Any, mongodb_url: str) -> None:
    """--database overrides the database in the URL; of a missing one, those that exist are named."""
    filled(mongodb_url, iter([{"_id": "s", "feedbacks": [{"rating": "up"}]}]))
    name = MongoClient[Document](mongodb_url, connect=False).get_default_database().name
    other = mongodb_url.replace(name, "other")
    ran = from_database(cli, other)
    assert (ran.code, ran.out) == (2, "")
    assert re.search(rf"Unknown database 'other'; expected one of .*{name}", " ".join(ran.err.split()))
    ran = cli("migrate", "mongodb-sessions", "--from", mongodb_url, "--collection", "nothing")
    assert f"Unknown collection 'nothing'; expected sessions in the database '{name}'" in " ".join(ran.err.split())
    assert from_database(cli, other, "--database", name, "--json").json["documents"] == 1
