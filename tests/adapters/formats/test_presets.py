"""Presets for the exports of other programs, and mapping files of the same form.

``tests/preset_files`` has an export in each documented format. The name of a file begins with the name of its preset.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import asdict, evolve, fields
from hypothesis import given
from hypothesis import strategies as st

from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import FIELDS, FORMATS, ImportOptions
from harken_adapters.formats.importing.ratings import SCALES
from harken_adapters.formats.presets import parse_mapping, preset, preset_names, preset_text, read_mapping
from import_files import understood

FILES = sorted((Path(__file__).parents[2] / "preset_files").iterdir())
LISTS = {"data": ("langfuse-api", "app-store.json"), "feed.entry": ("app-store-feed",)}


def rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a file, with every value as it is there."""
    data = file.read_text("utf-16" if file.name == "google-play.csv" else "utf-8-sig")
    if file.suffix == ".csv":
        # A file object, as a value may have lines.
        return list(csv.DictReader(io.StringIO(data, newline="")))
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in data.splitlines()]
    found = json.loads(data)
    for key, files in LISTS.items():
        if file.name.startswith(files):
            found = value(found, key)
    return list(found)


def value(row: Any, path: str) -> Any:
    """The value under a name or a dotted path; ``None`` if there is none."""
    if isinstance(row, Mapping) and path in row:
        return row[path]
    name, _, rest = path.partition(".")
    if isinstance(row, list) and name.isdigit() and int(name) < len(row):
        found = row[int(name)]
    elif isinstance(row, Mapping) and rest:
        found = row.get(name)
    else:
        return None
    return value(found, rest) if rest else found


#: Exports without dates, or without ratings of their own.
WITHOUT = ("argilla", "mlflow-2", "open-webui", "qualtrics")


@pytest.mark.parametrize(
    "file", [file for file in FILES if not file.name.startswith(WITHOUT)], ids=lambda file: file.name
)
def test_refusals_name_a_column_of_the_file(file: Path) -> None:
    """Not another alternative that the preset has."""
    [name] = [name for name in preset_names() if file in of_preset(name)]
    options = evolve(preset(name), key="feed.entry" if "feed" in file.name else None, date_format="%d")
    with pytest.raises(UnusableFile, match="The dates in '") as caught:
        understood(file.read_bytes(), file.name, options)
    column = str(caught.value).split("'")[1]
    assert any(value(row, column) for row in rows(file))


def of_preset(name: str) -> list[Path]:
    """The files of a preset."""
    return [file for file in FILES if file.name.startswith((f"{name}.", f"{name}-"))]


def columns(options: ImportOptions, field: str) -> Sequence[str]:
    """The columns that are mapped to a field."""
    mapped = options.columns[field]
    return (mapped,) if isinstance(mapped, str) else mapped


# --- presets ----------------------------------------------------------------------------------------------------------


def test_there_are_ten_presets() -> None:
    """Each preset has files to test it with, and each file has a preset."""
    assert preset_names() == [
        "app-store",
        "argilla",
        "chainlit",
        "google-play",
        "gradio",
        "langfuse",
        "langsmith",
        "mlflow",
        "open-webui",
        "qualtrics",
    ]
    assert sorted(file for name in preset_names() for file in of_preset(name)) == FILES
    assert all(of_preset(name) for name in preset_names())


@pytest.mark.parametrize("name", preset_names())
def test_each_column_of_a_preset_has_a_value_in_a_file(name: str) -> None:
    """A preset has no column that exports do not have, neither to read nor to leave out."""
    options = preset(name)
    found = [row for file in of_preset(name) for row in rows(file)]
    for field in options.columns:
        for column in columns(options, field):
            assert any(value(row, column) not in (None, "", []) for row in found), f"{field} = {column}"
    for column in options.drop:
        assert any(column in row for row in found), column


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_each_row_has_a_rating_and_each_file_a_comment(file: Path) -> None:
    """The preset of an export, of any version, finds what it is about. Surveys name their questions themselves."""
    options = preset(next(name for name in preset_names() if file in of_preset(name)))
    if file.name == "qualtrics.csv":
        assert not {"rating", "comment"} & options.columns.keys()
        return
    for row in rows(file):
        assert any(value(row, column) not in (None, "") for column in columns(options, "rating")), row
    assert any(value(row, column) for row in rows(file) for column in columns(options, "comment")) or (
        file.name == "gradio-chat.csv"  # whose visitors can only like or dislike
    )


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_is_a_mapping_file(name: str, tmp_path: Path) -> None:
    """A preset can be copied to a file, which then has the same options and can be changed."""
    copy = tmp_path / "copy.toml"
    copy.write_text(preset_text(name), "utf-8")
    assert read_mapping(copy) == preset(name)
    assert preset_text(name).startswith("# "), "it says how to export"


def test_an_unknown_preset_is_refused_with_the_known_ones() -> None:
    """The message has the name that was probably meant, and all names."""
    message = r"^Unknown preset 'langfus' \(did you mean 'langfuse'\?\); expected one of app-store, .*, qualtrics$"
    with pytest.raises(UnusableFile, match=message):
        preset("langfus")
    with pytest.raises(UnusableFile, match=r"Unknown preset '\.\./presets/langfuse'"):
        preset_text("../presets/langfuse")


# --- mapping files ----------------------------------------------------------------------------------------------------


def test_a_mapping_file_has_all_options(tmp_path: Path) -> None:
    """Every option can be in the file. A byte order mark, which some editors write, is ignored."""
    file = tmp_path / "mapping.toml"
    file.write_text(
        """
format = "csv"
encoding = "cp1252"
separator = ";"
skip_rows = 2
key = "data.items"
sheet = "Reviews"
scale = "stars"
date_format = "%d/%m/%Y %H:%M"
zone = "Europe/Madrid"
drop = ["email"]
only = ["country"]
context = false

[columns]
comment = "text"
rating = ["stars", "score"]
context.land = "country"
"context.device" = ["phone", "tablet"]

[constants]
agent_id = "north-air"
context.source = "survey"

[ratings]
5 = "up"
-1 = "down"
"0.5" = "neutral"
other = "down"
""",
        "utf-8-sig",
    )
    options = ImportOptions(
        format="csv",
        encoding="cp1252",
        separator=";",
        skip_rows=2,
        key="data.items",
        sheet="Reviews",
        columns={
            "comment": "text",
            "rating": ("stars", "score"),
            "context.land": "country",
            "context.device": ("phone", "tablet"),
        },
        constants={"agent_id": "north-air", "context.source": "survey"},
        scale="stars",
        ratings={"5": "up", "-1": "down", "0.5": "neutral", "other": "down"},
        date_format="%d/%m/%Y %H:%M",
        zone="Europe/Madrid",
        drop=("email",),
        only=("country",),
        context=False,
    )
    assert read_mapping(file) == options
    missing = [
        one.name for one in fields(ImportOptions) if getattr(options, one.name) == getattr(ImportOptions(), one.name)
    ]
    # Those say what only the command line has.
    assert missing == ["typed_columns", "typed_ratings", "mapping_file"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", r" is empty; it needs at least a table \[columns\], such as:"),
        ("columns = ", " is not valid TOML: Invalid value"),
        ("drop = " + "[" * 5_000, " is not valid TOML: the values are nested too deeply"),
        ("colums = 1", r": unknown option 'colums' \(did you mean 'columns'\?\); expected one of format, encoding, "),
        ("columns = 'a'", r": columns must be a table, \[columns\], got 'a'"),
        (
            "columns.coment = 'a'",
            r": columns: Unknown field 'coment' \(did you mean 'comment'\?\); expected one of session_id, ",
        ),
        ("constants.coment = 'a'", ": constants: Unknown field 'coment'.*; expected one of session_id, "),
        ("columns.context = 'a'", r": columns.context must be a table, \[columns.context\], got 'a'"),
        ("columns.context.'a b' = 'a'", ": columns: context name 'a b' may only have letters, digits"),
        ("columns.rating = 5", ": columns.rating must be a string in quotes, got 5"),
        ("columns.rating = ['a', 3]", r": columns.rating must be a list of strings, such as .*, got \['a', 3\]"),
        ("columns.rating = []", ": columns.rating must name a column"),
        ("columns.rating = ''", ": columns.rating must name a column"),
        ("constants.session_id = 5", ": constants.session_id must be a string in quotes, got 5"),
        ("ratings = []", r": ratings must be a table, \[ratings\], got \[\]"),
        ("ratings.5 = 'good'", ": 'good' is not a rating for '5'; expected up, down or neutral"),
        ("ratings.5 = 1", ": ratings.5 must be a string in quotes, got 1"),
        ("ratings.0.5 = 'up'", ": ratings.0 is a table; put a value with a dot in quotes"),
        ("scale = 'star'", r": Unknown scale 'star' \(did you mean 'stars'\?\); expected one of 0..1, stars, nps"),
        (
            "format = 'jsonll'",
            r": Unknown format 'jsonll' \(did you mean 'jsonl'\?\); expected one of csv, jsonl, ",
        ),
        ("zone = 5", ": zone must be a string in quotes, got 5"),
        ("skip_rows = -1", ": skip_rows must be a whole number from 0, got -1"),
        ("skip_rows = true", ": skip_rows must be a whole number from 0, got True"),
        ("context = 'no'", ": context must be true or false, got 'no'"),
        ("drop = 'email'", r": drop must be a list of strings, such as .*, got 'email'"),
    ],
)
def test_errors_in_a_mapping_file_say_what_to_change(tmp_path: Path, content: str, problem: str) -> None:
    """The message has the file, the place in it, what is wrong, and what is expected."""
    file = tmp_path / "mapping.toml"
    file.write_text(content)
    with pytest.raises(UnusableFile, match=f"mapping.toml{problem}") as caught:
        read_mapping(file)
    assert len(str(caught.value)) < 400


def test_unreadable_mapping_files_are_refused(tmp_path: Path) -> None:
    """A missing file, a directory and a file in another encoding are named."""
    with pytest.raises(UnusableFile, match=r"Cannot read the mapping file .*absent.toml: No such file or directory"):
        read_mapping(tmp_path / "absent.toml")
    with pytest.raises(UnusableFile, match=r"Cannot read the mapping file .*: Is a directory"):
        read_mapping(tmp_path)
    (tmp_path / "legacy.toml").write_text('drop = ["Größe"]', "cp1252")
    with pytest.raises(UnusableFile, match=r"legacy.toml is not UTF-8; save it as UTF-8"):
        read_mapping(tmp_path / "legacy.toml")


# --- documentation ----------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).parents[3] / "docs" / "importing.md").read_text("utf-8")


def test_all_presets_are_documented() -> None:
    """Each has its place in the table."""
    table = PAGE.partition("## Presets\n")[2].partition("|---|---|\n")[2].partition("\n\n")[0]
    assert set(preset_names()) == {line.split("`")[1] for line in table.splitlines()}


# --- any content ------------------------------------------------------------------------------------------------------

# TOML forbids DEL in strings, and surrogates are not in UTF-8.
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x7f"), max_size=20)
COLUMNS = TEXTS.filter(bool)
FIELD = st.sampled_from([*FIELDS, "context.plan", "context.Größe"])
OPTIONS = st.fixed_dictionaries(
    {"columns": st.dictionaries(FIELD, COLUMNS | st.lists(COLUMNS, min_size=1, max_size=3).map(tuple))},
    optional={
        "format": st.sampled_from([*FORMATS]),
        "scale": st.sampled_from([*SCALES]),
        "skip_rows": st.integers(0, 100),
        "constants": st.dictionaries(FIELD, TEXTS),
        "ratings": st.dictionaries(TEXTS, st.sampled_from(["up", "down", "neutral"])),
        "drop": st.lists(TEXTS).map(tuple),
        "only": st.lists(TEXTS).map(tuple),
        "context": st.booleans(),
        **dict.fromkeys(("encoding", "separator", "key", "sheet", "date_format", "zone"), TEXTS),
    },
)


def toml(content: object) -> str:
    """A value in TOML."""
    if isinstance(content, dict):
        return "{" + ", ".join(f"{toml(name)} = {toml(item)}" for name, item in content.items()) + "}"
    if isinstance(content, list | tuple):
        return "[" + ", ".join(map(toml, content)) + "]"
    # Strings, numbers and booleans are written as in JSON.
    return json.dumps(content, ensure_ascii=False)


def toml_file(content: Mapping[str, object]) -> str:
    """A file in TOML."""
    return "".join(f"{toml(name)} = {toml(item)}\n" for name, item in content.items())


@given(OPTIONS)
def test_any_options_in_a_file_are_read_back_equal(options: dict[str, Any]) -> None:
    """Names of columns and values of ratings may have any characters."""
    assert parse_mapping(toml_file(options), "mapping.toml") == ImportOptions(**options)


def any_content() -> st.SearchStrategy[dict[str, Any]]:
    """Any TOML, often with the names of options."""
    items = st.none() | st.booleans() | st.integers() | TEXTS | FIELD
    values = st.recursive(
        items.filter(lambda item: item is not None),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(TEXTS | FIELD | st.just("context"), inner, max_size=3)
        ),
        max_leaves=8,
    )
    return st.dictionaries(st.sampled_from(list(asdict(ImportOptions()))) | TEXTS, values, max_size=4)


@given(any_content())
def test_any_content_is_options_or_a_message_about_the_file(content: dict[str, Any]) -> None:
    """A mapping file is read or refused with a message that begins with its name; there is no other error."""
    try:
        options = parse_mapping(toml_file(content), "mapping.toml")
    except UnusableFile as error:
        message = str(error)
    else:
        message = "mapping.toml"
        assert {
            name for name in content if not isinstance(getattr(options, name), (type(content[name]), tuple))
        } == set()
    assert message.startswith("mapping.toml")


def test_the_lines_of_presets_fit_on_a_screen() -> None:
    """A preset can be printed and read."""
    assert max(len(line) for name in preset_names() for line in preset_text(name).splitlines()) <= 120
