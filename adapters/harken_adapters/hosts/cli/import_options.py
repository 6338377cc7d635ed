"""Options of ``import`` and ``migrate`` that say what columns mean."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Annotated, Any, Final

import typer
from attrs import evolve

from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.hosts.cli.options import pairs

_MEANING: Final = "What columns mean"


class OtherColumns(Enum):
    """What happens to columns that are not mapped to a field."""

    ALL = "all"
    NONE = "none"


Map = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="FIELD=COLUMN", rich_help_panel=_MEANING, help="Read FIELD from COLUMN; repeatable."),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="FIELD=VALUE", rich_help_panel=_MEANING, help="A value for rows without FIELD; repeatable."
    ),
]
Scale = Annotated[
    str | None,
    typer.Option(metavar="stars|nps|0..1", rich_help_panel=_MEANING, help="The scale of ratings that are numbers."),
]
RatingOf = Annotated[
    list[str] | None,
    typer.Option(
        "--rating",
        metavar="VALUE=RATING",
        rich_help_panel=_MEANING,
        help="That VALUE is up, down or neutral; other=... for all other values; repeatable.",
    ),
]
DateFormat = Annotated[
    str | None,
    typer.Option(metavar="FORMAT", rich_help_panel=_MEANING, help="How dates are written, such as %d/%m/%Y."),
]
ZoneOfDates = Annotated[
    str | None,
    typer.Option(
        "--zone", metavar="IANA", rich_help_panel=_MEANING, help="The zone of dates without one; UTC by default."
    ),
]
Drop = Annotated[
    list[str] | None, typer.Option(metavar="COLUMN", rich_help_panel=_MEANING, help="Leave out COLUMN; repeatable.")
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        metavar="COLUMN", rich_help_panel=_MEANING, help="Leave out other columns, except fields; repeatable."
    ),
]
ContextColumns = Annotated[
    OtherColumns | None,
    typer.Option("--context", metavar="none", rich_help_panel=_MEANING, help="Leave out all columns except fields."),
]
CheckRules = Annotated[
    bool,
    typer.Option("--check-rules", help="Apply the rules for new feedback, such as that a thumbs-down needs a comment."),
]


def with_meaning(
    options: ImportOptions,
    *,
    map_: Sequence[str] | None,
    scale: str | None,
    rating: Sequence[str] | None,
    date_format: str | None,
    zone: str | None,
    drop: Sequence[str] | None,
    only: Sequence[str] | None,
    context: OtherColumns | None,
    set_: Sequence[str] | None = None,
) -> ImportOptions:
    """The options, overridden by those of the command line.

    Raises:
        WrongUsage: a value has no ``=``.
    """
    given: dict[str, Any] = {
        "scale": scale,
        "date_format": date_format,
        "zone": zone,
        "drop": drop,
        "only": only,
        "context": None if context is None else context is OtherColumns.ALL,
    }
    given |= {
        "columns": {**options.columns, **pairs("--map", map_ or ())},
        "constants": {**options.constants, **pairs("--set", set_ or ())},
        "ratings": {**options.ratings, **pairs("--rating", rating or ())},
    }
    return evolve(options, **{name: value for name, value in given.items() if value is not None})
