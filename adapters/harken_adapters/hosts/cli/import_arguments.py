"""Options that ``import`` and ``migrate`` share."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Annotated, Any, Final

import typer
from attrs import evolve, frozen

from harken_adapters.formats.import_options import ImportOptions
from harken_adapters.formats.importing.ratings import OTHER, SCALES, canonical
from harken_adapters.hosts.cli.options import ZONES, completes, pairs, with_options

_PANEL: Final = "What columns mean"

CheckRules = Annotated[
    bool,
    typer.Option("--check-rules", help="Apply the rules for new feedback, such as that a thumbs-down needs a comment."),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check all rows, and write nothing.")]
ImportId = Annotated[str | None, typer.Option(metavar="ID", help="The id of this import. Default: a new one.")]


class OtherColumns(Enum):
    """What happens to columns that are not mapped to a field."""

    ALL = "all"
    NONE = "none"


@frozen
class Meaning:
    """What the command line says about the meaning of columns."""

    columns: Mapping[str, str]
    constants: Mapping[str, str]
    ratings: Mapping[str, str]
    others: Mapping[str, Any]

    def override(self, options: ImportOptions) -> ImportOptions:
        """The options, overridden by those of the command line."""
        return evolve(
            options,
            columns={**options.columns, **self.columns},
            constants={**options.constants, **self.constants},
            ratings={**options.ratings, **self.ratings},
            typed_columns={name: f"--{option}" for option in ("drop", "only") for name in self.others.get(option, ())},
            typed_ratings=[value for value in self.ratings if value != OTHER],
            **self.others,
        )


def _meaning(
    *,
    map_: Annotated[
        list[str] | None,
        typer.Option(
            "--map", metavar="FIELD=COLUMN", rich_help_panel=_PANEL, help="Read FIELD from COLUMN; repeatable."
        ),
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", rich_help_panel=_PANEL, help="A value for rows without FIELD; repeatable."
        ),
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            metavar="|".join(SCALES),
            autocompletion=completes(*SCALES),
            rich_help_panel=_PANEL,
            help="The scale of ratings that are numbers.",
        ),
    ] = None,
    rating: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VALUE=RATING",
            rich_help_panel=_PANEL,
            help="That VALUE is up, down or neutral; other=... for all other values; repeatable.",
        ),
    ] = None,
    date_format: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", rich_help_panel=_PANEL, help="How dates are written, such as %d/%m/%Y."),
    ] = None,
    zone: Annotated[
        str | None,
        typer.Option(
            metavar="IANA",
            autocompletion=ZONES,
            rich_help_panel=_PANEL,
            help="The zone of dates without one; UTC by default.",
        ),
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", rich_help_panel=_PANEL, help="Leave out COLUMN; repeatable.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN", rich_help_panel=_PANEL, help="Leave out other columns, except fields; repeatable."
        ),
    ] = None,
    other_columns: Annotated[
        OtherColumns | None,
        typer.Option(
            "--context", metavar="all|none", rich_help_panel=_PANEL, help="Whether other columns go into the context."
        ),
    ] = None,
) -> Meaning:
    given = {
        "scale": scale,
        "date_format": date_format,
        "zone": zone,
        "drop": drop,
        "only": only,
        "context": None if other_columns is None else other_columns is OtherColumns.ALL,
    }
    return Meaning(
        columns=pairs("--map", map_ or ()),
        constants=pairs("--set", set_ or ()),
        ratings=pairs("--rating", [*map(_by_value, rating or ())]),
        others={name: value for name, value in given.items() if value is not None},
    )


def _by_value(text: str) -> str:
    """The text of ``--rating`` with its value as it is compared: ``5.0=up`` and ``5=up`` are the same."""
    value, separator, rating = text.partition("=")
    return f"{canonical(value).casefold()}{separator}{rating}"


#: Adds the options for the meaning of columns to a command, which receives them as the argument ``meaning``.
with_meaning: Final = with_options(_meaning, "meaning")
