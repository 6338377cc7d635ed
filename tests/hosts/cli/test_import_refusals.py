"""The command import refuses what it would otherwise understand wrongly without notice, and says what to add."""

from pathlib import Path
from typing import Any

import pytest

import harken

pytestmark = pytest.mark.slow

PRESET_FILES = Path(__file__).parents[2] / "preset_files"


def write(folder: Path, name: str, text: str) -> str:
    """Write a file. Returns its name."""
    (folder / name).write_text(text)
    return name


def one_line(text: str) -> str:
    """The text without line ends."""
    return " ".join(text.split())


# --- the rating -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "values"),
    [("score", ["5"]), ("outcome", ["👍", "👎", "👍"]), ("happy", ["Yes", "no", ""]), ("q1", ["4", "4", "1"])],
)
@pytest.mark.parametrize("of", ["csv", "jsonl"])
def test_a_column_that_may_be_the_rating_is_not_ignored(
    cli: Any, tmp_path: Path, of: str, name: str, values: list[str]
) -> None:
    """All rows would be neutral. The refusal has the options that read the column, and that say it is none."""
    rows = {
        "csv": f"id,{name},comment\n" + "".join(f"r{at},{value},so\n" for at, value in enumerate(values)),
        "jsonl": "".join(f'{{"id": "r{at}", "{name}": "{one}", "comment": "so"}}\n' for at, one in enumerate(values)),
    }
    ran = cli("import", write(tmp_path, f"a.{of}", rows[of]))
    assert ran.code == 2
    expected = f"The rating may be in '{name}', which is not read as such. Add --map rating={name}, or --set rating="
    assert expected in one_line(ran.err)
    assert cli("import", f"a.{of}", "--set", "rating=neutral", "--json").json["added"] == len(values)


def test_other_columns_are_not_taken_for_the_rating(cli: Any, tmp_path: Path) -> None:
    """Such as words, many numbers, and the numbers of rows."""
    rows = "".join(f"{number},{number * 7},seat {number},so\n" for number in range(1, 9))
    assert cli("import", write(tmp_path, "a.csv", f"nr,width,seat,comment\n{rows}")).code == 0


def test_a_preset_whose_rating_does_not_occur_is_refused(cli: Any, tmp_path: Path) -> None:
    """The file is not what it was said to be; its columns are named."""
    file = write(tmp_path, "a.csv", "session_id,rating,comment\ns,up,so\n")
    ran = cli("import", file, "--from", "gradio")
    assert ran.code == 2
    assert "The rating should be in 'value' or 'flag', which is not in the file. Add --map rating=rating" in one_line(
        ran.err
    )
    assert one_line(ran.err).endswith("the columns are 'session_id', 'rating', 'comment'")
    assert cli("import", file, "--from", "gradio", "--map", "rating=rating", "--json").json["added"] == 1


@pytest.mark.parametrize("name", ["open-webui.json", "langfuse.csv", "mlflow.jsonl"])
def test_the_export_of_a_program_is_recognised_in_a_refusal(cli: Any, name: str) -> None:
    """Which option reads it."""
    preset = name.partition(".")[0]
    ran = cli("import", str(PRESET_FILES / name))
    assert (ran.code, f"If it is an export of {preset}, add --from {preset}. " in one_line(ran.err)) == (2, True)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("rating=uup", "--set rating=uup: Unknown rating 'uup'; expected up, down or neutral"),
        ("created_at=soon", "--set created_at=soon: created_at is not a date: 'soon'"),
    ],
)
def test_a_value_for_rows_without_one_is_checked_at_once(cli: Any, tmp_path: Path, option: str, message: str) -> None:
    """It would reject all these rows."""
    ran = cli("import", write(tmp_path, "a.csv", "id,comment\ns,so\n"), "--set", option)
    assert (ran.code, message in one_line(ran.err)) == (2, True)


def test_values_for_no_rating_are_neutral(cli: Any, tmp_path: Path) -> None:
    """As tools for data write them. They change nothing about the other values, and are not kept."""
    absent = ["", "-", "None", "null", "NaN", "n/a", "NA", "#N/A", "<NA>", "undefined"]
    rows = "".join(f"s{number},{value}\n" for number, value in enumerate(["1", "0", *absent]))
    file = write(tmp_path, "a.csv", f"session_id,rating\n{rows}")
    report = cli("import", file, "--json").json
    assert (report["added"], report["rejected"]) == (12, 0)
    with harken.connect("sqlite:///feedback.db") as hk:
        found = {one.session_id: one for one in hk.collection.stream(hk.query())}
    ratings = [found[f"s{number}"].rating.word for number in range(12)]
    assert ratings == ["up", "down", *["neutral"] * 10]
    assert [number for number in range(12) if "rating_given" in found[f"s{number}"].context] == [0, 1]


# --- mapping files and options ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ('drop = ["emial"]', "Column 'emial' of drop in m.toml is missing (did you mean 'email'?); the columns are"),
        ('drop = ["phone"]', "Column 'phone' of drop in m.toml is missing; the columns are"),
        ('only = ["emial", "tier"]', "Column 'emial' of only in m.toml is missing (did you mean 'email'?)"),
        (
            '[columns]\nauthor = ["emial", "mail_address"]',
            "Column 'emial' of author in m.toml is missing (did you mean 'email'?)",
        ),
    ],
)
def test_a_misspelt_column_in_a_mapping_file_is_refused(cli: Any, tmp_path: Path, mapping: str, message: str) -> None:
    """Otherwise personal data would be stored in the context."""
    write(tmp_path, "m.toml", f"{mapping}\n")
    ran = cli("import", write(tmp_path, "a.csv", "rating,email,tier\nup,a@b.c,x\n"), "--mapping", "m.toml")
    assert (ran.code, message in one_line(ran.err)) == (2, True)
    assert not (tmp_path / "feedback.db").exists()


def test_a_copy_of_a_preset_may_leave_out_columns_of_other_versions(cli: Any, tmp_path: Path) -> None:
    """As the preset does."""
    write(tmp_path, "m.toml", cli("import", "--show-preset", "langfuse").out)
    assert cli("import", str(PRESET_FILES / "langfuse.csv"), "--mapping", "m.toml", "--rating", "other=up").code == 0


def test_options_without_effect_are_named(cli: Any, tmp_path: Path) -> None:
    """In one line."""
    (tmp_path / "a.jsonl").write_text('{"rating": "up"}\n')
    options = ("--sheet", "x", "--skip-rows", "2", "--date-format", "%d/%m/%Y")
    out = cli("import", "a.jsonl", *options, "--dry-run").out
    assert "  Without effect on this file: --skip-rows, --sheet, --date-format\n" in out
    out = cli("import", write(tmp_path, "a.csv", "rating,created_at\nup,31/01/2026\n"), *options[4:], "--dry-run").out
    assert "Without effect" not in out


# --- results ----------------------------------------------------------------------------------------------------------


def test_reasons_with_different_values_are_shown_as_an_example(cli: Any, tmp_path: Path) -> None:
    """The first value is not that of all rows."""
    rows = "".join(f"{value}\n" for value in ("up", "up", "up", "up", "meh", "sup", "dwn"))
    out = cli("import", write(tmp_path, "a.csv", f"rating\n{rows}")).out
    assert "  3  Unknown rating such as 'meh' (line 6 of a.csv)\n" in out
    rows = "".join(f"{value}\n" for value in ("up", "up", "up", "meh", "meh"))
    out = cli("import", write(tmp_path, "b.csv", f"rating\n{rows}")).out
    assert "  2  Unknown rating 'meh' (line 5 of b.csv)\n" in out


def test_what_is_shown_beforehand_is_stored(cli: Any, tmp_path: Path) -> None:
    """The period of dates and the sample are without a date out of range; rejected rows show no other session."""
    file = write(tmp_path, "a.csv", "rating,created_at\nup,0001-01-01\nup,2026-01-02\ndown,2026/01/03\n")
    ran = cli("import", file, "--dry-run")
    assert "2026-01-02 to 2026-01-03" in ran.out
    assert "  1  created_at must be in the years 1970 to 9998, got 0001-01-01T00:00:00 (line 2 of a.csv)\n" in ran.out
    assert "0001" not in ran.out.partition("\n\n")[2].partition("\n\n")[0]
    file = write(tmp_path, "b.csv", "rating,comment\nup,a\nup,b\nmeh,c\n")
    cli("import", file)
    rejected = tmp_path / "b.csv.rejected.jsonl"
    rejected.write_text(rejected.read_text().replace('"meh"', '"down"'))
    ran = cli("import", rejected.name, "--rejected", "c.jsonl")
    assert ran.code == 0
    assert "row-" not in ran.out


@pytest.mark.parametrize("name", ["created_at", "id"])
def test_equal_rows_of_two_files_are_named(cli: Any, tmp_path: Path, name: str) -> None:
    """They are stored once, as they have a date or an id; what is advised stores all of them."""
    days = {"created_at": ["2026-01-01", "2026-01-02", "2026-01-03"], "id": ["1", "2", "3"]}[name]
    rows = [f"{day},{rating}\n" for day, rating in zip(days, ("up", "down", "up"), strict=True)]
    files = (
        write(tmp_path, "berlin.csv", f"{name},rating\n{''.join(rows)}"),
        write(tmp_path, "munich.csv", f"{name},rating\n{''.join(rows[:2])}"),
    )
    ran = cli("import", *files)
    assert ran.code == 0
    assert ran.out.count("  by content: equal rows of several files are the same one\n") == 2
    said = "2 rows of munich.csv are equal to rows of berlin.csv, and not stored again. If this is other feedback, undo"
    assert said in one_line(ran.out)
    assert "equal to rows" not in cli("import", *files).out
    [import_id] = [one["id"] for one in cli("imports", "--json").json["items"]]
    assert cli("erase", "--import", import_id, "--yes").code == 0
    for file in files:
        header, *lines = (tmp_path / file).read_text().splitlines()
        (tmp_path / file).write_text("\n".join([f"{header},branch", *(f"{line},{file}" for line in lines), ""]))
    assert cli("import", *files, "--json").json["added"] == 5


def test_a_continued_import_names_no_equal_rows(cli: Any, tmp_path: Path) -> None:
    """Its rows were stored by the run before."""
    files = [write(tmp_path, f"{name}.csv", f"session_id,rating\n{name},up\n") for name in ("a", "b")]
    for _ in range(2):
        ran = cli("import", *files, "--import-id", "mine")
        assert (ran.code, "equal to rows" in ran.out) == (0, False)
