"""The command import: what it understands, what it refuses, and what becomes of each row."""

import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import harken
from harken import Feedback
from shared_data import AIRLINES, REVIEWS, needs_real_feedback

pytestmark = pytest.mark.slow

CSV = "session_id,rating,comment\na,up,hi\nb,sideways,ho\nc,down,\n"
STARS = "id,stars,text,date\n" + "".join(
    f"r{number},{stars},words {number},2026-01-{number:02}\n" for number, stars in enumerate((5, 4, 3, 2, 1), start=1)
)


def entries(storage: str = "sqlite:///feedback.db") -> list[Feedback]:
    """All stored feedback, oldest first."""
    with harken.connect(storage) as hk:
        return list(hk.collection.stream(hk.query().in_any_state()))


def ratings() -> Counter[str]:
    """The number of entries by rating."""
    return Counter(one.rating.word for one in entries())


def write(folder: Path, name: str, *rows: object) -> str:
    """Write rows as JSON Lines, or the first one as the text of a file."""
    text = "".join(f"{json.dumps(row)}\n" for row in rows) if name.endswith("jsonl") else str(rows[0])
    (folder / name).write_text(text, encoding="utf-8")
    return name


# --- what was understood ----------------------------------------------------------------------------------------------


def test_what_was_understood_is_printed_before_the_result(cli: Any, tmp_path: Path) -> None:
    """The format, the columns, how ratings and dates are read, what is left out, and three rows."""
    file = write(tmp_path, "reviews.csv", STARS)
    options = ("--map", "rating=stars", "--map", "comment=text", "--map", "created_at=date", "--drop", "id")
    lines = cli("import", file, *options, "--scale", "stars").out.splitlines()
    assert lines[:8] == [
        "reviews.csv: CSV, utf-8, separated by ','; 5 rows",
        "  session_id  no column: each row is its own session, named by a digest of the row",
        "  rating      'stars': up 2 (4, 5), down 2 (1, 2), neutral 1 (3)",
        "  comment     'text'",
        "  created_at  'date': ISO 8601, 2026-01-01 to 2026-01-05; those without a zone are in UTC",
        "  identity    by content: equal rows of several files are the same one",
        "  left out    'id'",
        "",
    ]
    assert lines[8].split() == ["rating", "created_at", "session_id", "comment"]
    assert [line.split()[0] for line in lines[9:12]] == ["up", "up", "neutral"]
    assert lines[13].startswith("5 rows read: 5 added, 0 duplicates, 0 rejected; ")
    assert lines[14].startswith("Import ")


def test_what_was_understood_is_in_the_json(cli: Any, tmp_path: Path) -> None:
    """With --json it is in the document, with the sample as it is stored."""
    file = write(tmp_path, "reviews.csv", STARS)
    options = ("--map", "rating=stars", "--map", "comment=text", "--scale", "stars", "--json")
    ran = cli("import", file, *options)
    assert (ran.code, ran.err) == (0, "")
    [understood] = ran.json["files"]
    assert {name: understood[name] for name in ("format", "encoding", "separator", "rows", "sessions", "context")} == {
        "format": "csv",
        "encoding": "utf-8",
        "separator": ",",
        "rows": 5,
        "sessions": "id",
        "context": {"date": "date"},
    }
    assert understood["fields"] == {"rating": "stars", "comment": "text"}
    assert understood["ratings"] == {"5": "up", "4": "up", "3": "neutral", "2": "down", "1": "down"}
    assert understood["hints"] == ["If 'date' is the created_at, add --map created_at=date"]
    assert [one["session_id"] for one in understood["sample"]] == ["r1", "r2", "r3"]
    assert understood["sample"][0]["context"] == {"date": "2026-01-01", "rating_given": "5"}


def test_missing_columns_are_said_beforehand(cli: Any, tmp_path: Path) -> None:
    """Without ratings all rows are neutral, and without dates they are dated now; likely columns are named."""
    out = cli("import", write(tmp_path, "a.csv", "comment,date\nhi,2026-01-01\n")).out
    assert "  rating      no column: all rows are neutral\n" in out
    assert "  created_at  no column: all rows are dated now\n" in out
    assert "  If 'date' is the created_at, add --map created_at=date\n" in out


def test_a_dry_run_writes_nothing(cli: Any, tmp_path: Path) -> None:
    """It prints the totals and the reasons, and creates neither the database nor a file of rejected rows."""
    file = write(tmp_path, "old.csv", CSV)
    ran = cli("import", file, "--dry-run")
    assert (ran.code, ran.err) == (3, "")
    assert "3 rows read: 2 would be imported, 1 rejected; " in ran.out
    assert "  1  Unknown rating 'sideways' (line 3 of old.csv)\n" in ran.out
    assert "reason when down 1" in ran.out
    assert [path.name for path in tmp_path.iterdir()] == ["old.csv"]
    cli("import", file)
    before = sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir())
    assert cli("import", file, "--dry-run", "--json").json["dry_run"] is True
    assert sorted((path.name, path.read_bytes()) for path in tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nope.csv",), "nope.csv"),
        (("old.csv", "--map", "comment"), "'comment' has no '='"),
        (("old.csv", "--map", "comment=words"), "Column 'words', which is mapped to comment, is missing"),
        (("old.jsonl", "--map", "comment=words"), "Column 'words', which is mapped to comment, is missing"),
        (("old.csv", "--set", "colour=red"), "Unknown field 'colour'"),
        (("old.csv", "--rejected", "old.csv"), "would overwrite the input file"),
        (("old.csv", "--from", "langfus"), "langfuse"),
        (("old.csv", "--from", "langfuse", "--mapping", "m.toml"), "either --from or --mapping"),
        (
            ("other.csv",),
            "No column has a rating or a comment. Add --map rating=score --map comment=review; the columns",
        ),
        (("other.jsonl",), "No column has a rating or a comment. Add --map rating=score --map comment=review"),
        (("other.csv", "--map", "rating=score"), "The ratings in 'score' are ambiguous: 3 (1), 4 (1)"),
        (("dates.csv",), 'Say how they are written with --date-format "%m/%d/%Y"'),
        (("old.csv", "other.csv", "--rejected", "x.jsonl"), "--rejected names one file"),
    ],
)
def test_refusals_say_what_to_add(cli: Any, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    """The exit code is 2, the error says what to change, and nothing is stored."""
    write(tmp_path, "old.csv", CSV)
    write(tmp_path, "old.jsonl", {"session_id": "a", "rating": "up"})
    write(tmp_path, "other.csv", "score,review\n3,a\n4,b\n")
    write(tmp_path, "other.jsonl", {"score": 3, "review": "a"})
    write(tmp_path, "dates.csv", "rating,created_at\nup,01/31/2026\n")
    ran = cli("import", *arguments)
    assert ran.code == 2
    assert message in " ".join(ran.err.split())
    assert not (tmp_path / "feedback.db").exists()
    assert (tmp_path / "old.csv").read_text() == CSV


# --- ratings ----------------------------------------------------------------------------------------------------------

WORDS = {
    "up": ("up", " UP ", "yes", "Like", "thumbs_up", "Thumbs Up", "👍", "👍🏽", "positive", "TRUE"),
    "down": ("down", "No", "dislike", "thumbs_down", "👎", "Negative", "false"),
    "neutral": ("neutral", "None", "null", "", "  "),
}


def test_words_are_read_as_what_they_plainly_mean(cli: Any, tmp_path: Path) -> None:
    """Case and spaces make no difference; the original is kept where it was more than that."""
    words = [(word, given) for word, all_given in WORDS.items() for given in all_given]
    rows = "".join(f"{number},{given},{word}\n" for number, (word, given) in enumerate(words))
    assert cli("import", write(tmp_path, "a.csv", f"session_id,rating,comment\n{rows}")).code == 0
    assert all(one.rating.word == one.comment for one in entries())
    kept = {one.session_id: one.context.get("rating_given") for one in entries()}
    same = {"up", "down", "neutral", "none", "null", ""}
    expected = {str(n): None if given.strip().lower() in same else given for n, (_, given) in enumerate(words)}
    assert kept == expected


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ((1, 1, -1, 0), {"up": 2, "down": 1, "neutral": 1}),
        ((1, 0, 0), {"up": 1, "down": 2}),
        ((True, False, None), {"up": 1, "down": 1, "neutral": 1}),
        ((1.0, -1.0, "1"), {"up": 2, "down": 1}),
        ((1, None, 0), {"up": 1, "down": 1, "neutral": 1}),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_numbers_of_thumbs(cli: Any, tmp_path: Path, name: str, values: Any, expected: Any) -> None:
    """1 and -1, and 1 and 0 in a column that holds nothing else; the types of JSON make no difference."""
    rows = [{"session_id": str(number), "rating": value} for number, value in enumerate(values)]
    text = "session_id,rating\n" + "".join(
        f"{one['session_id']},{'' if one['rating'] is None else one['rating']}\n" for one in rows
    )
    assert cli("import", write(tmp_path, name, *(rows if name == "a.jsonl" else [text]))).code == 0
    assert ratings() == expected


@pytest.mark.parametrize(
    ("options", "values", "expected"),
    [
        (("--scale", "stars"), "1 2 3 4 5 5.0 3.5", {"down": 2, "neutral": 2, "up": 3}),
        (("--scale", "nps"), "0 6 7 8 9 10", {"down": 2, "neutral": 2, "up": 2}),
        (("--scale", "0..1"), "0 0.49 0.5 0.51 1", {"down": 2, "neutral": 1, "up": 2}),
        (("--rating", "5=up", "--rating", "4=up", "--rating", "other=down"), "1 3 4 5", {"down": 2, "up": 2}),
        (
            ("--rating", "good=up", "--rating", "BAD=down", "--rating", "ok=neutral"),
            "good Bad ok",
            {"up": 1, "down": 1, "neutral": 1},
        ),
        (("--scale", "stars", "--rating", "3=down"), "1 3 5", {"down": 2, "up": 1}),
    ],
)
def test_scales_and_single_values(cli: Any, tmp_path: Path, options: Any, values: str, expected: Any) -> None:
    """A value of --rating has precedence over the scale; the original is in the context, and can be counted by it."""
    rows = "".join(f"{value},{number}\n" for number, value in enumerate(values.split()))
    assert cli("import", write(tmp_path, "a.csv", f"rating,comment\n{rows}"), *options).code == 0
    assert ratings() == expected
    given = [one.context["rating_given"] for one in sorted(entries(), key=lambda one: int(one.comment))]
    assert given == [value.removesuffix(".0") for value in values.split()]


def test_a_number_outside_the_scale_is_rejected(cli: Any, tmp_path: Path) -> None:
    """The other rows are imported."""
    ran = cli("import", write(tmp_path, "a.csv", "rating\n5\n4\n11\n"), "--scale", "stars", "--json")
    assert (ran.code, ran.json["added"], ran.json["rejected"]) == (3, 2, 1)
    assert "1-2 down, 3 neutral, 4-5 up" in ran.json["reasons"][0]["reason"]


def test_an_ambiguous_column_is_one_refusal(cli: Any, tmp_path: Path) -> None:
    """It lists the values with their counts, and the options that read them."""
    ran = cli("import", write(tmp_path, "a.csv", STARS), "--map", "rating=stars")
    assert ran.code == 2
    assert (
        "are ambiguous: 1 (1), 2 (1), 3 (1), 4 (1), 5 (1). Add --scale stars (1-2 down, 3 neutral, 4-5 up)" in ran.err
    )
    assert "--rating VALUE=up, down or neutral" in ran.err
    many = "rating,comment\n" + "".join(f"word {number},x\n" for number in range(3_000))
    ran = cli("import", write(tmp_path, "b.csv", many))
    assert ran.code == 2
    assert len(ran.err) < 600


# --- rules ------------------------------------------------------------------------------------------------------------


def test_rules_for_new_feedback_are_counted_but_not_applied(cli: Any, tmp_path: Path) -> None:
    """A thumbs-down without a comment, spam and a long comment are imported; --check-rules rejects them."""
    rows = f"session_id,rating,comment\na,down,\nb,up,click here\nc,up,{'x' * 1_001}\nd,up,{'x' * 10_001}\ne,down,\n"
    file = write(tmp_path, "a.csv", rows)
    strict = cli("import", file, "--check-rules", "--json", storage="sqlite:///strict.db")
    assert (strict.code, strict.json["rejected"], strict.json["rules_not_applied"]) == (2, 5, {})
    ran = cli("import", file, "--json")
    assert (ran.code, ran.json["added"], ran.json["rejected"]) == (3, 4, 1)
    assert ran.json["rules_not_applied"] == {"reason when down": 2, "spam phrases": 1, "comment length": 1}
    assert ran.json["reasons"][0]["reason"] == "Comment too long: 10001 characters (max: 10000)"
    assert ratings() == {"down": 2, "up": 2}
    assert "not applied: reason when down 2, " in cli("import", file).out


def test_a_file_of_thumbs_without_comments_has_its_true_satisfaction(cli: Any, tmp_path: Path) -> None:
    """Half of the thumbs are up."""
    cli("import", write(tmp_path, "a.csv", "rating\n" + "up\ndown\n" * 10))
    assert cli("stats", "--json").json["satisfaction_score"] == 50.0


# --- sessions ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_without_sessions_each_row_is_its_own(cli: Any, tmp_path: Path, name: str) -> None:
    """It is named by the row, so that a repeated import finds it again; equal rows are different sessions."""
    rows = [{"rating": "up", "comment": "a"}, {"rating": "up", "comment": "a"}, {"rating": "down", "comment": "b"}]
    text = "rating,comment\nup,a\nup,a\ndown,b\n"
    file = write(tmp_path, name, *(rows if name == "a.jsonl" else [text]))
    assert cli("import", file, "--json").json["added"] == 3
    assert len({one.session_id for one in entries()}) == 3
    assert cli("import", file, "--json").json["duplicates"] == 3


def test_sessions_are_named_by_an_id_column(cli: Any, tmp_path: Path) -> None:
    """An id that names a session is not in the context as well; with a session column, it is only there."""
    cli("import", write(tmp_path, "a.csv", "Review ID,rating\nr-1,up\n"))
    cli("import", write(tmp_path, "b.csv", "Review ID,session_id,rating\nr-2,s,up\n"))
    first, second = entries()
    assert (first.session_id, dict(first.context).keys()) == ("r-1", {"import_id"})
    assert (second.session_id, second.context["Review_ID"]) == ("s", "r-2")


def test_a_session_can_be_set(cli: Any, tmp_path: Path) -> None:
    """--set names the session of all rows without one."""
    cli("import", write(tmp_path, "a.csv", "rating,session_id\nup,\ndown,t\n"), "--set", "session_id=reviews")
    assert {one.session_id for one in entries()} == {"reviews", "t"}


# --- dates ------------------------------------------------------------------------------------------------------------

AT = "2015-02-16T23:36:05+00:00"


@pytest.mark.parametrize(
    ("value", "options"),
    [
        (AT, ()),
        ("2015-02-16 23:36:05", ()),
        ("2015-02-16 23:36:05 UTC", ()),
        ("2015-02-16 23:36:05 +0000 UTC", ()),
        ("2015-02-17 01:36:05 +0200", ()),
        (1424129765, ()),
        (1424129765000, ()),
        (1424129765000000, ()),
        ("1424129765", ()),
        ("Mon, 16 Feb 2015 15:36:05 -0800", ()),
        ({"$date": "2015-02-16T23:36:05Z"}, ()),
        ({"$date": 1424129765000}, ()),
        ("16.02.2015 23:36:05", ("--date-format", "%d.%m.%Y %H:%M:%S")),
        ("02/16/15 06:36:05 PM", ("--date-format", "%m/%d/%y %I:%M:%S %p", "--zone", "America/New_York")),
        ("2015-02-17T00:36:05", ("--zone", "Europe/Berlin")),
        ("2015-02-16T23:36:05Z", ("--zone", "Europe/Berlin")),
    ],
)
def test_dates(cli: Any, tmp_path: Path, value: object, options: tuple[str, ...]) -> None:
    """Each form is the same instant."""
    row = {"session_id": "s", "rating": "up", "created_at": value}
    assert cli("import", write(tmp_path, "a.jsonl", row), *options).code == 0
    assert [one.created_at.isoformat() for one in entries()] == [AT]


def test_local_times_that_occur_twice_or_never_are_reported(cli: Any, tmp_path: Path) -> None:
    """The first of two is taken; a skipped one is moved forward by as much as the clocks."""
    rows = "rating,created_at\nup,2015-03-08T02:30\nup,2015-11-01T01:30\nup,2015-11-01T03:30\n"
    file = write(tmp_path, "a.csv", rows)
    ran = cli("import", file, "--zone", "America/New_York", "--json")
    assert (ran.code, ran.json["files"][0]["ambiguous_dates"], ran.json["files"][0]["skipped_dates"]) == (0, 1, 1)
    times = [f"{one.created_at:%m-%d %H:%M}" for one in entries()]
    assert times == ["03-08 07:30", "11-01 05:30", "11-01 08:30"]
    out = " ".join(cli("import", file, "--zone", "America/New_York").out.split())
    assert "1 occurs twice as clocks are set back, and the first time is taken; 1 does not exist" in out


# --- columns ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        ((), {"tier", "email", "plan"}),
        (("--drop", "email"), {"tier", "plan"}),
        (("--only", "tier"), {"tier"}),
        (("--context", "none"), set()),
    ],
)
@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_columns_can_be_left_out(cli: Any, tmp_path: Path, name: str, options: Any, kept: set[str]) -> None:
    """What is left out is in no part of the storage."""
    row = {"session_id": "s", "rating": "up", "tier": "gold", "email": "ann@example.org", "plan": "p"}
    text = f"{','.join(row)}\n{','.join(row.values())}\n"
    assert cli("import", write(tmp_path, name, row if name == "a.jsonl" else text), *options).code == 0
    assert set(entries()[0].context) - {"import_id"} == kept
    assert (b"ann@example.org" in (tmp_path / "feedback.db").read_bytes()) == ("email" in kept)


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl"])
def test_too_much_context_is_shortened_with_a_count(cli: Any, tmp_path: Path, name: str) -> None:
    """Neither many columns nor long values cost a rating."""
    row = {"session_id": "s", "rating": "down", "long": "x" * 1_500, **{f"c{number}": "v" for number in range(70)}}
    text = f"{','.join(row)}\n{','.join(row.values())}\n"
    ran = cli("import", write(tmp_path, name, row if name == "a.jsonl" else text), "--json")
    assert (ran.code, ran.json["added"], ran.json["shortened"]) == (0, 1, 1)
    [feedback] = entries()
    assert len(feedback.context) <= 50
    assert feedback.context["long"] == "x" * 999 + "…"
    assert "The context of 1 row was shortened" in cli("import", name).out


def test_dotted_paths_read_values_inside_objects(cli: Any, tmp_path: Path) -> None:
    """What is left of an object goes into the context; what was mapped does not."""
    row = {"meta": {"chat": {"id": 7}, "model": "m"}, "data": {"text": "hi", "score": True}, "labels": ["a", "b"]}
    options = ("--map", "session_id=meta.chat.id", "--map", "comment=data.text", "--map", "rating=data.score")
    assert (
        cli("import", write(tmp_path, "a.jsonl", row), *options, "--map", "tags=labels", "--drop", "meta.model").code
        == 0
    )
    [feedback] = entries()
    assert (feedback.session_id, feedback.comment, feedback.rating.word) == ("7", "hi", "up")
    assert (feedback.tags, dict(feedback.context).keys()) == (("a", "b"), {"import_id", "rating_given"})


def test_names_of_fields_are_recognised_in_any_style(cli: Any, tmp_path: Path) -> None:
    """Upper and lower case, spaces and underscores make no difference."""
    cli("import", write(tmp_path, "a.csv", "Session ID,Rating,Comment,createdAt,Agent-ID\ns,Up,hi,2026-01-01,bot\n"))
    [feedback] = entries()
    assert (feedback.session_id, feedback.comment, feedback.agent_id) == ("s", "hi", "bot")
    assert (feedback.created_at.year, dict(feedback.context).keys()) == (2026, {"import_id"})


# --- undo and other mappings ------------------------------------------------------------------------------------------


def test_an_import_can_be_undone(cli: Any, tmp_path: Path) -> None:
    """Its id is printed, listed, and in the context; erasing it leaves the statistics of the rest."""
    cli("submit", "s", "up")
    file = write(tmp_path, "a.csv", STARS)
    options = ("--map", "rating=stars", "--scale", "stars")
    first = cli("import", file, *options, "--json").json["import_id"]
    assert {one.context["import_id"] for one in entries() if one.context} == {first}
    again = cli("import", file, *options, "--import-id", "second", "--json").json
    assert (again["import_id"], again["added"], again["duplicates"]) == ("second", 0, 5)
    with harken.connect("sqlite:///feedback.db") as hk:
        second, begun = hk.imports.list(hk.application)
        assert (second.id, begun.id, begun.counts.added, begun.files) == ("second", first, 5, ("a.csv",))
        assert begun.finished_at is not None
        assert hk.imports.erase(hk.application, first).feedback == 5
        assert hk.summary().total == hk.summary().positive == 1


def test_the_same_rows_with_another_mapping_are_refused(cli: Any, tmp_path: Path) -> None:
    """--replace erases the earlier import first, and nothing is stored twice."""
    file = write(tmp_path, "a.csv", STARS)
    wrong = ("--map", "comment=text", "--map", "created_at=date")
    right = (*wrong, "--map", "rating=stars", "--scale", "stars")
    first = cli("import", file, *wrong, "--set", "rating=neutral", "--json").json["import_id"]
    ran = cli("import", file, *right)
    assert ran.code == 2
    assert f"These rows were already stored by import {first} of " in ran.err
    assert "(a.csv, 5 rows) with another mapping: 5 of 5 sampled rows are the same" in ran.err
    assert f"erase --import {first}" in ran.err
    assert ratings() == {"neutral": 5}
    declined = cli("import", file, *right, "--replace", stdin="n\n")
    assert (declined.code, ratings()) == (1, {"neutral": 5})
    assert "Erase 5 entries of import" in declined.err
    replaced = cli("import", file, *right, "--replace", "--yes", "--json").json
    assert (replaced["erased"], replaced["added"]) == (5, 5)
    assert ratings() == {"up": 2, "neutral": 1, "down": 2}
    assert cli("import", file, *right, "--json").json["duplicates"] == 5


def test_a_replacement_loses_no_row(cli: Any, tmp_path: Path) -> None:
    """--replace is refused if the earlier import has rows that the new file lacks."""
    rows = [f"s{number},words {number}\n" for number in range(300)]
    whole = write(tmp_path, "whole.csv", "session_id,comment\n" + "".join(rows))
    part = write(tmp_path, "part.csv", "session_id,comment\n" + "".join(rows[:10]))
    first = cli("import", whole, "--json").json["import_id"]
    assert cli("import", whole).code == 0
    for options in ((), ("--replace", "--yes")):
        ran = cli("import", part, "--set", "agent_id=bot", *options)
        assert (ran.code, first in ran.err) == (2, True)
    assert "so --replace would lose them" in ran.err
    assert cli("stats", "--json").json["total_feedbacks"] == 300
    assert cli("import", whole, "--set", "agent_id=bot", "--replace", "--yes", "--json").json["erased"] == 300
    assert cli("stats", "--agent", "bot", "--json").json["total_feedbacks"] == 300


def test_a_column_of_ones_is_ambiguous(cli: Any, tmp_path: Path) -> None:
    """They may be likes, or the worst of five stars."""
    file = write(tmp_path, "a.csv", "rating,comment\n1,awful\n1,bad\n")
    assert cli("import", file, "--dry-run").code == 2
    assert cli("import", file, "--rating", "1=up", "--json").json["added"] == 2
    assert ratings() == {"up": 2}


def test_a_small_earlier_import_is_found_in_a_large_file(cli: Any, tmp_path: Path) -> None:
    """One row of three thousand was imported with another mapping."""
    header = "session_id,comment,score\n"
    rows = [f"s{number},words {number},{number % 2}\n" for number in range(3_000)]
    cli("import", write(tmp_path, "small.csv", header + rows[1_234]), "--set", "rating=neutral")
    ran = cli("import", write(tmp_path, "large.csv", header + "".join(rows)), "--map", "rating=score")
    assert (ran.code, "(small.csv, 1 row) with another mapping" in ran.err) == (2, True)


def test_other_rows_with_another_mapping_are_imported(cli: Any, tmp_path: Path) -> None:
    """And so are the same rows read from a file of another format, with the same mapping."""
    cli("import", write(tmp_path, "a.csv", "session_id,comment\ns,one\n"))
    assert cli("import", write(tmp_path, "b.csv", "session_id,text\ns,two\n"), "--map", "comment=text").code == 0
    same = cli("import", write(tmp_path, "a.jsonl", {"session_id": "s", "comment": "one"}), "--json").json
    assert (same["added"], same["duplicates"]) == (0, 1)


def test_an_import_continues_with_its_id(cli: Any, tmp_path: Path) -> None:
    """An id that began with another mapping is refused."""
    file = write(tmp_path, "a.csv", "session_id,rating,text\ns,up,hi\n")
    assert cli("import", file, "--import-id", "mine").code == 0
    assert cli("import", file, "--import-id", "mine").code == 0
    other = write(tmp_path, "b.csv", "session_id,rating,text\nt,up,ho\n")
    ran = cli("import", other, "--import-id", "mine", "--map", "comment=text")
    assert ran.code == 2
    assert "another mapping" in ran.err


# --- results ----------------------------------------------------------------------------------------------------------


def test_rejected_rows_are_written_to_a_file(cli: Any, tmp_path: Path) -> None:
    """Each with its line and the reason. The exit code is 3."""
    file = write(tmp_path, "old.csv", CSV)
    ran = cli("import", file, "--json")
    assert (ran.code, ran.err) == (3, "")
    counts = ("read", "added", "duplicates", "rejected", "rejected_file")
    assert [ran.json[name] for name in counts] == [3, 2, 0, 1, "old.csv.rejected.jsonl"]
    reason = "Unknown rating 'sideways'"
    assert ran.json["reasons"] == [{"reason": reason, "count": 1, "example": "line 3 of old.csv"}]
    assert [json.loads(line) for line in (tmp_path / "old.csv.rejected.jsonl").read_text().splitlines()] == [
        {
            "application": "default",
            "file": "old.csv",
            "line": 3,
            "reason": reason,
            "row": {"session_id": "b", "rating": "sideways", "comment": "ho"},
        }
    ]
    again = cli("import", file)
    assert again.code == 3
    assert "3 rows read: 0 added, 2 duplicates, 1 rejected" in again.out
    assert "Rejected rows, with reasons, are in old.csv.rejected.jsonl" in again.out


def test_a_corrected_file_of_rejected_rows_can_be_imported(cli: Any, tmp_path: Path) -> None:
    """Without any change of its form: the rows are those of the file that they were rejected from."""
    cli("import", write(tmp_path, "old.csv", CSV))
    rejects = tmp_path / "old.csv.rejected.jsonl"
    rejects.write_text(rejects.read_text().replace("sideways", "up"))
    ran = cli("import", rejects.name)
    assert (ran.code, ratings()) == (0, {"up": 2, "down": 1})
    assert "rejected rows of an earlier import" in ran.out


def test_the_most_common_reasons_are_printed(cli: Any, tmp_path: Path) -> None:
    """The three most common, each with its count and the first row."""
    bad = ["up,2026-01-99"] * 5 + ["up,1901-01-01"] * 4 + ["meh,"] * 3 + ["sideways,"] * 2
    bad += [f"up,2026-01-01T00:00:00Z,{'x' * 10_001}"]
    rows = "".join(f"{row}{',' * (2 - row.count(','))}\n" for row in [*["up,2026-01-01"] * 20, *bad])
    out = cli("import", write(tmp_path, "a.csv", f"rating,created_at,comment\n{rows}")).out
    start = out.index("Reasons for rejected rows")
    lines = out[start:].splitlines()[:4]
    assert lines[0] == "Reasons for rejected rows, the 3 most common of 4:"
    assert [line.split()[0] for line in lines[1:]] == ["5", "5", "4"]
    assert "(line 22 of a.csv)" in "".join(lines)


def test_nothing_imported_is_a_failure(cli: Any, tmp_path: Path) -> None:
    """The exit code is 2 if all rows were rejected, or if there are none; it is 0 if all are duplicates."""
    (tmp_path / "nonsense.jsonl").write_text('{"rating": "up", "session_id": ["x"]}\n' * 3)
    ran = cli("import", "nonsense.jsonl")
    assert ran.code == 2
    message = "3 rows were rejected, nothing was imported; see nonsense.jsonl.rejected.jsonl for the reasons"
    assert ran.err == f"Error: {message}\n"
    ran = cli("import", "nonsense.jsonl", "--json")
    assert (ran.code, ran.json["rejected"]) == (2, 3)
    assert (ran.error["error"], ran.error["message"]) == ("NothingAccepted", message)
    (tmp_path / "header.csv").write_text("session_id,rating\n")
    assert cli("import", "header.csv").code == 2
    (tmp_path / "some.jsonl").write_text('{"session_id": "s", "rating": "up"}\n')
    assert [cli("import", "some.jsonl").code for _ in range(2)] == [0, 0]


def test_several_files_are_one_import(cli: Any, tmp_path: Path) -> None:
    """One line each and a total, one id, and a file of rejected rows for each."""
    write(tmp_path, "a.csv", CSV)
    write(tmp_path, "b.csv", "session_id,rating\nx,up\n")
    ran = cli("import", "*.csv")
    assert ran.code == 3
    assert "a.csv: 3 rows read: 2 added, 0 duplicates, 1 rejected\n" in ran.out
    assert "b.csv: 1 row read: 1 added, 0 duplicates, 0 rejected\n" in ran.out
    assert "Total: 4 rows read: 3 added, 0 duplicates, 1 rejected; " in ran.out
    assert (tmp_path / "a.csv.rejected.jsonl").exists()
    assert not (tmp_path / "b.csv.rejected.jsonl").exists()
    assert len({one.context["import_id"] for one in entries()}) == 1
    assert cli("import", "a.csv", "b.csv", "--json").json["added"] == 0


def test_one_unusable_file_stops_all_before_the_first_row(cli: Any, tmp_path: Path) -> None:
    """The error names it."""
    write(tmp_path, "a.csv", "session_id,rating\nx,up\n")
    write(tmp_path, "b.csv", "x,y\n1,2\n")
    ran = cli("import", "a.csv", "b.csv")
    assert (ran.code, ran.out) == (2, "")
    assert "b.csv: No column has a rating or a comment" in ran.err
    assert not (tmp_path / "feedback.db").exists()


def test_a_growing_file(cli: Any, tmp_path: Path) -> None:
    """An incomplete last row is left for the next import, which adds it once."""
    (tmp_path / "a.jsonl").write_text('{"session_id": "s", "rating": "up"}\n{"session_id": "t", "ra')
    ran = cli("import", "a.jsonl", "--json")
    assert (ran.code, ran.json["added"], ran.json["left_for_later"]) == (0, 1, True)
    (tmp_path / "a.jsonl").write_text('{"session_id": "s", "rating": "up"}\n{"session_id": "t", "rating": "up"}\n')
    assert (cli("import", "a.jsonl", "--json").json["added"], ratings()) == (1, {"up": 2})


def test_a_counter_of_the_storage_agrees(cli: Any, tmp_path: Path) -> None:
    """The statistics equal a count over the stored rows."""
    rows = "".join(f"{number % 7},{('up', 'down', '')[number % 3]},c{number}\n" for number in range(2_500))
    assert (
        cli("import", write(tmp_path, "a.csv", f"session_id,rating,comment\n{rows}"), "--json").json["added"] == 2_500
    )
    statistics = cli("stats", "--json").json
    assert [statistics[name] for name in ("positive", "negative", "neutral")] == [834, 833, 833]
    with sqlite3.connect(tmp_path / "feedback.db") as connection:
        assert connection.execute("SELECT count(*) FROM feedback").fetchone() == (2_500,)


# --- files ------------------------------------------------------------------------------------------------------------


def test_without_rejected_rows_no_file_is_created(cli: Any, tmp_path: Path) -> None:
    """The file of rejected rows is created with the first of them."""
    assert (
        cli("import", "-", "--format", "csv", "--json", stdin="session_id,rating\ns,up\n").json["rejected_file"] is None
    )
    assert not list(tmp_path.glob("*.jsonl"))


@pytest.mark.parametrize("target", ["feedback.db", "link.csv", "other.db"])
@pytest.mark.usefixtures("empty_storage")
def test_rejected_rows_overwrite_no_database(cli: Any, tmp_path: Path, target: str) -> None:
    """Neither the storage itself nor another one, also through a link; then nothing is imported."""
    cli("submit", "s", "up", storage="sqlite:///other.db")
    (tmp_path / "link.csv").symlink_to("feedback.db")
    ran = cli("import", write(tmp_path, "old.csv", CSV), "--rejected", target)
    assert (ran.code, ran.out) == (2, "")
    assert f"{target} is an SQLite database" in ran.err
    assert entries() == []
    assert len(entries("sqlite:///other.db")) == 1


def test_import_from_stdin(cli: Any, tmp_path: Path) -> None:
    """- reads stdin; rejected rows go to stdin.rejected.jsonl or the path given with --rejected."""
    assert cli("import", "-", "--format", "csv", "--json", stdin=CSV).json["rejected_file"] == "stdin.rejected.jsonl"
    cli("import", "-", "--format", "csv", "--rejected", "bad.jsonl", stdin=CSV)
    assert len((tmp_path / "bad.jsonl").read_text().splitlines()) == 1


@needs_real_feedback
def test_statistics_of_real_feedback(cli: Any, tmp_path: Path) -> None:
    """9,760 real messages: exact statistics, the same sums by day in New York, and no duplicates."""
    file = str(AIRLINES)
    rejected = ("--rejected", str(tmp_path / "rejected.jsonl"))
    assert cli("import", file, *rejected, "--json").json["added"] == 9760
    statistics = cli("stats", "--json").json
    assert [statistics[key] for key in ("total_feedbacks", "positive", "negative", "neutral")] == [
        9760,
        1647,
        6087,
        2026,
    ]
    assert (statistics["satisfaction_score"], statistics["quality_score"]) == (21.3, 27.3)
    points = cli("trends", "--zone", "America/New_York", "--json").json["points"]
    for key in ("total_feedbacks", "positive", "negative", "neutral", "comments"):
        assert sum(point[key] for point in points) == statistics[key]
    again = cli("import", file, *rejected, "--json").json
    assert (again["added"], again["duplicates"], again["rejected"]) == (0, 9760, 0)


@needs_real_feedback
def test_repeated_reviews_are_all_imported(cli: Any, tmp_path: Path) -> None:
    """2,000 real reviews, of which 13 have the same text as another one."""
    arguments = ("import", str(REVIEWS), "--rejected", str(tmp_path / "rejected.jsonl"), "--json")
    assert cli(*arguments, "--set", "session_id=reviews").json["added"] == 2000
    assert cli(*arguments, "--set", "session_id=reviews").json["duplicates"] == 2000
    assert cli(*arguments).code == 2
