"""The mapping of an import: what its options say about the meaning of columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any, Final

from attrs import frozen

from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.columns import alternatives
from harken_adapters.formats.importing.plan import Plan
from harken_adapters.formats.importing.profile import Profile

#: How numbers are read without a scale in a column that holds nothing else.
_PLAIN: Final[tuple[Mapping[str, str], ...]] = ({"1": "up", "0": "neutral", "-1": "down"}, {"1": "up", "0": "down"})


@frozen
class MappingDigests:
    """Digests of the mapping of an import, as its record has them, see :class:`harken.Import`.

    How a file is read is not part of a mapping.
    """

    mapping_digest: str
    meaning_digest: str
    columns_digest: str

    @classmethod
    def of(cls, files: Iterable[tuple[Profile, Plan]]) -> MappingDigests:
        """The digests for these files.

        The meaning is which columns have a field or go into the context, and how the ratings and dates that occur are
        read. Columns without a value are left out.
        """
        read = [*files]
        return cls(
            _digest_of_all([_what_options_say(plan.options) for _, plan in read]),
            _digest_of_all([[_columns(profile, plan), _readings(plan)] for profile, plan in read]),
            _digest_of_all([_columns(profile, plan) for profile, plan in read]),
        )


def _columns(profile: Profile, plan: Plan) -> object:
    fields = {name: [one for one in columns if one in profile.filled] for name, columns in plan.fields.items()}
    return [
        {name: columns for name, columns in fields.items() if columns},
        {column: name for column, name in plan.context.items() if column in profile.filled},
        [plan.has_context, plan.reason, plan.id_column],
    ]


def _readings(plan: Plan) -> object:
    return [
        dict(plan.options.constants),
        {text: rating.value for text, rating in plan.ratings.meanings().items()},
        [plan.dates.date_format, plan.dates.zone_name.upper()] if plan.forms else None,
    ]


def carried_mapping(plan: Plan) -> dict[str, Any]:
    """The options with which rejected rows of a file are read as in the file, as in a mapping file.

    The columns need not occur in the rows, and numbers have the ratings that they have beside the other rows.
    """
    options = plan.options
    found: dict[str, Any] = {
        "columns": {name: [*alternatives(column)] for name, column in options.columns.items()},
        "constants": dict(options.constants),
        "ratings": {**{text: rating.word for text, rating in plan.ratings.plain_numbers.items()}, **options.ratings},
        "scale": options.scale,
        "date_format": options.date_format,
        "zone": options.zone,
        "drop": [*options.drop],
        "only": None if options.only is None else [*options.only],
    }
    kept = {name: value for name, value in found.items() if value or (name == "only" and value is not None)}
    return kept if options.context else {**kept, "context": False}


def _what_options_say(options: ImportOptions) -> object:
    columns = {name: [*alternatives(column)] for name, column in options.columns.items()}
    ratings = dict(options.ratings)
    for plain in _PLAIN:
        if plain.items() <= ratings.items():
            ratings = {text: word for text, word in ratings.items() if text not in plain}
    return [
        {name: column for name, column in columns.items() if column != [name]},
        dict(options.constants),
        options.scale,
        ratings,
        options.date_format,
        options.zone,
        sorted(options.drop),
        options.only if options.only is None else sorted(options.only),
        options.context,
    ]


def _digest_of_all(values: Iterable[object]) -> str:
    """The digest of values, in any order and without repetitions."""
    found = sorted({_digest(one) for one in values})
    return found[0] if len(found) == 1 else _digest(found)


def _digest(value: object) -> str:
    return blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()
