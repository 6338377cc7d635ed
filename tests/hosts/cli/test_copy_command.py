"""copy, as it is typed."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harken import Feedback, FeedbackQuery
from harken.storage import open_storage
from harken.testing import accepted
from harken.testing import strategies as hst
from shared_data import AIRLINES, needs_real_feedback

pytestmark = pytest.mark.slow

ONE, TWO = "sqlite:///one.db", "sqlite:///two.db"
COPY = ("copy", "--from", ONE, "--to", TWO)


def copy(cli: Any, *arguments: str) -> Any:
    """Copy the first storage into the second."""
    return cli(*COPY, *arguments, storage=None)


def exported(cli: Any, folder: Path, storage: str) -> list[bytes]:
    """What is exported of each application, in any state."""
    files = [folder / f"{name}.jsonl" for name in hst.APPLICATIONS]
    for name, file in zip(hst.APPLICATIONS, files, strict=True):
        assert cli("--application", name, "export", str(file), "--all", storage=storage).code == 0
    return [file.read_bytes() for file in files]


def with_history(data: st.DataObject, url: str, batch: list[Feedback]) -> None:
    """Add feedback, and let much happen to it."""
    with open_storage(url) as storage:
        storage.feedback.add(accepted(*batch))
        for name in hst.APPLICATIONS:
            for feedback in storage.feedback.stream(FeedbackQuery(application=name, author="ann").in_any_state()):
                storage.feedback.replace(data.draw(hst.changed(feedback)), [])
        storage.sessions.update("other", "session", data.draw(hst.metadata()))


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(hst.feedbacks(), min_size=8, max_size=30), data=st.data())
def test_a_copy_exports_the_same_bytes(cli: Any, tmp_path: Path, batch: list[Feedback], data: st.DataObject) -> None:
    """Whatever happened to feedback, and in whatever application: the exports of a copy are those of the original."""
    for file in tmp_path.glob("*.db*"):
        file.unlink()
    with_history(data, ONE, batch)
    assert copy(cli).code == 0
    assert exported(cli, tmp_path, TWO) == exported(cli, tmp_path, ONE)


@needs_real_feedback
@settings(max_examples=3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batch=st.lists(hst.feedbacks(), min_size=8, max_size=30), data=st.data())
def test_a_copy_of_real_feedback_exports_the_same_bytes(
    cli: Any, tmp_path: Path, batch: list[Feedback], data: st.DataObject
) -> None:
    """9,760 real messages among feedback that was changed, withdrawn, moderated and voted: byte by byte the same."""
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


def test_a_copy_tells_what_became_of_everything(cli: Any, tmp_path: Path) -> None:
    """The tally adds up, and says of a second time that everything was there already."""
    cli("submit", "s", "up", storage=ONE)
    cli("--application", "other", "submit", "s", "down", "slow", storage=ONE)
    with open_storage(ONE) as storage:
        storage.sessions.update("other", "s", {"tier": "gold", "age": 7})
        storage.conversations.put_agent("other", "s", "helper", {})
        storage.conversations.append("other", "s", "helper", 0, {"role": "user"})
    ran = copy(cli, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json == {
        "feedback": {"read": 2, "added": 2, "duplicates": 0, "conflicts": 0},
        "metadata": {"read": 2, "added": 2, "duplicates": 0, "conflicts": 0},
        "conversations": {"read": 2, "added": 2, "duplicates": 0, "conflicts": 0},
        "rejected_file": None,
        "seconds": ran.json["seconds"],
    }
    lines = copy(cli).out.splitlines()
    assert lines[0].startswith("Feedback: 2 read: 0 added, 2 there already, 0 in conflict; ")
    assert lines[1:] == [
        "Values of metadata: 2 read: 0 added, 2 there already, 0 in conflict",
        "Messages of agents, and what these know: 2 read: 0 added, 2 there already, 0 in conflict",
    ]
    assert not list(tmp_path.glob("*.jsonl"))


def test_only_the_application_that_is_chosen(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """--application chooses one; a setting for other commands leaves nothing behind."""
    for name in ("default", "other"):
        cli("--application", name, "submit", "s", "up", storage=ONE)
    monkeypatch.setenv("HARKEN_APPLICATION", "nobody")
    assert cli("--application", "other", *COPY, "--json", storage=None).json["feedback"]["added"] == 1
    assert copy(cli, "--json").json["feedback"] == {"read": 2, "added": 1, "duplicates": 1, "conflicts": 0}


def test_conflicts_are_written_down(cli: Any, tmp_path: Path) -> None:
    """What the target has otherwise stays there; what was not copied lies in a file, until there is nothing left."""
    kept = cli("submit", "s", "up", "first", "--key", "k", "--json", storage=TWO).json["id"]
    with open_storage(ONE) as one, open_storage(TWO) as two:
        one.sessions.update("default", "s", {"tier": "gold"})
        two.sessions.update("default", "s", {"tier": "free"})
        for storage, words in ((one, "Hello"), (two, "Bye")):
            storage.conversations.put_agent("default", "s", "helper", {"says": words})
            storage.conversations.append("default", "s", "helper", 0, {"text": words})
    lost = cli("submit", "s", "down", "second", "--key", "k", "--json", storage=ONE).json["id"]
    cli("submit", "s", "up", storage=ONE)
    report = copy(cli, "--json").json
    assert report["feedback"] == {"read": 2, "added": 1, "duplicates": 0, "conflicts": 1}
    assert report["metadata"] == {"read": 1, "added": 0, "duplicates": 0, "conflicts": 1}
    assert report["conversations"] == {"read": 2, "added": 0, "duplicates": 0, "conflicts": 2}
    assert report["rejected_file"] == "copy.rejected.jsonl"
    feedback, value, knows, said = map(json.loads, (tmp_path / "copy.rejected.jsonl").read_text().splitlines())
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
    assert [one["reason"] for one in (knows, said)] == ["Something else is there already, which was kept"] * 2
    assert knows["row"] == {"session_id": "s", "agent_id": "helper", "knows": {"says": "Hello"}}
    assert said["row"] == {"session_id": "s", "agent_id": "helper", "number": 0, "message": {"text": "Hello"}}
    assert "Conflicts, with reasons: elsewhere.jsonl" in copy(cli, "--rejected", "elsewhere.jsonl").out
    cli("erase", kept, "--yes", storage=TWO)
    with open_storage(TWO) as two:
        two.sessions.delete("default", "s")
        two.conversations.erase("default", "s")
    assert copy(cli, "--json").json["rejected_file"] is None
    assert not (tmp_path / "copy.rejected.jsonl").exists()
    assert (tmp_path / "elsewhere.jsonl").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("copy", "--to", TWO), "Missing option '--from'"),
        (("copy", "--from", ONE), "Missing option '--to'"),
        (("copy", "--from", ONE, "--to", "sqlite:///./one.db"), "name the same storage; choose another one"),
        (("copy", "--from", ONE, "--to", "two.db"), "'two.db' is no storage URL"),
        (("copy", "--from", "nope://x", "--to", TWO), "No storage serves nope://"),
        (("--storage", ONE, *COPY), "leave out --storage"),
        ((*COPY, "--rejected", "two.db"), "two.db is an SQLite database"),
        ((*COPY, "--rejected", "one.db"), "one.db is an SQLite database"),
    ],
)
def test_wrong_usage_says_what_to_type(cli: Any, tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    """What cannot be meant ends with code 2 and the remedy, and nothing is copied."""
    cli("submit", "s", "up", storage=ONE)
    ran = cli(*arguments, storage=None)
    assert (ran.code, ran.out) == (2, "")
    assert said in " ".join(ran.err.split())
    assert cli("stats", "--json", storage=TWO).json["total_feedbacks"] == 0


def test_a_storage_that_cannot_be_read_is_told_of(cli: Any, tmp_path: Path) -> None:
    """Trouble of either storage ends with code 5 and says which file it is about."""
    (tmp_path / "one.db").write_text("no database")
    ran = copy(cli)
    assert (ran.code, ran.out) == (5, "")
    assert "one.db is not a SQLite database" in ran.err
