"""What the columns of a file mean: decided once, after a first pass over it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from enum import Enum
from pathlib import PurePath
from shlex import quote
from typing import Final

from attrs import frozen

from harken.domain.idempotency import IMPORT_ID
from harken.domain.texts import did_you_mean
from harken_adapters.formats.errors import BadRow, UnusableFile
from harken_adapters.formats.import_options import CONTEXT, FIELDS, ImportOptions
from harken_adapters.formats.importing.columns import (
    FreeNames,
    alternatives,
    check_fields,
    columns_named,
    columns_of_fields,
    context_name,
    id_column,
    likely_columns,
    list_of,
    simplified,
)
from harken_adapters.formats.importing.dates import DateForms, Dates
from harken_adapters.formats.importing.profile import Profile
from harken_adapters.formats.importing.rating_columns import check_rating_column, preset_advice
from harken_adapters.formats.importing.ratings import Ratings, canonical
from harken_adapters.formats.presets import preset_drops
from harken_adapters.formats.spreadsheet_csv import ID

#: The suffixes of formats and of compression, without which a file keeps its name when it is converted.
_SUFFIXES: Final = re.compile(
    r"(\.(csv|tsv|tab|psv|txt|jsonl?|ndjson|xls[xm]|parquet|arrow|feather))?(\.(gz|gzip|zip))?$", re.IGNORECASE
)
_IDENTITY: Final = ("message_id", "created_at")
#: A first row with one of these has the names of columns: some survey tools write the questions above them.
_NAMES: Final = frozenset({"rating", "comment", "sessionid", "createdat"})


class Sessions(Enum):
    """Where the session of a row is from."""

    COLUMN = "a column"
    CONSTANT = "--set"
    ID = "the id of the row"
    ROW = "each row is its own session"


@frozen
class Plan:
    """What the columns of a file mean.

    Attributes:
        fields: the columns of each field, of which a row takes the first with a value. All of them occur in the file.
        absent: the columns of each field that has none in the file.
        columns: the names of the columns of the file; ``None`` if its rows are objects.
        is_text: whether all cells are text.
        context: the context names of all other columns that go into the context, by column.
        has_context: whether a column named ``context`` has names and values of the context.
        left_out: the columns that are left out.
        reason: the column of a reason that becomes the only tag; ``None`` if there is none.
        sessions: where sessions are from.
        id_column: the column that names sessions, for ``Sessions.ID``.
        source: the name of the file, or of the one that rejected rows are from, without its folder and suffixes. It
            distinguishes equal rows of several files if they have neither a session, nor an id, nor a date.
        ratings: reads ratings.
        dates: reads dates.
        forms: the forms of dates that occur, by column.
        undated: the number of rows without a date.
        options: what the user says about the file.
        is_export: whether it is a Harken export, which is restored exactly.
        has_harken_ids: whether rows have the id of the entry that was exported for a spreadsheet.
        hints: what may have been meant instead, for people.
    """

    fields: Mapping[str, Sequence[str]]
    absent: Mapping[str, Sequence[str]]
    options: ImportOptions
    columns: Sequence[str] | None
    is_text: bool
    context: Mapping[str, str]
    has_context: bool
    left_out: Sequence[str]
    reason: str | None
    sessions: Sessions
    id_column: str | None
    source: str
    ratings: Ratings
    dates: Dates
    forms: Mapping[str, DateForms]
    undated: int
    is_export: bool
    has_harken_ids: bool
    hints: Sequence[str]

    @property
    def rows_have_identity(self) -> bool:
        """Whether a column has the session, the id or the date of a row, so that equal rows are the same one."""
        return self.sessions in (Sessions.COLUMN, Sessions.ID) or not self.fields.keys().isdisjoint(_IDENTITY)

    @classmethod
    def of(cls, profile: Profile, options: ImportOptions, *, now: datetime | None = None) -> Plan:
        """Decide what the columns mean.

        Args:
            profile: what the file contains.
            options: what the user says about it.
            now: the current time, for a hint about dates in the future; ``None`` for no such hint.

        Raises:
            UnusableFile: a mapped column occurs in no row, neither a rating nor a comment was found, a column that is
                not read as the rating may be it, or the ratings or dates are ambiguous. The message says what to add.
            InvalidQuery: the time zone is unknown.
        """
        check_fields(options)
        wanted = columns_of_fields(profile.names, options)
        occurring = {name: [one for one in columns if _occurs(one, profile)] for name, columns in wanted.items()}
        fields = {name: columns for name, columns in occurring.items() if columns}
        ratings = Ratings(_merged(profile, fields), scale=options.scale, chosen=options.ratings)
        dates = Dates.of(options)
        _check_constants(options, ratings, dates)
        forms = {one: profile.dates[one] for one in fields.get("created_at", ()) if one in profile.dates}
        is_export = profile.exported > 0 and profile.exported == profile.rows
        # The file that rejected rows are from passed these checks. Of the rows alone, most may still be uncorrected.
        if profile.rows and not is_export and not profile.layout.is_rejects:
            _check(profile, options, fields, ratings, forms)
        taken = {ID, *(column for columns in fields.values() for column in columns)}
        free = [name for name in profile.names if name not in taken and name not in options.drop]
        reason = "reason" if "tags" not in fields and "reason" in free else None
        sessions, row_id = _sessions(profile, options, fields, free)
        read = {*taken, reason, row_id}
        others = [name for name in profile.names if name not in read]
        if profile.rows and not is_export and not profile.layout.is_rejects:
            check_rating_column(profile, options, wanted.get("rating", ()), fields, others)
        kept = [name for name in others if goes_into_context(name, options)]
        out = {*options.drop, *others}.difference(kept)
        return cls(
            fields=fields,
            absent={name: columns for name, columns in wanted.items() if name not in fields and profile.rows},
            options=options,
            columns=profile.columns,
            is_text=profile.layout.is_text,
            context=_context_names(kept, fields),
            has_context="context" in kept,
            left_out=[name for name in profile.names if name in out],
            reason=reason,
            sessions=sessions,
            id_column=row_id,
            source=source_name(profile.layout.rejected_from or profile.name),
            ratings=ratings,
            dates=dates,
            forms=forms,
            undated=0 if is_export or "created_at" in options.constants else profile.undated,
            is_export=is_export,
            has_harken_ids=not is_export and ID in profile.names,
            hints=[
                *_hints(fields, options, others, ratings),
                *_future(forms, now),
                *_without_effect(profile, options, forms),
            ],
        )


def plan_of_names(names: Sequence[str]) -> Plan:
    """What the members of an object with a session mean, by their names only."""
    options = ImportOptions()
    fields = columns_of_fields(names, options)
    taken = {ID, *(column for columns in fields.values() for column in columns)}
    reason = "reason" if "tags" not in fields and "reason" in names and "reason" not in taken else None
    read = {*taken, reason}
    kept = [name for name in names if name not in read]
    return Plan(
        fields=fields,
        absent={},
        options=options,
        columns=None,
        is_text=False,
        context=_context_names(kept, fields),
        has_context="context" in kept,
        left_out=(),
        reason=reason,
        sessions=Sessions.COLUMN,
        id_column=None,
        source="",
        ratings=Ratings(),
        dates=Dates.of(options),
        forms={},
        undated=0,
        is_export=False,
        has_harken_ids=False,
        hints=(),
    )


def source_name(path: str) -> str:
    """The name of a file without its folder, and without the suffixes of its format and compression."""
    name = PurePath(path).name
    return _SUFFIXES.sub("", name, count=1) or name


def goes_into_context(name: str, options: ImportOptions) -> bool:
    """Whether a column that is not mapped to a field goes into the context."""
    return options.context and name not in options.drop and (options.only is None or name in options.only)


def _sessions(
    profile: Profile, options: ImportOptions, fields: Mapping[str, Sequence[str]], free: Iterable[str]
) -> tuple[Sessions, str | None]:
    """Where sessions are from, and the column that names them if that is the id of the row."""
    if any(one in profile.filled for one in fields.get("session_id", ())):
        return Sessions.COLUMN, None
    if options.constants.get("session_id"):
        return Sessions.CONSTANT, None
    found = id_column(free)
    return (Sessions.ID, found) if found else (Sessions.ROW, None)


def _context_names(columns: Iterable[str], fields: Mapping[str, Sequence[str]]) -> dict[str, str]:
    taken = {IMPORT_ID, *(name.removeprefix(CONTEXT) for name in fields if name.startswith(CONTEXT))}
    names: dict[str, str] = {}
    free = FreeNames(taken).free
    for column in columns:
        if column == "context":
            continue
        names[column] = name = free(context_name(column))
        taken.add(name)
    return names


def _occurs(column: str, profile: Profile) -> bool:
    """Whether a column, or a dotted path in one, is in a file."""
    if column in profile.filled or column in profile.names:
        return True
    if profile.columns is None or profile.layout.is_text:
        return False
    # Objects in typed cells are not looked into beforehand.
    return "." in column and column.partition(".")[0] in profile.names


def _check_constants(options: ImportOptions, ratings: Ratings, dates: Dates) -> None:
    """Refuse a rating or a date for rows without one that cannot be read."""
    reads: Mapping[str, Callable[[str], object]] = {"rating": ratings.read, "created_at": dates.read}
    for name, read in reads.items():
        value = options.constants.get(name)
        try:
            if value:
                read(value)
        except BadRow as error:
            expected = "; expected up, down or neutral" if name == "rating" and not options.scale else ""
            raise UnusableFile(f"--set {name}={quote(str(value))}: {error}{expected}") from None


def _merged(profile: Profile, fields: Mapping[str, Sequence[str]]) -> Counter[str]:
    """How often each rating occurs, by its canonical text."""
    counts: Counter[str] = Counter()
    for column in fields.get("rating", ()):
        for value, count in profile.ratings.get(column, {}).items():
            counts[canonical(value)] += count
    if fields.get("rating") and profile.unrated:
        counts[""] += profile.unrated
    return counts


def _check(
    profile: Profile,
    options: ImportOptions,
    fields: Mapping[str, Sequence[str]],
    ratings: Ratings,
    forms: Mapping[str, DateForms],
) -> None:
    """Refuse a file of which the columns, the ratings or the dates are missing or ambiguous."""
    _check_mapped(profile, options)
    _check_similar(profile, options)
    _check_content(profile, options, fields)
    if columns := fields.get("rating"):
        ratings.check([column for column in columns if profile.ratings.get(column)])
    for column, counted in forms.items():
        counted.check(column)


def _check_mapped(profile: Profile, options: ImportOptions) -> None:
    known = profile.names if profile.columns is not None else profile.filled
    for name, column in options.columns.items():
        if isinstance(column, str) and column not in known:
            hint = did_you_mean(column, profile.names)
            raise UnusableFile(
                f"Column {column!r}, which is mapped to {name}, is missing{hint}; {list_of(profile.names)}"
            )
    if options.only and not set(options.only) & set(profile.names):
        hint = did_you_mean(options.only[0], profile.names)
        raise UnusableFile(
            f"No column of --only, such as {options.only[0]!r}, is in the file{hint}; {list_of(profile.names)}"
        )


def _check_similar(profile: Profile, options: ImportOptions) -> None:
    """Refuse several columns that have the name of the same field, such as ``Rating`` and ``rating``."""
    for name in FIELDS:
        similar = columns_named(name, profile.names, options)
        if len(similar) > 1 and not (name == "session_id" and profile.layout.format == "objects"):
            columns = " and ".join(map(repr, similar))
            raise UnusableFile(
                f"Columns {columns} may each be the {name}. Choose one with --map {name}={quote(similar[0])}, or leave "
                f"out the others with --drop"
            )


def _check_content(profile: Profile, options: ImportOptions, fields: Mapping[str, Sequence[str]]) -> None:
    """Refuse a file in which neither a rating nor a comment was found."""
    for name in ("rating", "comment"):
        if name in options.constants or any(column in profile.filled for column in fields.get(name, ())):
            return
    proposals = [
        f"--map {name}={quote(column)}"
        for name in ("rating", "comment")
        for column in likely_columns(name, profile.names)[:1]
    ]
    example = " ".join(proposals) or "--map rating=COLUMN or --map comment=COLUMN"
    if profile.columns is not None and profile.sample and _NAMES.intersection(map(_as_name, profile.sample[0])):
        example = f"--skip-rows {profile.layout.skipped + 1} if the names are in the next row, or {example}"
    place = f" in {profile.layout.place}" if profile.layout.place else ""
    raise UnusableFile(
        f"No column has a rating or a comment{place}. {preset_advice(profile, options)} {example}; "
        f"{list_of(profile.names)}"
    )


def _as_name(cell: object) -> str:
    return simplified(cell) if isinstance(cell, str) else ""


def check_typed_columns(profiles: Sequence[Profile], options: ImportOptions) -> None:
    """Refuse columns that a person wants to leave out or to keep, but that are in none of the files.

    In a mapping file, these may be the columns that a preset leaves out. Of a field with several columns, none needs
    to occur, unless there is one with a similar name.

    Raises:
        UnusableFile: a column that is misspelt would otherwise be imported, or left out.
    """
    names = list(dict.fromkeys(name for profile in profiles for name in profile.names))
    if not names:
        return
    for column, option in _typed_columns(options).items():
        if not any(_occurs(column, profile) for profile in profiles):
            raise UnusableFile(
                f"Column {column!r} of {option} is missing{did_you_mean(column, names)}; {list_of(names)}"
            )
    taken = {column for columns in options.columns.values() for column in alternatives(columns)}
    free = [name for name in names if name not in taken and name not in options.drop]
    for field, columns in options.columns.items() if options.mapping_file else ():
        if any(_occurs(column, profile) for column in alternatives(columns) for profile in profiles):
            continue
        for column in alternatives(columns):
            if similar := did_you_mean(column, free):
                raise UnusableFile(
                    f"Column {column!r} of {field} in {options.mapping_file} is missing{similar}; {list_of(names)}"
                )


def _typed_columns(options: ImportOptions) -> Mapping[str, str]:
    """The columns to leave out or to keep that a person named, and where."""
    if options.mapping_file is None:
        return options.typed_columns
    where = f"in {options.mapping_file}"
    drop = {column: f"drop {where}" for column in options.drop if column not in preset_drops()}
    return {**drop, **dict.fromkeys(options.only or (), f"only {where}"), **options.typed_columns}


def _hints(
    fields: Mapping[str, Sequence[str]],
    options: ImportOptions,
    others: Sequence[str],
    ratings: Ratings,
) -> Iterable[str]:
    """Other columns that may hold a field that no column has, and names in options that are probably misspelt."""
    for name in ("comment", "created_at"):
        if name not in fields and name not in options.constants and (likely := likely_columns(name, others)):
            yield f"If {likely[0]!r} is the {name}, add --map {name}={quote(likely[0])}"
    for value in options.typed_ratings:
        if value not in ratings.counted:
            yield f"No row has the rating {value!r} of --rating{did_you_mean(value, ratings.counted)}"


def _without_effect(profile: Profile, options: ImportOptions, forms: Mapping[str, DateForms]) -> Iterable[str]:
    """The options that mean nothing for a file of this format, or without dates as texts."""
    layout = profile.layout
    # Rejected rows have the options of the file that they are from.
    if layout.is_rejects:
        return
    has_effect = {
        "encoding": layout.encoding is not None,
        "separator": layout.format == "csv",
        "skip_rows": layout.format in ("csv", "xlsx"),
        "key": layout.format == "json",
        "sheet": layout.format == "xlsx",
        "date_format": bool(forms) or "created_at" in options.constants,
    }
    unused = [f"--{name.replace('_', '-')}" for name, has in has_effect.items() if not has and getattr(options, name)]
    if unused:
        yield f"Without effect on this file: {', '.join(unused)}"


def _future(forms: Mapping[str, DateForms], now: datetime | None) -> Iterable[str]:
    """Columns whose dates may be read wrongly. Clocks may differ by a day, and zones."""
    for column, counted in forms.items():
        if now and counted.forms and counted.latest > now + timedelta(days=1):
            yield f"The last date in {column!r}, {counted.latest:%Y-%m-%d}, is in the future"
