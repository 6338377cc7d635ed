"""Reads mapping files: TOML with the fields of :class:`ImportOptions`."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from harken.domain.texts import excerpt, no_such, unknown_names
from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import CONTEXT, FORMATS, ImportOptions, field_problem
from harken_adapters.formats.importing.ratings import Ratings


def read_mapping(path: Path) -> ImportOptions:
    """The options in a mapping file.

    Raises:
        UnusableFile: the file cannot be read, is not valid TOML, or has an unknown name or an invalid value.
    """
    try:
        # Some editors begin a file with a byte order mark.
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise UnusableFile(f"Cannot read the mapping file {path}: {error.strerror or error}") from error
    except UnicodeDecodeError:
        raise UnusableFile(f"The mapping file {path} is not UTF-8; save it as UTF-8") from None
    return evolve(parse_mapping(text, f"The mapping file {path}"), mapping_file=str(path))


def parse_mapping(text: str, where: str) -> ImportOptions:
    """The options in the text of a mapping file. Messages of errors begin with ``where``.

    Raises:
        UnusableFile: the text is not valid TOML, or has an unknown name or an invalid value.
    """
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UnusableFile(f"{where} is not valid TOML: {error}") from None
    except RecursionError:
        raise UnusableFile(f"{where} is not valid TOML: the values are nested too deeply") from None
    if not content:
        raise UnusableFile(f'{where} is empty; it needs at least a table [columns], such as: rating = "stars"')
    return options_of(content, where)


def options_of(content: Mapping[str, object], where: str) -> ImportOptions:
    """The options in the content of a mapping file. Messages of errors begin with ``where``.

    Raises:
        UnusableFile: the content has an unknown name or an invalid value.
    """
    if problem := unknown_names(content, _PARSERS, "option"):
        raise UnusableFile(f"{where}: {problem}")
    try:
        options = ImportOptions(**{name: _PARSERS[name](name, value) for name, value in content.items()})
        Ratings(scale=options.scale, chosen=options.ratings)
    except UnusableFile as error:
        raise UnusableFile(f"{where}: {error}") from None
    return options


# Each of these returns the value of an option, or raises UnusableFile with a message that does not name the file.


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise UnusableFile(f"{name} must be a string in quotes, got {_shown(value)}")
    return value


def _texts(name: str, value: object) -> Sequence[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise UnusableFile(f'{name} must be a list of strings, such as ["a", "b"], got {_shown(value)}')
    return tuple(value)


def _format(name: str, value: object) -> str:
    if (text := _text(name, value)) not in FORMATS:
        raise UnusableFile(no_such(name, text, FORMATS))
    return text


def _number(name: str, value: object) -> int:
    # In Python, true is an integer too.
    if type(value) is not int or value < 0:
        raise UnusableFile(f"{name} must be a whole number from 0, got {_shown(value)}")
    return value


def _boolean(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise UnusableFile(f"{name} must be true or false, got {_shown(value)}")
    return value


def _columns(name: str, value: object) -> Mapping[str, str | Sequence[str]]:
    found: dict[str, str | Sequence[str]] = {}
    for field, column in _by_field(name, value):
        parse: Callable[[str, object], str | Sequence[str]] = _texts if isinstance(column, list) else _text
        found[field] = parse(f"{name}.{field}", column)
        if not found[field]:
            raise UnusableFile(f"{name}.{field} must name a column")
    return found


def _constants(name: str, value: object) -> Mapping[str, str]:
    return {field: _text(f"{name}.{field}", constant) for field, constant in _by_field(name, value)}


def _ratings(name: str, value: object) -> Mapping[str, str]:
    ratings = _table(name, value)
    for given, rating in ratings.items():
        if isinstance(rating, dict):
            # 0.5 = "neutral" is a table "0" with a "5" in it.
            raise UnusableFile(f"{name}.{given} is a table; put a value with a dot in quotes")
    return {given: _text(f"{name}.{given}", rating) for given, rating in ratings.items()}


def _by_field(name: str, value: object) -> Iterator[tuple[str, object]]:
    """The items of a table by field. Without quotes, ``context.NAME`` is a table in TOML."""
    table = dict(_table(name, value))
    within = table.pop("context", {})
    yield from _checked(name, table)
    yield from _checked(name, {f"{CONTEXT}{inner}": item for inner, item in _table(f"{name}.context", within).items()})


def _checked(name: str, table: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    for field, item in table.items():
        if problem := field_problem(field):
            raise UnusableFile(f"{name}: {problem}")
        yield field, item


def _table(name: str, value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UnusableFile(f"{name} must be a table, [{name}], got {_shown(value)}")
    return value


def _shown(value: object) -> str:
    return excerpt(repr(value), 100)


_PARSERS: Final[Mapping[str, Callable[[str, object], Any]]] = {
    "format": _format,
    "encoding": _text,
    "separator": _text,
    "skip_rows": _number,
    "key": _text,
    "sheet": _text,
    "columns": _columns,
    "constants": _constants,
    "scale": _text,
    "ratings": _ratings,
    "date_format": _text,
    "zone": _text,
    "drop": _texts,
    "only": _texts,
    "context": _boolean,
}
