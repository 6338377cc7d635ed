"""The command erase for times, imports and applications, and the command imports."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import harken
from harken import Feedback, FeedbackQuery, ImportCounts, Summary
from harken.configuration.storage_urls import open_storage
from harken.domain.imports import MappingDigests
from support import NOON, ManualClock, a_feedback, a_submission, counting_ids, eventually

URL = "sqlite:///feedback.db"
DAY = timedelta(days=1)


def _store(feedback: Iterable[Feedback]) -> None:
    with harken.connect(URL) as hk:
        hk.collection.restore(list(feedback))


def _stored(application: str = "default") -> list[str]:
    with open_storage(URL) as storage:
        stored = storage.feedback.stream(FeedbackQuery(application=application).in_any_state())
        return sorted(one.id for one in stored)


@pytest.fixture
def three_days(cli: Any) -> list[Feedback]:
    """Feedback of three days: pending, withdrawn and approved."""
    given = [a_feedback(f"f{day}", session_id=f"s{day}", created_at=NOON + day * DAY, author="ann") for day in range(3)]
    _store(given)
    cli("moderate", "hold", "f0")
    with harken.connect(URL) as hk:
        hk.withdraw("f1")
    return given


def test_feedback_before_a_time_is_erased(cli: Any, three_days: list[Feedback]) -> None:
    """In any state; what was created at the time or later stays, and the statistics are those of it."""
    ran = cli("erase", "--before", "2026-03-06T12:00Z", stdin="n\n")
    assert ran.code == 1
    assert "Erase 2 feedback entries created before 2026-03-06 12:00:00Z permanently?" in ran.err
    assert cli("erase", "--before", "2026-03-06T12:00Z", "--yes").out == "Erased 2 feedback entries\n"
    assert _stored() == ["f2"]
    with harken.connect(URL) as hk:
        assert (hk.summary(), hk.check()) == (Summary.of(three_days[2]), [])
    ran = cli("erase", "--before", "2026-03-06T12:00Z", "--yes")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "Nothing to erase: no such feedback was created before 2026-03-06 12:00:00Z\n"


@pytest.mark.usefixtures("three_days")
@pytest.mark.parametrize("conditions", [("--author", "nobody"), ("--session", "s9"), ("--application", "typo")])
def test_a_time_does_not_hide_a_mistyped_condition(cli: Any, conditions: tuple[str, ...]) -> None:
    """What does not exist is reported, as without the time; what exists may have nothing that old."""
    ran = cli("erase", *conditions, "--before", "2030-01-01", "--yes")
    assert (ran.code, ran.err) == (4, "")
    assert ran.out == "Nothing to erase: no feedback matches the conditions other than --before\n"
    assert cli("erase", *conditions, "--before", "2030-01-01", "--yes", "--json").code == 4
    for existing in (("--author", "ann"), ("--session", "s0"), ("--application", "default"), ("f0",)):
        assert cli("erase", *existing, "--before", "2020-01-01", "--yes").code == 0


@pytest.mark.usefixtures("three_days")
def test_a_time_without_an_offset_is_in_the_zone(cli: Any) -> None:
    """As for the dates of other commands: 21:00 in Tokyo is noon in UTC."""
    question = cli("erase", "--before", "2026-03-06T21:00", "--zone", "Asia/Tokyo", stdin="n\n").err
    assert "created before 2026-03-06 12:00:00Z permanently?" in question
    assert "created before 2026-03-06 21:00:00Z permanently?" in cli("erase", "--before", "2026-03-06T21:00").err
    assert cli("erase", "--before", "2026-03-06", "--zone", "Mars").code == 2
    ran = cli("erase", "--before", "yesterday", "--zone", "Asia/Tokyo")
    assert (ran.code, "Invalid value for '--before'" in ran.err) == (2, True)


@pytest.mark.usefixtures("three_days")
def test_a_time_and_a_session_are_combined_with_and(cli: Any) -> None:
    """Then the conversation of the session stays, as it has no time."""
    with harken.connect(URL) as hk:
        hk.sessions.update("default", "s0", {"tier": "gold"})
    question = "Erase 1 feedback entry of session s0 of author ann created before 2026-03-06 00:00:00Z permanently?"
    assert question in cli("erase", "--before", "2026-03-06", "--session", "s0", "--author", "ann", stdin="y\n").err
    assert _stored() == ["f1", "f2"]
    with harken.connect(URL) as hk:
        assert hk.sessions.get("default", "s0") == {"tier": "gold"}


def test_a_mistyped_time_erases_nothing(cli: Any, three_days: list[Feedback]) -> None:
    """It is refused, with an example of a valid one."""
    ran = cli("erase", "--before", "06/03/2026", "--yes")
    assert ran.code == 2
    assert "is not an ISO 8601 date" in ran.err
    assert len(_stored()) == len(three_days)


@pytest.mark.parametrize("arguments", [("erase", "--application", "shop"), ("--application", "shop", "erase")])
def test_an_application_is_erased(cli: Any, arguments: tuple[str, ...], three_days: list[Feedback]) -> None:
    """Its feedback, conversations, metadata and imports; nothing of other applications."""
    _store([a_feedback("f0", application="shop")])
    with harken.connect(URL) as hk:
        hk.sessions.update("shop", "quiet", {"tier": "gold"})
        hk.conversations.append("shop", "quiet", "helper", 0, {"text": "Hello"})
        hk.imports.begin("shop")
    ran = cli(*arguments, stdin="\n")
    assert (ran.code, ran.out) == (1, "")
    assert "Erase everything of application shop permanently: 1 feedback entry, all conversations" in ran.err
    assert cli(*arguments, "--yes").out == "Erased 1 feedback entry, 1 message and 1 metadata key\n"
    assert (_stored("shop"), len(_stored())) == ([], len(three_days))
    assert cli("--application", "shop", "imports").out == "No imports\n"
    assert cli(*arguments, "--yes").code == 4


@pytest.mark.usefixtures("three_days")
def test_a_condition_limits_the_erasure_to_a_part_of_the_application(cli: Any) -> None:
    """With an id, a session, an author or a time, ``--application`` only says where it is."""
    _store([a_feedback("f0", application="shop"), a_feedback("f9", application="shop", session_id="t")])
    assert cli("erase", "f0", "--application", "shop", "--yes").code == 0
    assert (_stored("shop"), _stored()) == (["f9"], ["f0", "f1", "f2"])


@pytest.fixture
def imported(cli: Any) -> None:
    """Two imports, the second of which was interrupted, and other feedback."""
    clock = ManualClock()
    with harken.connect(URL, clock=clock, new_id=counting_ids()) as hk:
        for import_id, files in (("march", ["a.csv"]), ("april", ["b.csv", "c.csv", "d.csv"])):
            begun = hk.imports.begin("default", import_id=import_id, files=files, mapping=MappingDigests(options="m"))
            rows = [a_submission(f"{import_id}-{one}", context={"import_id": import_id}) for one in range(3)]
            hk.collection.submit_many(rows, announce=False)
            hk.imports.record(begun, ImportCounts(read=5, added=3, duplicates=1, rejected=1))
            clock.turn(hours=1)
        march = hk.imports.list("default")[1]
        hk.imports.finish(march, ImportCounts())
        hk.submit("other", "up")


def test_an_import_without_entries_is_undone(cli: Any) -> None:
    """There is nothing to erase, which is not an error; the import is no longer listed, so a second time it is one."""
    with harken.connect(URL) as hk:
        hk.imports.begin("default", import_id="empty")
    ran = cli("erase", "--import", "empty", "--yes")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == "Nothing to erase: the import empty has no entries; it is no longer listed\n"
    assert cli("imports").out == "No imports\n"
    assert cli("erase", "--import", "empty", "--yes").code == 4


@pytest.mark.usefixtures("imported")
def test_imports_are_listed(cli: Any) -> None:
    """The last started first, with their counts; one that was interrupted is marked."""
    assert cli("imports").out.splitlines() == [
        "april  started 2026-03-04 13:00:00Z, unfinished",
        "    5 rows read: 3 added, 1 duplicate, 1 rejected; b.csv and 2 more",
        "march  started 2026-03-04 12:00:00Z, finished 2026-03-04 14:00:00Z",
        "    5 rows read: 3 added, 1 duplicate, 1 rejected; a.csv",
    ]
    items = cli("imports", "--json").json["items"]
    assert items[1] == {
        "id": "march",
        "application": "default",
        "started_at": "2026-03-04T12:00:00.000000Z",
        "finished_at": "2026-03-04T14:00:00.000000Z",
        "files": ["a.csv"],
        "mapping_digest": "m",
        "read": 5,
        "added": 3,
        "duplicates": 1,
        "rejected": 1,
    }
    assert (items[0]["id"], items[0]["finished_at"]) == ("april", None)


@pytest.mark.usefixtures("empty_storage")
def test_without_imports(cli: Any) -> None:
    """The list says so."""
    assert (cli("imports").out, cli("imports", "--json").json) == ("No imports\n", {"items": []})


@pytest.mark.usefixtures("imported")
def test_an_import_is_undone(cli: Any) -> None:
    """Its entries and its record are gone; the statistics are those of the rest."""
    assert "Erase 3 feedback entries of import march permanently?" in cli("erase", "--import", "march").err
    assert cli("erase", "--import", "march", "--yes", "--json").json["erased"] == 3
    assert [one["id"] for one in cli("imports", "--json").json["items"]] == ["april"]
    with harken.connect(URL) as hk:
        assert (hk.summary(), hk.check()) == (Summary.fold(hk.export()), [])
        assert hk.summary().total == 4
    again = cli("erase", "--import", "march", "--yes")
    assert (again.code, again.out) == (4, "")
    assert "No import with id 'march' in application 'default'" in again.err


@pytest.mark.usefixtures("imported")
def test_an_unknown_import_or_application_is_reported_before_the_question(cli: Any) -> None:
    """With a similar name; the exit code is 4. What has anything but feedback is known."""
    ran = cli("erase", "--import", "apirl", stdin="y\n")
    assert (ran.code, ran.out, "permanently?" in ran.err) == (4, "", False)
    assert "No import with id 'apirl' in application 'default' (did you mean 'april'?); list them with" in ran.err
    _store([a_feedback("f0", application="shop")])
    ran = cli("erase", "--application", "defualt", stdin="y\n")
    assert (ran.code, ran.out) == (4, "")
    assert ran.err == "Error: No application 'defualt' (did you mean 'default'?); there is default, shop\n"
    with harken.connect(URL) as hk:
        hk.sessions.update("quiet", "s", {"tier": "gold"})
        hk.conversations.append("agents", "s", "helper", 0, {"text": "Hello"})
        hk.imports.begin("empty")
    for name in ("quiet", "agents", "empty"):
        assert "permanently: 0 feedback entries" in cli("erase", "--application", name, stdin="n\n").err


@pytest.mark.usefixtures("imported")
@pytest.mark.parametrize("more", [("--session", "s"), ("--before", "2026-01-01"), ("f0",)])
def test_an_import_is_undone_as_a_whole(cli: Any, more: tuple[str, ...]) -> None:
    """A part of it would leave a record that is wrong."""
    ran = cli("erase", "--import", "march", *more, "--yes")
    assert (ran.code, ran.err) == (
        2,
        "Error: --import erases all feedback of the import; leave the other conditions out\n",
    )


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("--before", "2027-01-01"), ("--application", "default"), ("--import", "i")])
def test_a_killed_erasure_is_completed_by_the_next(cli: Any, arguments: tuple[str, ...], tmp_path: Path) -> None:
    """After ``kill -9`` half-way, each entry is either there with its share of the statistics, or gone with it."""
    with harken.connect(URL) as hk:
        hk.imports.begin("default", import_id="i")
        for start in range(0, 10_000, 1_000):
            rows = [a_submission(f"{start + row}", context={"import_id": "i"}) for row in range(1_000)]
            hk.collection.submit_many(rows, announce=False)
    program = "from harken_adapters.hosts.cli import main; import sys; sys.exit(main(sys.argv[1:]))"
    running = subprocess.Popen(
        [sys.executable, "-c", program, "--storage", URL, "erase", *arguments, "--yes"],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
    )
    with harken.connect(URL) as hk:
        eventually(lambda: hk.summary().total < 10_000)
        os.kill(running.pid, signal.SIGKILL)
        running.wait()
        left = hk.summary().total
        assert 0 < left < 10_000
        assert (hk.summary(), hk.check()) == (Summary.fold(hk.export()), [])
    assert cli("erase", *arguments, "--yes").code == 0
    assert _stored() == []
    # A time does not remove the record of an import.
    assert (cli("imports").out == "No imports\n") is ("--before" not in arguments)
