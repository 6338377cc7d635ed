"""Output: tables for people, JSON for programs. Terminal escape sequences in user text are escaped."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from harken import Page, Rating


class UnwritableOutput(OSError):
    """Writing to stdout failed. The work of the command is done nevertheless."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The output could not be written: {reason}")


class ClosedStdout(io.RawIOBase):
    """Replaces a closed stdout, so that a service keeps running. It records whether output was lost."""

    lost = False

    def writable(self) -> bool:
        """Always true."""
        return True

    def write(self, data: Any) -> int:
        """Discard the data."""
        self.lost = True
        return len(data)


@contextmanager
def writing() -> Iterator[None]:
    """Distinguish errors of stdout from other errors.

    Raises:
        BrokenPipeError: the reader closed the pipe.
        UnwritableOutput: writing failed for another reason.
    """
    try:
        yield
    except (BrokenPipeError, UnwritableOutput):
        raise
    except OSError as error:
        raise UnwritableOutput(error.strerror or str(error)) from error


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave the error to the caller, instead of ending the process."""
        raise  # noqa: PLE0704 - Rich calls this while it handles the error


class _Output(_Console):
    def print(self, *objects: Any, **options: Any) -> None:
        """Print, and raise errors as :func:`writing` does."""
        with writing():
            super().print(*objects, **options)


#: Results go to stdout, everything else to stderr. Markup is off: "[bold]" in a comment is plain text.
out = _Output(highlight=False, markup=False, emoji=False)
err = _Console(highlight=False, markup=False, emoji=False, stderr=True)

# Control characters, and characters that are invisible or change the reading direction.
_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_STYLES = {Rating.UP: "green", Rating.DOWN: "red", Rating.NEUTRAL: "dim"}
_BAR_WIDTH = 16

Cell = Text | str | int | float | None


def escape(text: str) -> str:
    r"""Escape control, bidirectional and invisible characters, such as ``\x1b``."""
    return _UNSAFE.sub(lambda match: match[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def escape_json(text: str) -> str:
    r"""Escape the same characters in a JSON text as JSON does, such as ``\u001b``. Its value does not change."""
    return _UNSAFE.sub(lambda match: _json_escape(match[0]), text)


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def in_one_line(text: str) -> str:
    """The text in one line, escaped as by :func:`escape`."""
    return " ".join(escape(text).split())


def print_json(document: object, *, to_stderr: bool = False) -> None:
    """Print a JSON document to stdout, or in one line to stderr. It is ASCII, so any encoding can represent it."""
    text = json.dumps(document, indent=None if to_stderr else 2)
    # DEL is the only control character that json.dumps does not escape. It is harmless except on a terminal.
    if to_stderr:
        # None if it was closed before Python started.
        terminal = sys.stderr is not None and sys.stderr.isatty()
        typer.echo(escape_json(text) if terminal else text, err=True)
        return
    with writing():
        typer.echo(escape_json(text) if sys.stdout.isatty() else text)


def say(message: str, style: str = "") -> None:
    """Print a line to stdout without wrapping it."""
    out.print(Text(escape(message), style=style), soft_wrap=True)


def warn(message: str, style: str = "") -> None:
    """Print a line to stderr without wrapping it."""
    err.print(Text(escape(message), style=style), soft_wrap=True)


def confirm(question: str) -> bool:
    """Ask a question on stderr. Returns whether the answer is yes; no input means no."""
    if sys.stdin is None:  # Closed before Python started.
        return False
    err.print(Text(escape(f"{question} [y/N]: ")), soft_wrap=True, end="")
    try:
        answer = err.input()
    except EOFError:
        err.print()
        return False
    return answer.strip().lower() in ("y", "yes")


def count_text(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def rating_text(rating: Rating) -> Text:
    """The rating, coloured."""
    return Text(rating.word, style=_STYLES[rating])


def time_text(moment: datetime | None) -> str:
    """The time in UTC, to the second; empty for ``None``."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"


def bar(percent: float) -> Text:
    """A percentage as a bar with the number."""
    filled = round(percent / 100 * _BAR_WIDTH)
    return Text.assemble(("█" * filled, "green"), ("░" * (_BAR_WIDTH - filled), "dim"), f" {percent:5.1f}%")


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, wrap: bool = False) -> None:
    """Print a table to stdout. Numbers are right-aligned.

    Only the last column is truncated to fit the terminal, or wrapped with ``wrap``.
    """
    shape = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    cells = [list(row) for row in rows]
    last = len(columns) - 1
    for number, column in enumerate(columns):
        filled = [row[number] for row in cells if row[number] not in (None, "")]
        numeric = bool(filled) and all(isinstance(value, int | float) for value in filled)
        shape.add_column(Text(escape(column)), justify="right" if numeric else "left", no_wrap=number != last)
    for *row, end in cells:
        last_cell = _cell(end)
        if wrap:
            last_cell.no_wrap, last_cell.overflow = False, "fold"
        shape.add_row(*map(_cell, row), last_cell)
    out.print(shape)
    out.print()


def _cell(value: Cell) -> Text:
    if isinstance(value, Text):
        return value
    text = f"{value:.1f}" if isinstance(value, float) else "" if value is None else in_one_line(str(value))
    return Text(text, no_wrap=True, overflow="ellipsis")


def run_through(steps: Iterable[int], what: str, total: Callable[[], int]) -> None:
    """Consume the steps, and show a progress bar if stderr is a terminal.

    Args:
        steps: gives the number of items done so far.
        what: the name of the items.
        total: counts all items; called only if the progress bar is shown.
    """
    if not err.is_terminal:
        for _ in steps:
            pass
        return
    columns = (MofNCompleteColumn(), TextColumn(what), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=total())
        for done in steps:
            progress.update(task, completed=done)


def _print_indented(text: str) -> None:
    """Print a text, wrapped to the width of the terminal, without blanks at the end of its lines."""
    for line in Text(escape(text)).wrap(out, max(out.width - 4, 1)):
        line.pad_left(4)
        line.rstrip()
        out.print(line, soft_wrap=True)


def feedback_list(page: Page, *, empty: str, versions: bool = False) -> None:
    """Print a page of feedback with comments, and the option that gets the next page; ``empty`` if there is none."""
    if not page.items:
        say(empty)
    for one in page.items:
        state = "withdrawn" if one.withdrawn else one.moderation.status.value
        facts = (f"{one.created_at:%Y-%m-%d %H:%M}", one.session_id, one.agent_id or "", ", ".join(one.tags))
        line = Text.assemble((in_one_line(one.id), "dim"), "  ", rating_text(one.rating))
        line.append("" if one.is_counted else f" ({state})", style="yellow")
        line.append("".join(f"  {in_one_line(fact)}" for fact in facts if fact))
        if versions:
            line.append(f"  version {one.version}", style="dim")
        out.print(line, soft_wrap=True)
        if one.comment:
            _print_indented(one.comment)
    if page.next:
        say(f"More results: add --after {page.next}", style="dim")
