"""Refuses files in which the rating has a column that is not read: all their rows would be neutral."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from shlex import quote
from typing import Any, Final

from harken_adapters.formats.errors import UnusableFile
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.columns import alternatives, likely_columns, list_of, lookup, simplified
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.ratings import are_ratings
from harken_adapters.formats.presets import preset, preset_names
from harken_adapters.formats.values import is_empty

#: How deep the objects of a row are looked into.
_DEPTH: Final = 3
#: How many fields of a preset a file has at least, if it is an export of that program.
_FEWEST_FIELDS: Final = 4


def check_rating_column(
    profile: Profile,
    options: ImportOptions,
    wanted: Sequence[str],
    fields: Mapping[str, Sequence[str]],
    others: Iterable[str],
) -> None:
    """Refuse a file without a rating, if columns were named for it or another column may be it.

    Args:
        profile: what the file contains.
        options: what the user says about it.
        wanted: the columns that may hold the rating, which need not occur.
        fields: the columns of each field that occur.
        others: the columns of no field.

    Raises:
        UnusableFile: the message says what to add.
    """
    if "rating" in fields or "rating" in options.constants:
        return
    likely = _likely(profile, [name for name in others if name not in options.drop])
    if wanted:
        problem = f"The rating should be in {' or '.join(map(repr, wanted))}, which is not in the file"
    elif likely:
        problem = f"The rating may be in {likely[0]!r}, which is not read as such"
    else:
        return
    advice = f"--map rating={quote(likely[0])}" if likely else "--map rating=COLUMN"
    raise UnusableFile(
        f"{problem}. {preset_advice(profile, options)} {advice}, or --set rating=neutral to store all rows as "
        f"neutral; {list_of(profile.names)}"
    )


def preset_advice(profile: Profile, options: ImportOptions) -> str:
    """The beginning of a sentence about options to add, after the preset whose columns occur, if there is one."""
    if options.columns or profile.layout.format == "objects":
        return "Add"
    rows = [_row(profile, values) for values in profile.sample]
    found = {name: _fields_found(rows, preset(name)) for name in preset_names()}
    best = max(found, key=lambda name: found[name])
    if found[best] < _FEWEST_FIELDS:
        return "Add"
    return f"If it is an export of {best}, add --from {best}. Otherwise add"


def _fields_found(rows: Sequence[Mapping[str, Any]], options: ImportOptions) -> int:
    """How many of the fields of a preset the rows have; none if they have no rating."""
    fields = [
        name
        for name, columns in options.columns.items()
        if any(not is_empty(lookup(row, path)) for row in rows for path in alternatives(columns))
    ]
    return len(fields) if "rating" in fields else 0


def _likely(profile: Profile, others: Sequence[str]) -> list[str]:
    """The columns that may hold the rating: those named like one and those with values like one; first, with both."""
    rows = [_row(profile, values) for values in profile.sample]
    names = [*others]
    if profile.columns is None:
        inner = dict.fromkeys(path for row in rows for path in _paths({name: row.get(name) for name in others}))
        names = list(dict.fromkeys([*others, *inner]))
    values = {name: [value for row in rows if not is_empty(value := lookup(row, name))] for name in names}
    named = {name for name in likely_columns("rating", names) if values[name] or name in profile.filled}
    # A field may have been mapped to another column with this name.
    named |= {name for name in names if simplified(name) == "rating"}
    fitting = {name for name in names if are_ratings(values[name])}
    return sorted(named | fitting, key=lambda name: (name not in named) + (name not in fitting))


def _row(profile: Profile, values: Any) -> Mapping[str, Any]:
    return values if profile.columns is None else dict(zip(profile.columns, values, strict=True))


def _paths(row: Mapping[str, Any], prefix: str = "", depth: int = 1) -> Iterator[str]:
    """The dotted paths of the values in the objects of a row."""
    for name, value in row.items():
        if isinstance(value, Mapping):
            if depth < _DEPTH:
                yield from _paths(value, f"{prefix}{name}.", depth + 1)
        elif prefix:
            yield f"{prefix}{name}"
