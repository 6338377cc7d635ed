"""The documentation tells the truth: what it shows is run, and what it says comes out does come out.

A page is read block by block. ``python`` and ``pycon`` blocks share the names of their page, and a ``text`` block
behind a ``python`` block is what that one prints. In ``console`` blocks the lines that begin with ``$`` are typed in,
and the others are what is answered; a command must exit with 0, or with what ``$ echo $?`` shows next. A ``csv``,
``json``, ``toml`` or ``python`` block behind a line that ends with the name of a file and a colon is that file.

``harken serve`` and ``uvicorn`` go on while the rest of the page is read, or until the next one is typed in, unless
``$ echo $?`` shows that they end. The port 8000 that a page shows stands for a free one.
"""

import doctest
import io
import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import field, fields, frozen, mutable

from harken.configuration.settings import Settings
from harken_adapters.hosts.cli import main
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.wire.problems import KINDS
from shared_data import AIRLINES, needs_real_feedback
from support import PATIENCE, eventually

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)])
#: Pages whose examples take more than a second or so.
SLOW = {
    "docs/a-storage-of-your-own.md",
    "docs/command-line.md",
    "docs/configuration.md",
    "docs/embedding.md",
    "docs/http.md",
    "docs/observability.md",
    "docs/testing.md",
    "docs/writing-a-storage-adapter.md",
}

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


#: A command that goes on until it is ended, and the port that pages show.
SERVING = re.compile(r"(harken( --\S+ \S+)* serve|uvicorn)\b")
SHOWN_PORT = ":8000"


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
    server: subprocess.Popen[str] | None = None
    port: str = SHOWN_PORT

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
        content = self.with_real_port(block.content)
        program = compile("\n" * block.line + content, str(block.page), "exec", dont_inherit=True)
        with redirect_stdout(io.StringIO()) as out:
            exec(program, self.names)
        self.printed = out.getvalue()

    def converse(self, block: Block) -> None:
        """Type in examples at the interpreter's prompt."""
        content = self.with_real_port(block.content)
        test = doctest.DocTestParser().get_doctest(content, self.names, block.place, str(block.page), block.line)
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
            ends = "".join(commands[number + 1 : number + 2]).startswith("echo $?")
            if SERVING.match(command) and not ends:
                self.compare(f"{block.place}: {command}", expected, self.serve(command, len(expected.splitlines())))
                continue
            code, answer = self.execute(command)
            assert code == 0 or ends, f"{block.place}: {code} {command}\n{answer}"
            self.compare(f"{block.place}: {command}", expected, answer)

    def execute(self, command: str) -> tuple[int, str]:
        """The exit code of a command, and what it prints."""
        for shown, real in self.ids.items():
            command = command.replace(shown, real)
        plain = re.fullmatch(r"harken( [^|<>;&$`]*)?", command)
        if plain and not SERVING.match(command):
            return self.in_this_process(command)
        # The page's own examples, typed by us.
        done = subprocess.run(
            self.with_real_port(command),
            shell=True,
            cwd=self.folder,
            env=self.environ(),
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def in_this_process(self, command: str) -> tuple[int, str]:
        """The same for ``harken`` alone: starting an interpreter for each would take most of the time."""
        with redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")) as out, redirect_stderr(out):
            code = main(shlex.split(command)[1:])
            out.flush()
            answer = out.buffer.getvalue().decode()
        return code, answer

    def environ(self) -> dict[str, str]:
        """The variables of a command's process."""
        return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def serve(self, command: str, lines: int) -> str:
        """Begin to serve, and give the first lines that it prints."""
        self.close()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        words = [*shlex.split(command), "--port", str(port)]
        environ = self.environ() | {"PYTHONUNBUFFERED": "1"}
        with (self.folder / "server.log").open("w", encoding="utf-8") as log:
            self.server = server = subprocess.Popen(
                words, cwd=self.folder, env=environ, stdout=subprocess.PIPE, stderr=log, encoding="utf-8"
            )
        self.port = f":{port}"
        eventually(lambda: _listens(port) or server.poll() is not None)
        assert server.poll() is None, (self.folder / "server.log").read_text(encoding="utf-8")
        assert server.stdout is not None
        return "".join(server.stdout.readline() for _ in range(lines))

    def close(self) -> None:
        """Leave nothing behind that serves."""
        if self.server is not None:
            with self.server as server:
                server.terminate()
                server.wait(PATIENCE)
        self.server, self.port = None, SHOWN_PORT

    def with_real_port(self, text: str) -> str:
        """What is shown, for the server that there is."""
        return re.sub(rf"{SHOWN_PORT}\b", self.port, text)

    def compare(self, place: str, expected: str, actual: str) -> None:
        """What came out is what is shown, but for what is different each time."""
        actual = re.sub(rf"{self.port}\b", SHOWN_PORT, actual)
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


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reader]:
    """A reader in an empty folder, with no settings but those that a page makes."""
    for name in [name for name in os.environ if name.startswith("HARKEN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "88")
    monkeypatch.chdir(tmp_path)
    made = Reader(tmp_path)
    try:
        yield made
    finally:
        made.close()


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow) if _name(page) in SLOW else page for page in PAGES],
    ids=_name,
)
def test_what_a_page_shows_is_what_happens(page: Path, reader: Reader) -> None:
    """Every example of a page runs, in order, and gives what the page says that it gives."""
    reader.read(page)


@needs_real_feedback
def test_getting_started_is_right_about_the_real_feedback(reader: Reader) -> None:
    """The CSV script of "Getting started", run on 9,760 real messages, prints the output that the page gives."""
    page = ROOT / "docs" / "getting-started.md"
    program = next(block for block in blocks(page) if block.language == "python" and "feedback.csv" in block.content)
    (reader.folder / "feedback.csv").symlink_to(AIRLINES)
    reader.run(program)
    assert reader.printed == "9760 entries, satisfaction 21.3, quality 27.3\n"
    assert reader.printed.strip() in page.read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=_name)
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


def _as_said(value: object) -> str:
    """A default, as a table of settings says it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value)
    return str(value) if isinstance(value, int) else f"`{value}`"


@pytest.mark.parametrize("kind", [Settings, ServerSettings], ids=lambda kind: kind.__name__)
def test_every_setting_is_listed(kind: type[Settings] | type[ServerSettings]) -> None:
    """The page about settings has each of them in a row of its own, with its default; an empty one is none."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", _text("docs/configuration.md"), flags=re.MULTILINE)
    for one in fields(kind):
        expected = _as_said(one.default) if one.default not in ("", ()) else "none"
        assert (one.name, expected) in rows


def test_every_operation_is_listed() -> None:
    """The page about HTTP has each operation with its path, and the scope that it needs."""
    page = _text("docs/http.md")
    missing = [
        one.name
        for one in OPERATIONS
        if not re.search(rf"^\| `{one.method} {re.escape(one.path)}` \|.*\| `{one.scope.value}`", page, re.MULTILINE)
    ]
    assert not missing


def test_every_problem_is_listed() -> None:
    """The page about HTTP has each kind of problem with its status."""
    page = _text("docs/http.md")
    missing = [kind for kind, (status, _) in KINDS.items() if f"| {status} | `{kind}` |" not in page]
    assert not missing
