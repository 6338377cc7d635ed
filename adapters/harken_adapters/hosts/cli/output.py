"""Output: tables for people, JSON for programs. Terminal escape sequences in user text are escaped."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from harken import Feedback, Page, Rating
from harken_adapters.charts.text_cells import encode_text, wrap_text


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
#: Patterns of parts of charts; the name of a group is the style. The first is the sentence at the beginning.
_CHART_STYLES = (
    r"\A(?P<bold>[^├┊█]+?\.)(?=\n\n)",
    r"(?P<cyan>[▁-█▒├─┤●○]+)",
    r"(?P<dim>[·░┊]+)",
    r"(?m)^(?P<dim>  “.*)$",
    r"(?m)^Down +(?P<red>█+)",
    r"(?m)^Neutral +(?P<dim>█+)",
    r"(?m)^Up +(?P<green>█+)",
    r"(?P<bold>[▲▼] [\d.]+( points)?)",
)

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


def rating_text(rating: Rating) -> Text:
    """The rating, coloured."""
    return Text(rating.word, style=_STYLES[rating])


def time_text(moment: datetime | None) -> str:
    """The time in UTC, to the second; empty for ``None``."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"


def chart_width() -> int:
    """The width of charts: that of the terminal, within limits."""
    return min(max(out.width, 32), 100)


def chart(text: str) -> None:
    """Print a chart of :mod:`harken_adapters.charts.terminal`, in ASCII if the output lacks block characters."""
    styled = Text(text)
    for pattern in _CHART_STYLES:
        styled.highlight_regex(pattern)
    encoded = encode_text(text, getattr(out.file, "encoding", None) or "utf-8")
    out.print(Text(encoded, spans=styled.spans), soft_wrap=True)


def wrap(text: str) -> None:
    """Print a text in lines that fit the charts."""
    chart("\n".join(wrap_text(text, chart_width())))


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


def feedback_list(page: Page, *, empty: str, versions: bool = False, notes: Mapping[str, str] = {}) -> None:
    """Print a page of feedback with comments, and the option that gets the next page.

    Args:
        page: the page.
        empty: what is printed if there is none.
        versions: whether the version of each entry is printed.
        notes: further information, by feedback id.
    """
    if not page.items:
        say(empty)
    for one in page.items:
        feedback_entry(one, versions=versions, note=notes.get(one.id, ""))
    if page.next:
        say(f"More results: add --after {page.next}", style="dim")


def feedback_entry(feedback: Feedback, *, versions: bool = False, note: str = "") -> None:
    """Print an entry in one line, with its comment below."""
    state = "withdrawn" if feedback.withdrawn else feedback.moderation.status.value
    created, tags = f"{feedback.created_at:%Y-%m-%d %H:%M}", ", ".join(feedback.tags)
    facts = (created, feedback.session_id, feedback.agent_id or "", tags)
    line = Text.assemble((in_one_line(feedback.id), "dim"), "  ", rating_text(feedback.rating))
    line.append("" if feedback.is_counted else f" ({state})", style="yellow")
    line.append("".join(f"  {in_one_line(fact)}" for fact in facts if fact))
    if versions:
        line.append(f"  version {feedback.version}", style="dim")
    if note:
        line.append(f"  {note}", style="yellow")
    out.print(line, soft_wrap=True)
    if feedback.comment:
        _print_indented(feedback.comment)
