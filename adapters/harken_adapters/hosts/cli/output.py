"""Output: tables for people, JSON for programs. Terminal escape sequences in user text are escaped."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
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

#: The width of lines that are not limited, in cells.
_UNLIMITED: Final = 100_000
#: The indentation of what belongs to the line above.
_INDENT: Final = 4
#: The least width to which columns of texts are truncated.
_LEAST_COLUMN: Final = 8

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


def _is_limited() -> bool:
    """Whether lines have a limited width: that of the terminal, or of the variable ``COLUMNS``."""
    return out.is_terminal or os.environ.get("COLUMNS", "").isdigit()


def chart_width() -> int:
    """The width of charts whose columns share a line: that of the terminal, within limits."""
    return min(max(out.width, 32), 100)


def row_width() -> int:
    """The width of sentences, and of charts with a line for each item: unlimited in a file or pipe."""
    return chart_width() if _is_limited() else _UNLIMITED


def chart(text: str) -> None:
    """Print a chart of :mod:`harken_adapters.charts.terminal`, in ASCII if the output lacks block characters."""
    styled = Text(text)
    for pattern in _CHART_STYLES:
        styled.highlight_regex(pattern)
    encoded = encode_text(text, getattr(out.file, "encoding", None) or "utf-8")
    out.print(Text(encoded, spans=styled.spans), soft_wrap=True)


def wrap(text: str) -> None:
    """Print a text in lines that fit the charts."""
    chart("\n".join(wrap_text(text, row_width())))


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]], *, full: bool = False) -> None:
    """Print a table to stdout, with a line for each row. Numbers are right-aligned.

    Texts are truncated to fit the terminal, the longest ones first; not with ``full``, nor in a file or pipe.
    """
    cells = [list(row) for row in rows]
    numeric = [_is_numeric([row[place] for row in cells]) for place in range(len(columns))]
    lines = [[Text(escape(column), style="dim") for column in columns], *(list(map(_cell, row)) for row in cells)]
    widths = [max(line[place].cell_len for line in lines) for place in range(len(columns))]
    if _is_limited() and not full:
        _shrink(widths, numeric, out.width)
    for line in lines:
        for cell, width, is_number in zip(line, widths, numeric, strict=True):
            cell.truncate(width, overflow="ellipsis")
            cell.align("right" if is_number else "left", width)
        text = Text("  ").join(line)
        text.rstrip()
        out.print(text, soft_wrap=True)
    out.print()


def _is_numeric(values: Sequence[Cell]) -> bool:
    filled = [value for value in values if value not in (None, "")]
    return bool(filled) and all(isinstance(value, int | float) for value in filled)


def _shrink(widths: list[int], numeric: Sequence[bool], most: int) -> None:
    """Make the widest columns of texts narrower until a line fits."""
    texts = [place for place, is_number in enumerate(numeric) if not is_number]
    while texts and sum(widths) + 2 * (len(widths) - 1) > most:
        widest = max(texts, key=widths.__getitem__)
        if widths[widest] <= _LEAST_COLUMN:
            return
        widths[widest] -= 1


def _cell(value: Cell) -> Text:
    if isinstance(value, Text):
        return value
    if isinstance(value, float):
        return Text(f"{value:.1f}")
    return Text("" if value is None else f"{value:,}" if isinstance(value, int) else in_one_line(value))


def run_through(steps: Iterable[tuple[str, float]], total: Callable[[], float | None]) -> None:
    """Consume the steps, and show a progress bar if stderr is a terminal.

    Args:
        steps: after each step, a description of what is done, and how much it is.
        total: how much is to be done, if that is known; called only if the progress bar is shown.
    """
    if not err.is_terminal:
        for _ in steps:
            pass
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True) as progress:
        task = progress.add_task("", total=total())
        for description, done in steps:
            progress.update(task, description=description, completed=done)


def say_indented(text: str, style: str = "") -> None:
    """Print a text that belongs to the line above, wrapped to the width of the terminal, if any."""
    lines = Text(escape(text), style=style).wrap(out, max(out.width - _INDENT, 1) if _is_limited() else _UNLIMITED)
    for line in lines:
        line.pad_left(_INDENT)
        line.rstrip()
        out.print(line, soft_wrap=True)


def say_facts(line: str, style: str = "") -> None:
    """Print a line of facts, which are separated by two spaces, like the first line of an entry."""
    _print_facts([Text(escape(fact), style=style) for fact in line.split("  ")])


def _print_facts(facts: Sequence[Text]) -> None:
    """Print facts in a line. Those that a terminal has no room for are on lines below, like a comment."""
    line = Text()
    for fact in facts:
        longer = Text("  ").join([line, fact]) if line.plain.strip() else line + fact
        if _is_limited() and longer.cell_len > out.width and line.plain.strip():
            out.print(line, soft_wrap=True)
            longer = Text(" " * _INDENT) + fact
        line = longer
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
    """Print an entry in one line if there is room, with its comment below."""
    state = "withdrawn" if feedback.withdrawn else feedback.moderation.status.value
    created, tags = f"{feedback.created_at:%Y-%m-%d %H:%M}", ", ".join(feedback.tags)
    rating = rating_text(feedback.rating)
    rating.append("" if feedback.is_counted else f" ({state})", style="yellow")
    facts = (created, feedback.session_id, feedback.agent_id or "", tags)
    _print_facts(
        [
            Text(in_one_line(feedback.id), style="dim"),
            rating,
            *(Text(in_one_line(fact)) for fact in facts if fact),
            *([Text(f"version {feedback.version}", style="dim")] if versions else []),
            *([Text(in_one_line(note), style="yellow")] if note else []),
        ]
    )
    if feedback.comment:
        say_indented(feedback.comment)
