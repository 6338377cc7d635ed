"""The documentation tells the truth: what it shows is run, and what it says comes out does come out.

A page is read block by block. ``python`` and ``pycon`` blocks share the names of their page, and a ``text`` block
behind a ``python`` block is what that one prints. In ``console`` blocks the lines that begin with ``$`` are typed in,
and the others are what is answered; a command must exit with 0, or with what ``$ echo $?`` shows next. A ``csv``,
``json``, ``toml`` or ``python`` block behind a line that ends with the name of a file and a colon is that file.
"""

import doctest
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from attrs import field, frozen, mutable

from harken_adapters.hosts.cli import main

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)])
AIRLINES = ROOT.parent / "shared" / "data" / "airline-feedback.csv"

#: What is different each time. An id that is shown stands for the one that came out, in the commands behind it too.
CHANGING = re.compile(
    r"(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})"
    r"|(?P<time>\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d(\.\d{6})?)?Z?)"
    r"|(?P<speed>\d+\.\d s, [\d,]+ rows/s)"
)
ANY_ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
ANYTHING = {
    "time": r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d[\d:.]*Z?",
    "speed": r"\d+\.\d s, [\d,]+ rows/s",
}


@frozen
class Block:
    """A fenced block of a page: where it begins, its language, what is in it, and the line before it."""

    page: Path
    line: int
    language: str
    content: str
    before: str

    @property
    def place(self) -> str:
        """Where a reader finds it."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file that the block is, if the line before it gives one."""
        named = re.search(r"`([\w.-]+\.\w+)`:$", self.before)
        return named[1] if named else None


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order; those that are marked as not run are left out."""
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = re.fullmatch(r"(`{3,})(\w+)", lines[number])
        if not fence:
            number += 1
            continue
        end = lines.index(fence[1], number + 1)
        before = next((line for line in reversed(lines[:number]) if line), "")
        if not before.startswith("<!-- not run: "):
            yield Block(page, number + 1, fence[2], "\n".join(lines[number + 1 : end]) + "\n", before)
        number = end + 1


@mutable
class Reader:
    """Somebody who types in what a page shows, and compares what comes out."""

    folder: Path
    names: dict[str, Any] = field(factory=lambda: {"__name__": "documentation"})
    ids: dict[str, str] = field(factory=dict)
    printed: str = ""

    def read(self, page: Path) -> None:
        """Do all that the page shows."""
        for block in blocks(page):
            if block.file and block.language in ("csv", "json", "toml", "python"):
                (self.folder / block.file).write_text(block.content, encoding="utf-8")
                continue
            match block.language:
                case "python":
                    self.run(block)
                case "pycon":
                    self.converse(block)
                case "console":
                    self.type_in(block)
                case "text":
                    self.compare(block.place, block.content, self.printed)

    def run(self, block: Block) -> None:
        """Run a program."""
        program = compile("\n" * block.line + block.content, str(block.page), "exec", dont_inherit=True)
        with redirect_stdout(io.StringIO()) as out:
            exec(program, self.names)
        self.printed = out.getvalue()

    def converse(self, block: Block) -> None:
        """Type in examples at the interpreter's prompt."""
        test = doctest.DocTestParser().get_doctest(block.content, self.names, block.place, str(block.page), block.line)
        report = io.StringIO()
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        assert not runner.run(test, out=report.write, clear_globs=False).failed, report.getvalue()
        self.names = test.globs

    def type_in(self, block: Block) -> None:
        """Type in commands at the shell's prompt."""
        commands = re.split(r"^\$ ", block.content, flags=re.MULTILINE)[1:]
        code = 0
        for number, typed in enumerate(commands):
            command, _, expected = typed.partition("\n")
            if command == "echo $?":
                assert code == int(expected), f"{block.place}: it exits with {code}"
                continue
            code, answer = self.execute(command)
            told = commands[number + 1 : number + 2]
            assert code == 0 or (told and told[0].startswith("echo $?")), f"{block.place}: {code} {command}\n{answer}"
            self.compare(f"{block.place}: {command}", expected, answer)

    def execute(self, command: str) -> tuple[int, str]:
        """The exit code of a command, and what it prints."""
        for shown, real in self.ids.items():
            command = command.replace(shown, real)
        plain = re.fullmatch(r"harken( [^|<>;&$`]*)?", command)
        if plain:
            return self.in_this_process(command)
        environ = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
        # The page's own examples, typed by us.
        done = subprocess.run(
            command, shell=True, cwd=self.folder, env=environ, capture_output=True, encoding="utf-8", check=False
        )
        return done.returncode, done.stdout + done.stderr

    def in_this_process(self, command: str) -> tuple[int, str]:
        """The same for ``harken`` alone: starting an interpreter for each would take most of the time."""
        with redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")) as out, redirect_stderr(out):
            code = main(shlex.split(command)[1:])
            out.flush()
            answer = out.buffer.getvalue().decode()
        return code, answer

    def compare(self, place: str, expected: str, actual: str) -> None:
        """What came out is what is shown, but for what is different each time."""
        expected, actual = (
            "\n".join(map(str.rstrip, text.rstrip().splitlines())).lstrip("\n") for text in (expected, actual)
        )
        # The parts between dots are looked for one behind the other: as one pattern they could take for ever.
        *parts, last = expected.split("...")
        begin, ends = r"\A", [*[""] * len(parts), r"\Z"]
        reached = 0
        for part, end in zip((*parts, last), ends, strict=True):
            pattern, shown_ids = self._pattern(part)
            matched = re.compile(begin + pattern + end).search(actual, reached)
            assert matched, f"{place}\n--- shown\n{expected}\n--- came out\n{actual}"
            self.ids.update(zip(shown_ids, matched.groups(), strict=True))
            begin, reached = "", matched.end()

    def _pattern(self, expected: str) -> tuple[str, list[str]]:
        """What matches this, and the ids in it that stand for those that come out."""
        pattern, shown_ids, end = "", [], 0
        for found in CHANGING.finditer(expected):
            pattern += re.escape(expected[end : found.start()])
            end = found.end()
            if found["id"]:
                known = self.ids.get(found[0])
                pattern += re.escape(known) if known else f"({ANY_ID})"
                shown_ids += [] if known else [found[0]]
            else:
                pattern += ANYTHING[str(found.lastgroup)]
        return pattern + re.escape(expected[end:]), shown_ids


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reader:
    """A reader in an empty folder, with no settings but those that a page makes."""
    for name in [name for name in os.environ if name.startswith("HARKEN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "88")
    monkeypatch.chdir(tmp_path)
    return Reader(tmp_path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_shows_is_what_happens(page: Path, reader: Reader) -> None:
    """Every example of a page runs, in order, and gives what the page says that it gives."""
    reader.read(page)


@pytest.mark.skipif(not AIRLINES.exists(), reason="the real feedback is not here")
def test_the_readme_is_right_about_the_real_feedback(reader: Reader) -> None:
    """The program in the README, run on 9,760 real messages, prints what the README says."""
    readme = ROOT / "README.md"
    program = next(block for block in blocks(readme) if block.language == "python")
    (reader.folder / "feedback.csv").symlink_to(AIRLINES)
    reader.run(program)
    assert reader.printed == "9760 feedbacks, satisfaction 21.3, quality 27.3\n"
    assert reader.printed.strip() in readme.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    """A relative link or picture leads to a file that is there."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not broken


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "images").glob("*.svg")), ids=lambda path: path.name)
def test_pictures_fetch_nothing(picture: Path) -> None:
    """A picture shows itself without asking another host for fonts, scripts or styles."""
    text = picture.read_text(encoding="utf-8")
    fetched = re.findall(r"(?:url\(|src=|href=|@import)[^>;]*https?://", text)
    assert not fetched
