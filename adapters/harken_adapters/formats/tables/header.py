"""Finds the names of the columns among the first rows of a table."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from itertools import chain, count

from harken_adapters.formats.errors import UnusableFile

_SHOWN_NAME = 100
_UNNAMED = re.compile(r"_\d+")
#: How each cell of the row begins that Qualtrics writes between the names of the columns and the data.
_IMPORT_ID = '{"ImportId":'
#: The row of Qualtrics is at most this far from the names: the text of the questions may be between.
_IMPORT_ID_WITHIN = 3
#: The first column of SurveyMonkey, which has a value in each row of data, and texts in the row after the names.
_RESPONDENT = "Respondent ID"
_KINDS = frozenset({"Response", "Open-Ended Response"})
#: So few cells could be a sentence with a comma as well.
_PLAIN_WIDTH = 3
#: The number of rows of another width that show that the first one is not that of the names.
_FEWEST = 2
#: The share of the rows after a title that have as many cells as the names.
_MOST = 0.9


def find_names(rows: Sequence[Sequence[object]], file: str, hint: str = "") -> int:
    """The index of the row with the names of the columns.

    Rows with one cell before rows with three or more are a title, and not names.

    Args:
        rows: the first rows of a table; each has a cell that is not empty.
        file: the name of the file, for errors.
        hint: what else may be wrong, for errors.

    Raises:
        UnusableFile: the first row does not match the others.
    """
    if rows[0][0] == _RESPONDENT:
        return 0  # Most columns may have no name.
    first, *later = map(_width, rows)
    [(common, times), *_] = Counter(later).most_common(1) or [(0, 0)]
    names = sum(not _is_empty(cell) for cell in rows[0])
    if first >= common or (len(rows[0]) >= common and names * 2 > common):
        return 0
    index = next(index for index, row in enumerate(rows) if _width(row) >= common)
    is_title = all(_width(row) == 1 for row in rows[:index])
    fitting = sum(len(row) >= common for row in rows[index:])
    if is_title and common >= _PLAIN_WIDTH and fitting >= _MOST * len(rows[index:]):
        return index
    if first in later or times < _FEWEST:
        return 0
    raise UnusableFile(
        f"{file}: The first row has {cell_count(first)}, but the following ones have {common}; if it is not the row of "
        f"column names, leave it out with --skip-rows {index}, else add --skip-rows 0{hint}"
    )


def count_left_out(header: Sequence[object], rows: Sequence[Sequence[object]]) -> int:
    """The number of rows after the names of the columns that are not data: those that Qualtrics and SurveyMonkey add.

    Args:
        header: the row with the names.
        rows: the rows after it.
    """
    if rows and _has_answers(header, rows[0]):
        return 1
    for index, row in enumerate(rows[:_IMPORT_ID_WITHIN]):
        cells = [cell for cell in row if not _is_empty(cell)]
        if cells and all(isinstance(cell, str) and cell.startswith(_IMPORT_ID) for cell in cells):
            return index + 1
    return 0


def _has_answers(header: Sequence[object], row: Sequence[object]) -> bool:
    """Whether this is the row after the names in which SurveyMonkey has kinds of answers, or the answers to choose."""
    if header[0] != _RESPONDENT or not _is_empty(row[0]):
        return False
    choices = zip(header, row, strict=False)
    return bool(_KINDS.intersection(map(str, row))) or any(
        _is_empty(name) and not _is_empty(cell) for name, cell in choices
    )


def names_with_answers(header: Sequence[object], rows: Sequence[Sequence[object]]) -> list[str]:
    """The names of the columns, in which SurveyMonkey has a question only in the first of its columns.

    The others are named by their answer, together with the question if that is not the only column with this name.
    The first one is named by both.

    Args:
        header: the row with the names.
        rows: the rows after it.
    """
    if not rows or not _has_answers(header, rows[0]):
        return [*map(_name, header)]
    answers = [*map(_name, rows[0]), *[""] * (len(header) - len(rows[0]))]
    times = Counter(name or answer for name, answer in zip(map(_name, header), answers, strict=False))
    following = [*map(_is_empty, header[1:]), False]
    found: list[str] = []
    question = ""
    for name, answer, has_more in zip(map(_name, header), answers, following, strict=False):
        question = name or question
        if name:
            found.append(f"{name} {answer}" if has_more and answer and answer not in _KINDS else name)
        else:
            found.append(f"{question} {answer}" if times[answer] > 1 and answer else answer)
    return found


def unique_names(header: Sequence[object], file: str) -> list[str]:
    """The names of the columns. Several columns may have no name; these are made unique.

    Args:
        header: the row with the names.
        file: the name of the file, for errors.

    Raises:
        UnusableFile: two columns have the same name.
    """
    stripped = [_name(cell) for cell in header]
    if repeated := next((name for name, times in Counter(stripped).items() if name and times > 1), None):
        raise UnusableFile(f"{file}: The column {repeated[:_SHOWN_NAME]!r} appears twice; remove or rename one")
    taken = set(stripped)
    unnamed = chain([""], (name for number in count(2) if (name := f"_{number}") not in taken))
    return [name or next(unnamed) for name in stripped]


def cell_count(count: int) -> str:
    """A number of cells, for errors."""
    return "1 cell" if count == 1 else f"{count} cells"


def is_unnamed(name: str) -> bool:
    """Whether this is what :func:`unique_names` makes of a column without a name. Hardly any other has such a name."""
    return not name or _UNNAMED.fullmatch(name) is not None


def _name(cell: object) -> str:
    return "" if cell is None else str(cell).strip()


def _is_empty(cell: object) -> bool:
    return cell is None or cell == ""


def _width(row: Sequence[object]) -> int:
    """The number of cells up to the last one that is not empty."""
    return max((index for index, cell in enumerate(row, 1) if not _is_empty(cell)), default=0)
