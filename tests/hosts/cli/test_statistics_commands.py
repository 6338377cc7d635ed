"""The commands stats, trends, themes, demo, doctor and rebuild."""

import io
import re
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.text import Text

import harken
from harken import Sentiment, Submission, Target
from harken_adapters.charts.labels import DASH
from harken_adapters.hosts.cli import main, output

URL = "sqlite:///feedback.db"


def given(*feedback: tuple[str, str | None, str, datetime], one_session: bool = True) -> None:
    """Store feedback on agents at these times, in one session or in one for each."""
    with harken.connect(URL) as hk:
        for number, (agent, rating, comment, at) in enumerate(feedback):
            target = Target("s" if one_session else f"s{number}", agent_id=agent)
            hk.collection.submit(Submission(target=target, rating=rating, comment=comment, created_at=at))


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
        "comment_characters": 7,
        "sentiments": 0,
        "polarity_millionths": 0,
        "subjectivity_millionths": 0,
        "by_hour": by_hour,
        "interval": {"low": 20.8, "high": 93.9},
        "design_effect": 1.0,
        "response_time": None,
    }


def test_stats_show_how_long_moderation_takes(cli: Any) -> None:
    """The median and the 90th percentile of the time until a decision."""
    with harken.connect(URL, spam="hold", clock=lambda: NOON) as hk:
        held = hk.submit("s", "up", "casino").feedback
    with harken.connect(URL, clock=lambda: NOON + timedelta(minutes=90)) as hk:
        hk.moderation.decide("default", held.id, "rejected")
    response_time = cli("stats", "--json").json["response_time"]
    assert response_time == {"decisions": 1, "median": 5400.0, "percentile_90": 5400.0}
    assert "1 decision, median 1h30m, 90% within 1h30m" in cli("stats").out


def test_stats_take_repeated_authors_into_account(cli: Any) -> None:
    """The interval is wider if authors gave several ratings, and the design effect is shown."""
    with harken.connect(URL) as hk:
        for author in range(20):
            for _ in range(5):
                hk.submit("s", "down" if author < 8 else "up", "bad" if author < 8 else "", author=str(author))
    document = cli("stats", "--json").json
    assert document["design_effect"] > 4
    low, high = document["interval"].values()
    assert high - low > 35
    table = cli("stats").out
    assert f"satisfaction is 60.0% ({low} {DASH} {high}, 95% confidence)" in " ".join(table.split())
    assert "design effect" in table


@pytest.mark.usefixtures("empty_storage")
def test_statistics_of_an_empty_storage(cli: Any) -> None:
    """An empty storage has zeros and empty lists."""
    assert cli("stats", "--json").json["satisfaction_score"] is None
    assert cli("stats", "--by", "agent", "--json").json == {"by": "agent", "groups": []}
    assert cli("trends", "--json").json == {"by": "day", "zone": "UTC", "points": []}
    assert cli("themes", "--json").json == {
        "themes": [],
        "comments": 0,
        "is_enough": False,
        "tags": [],
        "frequent_words": [],
    }
    assert cli("compare", "--by", "agent", "--json").json == {"by": "agent", "groups": []}
    for command in ("stats", "trends --changes", "themes", "compare --by tag", "list", "moderate queue"):
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
    heading, b, a = cli("stats", "--by", "agent").out.splitlines()[:3]
    assert heading.split() == ["Agent", "Total", "Up", "Down", "0", "100%", "Satisf.", "95%", "interval"]
    assert (b.split()[:4], a.split()[:4]) == (["b", "2", "1", "1"], ["a", "1", "1", "0"])
    assert "○" in b


@pytest.mark.parametrize(
    ("by", "named"),
    [
        ("day", [{"start": "2026-03-04T00:00:00+01:00", "end": "2026-03-05T00:00:00+01:00"}]),
        ("week", [{"start": "2026-03-02T00:00:00+01:00", "end": "2026-03-09T00:00:00+01:00"}]),
        (
            "6-hours",
            [
                {"start": "2026-03-04T00:00:00+01:00", "end": "2026-03-04T06:00:00+01:00"},
                {"start": "2026-03-04T12:00:00+01:00", "end": "2026-03-04T18:00:00+01:00"},
            ],
        ),
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


def test_periods_of_several_hours_are_named(cli: Any) -> None:
    """The sentence names the length of a period, and each line has its date and hour."""
    given(*[("a", "up", "", NOON)] * 10, ("a", "down", "late", NOON.replace(hour=17)), one_session=False)
    lines = cli("trends", "--by", "3-hours").out.splitlines()
    assert lines[0].startswith("Satisfaction by 3 hours, ")
    assert [" ".join(line.split()[:2]) for line in lines if line.startswith("03-04 ")] == ["03-04 12:00", "03-04 15:00"]


def test_a_trend_is_drawn(cli: Any) -> None:
    """A sentence, columns, and a line for each day; a day without feedback has no bar, instead of an empty one."""
    given(*[("a", "up", "", NOON.replace(day=1))] * 10, ("a", "up", "", NOON.replace(day=3)), one_session=False)
    lines = cli("trends").out.splitlines()
    assert lines[0].startswith("Satisfaction by day, Sun 1 Mar to Tue 3 Mar 2026, UTC: ")
    assert lines[3].split() == ["100%", "█████", "░░░░░", "○"]
    first, gap, last = lines[-5:-2]
    assert first.split()[:4] == ["2026-03-01", "10", "10", "0"]
    assert first.endswith(f"100%     72 {DASH} 100")
    assert gap.split() == ["2026-03-02", "0", "0", "0", "no", "feedback"]
    assert last.startswith("2026-03-03")


def test_the_current_day_has_not_ended(cli: Any) -> None:
    """It is marked in the columns and in the lines."""
    given(*[("a", "up", "", datetime.now(UTC))] * 20)
    shown = cli("trends").out
    assert "▒ so far." in shown
    assert shown.splitlines()[-3].endswith("so far")
    assert "so far" not in cli("trends", "--until", "2026-03-01").out


def test_a_heat_map(cli: Any) -> None:
    """Rows are dates for less than two weeks, also in JSON; later, they are weekdays."""
    given(*[("a", "up", "", NOON)] * 10, *[("a", "up", "", MIDNIGHT)] * 10)
    lines = cli("trends", "--heat-map", "--zone", "Europe/Berlin").out.splitlines()
    (row,) = [line for line in lines if line.startswith("Wed 4")]
    assert row.split() == ["Wed", "4", "=", *"·" * 12, "="]
    cells = cli("trends", "--heat-map", "--json").json["cells"]
    assert [(cell["day"], cell["weekday"], cell["hour"]) for cell in cells] == [
        ("2026-03-03", "Tuesday", 23),
        ("2026-03-04", "Wednesday", 12),
    ]
    given(("a", "up", "", NOON + timedelta(days=14)))
    cells = cli("trends", "--heat-map", "--json").json["cells"]
    assert [(cell["weekday"], cell["positive"], "day" in cell) for cell in cells] == [
        ("Tuesday", 10, False),
        ("Wednesday", 11, False),
    ]


def test_the_headline(cli: Any) -> None:
    """It is a sentence, with how sure it is; as JSON also with all values."""

    def rate(up: int, down: int, at: datetime) -> None:
        with harken.connect(URL, clock=lambda: at) as hk:
            for number in range(up + down):
                hk.submit(f"{at}-{number}", "up" if number < up else "down", "A comment")

    rate(30, 10, NOON)
    since = ("--since", "2026-03-04", "--until", "2026-03-05")
    assert cli("headline", *since).out.splitlines() == [
        "There is nothing before 4 Mar to compare with",
        "Satisfaction is 75% of 40 thumbs.",
    ]
    rate(0, 40, NOON - timedelta(days=7))
    assert cli("headline", *since, "--same-weekdays").out.startswith("Satisfaction rose 75.0 points, to 75%\n")
    found = cli("headline", *since, "--same-weekdays", "--json").json
    assert (found["title"], found["finding"]) == ("Satisfaction rose 75.0 points, to 75%", "rose")
    assert found["before"] == {"since": "2026-02-25T00:00:00+00:00", "until": "2026-02-26T00:00:00+00:00"}
    refused = cli("headline", "--since", "2999-01-01")
    assert (refused.code, refused.out) == (2, "")
    assert "The period is empty" in refused.err


def test_reasons_a_ranking_and_facets(cli: Any) -> None:
    """As text and as JSON."""
    fill()
    week = ("--since", "2026-03-04", "--until", "2026-03-11")
    found = cli("reasons", *week, "--json").json
    assert found["issues"]
    first = found["issues"][0]
    shown = cli("reasons", *week, "--limit", "1").out
    assert f"the most frequent, {first['name']}, is in {first['count']} of them" in shown.replace("\n", " ")
    assert len(cli("reasons", *week, "--limit", "1", "--json").json["issues"]) == 1
    groups = cli("ranking", *week, "--json").json["groups"]
    names = ["(none)" if one["key"] is None else one["key"] for one in groups]
    rows = cli("ranking", *week).out.partition("\nAgent ")[2].splitlines()[1:]
    assert [row.split()[0] for row in rows[: len(names)]] == names
    facets = cli("facets", "--json").json
    assert {one["value"] for one in facets["agents"]} == {*names} - {"(none)"}
    assert cli("facets").out.splitlines()[0].split() == ["filter", "value", "entries"]
    assert (
        cli("facets", "--agent", "nobody", "--since", "2030-01-01").out
        == "No feedback has an agent, a tag or context\n"
    )


STATISTICS = (
    "stats",
    "stats --by agent",
    "stats --by tag",
    "trends --changes",
    "trends --by week",
    "trends --by hour",
    "trends --by weekday",
    "trends --by hour-of-day",
    "trends --heat-map",
    "themes --since 2026-03-04 --until 2026-03-11",
    "themes",
    "compare --by agent",
    "compare --by context.version",
    "compare --since 2026-03-04 --until 2026-03-11",
    "compare --before-agent helper --after-agent travel-desk",
    "reasons --since 2026-03-04 --until 2026-03-11",
    "ranking --since 2026-03-04 --until 2026-03-11",
)


@pytest.mark.slow
@pytest.mark.parametrize("width", [80, 60])
def test_statistics_fit_the_terminal(cli: Any, monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    """No line is wider than the terminal, at least one is as wide, and no number is cut."""
    monkeypatch.setenv("COLUMNS", str(width))
    fill()
    for command in STATISTICS:
        lines = cli(*command.split()).out.splitlines()
        assert max(map(len, lines)) <= width, command
        assert max(map(len, lines)) >= width - 8, command
        assert not [line for line in lines if re.search(r"\d…", line)], command


@pytest.mark.slow
def test_statistics_need_no_block_characters(cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An output in ASCII gets other characters instead, and question marks for those of users."""
    fill()
    for command in STATISTICS:
        with (tmp_path / "printed").open("w", encoding="ascii") as printed:
            monkeypatch.setattr("sys.stdout", printed)
            assert main(["--storage", URL, *command.split()]) == 0
        assert len((tmp_path / "printed").read_text(encoding="ascii").splitlines()) > 4, command


def test_charts_have_colours_on_a_terminal_only(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The text is the same with and without."""
    given(("a", "up", "", NOON), ("a", "down", "no", NOON))
    plain = cli("stats").out
    assert "\x1b" not in plain
    terminal = Console(
        force_terminal=True, color_system="standard", width=output.out.width, file=io.StringIO(), no_color=False
    )
    monkeypatch.setattr(output, "out", terminal)
    cli("stats")
    coloured = terminal.file.getvalue()
    assert "\x1b[31m█" in coloured
    assert Text.from_ansi(coloured).plain.split() == plain.split()


def fill() -> None:
    """Store two weeks of ratings with comments of two agents, in different scripts, and without an agent."""
    with harken.connect(URL) as hk:
        hk.collection.submit_many(
            [
                Submission(
                    target=Target(f"{day}-{number}", agent_id=(None, "helper", "travel-desk")[number % 3]),
                    rating="up" if number % 10 > (day > 7) * number % 3 + 3 else "down",
                    comment=f"The {TOPICS[number % 5]} was late, " + "very late and dirty 漢字 🎉 " * 5,
                    created_at=NOON + timedelta(days=day - 7, minutes=17 * number),
                    author=f"{number % 40}",
                    tags=["a long reason that people may choose from a list of reasons", "short"],
                    context={"version": "1.5" if number % 2 else "1.6"},
                )
                for day in range(14)
                if day != 5
                for number in range(30)
            ]
        )


def test_themes_count_keywords(cli: Any) -> None:
    """With --keyword, thumbs-down comments that contain each word are counted, the most frequent word first."""
    given(("a", "down", "slow and wrong", NOON), ("a", "down", "so slow", NOON), ("a", "up", "not slow", NOON))
    assert cli("themes", "--keyword", "wrong", "--keyword", "slow", "--json").json == {
        "themes": [{"keyword": "slow", "mentions": 2}, {"keyword": "wrong", "mentions": 1}]
    }
    assert cli("themes", "--keyword", "so", "--keyword", "and", "--json").json["themes"] == [
        {"keyword": "so", "mentions": 1},
        {"keyword": "and", "mentions": 1},
    ]
    assert cli("themes", "--keyword", "slow").out.split() == ["keyword", "mentions", "slow", "2"]
    assert "No negative feedback mentions" in cli("themes", "--keyword", "refund").out


TOPICS = ("luggage", "refund", "wifi", "seat", "food")


def complaints(at: datetime, **counts: int) -> None:
    """Store thumbs-downs about each topic, 60 unless ``counts`` has another number."""
    with harken.connect(URL) as hk:
        hk.collection.submit_many(
            [
                Submission(
                    target=Target(f"{at}-{topic}-{number}"),
                    rating="down",
                    comment=f"The {topic} was [red]not[/red] as it should be",
                    created_at=at,
                    tags=["first", "second" * 9],
                )
                for topic in TOPICS
                for number in range(counts.get(topic, 60))
            ]
        )


def test_themes_with_examples(cli: Any) -> None:
    """Each theme has its share, count and change, and an example on the next line; no line is too long."""
    complaints(NOON - timedelta(days=7), luggage=9)
    complaints(NOON, wifi=10)
    lines = cli("themes", "--since", "2026-03-04", "--until", "2026-03-11").out.splitlines()
    assert lines[0].startswith("5 themes in 250 thumbs-down comments; the most frequent, ")
    places = {line.split()[0]: number for number, line in enumerate(lines) if line.strip()}
    luggage = lines[places["luggage"]].split()
    assert luggage[2:] == ["60", "24%", "▲", "20.4", "points"]
    assert lines[places["luggage"] + 1] == "  “The luggage was [red]not[/red] as it should be”"
    assert lines[places["wifi"]].endswith("▼ 20.1 points")
    assert lines[places["refund"]].endswith("no clear change")
    assert "These comments are too few to find which words belong together." in lines
    assert lines[places["first"]].split()[2:] == ["250", "100%"]
    assert "clear" not in cli("themes").out


def test_themes_as_json(cli: Any) -> None:
    """A theme has its words, counts and change, and its examples are feedback as of ``show``."""
    complaints(NOON)
    document = cli("themes", "--limit", "2", "--since", "2026-03-04", "--until", "2026-03-11", "--json").json
    assert (document["comments"], document["is_enough"], len(document["themes"])) == (300, False, 2)
    theme = document["themes"][0]
    assert (theme["count"], theme["share"], theme["words"]) == (60, 20.0, [theme["label"]])
    assert theme["change"] == {
        "previous_count": 0,
        "previous_comments": 0,
        "previous_design_effect": 1.0,
        "current_count": 60,
        "current_comments": 300,
        "current_design_effect": 1.0,
        "alpha": 0.025,
        "verdict": "too close to tell",
        "sentence": "too close to tell: one side has no comments",
        "needed": None,
    }
    assert theme["examples"][0] == cli("show", theme["examples"][0]["id"], "--json").json
    assert cli("themes", "--limit", "0").code == 2


class TestCompare:
    def fill(self) -> None:
        """Store ratings of two weeks: 40% up in the first; 80% in the second, in which an agent is new."""
        with harken.connect(URL) as hk:
            hk.collection.submit_many(
                [
                    Submission(
                        target=Target(f"{week}-{number}", agent_id=agent),
                        rating="up" if number % 10 < positive else "down",
                        comment="x",
                        created_at=NOON + timedelta(days=7 * week),
                        context={"version": f"1.{week}"},
                    )
                    for week, agent, positive, count in ((0, "old", 4, 300), (1, "old", 7, 150), (1, "new", 9, 150))
                    for number in range(count)
                ]
            )

    @pytest.mark.parametrize(
        "options",
        [
            ("--since", "2026-03-11", "--until", "2026-03-18"),
            ("--before-until", "2026-03-11", "--after-since", "2026-03-11"),
            ("--before-since", "2026-03-01", "--before-until", "2026-03-11", "--after-since", "2026-03-11"),
            ("--before-context", "version=1.0", "--after-context", "version=1.1"),
        ],
    )
    def test_two_selections(self, cli: Any, options: tuple[str, ...]) -> None:
        """The verdict, both intervals, and the change without what is new."""
        self.fill()
        document = cli("compare", *options, "--json").json
        assert (document["before"]["satisfaction_score"], document["after"]["satisfaction_score"]) == (40.0, 80.0)
        assert (document["verdict"], document["significant"], document["needed"]) == ("better", True, 0)
        assert 0 < document["p_value"] < 1e-15
        assert (document["mix"]["new"], document["mix"]["gone"]) == (["new"], [])
        assert document["mix"]["without"]["satisfaction_change"] == 30.0
        shown = cli("compare", *options).out
        assert shown.startswith(f"After is better than before{document['sentence'].removeprefix('better')}.\n")
        assert "Change in satisfaction: +40.0 points" in shown
        assert "p < 0.001 (normal approximation)" in " ".join(shown.split())
        assert "1 new agent: new" in shown
        assert "Without them: better by " in shown

    def test_agents(self, cli: Any) -> None:
        """Two agents are compared without naming them as new and gone."""
        self.fill()
        sides = ("--before-agent", "old", "--after-agent", "new")
        assert cli("compare", *sides, "--json").json["mix"] is None
        shown = cli("compare", *sides).out
        assert shown.startswith("After is better than before by ")
        assert "Without them" not in shown

    def test_groups(self, cli: Any) -> None:
        """Each group has its counts, its satisfaction and its difference from the others; the best is first."""
        self.fill()
        assert [one["key"] for one in cli("compare", "--by", "agent", "--json").json["groups"]] == ["old", "new"]
        lines = cli("compare", "--by", "agent").out.splitlines()
        assert lines[0].startswith("new is better than old by ")
        assert [line.split()[:4] for line in lines[3:5]] == [["new", "150", "135", "15"], ["old", "450", "225", "225"]]
        assert [line[-6:] for line in lines[3:5]] == ["▲ 40.0", "▼ 40.0"]

    @pytest.mark.usefixtures("empty_storage")
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ((), "Say what to compare: add --since for a period and the one before it, --by for groups, or"),
            (("--until", "2026-03-11"), "Say what to compare: add --since"),
            (("--since", "2026-03-12", "--until", "2026-03-11"), "'since' before 'until'"),
            (("--after-since", "soon"), "Invalid value for '--after-since': 'soon' is not an ISO 8601 date"),
            (("--by", "agent", "--before-agent", "a"), "--by compares groups with each other"),
            (("--by", "day"), "Cannot group by 'day'"),
            (("--before-context", "x"), "expected --before-context NAME=VALUE"),
        ],
    )
    def test_wrong_usage(self, cli: Any, options: tuple[str, ...], message: str) -> None:
        """The error says what is missing."""
        ran = cli("compare", *options)
        assert ran.code in (2, 3)
        assert message in ran.err


def test_the_days_of_changes(cli: Any) -> None:
    """--changes names the days on which satisfaction rose or fell."""
    with harken.connect(URL) as hk:
        hk.collection.submit_many(
            [
                Submission(
                    target=Target(f"{day}-{number}"),
                    rating="up" if number % 10 < (3 if day < 15 else 8) else "down",
                    comment="x",
                    created_at=NOON + timedelta(days=day),
                )
                for day in range(30)
                for number in range(50)
            ]
        )
    shown = cli("trends", "--changes").out
    assert shown.splitlines()[-1] == "Satisfaction rose on 2026-03-19: from 30.0% to 80.0%"
    assert "▲ Rose on Thu 19 Mar: 30.0% before, 80.0% since" in shown
    (change,) = cli("trends", "--changes", "--zone", "Europe/Madrid", "--json").json["changes"]
    assert (change["at"], change["before"], change["after"]) == ("2026-03-19T00:00:00+01:00", 30.0, 80.0)
    quiet = cli("trends", "--changes", "--until", "2026-03-10").out
    assert quiet.endswith("Satisfaction did not change by more than chance on any day\n")


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
    shown = cli("doctor").out
    assert "No problems found" in shown
    # Each extra has a line.
    lines = dict(line.split(maxsplit=2)[1:] for line in shown.splitlines() if line.startswith("extra "))
    assert lines.keys() == report["extras"].keys()
    assert lines["cli"] == "installed"


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
    assert ran.json["server"] == "invalid"
    (problem,) = ran.json["problems"]
    assert "harken.toml: unknown setting 'prot' (did you mean 'port'?); expected one of access, " in problem
    assert "mongomock" not in ran.json["schemes"]


@pytest.mark.slow
def test_doctor_says_that_it_did_not_check_the_settings_of_the_server(tmp_path: Path) -> None:
    """Without the packages of a server, an invalid table ``[server]`` is not reported as valid."""
    (tmp_path / "harken.toml").write_text("[server]\nprot = 3\n")
    program = "import sys; sys.modules['limits'] = None; from harken_adapters.hosts.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "--storage", "memory://", "doctor"]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path).stdout
    assert re.search(r'^\[server\] +not checked; to check it: pip install "harken\[server\]"$', shown, re.MULTILINE)


def test_doctor_fits_a_narrow_terminal(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long values are not truncated."""
    monkeypatch.setenv("COLUMNS", "60")
    shown = cli("doctor").out
    assert "webhooks" in shown
    assert "…" not in shown


def test_empty_rows_do_not_change_the_alignment(cli: Any) -> None:
    """Numbers are right-aligned, even if some rows have none."""
    given(("a", "up", "", NOON))
    lines = cli("trends", "--by", "hour-of-day").out.splitlines()
    (row,) = [line for line in lines if line.startswith("12")]
    assert lines[0].index("Satisf.") + len("Satisf.") == row.index("100%") + len("100%")


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


# --- Local dates ------------------------------------------------------------------------------------------------------


def test_dates_beside_a_zone_are_local(cli: Any) -> None:
    """A date is the local midnight; a time with an offset keeps it."""
    given(("a", "up", "", MIDNIGHT), ("a", "up", "", NOON))

    def total(*span: str) -> int:
        return int(cli("stats", *span, "--json").json["total_feedbacks"])

    assert MIDNIGHT.isoformat() == "2026-03-03T23:30:00+00:00"
    assert total("--since", "2026-03-04") == total("--since", "2026-03-04", "--zone", "America/Lima") == 1
    assert total("--since", "2026-03-04", "--zone", "Europe/Berlin") == 2
    assert total("--until", "2026-03-04T00:30", "--zone", "Europe/Berlin") == 0
    assert total("--until", "2026-03-04T00:31", "--zone", "Europe/Berlin") == 1
    assert total("--since", "2026-03-04T00:00Z", "--zone", "Europe/Berlin") == 1
    points = cli("trends", "--since", "2026-03-04", "--zone", "Europe/Berlin", "--json").json["points"]
    assert [(one["start"], one["total_feedbacks"]) for one in points] == [("2026-03-04T00:00:00+01:00", 2)]
    sides = ("--before-until", "2026-03-04", "--after-since", "2026-03-04", "--zone", "Europe/Berlin", "--json")
    compared = cli("compare", *sides).json
    assert (compared["before"]["total_feedbacks"], compared["after"]["total_feedbacks"]) == (0, 2)


@pytest.mark.usefixtures("empty_storage")
@pytest.mark.parametrize("command", ["list", "stats", "trends", "export", "headline"])
def test_a_local_time_that_does_not_exist(cli: Any, command: str) -> None:
    """The clocks were turned forward over it, so it is an error."""
    ran = cli(command, "--since", "2026-03-29T02:30", "--zone", "Europe/Berlin")
    assert (ran.code, ran.out) == (2, "")
    message = "Invalid value for '--since': 2026-03-29T02:30:00 does not exist in the time zone Europe/Berlin"
    assert message in " ".join(ran.err.split())
    assert cli(command, "--zone", "Europe/Berln").err == (
        "Error: Unknown time zone 'Europe/Berln'; use a name such as 'Europe/Berlin' or 'UTC'\n"
    )


# --- The order of groups ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ((), ["big", "bad", "Good", "none"]),
        (("--sort", "total"), ["big", "bad", "Good", "none"]),
        (("--sort", "total", "--reverse"), ["none", "Good", "bad", "big"]),
        (("--sort", "up"), ["big", "Good", "bad", "none"]),
        (("--sort", "down"), ["bad", "big", "Good", "none"]),
        (("--sort", "satisfaction"), ["Good", "big", "bad", "none"]),
        (("--sort", "satisfaction", "--reverse"), ["bad", "big", "Good", "none"]),
        (("--sort", "name"), ["bad", "big", "Good", "none"]),
        (("--sort", "name", "--reverse", "--limit", "2"), ["none", "Good"]),
        (("--limit", "1"), ["big"]),
        (("--limit", "9"), ["big", "bad", "Good", "none"]),
    ],
)
def test_groups_are_sorted_and_limited(cli: Any, options: tuple[str, ...], names: list[str]) -> None:
    """The statistics of groups do not depend on it; those without thumbs have no satisfaction, and are last."""
    given(
        *[("big", "up", "", NOON)] * 7,
        *[("big", "down", "no", NOON)] * 2,
        *[("bad", "down", "no", NOON)] * 4,
        *[("bad", "up", "no", NOON)] * 2,
        *[("Good", "up", "no", NOON)] * 4,
        ("none", None, "", NOON),
    )
    found = cli("stats", "--by", "agent", *options, "--json").json["groups"]
    assert [group["key"] for group in found] == names
    by_key = {group["key"]: group for group in cli("stats", "--by", "agent", "--json").json["groups"]}
    assert found == [by_key[name] for name in names]
    shown = cli("stats", "--by", "agent", *options).out
    assert [line.split()[0] for line in shown.splitlines()[1 : len(names) + 1]] == names
    assert ("raise --limit to see them" in shown) == (len(names) < 4)
