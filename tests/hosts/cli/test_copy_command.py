"""The command copy."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harken import Feedback, FeedbackQuery
from harken.configuration.storage_urls import open_storage
from harken.testing import accepted
from harken.testing import strategies as hst
from shared_data import AIRLINES, needs_real_feedback

pytestmark = pytest.mark.slow

ONE, TWO = "sqlite:///one.db", "sqlite:///two.db"
COPY = ("copy", "--from", ONE, "--to", TWO)


def copy(cli: Any, *arguments: str, stdin: str = "") -> Any:
    """Copy the first storage into the second."""
    return cli(*COPY, *arguments, storage=None, stdin=stdin)


def copied_of(read: int, **others: int) -> dict[str, int]:
    """The counts of a copy."""
    nothing = dict.fromkeys(("added", "updated", "duplicates", "conflicts", "extra", "removed"), 0)
    return {"read": read, **nothing, **others}


def exported(cli: Any, folder: Path, storage: str) -> list[bytes]:
    """The export of each application, with feedback in any state."""
    files = [folder / f"{name}.jsonl" for name in hst.APPLICATIONS]
    for name, file in zip(hst.APPLICATIONS, files, strict=True):
        assert cli("--application", name, "export", str(file), "--all", storage=storage).code == 0
    return [file.read_bytes() for file in files]


def with_history(data: st.DataObject, url: str, batch: list[Feedback]) -> None:
    """Add feedback, and change it at random."""
    with open_storage(url) as storage:
        storage.feedback.add(accepted(*batch))
        for name in hst.APPLICATIONS:
            for feedback in storage.feedback.stream(FeedbackQuery(application=name, author="ann").in_any_state()):
                storage.feedback.replace(data.draw(hst.later_versions(feedback)), [])
        storage.sessions.update("other", "session", data.draw(hst.metadata()))


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(hst.feedback_entries(), min_size=8, max_size=30), data=st.data())
def test_a_copy_exports_the_same_bytes(cli: Any, tmp_path: Path, batch: list[Feedback], data: st.DataObject) -> None:
    """The exports of a copy equal those of the original, for any history and application."""
    for file in tmp_path.glob("*.db*"):
        file.unlink()
    with_history(data, ONE, batch)
    assert copy(cli).code == 0
    assert exported(cli, tmp_path, TWO) == exported(cli, tmp_path, ONE)


@needs_real_feedback
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(hst.feedback_entries(), min_size=8, max_size=30), data=st.data())
def test_a_copy_of_real_feedback_exports_the_same_bytes(
    cli: Any, tmp_path: Path, batch: list[Feedback], data: st.DataObject
) -> None:
    """The same for 9,760 real messages and changed, withdrawn, moderated and voted feedback."""
    real = tmp_path / "real"
    if not real.exists():
        cli("import", str(AIRLINES), "--rejected", "rejected.jsonl", storage="sqlite:///real")
    for file in tmp_path.glob("*.db*"):
        file.unlink()
    shutil.copy(real, tmp_path / "one.db")
    with_history(data, ONE, batch)
    report = copy(cli, "--json").json["feedback"]
    assert report["read"] == report["added"] >= 9_761
    original = exported(cli, tmp_path, ONE)
    assert exported(cli, tmp_path, TWO) == original
    again = copy(cli, "--json").json["feedback"]
    assert (again["added"], again["duplicates"], again["conflicts"]) == (0, report["read"], 0)
    assert exported(cli, tmp_path, TWO) == original
    for url in (ONE, TWO):
        assert cli("doctor", storage=url).code == 0


def test_a_copy_prints_counts(cli: Any, tmp_path: Path) -> None:
    """The counts add up, and in a second copy everything is unchanged."""
    cli("submit", "s", "up", storage=ONE)
    cli("--application", "other", "submit", "s", "down", "slow", storage=ONE)
    with open_storage(ONE) as storage:
        storage.sessions.update("other", "s", {"tier": "gold", "age": 7})
        storage.conversations.put_agent("other", "s", "helper", {})
        storage.conversations.append("other", "s", "helper", 0, {"role": "user"})
    ran = copy(cli, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json == {
        "feedback": copied_of(2, added=2),
        "metadata": copied_of(2, added=2),
        "conversations": copied_of(2, added=2),
        "other_applications": [],
        "rejected_file": None,
        "earlier_rejected_file": None,
        "seconds": ran.json["seconds"],
    }
    lines = copy(cli).out.splitlines()
    assert lines[0].startswith("Feedback: 2 read: 0 added, 0 updated, 2 unchanged, 0 conflicting; ")
    assert lines[1:] == [
        "Metadata values: 2 read: 0 added, 0 updated, 2 unchanged, 0 conflicting",
        "Agent messages and states: 2 read: 0 added, 0 updated, 2 unchanged, 0 conflicting",
    ]
    assert not list(tmp_path.glob("*.jsonl"))


def test_only_the_selected_application_is_copied(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """--application selects one; HARKEN_APPLICATION is ignored."""
    for name in ("default", "other"):
        cli("--application", name, "submit", "s", "up", storage=ONE)
    monkeypatch.setenv("HARKEN_APPLICATION", "nobody")
    assert cli("--application", "other", *COPY, "--json", storage=None).json["feedback"]["added"] == 1
    assert copy(cli, "--json").json["feedback"] == copied_of(2, added=1, duplicates=1)


def test_conflicts_are_written_to_a_file(cli: Any, tmp_path: Path) -> None:
    """The target keeps its values; conflicts are in a file, which a copy without differences removes."""
    kept = cli("submit", "s", "up", "first", "--key", "k", "--json", storage=TWO).json["id"]
    with open_storage(ONE) as one, open_storage(TWO) as two:
        one.sessions.update("default", "s", {"tier": "gold"})
        two.sessions.update("default", "s", {"tier": "free"})
        for storage, words in ((one, "Hello"), (two, "Bye")):
            storage.conversations.put_agent("default", "s", "helper", {"says": words})
            storage.conversations.append("default", "s", "helper", 0, {"text": words})
    lost = cli("submit", "s", "down", "second", "--key", "k", "--json", storage=ONE).json["id"]
    cli("submit", "s", "up", storage=ONE)
    ran = copy(cli, "--json")
    report = ran.json
    assert ran.code == 3
    assert report["feedback"] == copied_of(2, added=1, conflicts=1, extra=1)
    assert report["metadata"] == copied_of(1, conflicts=1)
    assert report["conversations"] == copied_of(2, conflicts=2)
    assert report["rejected_file"] == "copy.rejected.jsonl"
    feedback, value, state, message, extra = map(
        json.loads, (tmp_path / "copy.rejected.jsonl").read_text().splitlines()
    )
    assert (feedback["application"], feedback["reason"], feedback["row"]["id"]) == (
        "default",
        f"Its idempotency key is taken by other feedback, {kept}",
        lost,
    )
    assert value == {
        "application": "default",
        "reason": 'metadata.tier has another value already, which was kept: "free"',
        "row": {"session_id": "s", "metadata": {"tier": "gold"}},
    }
    assert [one["reason"] for one in (state, message)] == ["the target has another value, which was kept"] * 2
    assert state["row"] == {"session_id": "s", "agent_id": "helper", "knows": {"says": "Hello"}}
    assert message["row"] == {"session_id": "s", "agent_id": "helper", "number": 0, "message": {"text": "Hello"}}
    # Only the id, as the content may have been erased from the source.
    assert extra["row"] == {"session_id": "s", "id": kept}
    assert "5 differences, with reasons, in elsewhere.jsonl" in copy(cli, "--rejected", "elsewhere.jsonl").out
    cli("erase", kept, "--yes", storage=TWO)
    with open_storage(TWO) as two:
        two.sessions.delete("default", "s")
        two.conversations.erase("default", "s")
    again = copy(cli, "--json")
    assert (again.code, again.json["rejected_file"]) == (0, None)
    assert (tmp_path / "copy.rejected.jsonl").exists()
    assert (tmp_path / "elsewhere.jsonl").exists()


def test_a_mirror_asks_before_it_removes(cli: Any, tmp_path: Path) -> None:
    """The question has the counts; without a yes nothing is removed or copied; --yes skips the question."""
    ids = [cli("submit", f"s-{n}", "up", "--json", storage=ONE).json["id"] for n in range(5)]
    with open_storage(ONE) as storage:
        storage.sessions.update("default", "s-0", {"tier": "gold"})
        storage.conversations.append("default", "s-0", "helper", 0, {})
    assert copy(cli).code == 0
    for feedback_id in ids[:2]:
        cli("erase", feedback_id, "--yes", storage=ONE)
    with open_storage(ONE) as storage:
        storage.sessions.delete("default", "s-0")
        storage.conversations.erase("default", "s-0")
    cli("submit", "s-9", "up", storage=ONE)
    cli("moderate", "reject", ids[2], storage=ONE)
    for answer in ("", "n\n", "perhaps\n"):
        ran = copy(cli, "--mirror", stdin=answer)
        assert (ran.code, ran.out) == (1, "")
        asked = (
            "2 feedback entries of application 'default', 1 metadata value of application 'default', 1 conversation of"
        )
        assert asked in " ".join(ran.err.split())
        assert cli("stats", "--json", storage=TWO).json["total_feedbacks"] == 5
    before = exported(cli, tmp_path, TWO)
    without_mirror = copy(cli, "--json")
    assert without_mirror.code == 3
    assert without_mirror.json["feedback"] == copied_of(4, added=1, updated=1, duplicates=2, extra=2)
    assert exported(cli, tmp_path, TWO) != before
    ran = copy(cli, "--mirror", "--yes", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["feedback"] == copied_of(4, duplicates=4, removed=2)
    assert (ran.json["metadata"]["removed"], ran.json["conversations"]["removed"]) == (1, 1)
    assert exported(cli, tmp_path, TWO) == exported(cli, tmp_path, ONE)
    assert ran.json["rejected_file"] is None
    # There is nothing left to confirm.
    assert copy(cli, "--mirror").code == 0


def test_a_mirror_answered_with_yes_removes(cli: Any) -> None:
    """The answer y confirms."""
    erased = cli("submit", "s", "up", "--json", storage=ONE).json["id"]
    cli("submit", "s", "up", storage=ONE)
    copy(cli)
    cli("erase", erased, "--yes", storage=ONE)
    ran = copy(cli, "--mirror", stdin="y\n")
    assert ran.code == 0
    assert "1 removed from the target" in ran.out
    assert cli("show", erased, storage=TWO).code == 4


def test_a_mirror_asks_before_it_replaces(cli: Any) -> None:
    """The question has the counts of metadata and conversations that differ; without a yes they are kept."""
    cli("submit", "s", "up", storage=ONE)
    with open_storage(ONE) as one, open_storage(TWO) as two:
        for storage, words in ((one, "Hello"), (two, "Bye")):
            storage.sessions.update("default", "s", {"tier": words, "plan": words, "same": 1})
            storage.conversations.put_agent("default", "s", "helper", {"says": words})
            storage.conversations.append("default", "s", "helper", 0, {"text": words})
            storage.conversations.append("default", "s", "helper", 1, {"text": "same"})
    ran = copy(cli, "--mirror", stdin="n\n")
    asked = (
        "--mirror will permanently overwrite 2 metadata values of application 'default', "
        "2 agent messages and states of application 'default' in the target. Continue?"
    )
    assert (ran.code, ran.out) == (1, "")
    assert asked in " ".join(ran.err.split())
    with open_storage(TWO) as two:
        assert two.sessions.get("default", "s")["tier"] == "Bye"
    ran = copy(cli, "--mirror", "--json", stdin="y\n")
    assert (ran.code, ran.json["metadata"]["updated"], ran.json["conversations"]["updated"]) == (0, 2, 2)
    # There is nothing left to confirm.
    assert copy(cli, "--mirror").code == 0


def test_an_empty_source_erases_nothing(cli: Any) -> None:
    """Not with --application and not with --yes, only with --allow-empty-source, which also asks."""
    kept = cli("submit", "s", "up", "--json", storage=TWO).json["id"]
    cli("--application", "other", "submit", "s", "up", storage=ONE)
    for before in ((), ("--application", "default")):
        ran = cli(*before, *COPY, "--mirror", "--yes", storage=None)
        assert ran.code == 3
        assert "Applications only in the target: 'default'" in ran.out
    named = ("--application", "default", *COPY, "--mirror", "--allow-empty-source")
    assert cli(*named, storage=None).code == 1
    assert cli("show", kept, storage=TWO).code == 0
    assert cli(*named, "--yes", storage=None).code == 0
    assert cli("show", kept, storage=TWO).code == 4


@pytest.mark.parametrize("before", [(), ("--application", "default")])
def test_a_source_that_does_not_exist_is_an_error(cli: Any, tmp_path: Path, before: tuple[str, ...]) -> None:
    """A mistyped path is not an empty source: nothing is created, and nothing is removed from the target."""
    kept = cli("submit", "s", "up", "--json", storage=TWO).json["id"]
    (tmp_path / "empty.db").touch()
    for name, state in (("tpyo.db", "does not exist"), ("empty.db", "is empty")):
        ran = cli(*before, "copy", "--from", f"sqlite:///{name}", "--to", TWO, "--mirror", "--yes", storage=None)
        assert (ran.code, ran.out) == (5, "")
        assert f"{name} {state}; check the path" in " ".join(ran.err.split())
    assert cli("show", kept, storage=TWO).code == 0
    assert [file.name for file in tmp_path.glob("tpyo*")] == []
    assert (tmp_path / "empty.db").stat().st_size == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("copy", "--to", TWO), "Missing option '--from'"),
        (("copy", "--from", ONE), "Missing option '--to'"),
        (("copy", "--from", ONE, "--to", "sqlite:///./one.db"), "are the same storage; choose another target"),
        (("copy", "--from", ONE, "--to", "two.db"), "'two.db' is not a storage URL"),
        (("copy", "--from", "nope://x", "--to", TWO), "No installed package supports nope://"),
        (("--storage", ONE, *COPY), "omit --storage"),
        ((*COPY, "--mirror", "--allow-empty-source"), "--allow-empty-source needs --mirror and --application"),
        (("--application", "a", *COPY, "--allow-empty-source"), "--allow-empty-source needs --mirror"),
        ((*COPY, "--rejected", "two.db"), "two.db is an SQLite database"),
        ((*COPY, "--rejected", "one.db"), "one.db is an SQLite database"),
    ],
)
def test_wrong_usage_says_what_to_type(cli: Any, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    """The exit code is 2, the error says what to change, and nothing is copied."""
    cli("submit", "s", "up", storage=ONE)
    ran = cli(*arguments, storage=None)
    assert (ran.code, ran.out) == (2, "")
    assert message in " ".join(ran.err.split())
    with open_storage(TWO) as target:
        assert target.feedback.applications() == []


def test_an_unreadable_storage(cli: Any, tmp_path: Path) -> None:
    """An error of either storage has exit code 5 and names the file."""
    (tmp_path / "one.db").write_text("no database")
    ran = copy(cli)
    assert (ran.code, ran.out) == (5, "")
    assert "one.db is not an SQLite database" in ran.err
