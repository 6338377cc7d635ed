"""stats, trends, themes, demo, doctor and rebuild."""

import sqlite3
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest

import harken
from harken import Sentiment, Submission, Target

URL = "sqlite:///feedback.db"


def given(*feedback: tuple[str, str | None, str, datetime]) -> None:
    """Feedback about agents at given times."""
    with harken.connect(URL) as hk:
        for agent, rating, comment, at in feedback:
            hk.collection.submit(
                Submission(target=Target("s", agent_id=agent), rating=rating, comment=comment, created_at=at)
            )


MIDNIGHT = datetime(2026, 3, 3, 23, 30, tzinfo=UTC)
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def test_figures_have_exactly_these_keys(cli: Any) -> None:
    """What programs read stays as it is; averages are rounded to one decimal."""
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


def test_nothing_has_figures_too(cli: Any) -> None:
    """An empty storage gives zeros, and empty lists."""
    assert cli("stats", "--json").json["satisfaction_score"] == 0.0
    assert cli("stats", "--by", "agent", "--json").json == {"by": "agent", "groups": []}
    assert cli("trends", "--json").json == {"by": "day", "zone": "UTC", "points": []}
    assert cli("themes", "--json").json == {"themes": []}
    for command in ("stats", "trends", "themes", "list", "moderate queue"):
        assert cli(*command.split()).code == 0


def test_sentiments_are_averaged_where_there_are_any(cli: Any) -> None:
    """The averages are there only if some feedback has a sentiment."""
    with harken.connect(URL) as hk:
        felt = Submission(target=Target("s"), rating="up", sentiment=Sentiment(0.5, 0.25))
        hk.collection.submit(felt)
    figures = cli("stats", "--json").json
    assert (figures["average_polarity"], figures["average_subjectivity"]) == (0.5, 0.25)
    assert "+0.500 on average" in cli("stats").out


def test_groups_come_largest_first(cli: Any) -> None:
    """--by gives the same figures for each agent, session, tag or context value."""
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
    """Half past eleven at night in UTC is the next day in Berlin."""
    given(("a", "up", "", MIDNIGHT), ("a", "up", "", NOON))
    document = cli("trends", "--by", by, "--zone", "Europe/Berlin", "--json").json
    assert (document["by"], document["zone"]) == (by, "Europe/Berlin")
    full = [point for point in document["points"] if point["total_feedbacks"]]
    assert [point.items() >= name.items() for point, name in zip(full, named, strict=True)] == [True] * len(named)
    assert cli("trends", "--by", by, "--zone", "Europe/Berlin").code == 0


def test_a_trend_is_drawn_as_bars(cli: Any) -> None:
    """A day with thumbs has a bar, and one with none has no bar instead of an empty one."""
    given(("a", "up", "", NOON.replace(day=1)), ("a", "up", "", NOON.replace(day=3)))
    first, gap, last = cli("trends").out.splitlines()[1:4]
    assert first.rstrip().endswith("████████████████ 100.0%")
    assert gap.split() == ["2026-03-02", "0", "0", "0", "0"]
    assert last.startswith("2026-03-03")


def test_themes_count_what_complaints_mention(cli: Any) -> None:
    """Only downs count, the most mentioned keyword first; keywords can be one's own."""
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
def test_the_demo_shows_what_harken_does(cli: Any) -> None:
    """The demo fills a storage, tells what to try next, and its commands work."""
    ran = cli("demo")
    assert (ran.code, ran.err) == (0, "")
    for part in ("Refused", "up -> down, version 2", "rejected", "The figures", "By agent", "By day", "Try next"):
        assert part in ran.out
    assert max(map(len, ran.out.splitlines())) <= 100
    for line in ran.out.partition("Try next")[2].splitlines():
        if line.strip():
            program, option, url, *command = line.split()
            assert (program, option, url) == ("harken", "--storage", URL)
            assert cli(*command).code == 0, line


@pytest.mark.slow
def test_the_demo_can_be_run_again(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Running it again adds nothing that is there already, only what was said since, and nothing breaks."""
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
def test_the_demo_in_memory_says_that_it_is_gone(cli: Any) -> None:
    """What to try next would make no sense on a storage that forgets."""
    assert "has forgotten everything" in cli("demo", storage="memory://").out


def test_doctor_finds_nothing_wrong(cli: Any) -> None:
    """A sound installation and storage: versions, extras, schemes and counts, and code 0."""
    cli("submit", "s", "up")
    report = cli("doctor", "--json").json
    assert report["problems"] == []
    assert report["counts"] == {"pending": 0, "approved": 1, "rejected": 0, "withdrawn": 0}
    assert report["extras"]["cli"] is True
    assert {"memory", "sqlite"} <= set(report["schemes"])
    assert "Everything is as it should be" in cli("doctor").out


def test_doctor_tells_of_what_is_wrong(cli: Any, tmp_path: Path) -> None:
    """A storage that does not open is a problem in a sentence, without the name of a class, and code 1."""
    (tmp_path / "broken.db").write_bytes(b"this is no database, whatever its name may say " * 100)
    ran = cli("doctor", "--json", storage="sqlite:///broken.db")
    assert ran.code == 1
    (problem,) = ran.json["problems"]
    assert problem.endswith("broken.db is not a SQLite database and was left untouched; choose another file")
    assert "Error" not in problem
    assert f"Problem: {problem}" in cli("doctor", storage="sqlite:///broken.db").out


def test_rebuild_mends_what_doctor_finds(cli: Any, tmp_path: Path) -> None:
    """Figures that were tampered with are found, mended and told of, and then everything is as it should be."""
    cli("submit", "s", "up", "--agent", "helper")
    assert cli("rebuild").out == "All figures are right\n"
    assert cli("rebuild", "--json").json == {"mended": []}
    _tamper(tmp_path)
    assert cli("doctor").code == 1
    ran = cli("rebuild", "--json")
    assert (ran.code, len(ran.json["mended"])) == (0, 2)
    assert cli("doctor").code == 0
    _tamper(tmp_path)
    ran = cli("rebuild")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("Mended: The statistics of 'default' for agent 'helper'") == 2
    assert cli("stats", "--json").json["positive"] == 1


def _tamper(folder: Path) -> None:
    with sqlite3.connect(folder / "feedback.db") as connection:
        connection.execute("UPDATE counter SET positive = 7")
    connection.close()


def test_doctor_keeps_passwords_to_itself(cli: Any) -> None:
    """A password in the URL is not shown, not even where the URL is what is wrong."""
    ran = cli("doctor", storage="nope://me:secret@host/db")
    assert ran.code == 1
    assert "secret" not in ran.out + ran.err
