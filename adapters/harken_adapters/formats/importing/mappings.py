"""The mapping of an import: what its options say about the meaning of columns, and what they mean for a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import reduce
from hashlib import blake2b
from itertools import combinations
from operator import add
from typing import Any

from harken.domain.imports import MappingDigests
from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.columns import alternatives
from harken_adapters.formats.importing.plan import Plan
from harken_adapters.formats.importing.profile import Profile


def digests_of(profile: Profile, plan: Plan) -> MappingDigests:
    """The digests of the mapping of a file. How the file is read is not part of it."""
    return MappingDigests(
        options=_digest(_what_options_say(plan.options)).hex(),
        meanings=[
            int.from_bytes(_digest(what, size=4) + _digest(meaning, size=4))
            for what, meaning in _meanings(profile, plan)
        ],
        columns=[_digest(_columns(profile, plan)).hex()],
    )


def digests_of_all(files: Iterable[tuple[Profile, Plan]]) -> MappingDigests:
    """The digests of the mapping of an import of these files. Its options are those of the first."""
    return reduce(add, [digests_of(profile, plan) for profile, plan in files])


def _columns(profile: Profile, plan: Plan) -> object:
    """The columns that are stored. Those without a value are left out."""
    fields = {name: [one for one in columns if one in profile.filled] for name, columns in plan.fields.items()}
    return [
        {name: columns for name, columns in fields.items() if columns},
        {column: name for column, name in plan.context.items() if column in profile.filled},
        [plan.has_context, plan.reason, plan.id_column],
    ]


def _meanings(profile: Profile, plan: Plan) -> Iterator[tuple[object, object]]:
    """What each column and each rating means, and how all dates are read.

    A row of two files has the same columns and ratings in both. So it is mapped in the same way if they mean the same,
    beside any other rows.
    """
    yield "constants", {name: value for name, value in plan.options.constants.items() if value}
    if plan.forms:
        yield "dates", [plan.dates.date_format, plan.dates.zone_name.upper()]
    for text, rating in plan.ratings.meanings().items():
        yield ["rating", text], rating.value
    for column in profile.names:
        if column in profile.filled:
            yield ["column", column], _meaning_of(column, plan)
    for name, columns in plan.fields.items():
        for one, other in combinations(columns, 2):
            yield ["order", name, *sorted((one, other))], one


def _meaning_of(column: str, plan: Plan) -> object:
    options, inside = plan.options, f"{column}."
    # What is read from inside a value is that of the options: it is not known whether an earlier row had it.
    return [
        sorted(name for name, columns in plan.fields.items() if column in columns),
        sorted(
            [name, path]
            for name, paths in options.columns.items()
            for path in alternatives(paths)
            if path.startswith(inside)
        ),
        sorted(path for path in options.drop if path.startswith(inside)),
        plan.context.get(column),
        plan.has_context and column == "context",
        column in (plan.reason, plan.id_column),
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
    return [
        {name: column for name, column in columns.items() if column != [name]},
        dict(options.constants),
        options.scale,
        dict(options.ratings),
        options.date_format,
        options.zone,
        sorted(options.drop),
        options.only if options.only is None else sorted(options.only),
        options.context,
    ]


def _digest(value: object, size: int = 16) -> bytes:
    return blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=size).digest()
