"""The commands stats, trends, themes, demo, doctor and rebuild."""

import re
import sqlite3
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

import harken
from harken import Sentiment, Submission, Target

URL = "sqlite:///feedback.db"


def given(*feedback: tuple[str, str | None, str, datetime]) -> None:
    """Store feedback on agents at these times."""
    with harken.connect(URL) as hk:
        for agent, rating, comment, at in feedback:
            hk.collection.submit(
                Submission(target=Target("s", agent_id=agent), rating=rating, comment=comment, created_at=at)
            )


MIDNIGHT = datetime(2026, 3, 3, 23, 30, tzinfo=UTC)
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def test_stats_json_keys(cli: Any) -> None:
    """The JSON output has exactly these keys; averages are rounded to one decimal."""
    given(("a", "up", "good", NOON), ("a", "down", "bad", NOON), ("b", "up", "", MIDNIGHT), ("b", None, "", NOON))
    by_hour = [0] * 24
    by_hour[12], by_hour[23] = 3, 1
    assert cli("stats", "--json").json == {
        "total_feedbacks": 4,
        "positive": 2,
        "negative": 1,
        "neutral": 1,
        "satisfaction_score": 66.7,
        "quality_score": 62.5,
        "average_comment_length": 1.8,
        "comments": 2,
        "by_hour": by_hour,
        "interval": {"low": 20.8, "high": 93.9},
    }


@pytest.mark.usefixtures("empty_storage")
def test_statistics_of_an_empty_storage(cli: Any) -> None:
    """An empty storage has zeros and empty lists."""
    assert cli("stats", "--json").json["satisfaction_score"] == 0.0
    assert cli("stats", "--by", "agent", "--json").json == {"by": "agent", "groups": []}
    assert cli("trends", "--json").json == {"by": "day", "zone": "UTC", "points": []}
    assert cli("themes", "--json").json == {"themes": []}
    for command in ("stats", "trends", "themes", "list", "moderate queue"):
        assert cli(*command.split()).code == 0


def test_average_sentiment(cli: Any) -> None:
    """The averages are present only if some feedback has a sentiment."""
    with harken.connect(URL) as hk:
        submission = Submission(target=Target("s"), rating="up", sentiment=Sentiment(0.5, 0.25))
        hk.collection.submit(submission)
    statistics = cli("stats", "--json").json
    assert (statistics["average_polarity"], statistics["average_subjectivity"]) == (0.5, 0.25)
    assert "+0.500 on average" in cli("stats").out


def test_groups_come_largest_first(cli: Any) -> None:
    """--by shows the statistics per agent, session, tag or context value."""
    given(("a", "up", "", NOON), ("b", "up", "", NOON), ("b", "down", "no", NOON))
    groups = cli("stats", "--by", "agent", "--json").json
    assert groups["by"] == "agent"
    assert [(group["key"], group["total_feedbacks"], group["satisfaction_score"]) for group in groups["groups"]] == [
        ("b", 2, 50.0),
        ("a", 1, 100.0),
    ]
    assert cli("stats", "--by", "context.tier", "--json").json["groups"][0]["key"] is None
    table = cli("stats", "--by", "agent").out
    assert "████████░░░░░░░░  50.0%" in table


@pytest.mark.parametrize(
    ("by", "named"),
    [
        ("day", [{"start": "2026-03-04T00:00:00+01:00", "end": "2026-03-05T00:00:00+01:00"}]),
        ("week", [{"start": "2026-03-02T00:00:00+01:00", "end": "2026-03-09T00:00:00+01:00"}]),
        ("weekday", [{"weekday": "Wednesday"}]),
        ("hour-of-day", [{"hour": 0}, {"hour": 13}]),
        (
            "hour",
            [
                {"start": "2026-03-04T00:00:00+01:00", "end": "2026-03-04T01:00:00+01:00"},
                {"start": "2026-03-04T13:00:00+01:00", "end": "2026-03-04T14:00:00+01:00"},
            ],
        ),
    ],
)
def test_trends_go_by_the_local_clock(cli: Any, by: str, named: list[dict[str, Any]]) -> None:
    """23:30 in UTC is the next day in Berlin."""
    given(("a", "up", "", MIDNIGHT), ("a", "up", "", NOON))
    document = cli("trends", "--by", by, "--zone", "Europe/Berlin", "--json").json
    assert (document["by"], document["zone"]) == (by, "Europe/Berlin")
    full = [point for point in document["points"] if point["total_feedbacks"]]
    assert [point.items() >= name.items() for point, name in zip(full, named, strict=True)] == [True] * len(named)
    assert cli("trends", "--by", by, "--zone", "Europe/Berlin").code == 0


def test_a_trend_is_drawn_as_bars(cli: Any) -> None:
    """A day without ratings has no bar, instead of an empty one."""
    given(("a", "up", "", NOON.replace(day=1)), ("a", "up", "", NOON.replace(day=3)))
    first, gap, last = cli("trends").out.splitlines()[1:4]
    assert first.rstrip().endswith("████████████████ 100.0%")
    assert gap.split() == ["2026-03-02", "0", "0", "0", "0"]
    assert last.startswith("2026-03-03")


def test_themes_count_keywords_of_negative_feedback(cli: Any) -> None:
    """Only thumbs-down feedback counts, the most frequent keyword first; --keyword replaces the keywords."""
    given(("a", "down", "slow and wrong", NOON), ("a", "down", "so slow", NOON), ("a", "up", "not slow", NOON))
    assert cli("themes", "--json").json == {
        "themes": [{"keyword": "slow", "mentions": 2}, {"keyword": "wrong", "mentions": 1}]
    }
    assert cli("themes", "--keyword", "so", "--keyword", "and", "--json").json["themes"] == [
        {"keyword": "so", "mentions": 1},
        {"keyword": "and", "mentions": 1},
    ]
    assert "slow" in cli("themes").out


@pytest.mark.slow
def test_demo(cli: Any) -> None:
    """The demo stores feedback and suggests commands that work."""
    ran = cli("demo")
    assert (ran.code, ran.err) == (0, "")
    for part in ("Rejected", "up -> down, version 2", "rejected", "Statistics", "By agent", "By day", "Next, try"):
        assert part in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100
    for line in ran.out.partition("Next, try")[2].splitlines():
        if line.strip():
            program, option, url, *command = line.split()
            assert (program, option, url) == ("harken", "--storage", URL)
            assert cli(*command).code == 0, line


@pytest.mark.slow
def test_the_demo_can_be_run_again(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second run adds only feedback of the days since the first."""
    now = NOON

    class Then(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return now

    monkeypatch.setattr("harken_adapters.hosts.cli.demo.datetime", Then)
    first = cli("demo", "--json").json
    assert first["added"] >= 250
    again = cli("demo", "--json").json
    assert (again["added"], again["total_feedbacks"]) == (0, first["total_feedbacks"])
    now += timedelta(days=1)
    later = cli("demo", "--json").json
    assert later["added"] > 0
    assert later["total_feedbacks"] == first["total_feedbacks"] + later["added"]
    assert cli("demo").code == 0


@pytest.mark.slow
def test_the_demo_in_memory(cli: Any) -> None:
    """It suggests no commands, as memory:// does not keep the data."""
    assert "does not keep data" in cli("demo", storage="memory://").out


def test_doctor_finds_nothing_wrong(cli: Any) -> None:
    """Without problems the report has versions, extras, schemes and counts, and the exit code is 0."""
    cli("submit", "s", "up")
    report = cli("doctor", "--json").json
    assert report["problems"] == []
    assert report["counts"] == {"pending": 0, "approved": 1, "rejected": 0, "withdrawn": 0}
    assert report["extras"]["cli"] is True
    assert {"memory", "sqlite"} <= set(report["schemes"])
    assert "No problems found" in cli("doctor").out


@pytest.mark.parametrize(
    ("storage", "shown"), [("mongodb://ann:se:cr/et@", "mongodb://"), ("sqlite:///me@home.db", "sqlite:///me@home.db")]
)
def test_doctor_shows_the_storage(cli: Any, storage: str, shown: str) -> None:
    """The URL of the storage is shown without its password; the path of a file is shown unchanged."""
    ran = cli("doctor", "--json", storage=storage)
    assert ran.json["storage"] == shown
    assert "et@" not in ran.out


@pytest.mark.usefixtures("empty_storage")
def test_doctor_checks_the_settings_of_the_server(cli: Any, tmp_path: Path) -> None:
    """A setting that ``harken serve`` refuses is a problem."""
    (tmp_path / "harken.toml").write_text("[server]\nprot = 3\n")
    ran = cli("doctor", "--json")
    assert ran.code == 1
    (problem,) = ran.json["problems"]
    assert "harken.toml: unknown setting 'prot'; expected one of access, " in problem
    assert "mongomock" not in ran.json["schemes"]


def test_doctor_fits_a_narrow_terminal(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long values are wrapped, not truncated."""
    monkeypatch.setenv("COLUMNS", "60")
    assert "webhooks" in cli("doctor").out


def test_empty_rows_do_not_change_the_alignment(cli: Any) -> None:
    """Numbers are right-aligned, even if some rows have none."""
    given(("a", "up", "", NOON))
    lines = cli("trends", "--by", "hour-of-day").out.splitlines()
    (row,) = [line for line in lines if line.startswith("12")]
    assert lines[0].index("quality") + len("quality") == row.index("100.0") + len("100.0")


def test_doctor_reports_problems(cli: Any, tmp_path: Path) -> None:
    """A storage that cannot be opened is reported in a sentence, and the exit code is 1."""
    (tmp_path / "broken.db").write_bytes(b"this is not a database, despite its name " * 100)
    ran = cli("doctor", "--json", storage="sqlite:///broken.db")
    assert ran.code == 1
    (problem,) = ran.json["problems"]
    assert problem.endswith("broken.db is not an SQLite database and was left untouched; choose another file")
    assert "Error" not in problem
    assert f"Problem: {problem}" in cli("doctor", storage="sqlite:///broken.db").out


def test_rebuild_corrects_what_doctor_finds(cli: Any, tmp_path: Path) -> None:
    """Wrong statistics are found by ``doctor``, and corrected and listed by ``rebuild``."""
    cli("submit", "s", "up", "--agent", "helper")
    assert cli("rebuild").out == "All statistics are correct\n"
    assert cli("rebuild", "--json").json == {"corrected": []}
    _tamper(tmp_path)
    assert cli("doctor").code == 1
    ran = cli("rebuild", "--json")
    assert (ran.code, len(ran.json["corrected"])) == (0, 2)
    assert cli("doctor").code == 0
    _tamper(tmp_path)
    ran = cli("rebuild")
    assert (ran.code, ran.err) == (0, "")
    assert len(re.findall(r"^Corrected: .*'default' for agent 'helper'", ran.out, re.MULTILINE)) == 2
    assert cli("stats", "--json").json["positive"] == 1


def _tamper(folder: Path) -> None:
    with sqlite3.connect(folder / "feedback.db") as connection:
        connection.execute("UPDATE counter SET positive = 7")
    connection.close()


def test_doctor_shows_no_password(cli: Any) -> None:
    """A password in the storage URL is not shown, even if the URL is invalid."""
    ran = cli("doctor", storage="nope://me:secret@host/db")
    assert ran.code == 1
    assert "secret" not in ran.out + ran.err


def test_doctor_does_not_create_a_storage(cli: Any, tmp_path: Path) -> None:
    """A missing storage is a problem. The other checks are shown."""
    ran = cli("doctor", "--json", storage="sqlite:///tpyo.db")
    assert ran.code == 1
    [problem] = ran.json["problems"]
    assert "tpyo.db does not exist" in problem
    assert "sqlite" in ran.json["schemes"]
    assert "queue is empty" not in cli("doctor", storage="sqlite:///tpyo.db").out
    assert list(tmp_path.iterdir()) == []


def test_doctor_checks_the_channels_without_a_storage(cli: Any, tmp_path: Path) -> None:
    """Channels are usually configured before the first feedback. Each problem is listed once."""
    (tmp_path / "harken.toml").write_text('[channels.team]\nkind = "webhook"\nurl = "env:NOT_SET"\n')
    missing, channel = cli("doctor", "--json").json["problems"]
    assert "feedback.db does not exist" in missing
    assert channel == "Channel 'team': the environment variable NOT_SET is not set"
    (tmp_path / "harken.toml").write_text('[channels.team]\nkind = "pigeon"\n')
    with harken.connect("sqlite:///feedback.db", channels={}):
        pass
    assert len(cli("doctor", "--json").json["problems"]) == 1
