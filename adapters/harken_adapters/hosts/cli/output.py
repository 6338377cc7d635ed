"""Showing results: tables for people, JSON for programs, and no way for a comment to play tricks on the terminal."""

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
from rich.padding import Padding
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from harken import Page, Rating
from harken_adapters.formats.record import to_record


class UnwritableOutput(OSError):
    """Stdout could not be written. What the command did before is done."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the output could not be written: {reason}")


class ClosedStdout(io.RawIOBase):
    """In the place of a stdout that is closed: a service goes on, and at the end it is told that output was lost."""

    lost = False

    def writable(self) -> bool:
        """It takes anything."""
        return True

    def write(self, data: Any) -> int:
        """Nowhere."""
        self.lost = True
        return len(data)


@contextmanager
def writing() -> Iterator[None]:
    """Tell trouble with stdout from other trouble.

    Raises:
        BrokenPipeError: nobody reads it any more.
        UnwritableOutput: it could not be written for another reason.
    """
    try:
        yield
    except (BrokenPipeError, UnwritableOutput):
        raise
    except OSError as error:
        raise UnwritableOutput(error.strerror or str(error)) from error


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Leave it to who runs the command, instead of ending the process here."""
        raise  # noqa: PLE0704 - Rich calls this while it handles the error


class _Output(_Console):
    def print(self, *objects: Any, **options: Any) -> None:
        """As any console, but see :func:`writing`."""
        with writing():
            super().print(*objects, **options)


#: Results go to stdout, everything else to stderr. Comments come from strangers, so that "[bold]" is just text.
out = _Output(highlight=False, markup=False, emoji=False)
err = _Console(highlight=False, markup=False, emoji=False, stderr=True)

# What a terminal would obey instead of showing it, or what turns the reading direction and so hides what is there.
_TRICKS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)
_STYLES = {Rating.UP: "green", Rating.DOWN: "red", Rating.NEUTRAL: "dim"}
_BAR_WIDTH = 16

Cell = Text | str | int | float | None


def shown(text: str) -> str:
    r"""The text with everything that is no plain character spelt out, such as ``\x1b`` for an escape."""
    return _TRICKS.sub(lambda match: match[0].encode("unicode_escape").decode(), text.replace("\r\n", "\n"))


def shown_json(text: str) -> str:
    r"""JSON that says the same without such characters, each spelt out as JSON does, such as ``\u001b``."""
    return _TRICKS.sub(lambda match: _in_json(match[0]), text)


def _in_json(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass").hex()
    return "".join(f"\\u{units[start : start + 4]}" for start in range(0, len(units), 4))


def in_one_line(text: str) -> str:
    """The text as :func:`shown`, with line breaks as spaces."""
    return " ".join(shown(text).split())


def print_json(document: object, *, to_stderr: bool = False) -> None:
    """One JSON document on stdout, or in one line on stderr. Plain ASCII, so that it passes any pipe unharmed."""
    text = json.dumps(document, indent=None if to_stderr else 2)
    # DEL is the one ASCII control character that JSON leaves as it is; programs do not mind it.
    if to_stderr:
        # There is none where it was closed before Python started.
        terminal = sys.stderr is not None and sys.stderr.isatty()
        typer.echo(shown_json(text) if terminal else text, err=True)
        return
    with writing():
        typer.echo(shown_json(text) if sys.stdout.isatty() else text)


def say(message: str, style: str = "") -> None:
    """A line for people, on stdout, never broken into two."""
    out.print(Text(shown(message), style=style), soft_wrap=True)


def warn(message: str, style: str = "") -> None:
    """A line for people, on stderr, never broken into two."""
    err.print(Text(shown(message), style=style), soft_wrap=True)


def confirmed(question: str) -> bool:
    """Whether somebody says yes; no answer is no. It is asked on stderr, in a line that is never broken into two."""
    if sys.stdin is None:  # Closed before Python started.
        return False
    err.print(Text(shown(f"{question} [y/N]: ")), soft_wrap=True, end="")
    try:
        answer = err.input()
    except EOFError:
        err.print()
        return False
    return answer.strip().lower() in ("y", "yes")


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 row``, ``2,000 rows``."""
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def rating_text(rating: Rating) -> Text:
    """A rating in its colour."""
    return Text(rating.value or "neutral", style=_STYLES[rating])


def time_text(moment: datetime | None) -> str:
    """An instant to the second, in UTC."""
    return "" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}Z"


def bar(percent: float) -> Text:
    """A share as a bar, and in figures."""
    filled = round(percent / 100 * _BAR_WIDTH)
    return Text.assemble(("█" * filled, "green"), ("░" * (_BAR_WIDTH - filled), "dim"), f" {percent:5.1f}%")


def table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """A table on stdout: numbers to the right; where room is short, the last column is cut off, and no other."""
    shape = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    cells = [list(row) for row in rows]
    last = len(columns) - 1
    for number, column in enumerate(columns):
        numeric = bool(cells) and all(isinstance(row[number], int | float) for row in cells)
        shape.add_column(Text(shown(column)), justify="right" if numeric else "left", no_wrap=number != last)
    for row in cells:
        shape.add_row(*map(_cell, row))
    out.print(shape)
    out.print()


def _cell(value: Cell) -> Text:
    if isinstance(value, Text):
        return value
    text = f"{value:.1f}" if isinstance(value, float) else "" if value is None else in_one_line(str(value))
    return Text(text, no_wrap=True, overflow="ellipsis")


def run_through(steps: Iterable[int], what: str, total: Callable[[], int]) -> None:
    """Run through the steps, each of which says how many are done; with a bar on the way if somebody is looking.

    Args:
        steps: what is run through.
        what: what is counted.
        total: counts how many there are; only asked if somebody is looking.
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


def feedback_list(page: Page, *, versions: bool = False) -> None:
    """A page of feedback, each with its comment below it, and how to get the next page; with versions, if wanted."""
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
            out.print(Padding(Text(shown(one.comment)), (0, 0, 0, 4)))
    if page.next:
        say(f"There is more: add --after {page.next}", style="dim")


def page_record(page: Page) -> dict[str, object]:
    """A page of feedback as JSON says it."""
    return {"feedback": list(map(to_record, page.items)), "next": str(page.next) if page.next else None}
