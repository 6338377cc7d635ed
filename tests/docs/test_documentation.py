"""The examples in the documentation run, and their output is as shown.

A page is processed block by block. ``python`` and ``pycon`` blocks share one namespace per page. A ``text`` block is
the output of the ``python`` block before it. In ``console`` blocks, lines that begin with ``$`` are commands, and the
other lines are their output. A command must exit with 0, or with the code that a following ``$ echo $?`` shows. A
``csv``, ``json``, ``toml`` or ``python`` block is written to a file if the line before it ends with a file name and a
colon. A file that ``literalinclude`` shows is copied.

``harken serve``, ``uvicorn`` and ``waitress-serve`` run until the end of the page, or until the next one starts, unless
``$ echo $?`` shows that they end. The port 8000 on a page is replaced with a free port.
"""

import doctest
import io
import os
import re
import runpy
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from typing import Any

import pytest
from attrs import NOTHING, field, fields, frozen, mutable

from harken import ports
from harken.configuration.settings import Settings
from harken.services.analytics import AnalyticsService
from harken.services.conversations import ConversationService
from harken.services.feedback.collection import CollectionService
from harken.services.feedback.moderation import ModerationService
from harken.services.keys import KeyService
from harken.services.sessions import SessionService
from harken_adapters.hosts.cli import main
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.settings import ServerSettings
from harken_adapters.hosts.http.wire.problems import KINDS
from shared_data import AIRLINES, needs_real_feedback
from support import PATIENCE, eventually

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(page for page in (ROOT / "docs").rglob("*.md") if "_build" not in page.parts)])
#: Pages whose examples take more than about a second.
SLOW = {
    "docs/command-line.md",
    "docs/configuration.md",
    "docs/embedding.md",
    "docs/http.md",
    "docs/importing.md",
    "docs/notifications.md",
    "docs/observability.md",
    "docs/recipes.md",
    "docs/testing.md",
    "docs/writing-a-storage-adapter.md",
}

#: Output that differs in each run. An id on the page is replaced with the actual id, also in later commands.
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


#: A command that runs until it is terminated, and the port on the pages.
SERVING = re.compile(r"(harken( --\S+ \S+)* serve|uvicorn|waitress-serve)\b")
SHOWN_PORT = ":8000"


@frozen
class Block:
    """A fenced block of a page, the number of its first line, and the last line of text before it."""

    page: Path
    line: int
    language: str
    content: str
    before: str

    @property
    def place(self) -> str:
        """The page and line, for error messages."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str | None:
        """The name of the file to write the block to, if the line before it names one."""
        found = re.search(r"`([\w.-]+\.\w+)`:$", self.before)
        return found[1] if found else None


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order, except those that are marked as not run."""
    lines = page.read_text(encoding="utf-8").splitlines()
    number = 0
    while number < len(lines):
        fence = re.fullmatch(r"(`{3,})(?:(\w+)|\{literalinclude\} (\S+))", lines[number])
        if not fence:
            number += 1
            continue
        end = lines.index(fence[1], number + 1)
        before = next((line for line in reversed(lines[:number]) if line), "")
        if fence[3]:
            included = page.parent / fence[3]
            yield Block(page, number + 1, "python", included.read_text(encoding="utf-8"), f"`{included.name}`:")
        elif not before.startswith("<!-- not run: "):
            yield Block(page, number + 1, fence[2], "\n".join(lines[number + 1 : end]) + "\n", before)
        number = end + 1


@mutable
class Reader:
    """Runs the examples of a page and compares their output."""

    folder: Path
    names: dict[str, Any] = field(factory=lambda: {"__name__": "documentation"})
    ids: dict[str, str] = field(factory=dict)
    printed: str = ""
    server: subprocess.Popen[str] | None = None
    port: str = SHOWN_PORT

    def read(self, page: Path) -> None:
        """Run all blocks of the page."""
        for block in blocks(page):
            if block.file and block.language in ("csv", "json", "toml", "python"):
                (self.folder / block.file).write_text(block.content, encoding="utf-8")
                continue
            match block.language:
                case "python":
                    self.run(block)
                case "pycon":
                    self.run_session(block)
                case "console":
                    self.run_commands(block)
                case "text":
                    self.compare(block.place, block.content, self.printed)

    def run(self, block: Block) -> None:
        """Run a Python block and keep its output."""
        content = self.with_real_port(block.content)
        program = compile("\n" * block.line + content, str(block.page), "exec", dont_inherit=True)
        with redirect_stdout(io.StringIO()) as out:
            exec(program, self.names)
        self.printed = out.getvalue()

    def run_session(self, block: Block) -> None:
        """Run an interactive Python session."""
        content = self.with_real_port(block.content)
        test = doctest.DocTestParser().get_doctest(content, self.names, block.place, str(block.page), block.line)
        report = io.StringIO()
        runner = doctest.DocTestRunner(verbose=False, optionflags=doctest.ELLIPSIS)
        assert not runner.run(test, out=report.write, clear_globs=False).failed, report.getvalue()
        self.names = test.globs

    def run_commands(self, block: Block) -> None:
        """Run shell commands."""
        commands = re.split(r"^\$ ", block.content, flags=re.MULTILINE)[1:]
        code = 0
        for number, text in enumerate(commands):
            command, _, expected = text.partition("\n")
            if command == "echo $?":
                assert code == int(expected), f"{block.place}: the exit code is {code}"
                continue
            ends = "".join(commands[number + 1 : number + 2]).startswith("echo $?")
            if SERVING.match(command) and not ends:
                self.compare(f"{block.place}: {command}", expected, self.serve(command, len(expected.splitlines())))
                continue
            code, output = self.execute(command)
            assert code == 0 or ends, f"{block.place}: {code} {command}\n{output}"
            self.compare(f"{block.place}: {command}", expected, output)

    def execute(self, command: str) -> tuple[int, str]:
        """Run a command; returns its exit code and output."""
        for shown, real in self.ids.items():
            command = command.replace(shown, real)
        plain = re.fullmatch(r"harken( [^|<>;&$`]*)?", command)
        if plain and not SERVING.match(command):
            return self.execute_in_process(command)
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

    def execute_in_process(self, command: str) -> tuple[int, str]:
        """Run a ``harken`` command in this process, to save the time of starting an interpreter."""
        with redirect_stdout(io.TextIOWrapper(io.BytesIO(), encoding="utf-8")) as out, redirect_stderr(out):
            code = main(shlex.split(command)[1:])
            out.flush()
            output = out.buffer.getvalue().decode()
        return code, output

    def environ(self) -> dict[str, str]:
        """The environment variables of a command."""
        return os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}

    def serve(self, command: str, lines: int) -> str:
        """Start a server; returns the given number of lines of its output."""
        self.close()
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port: int = probe.getsockname()[1]
        self.port = f":{port}"
        named = SHOWN_PORT in command
        words = shlex.split(self.with_real_port(command)) if named else [*shlex.split(command), "--port", str(port)]
        environ = self.environ() | {"PYTHONUNBUFFERED": "1"}
        with (self.folder / "server.log").open("w", encoding="utf-8") as log:
            self.server = server = subprocess.Popen(
                words, cwd=self.folder, env=environ, stdout=subprocess.PIPE, stderr=log, encoding="utf-8"
            )
        eventually(lambda: _listens(port) or server.poll() is not None)
        assert server.poll() is None, (self.folder / "server.log").read_text(encoding="utf-8")
        assert server.stdout is not None
        return "".join(server.stdout.readline() for _ in range(lines))

    def close(self) -> None:
        """Stop the server, if one is running."""
        if self.server is not None:
            with self.server as server:
                server.terminate()
                server.wait(PATIENCE)
        self.server, self.port = None, SHOWN_PORT

    def with_real_port(self, text: str) -> str:
        """Replace the port on the page with the server's port."""
        return re.sub(rf"{SHOWN_PORT}\b", self.port, text)

    def compare(self, place: str, expected: str, actual: str) -> None:
        """Assert that the actual output is the expected one, except for values that differ in each run."""
        actual = re.sub(rf"{self.port}\b", SHOWN_PORT, actual)
        expected, actual = (
            "\n".join(map(str.rstrip, text.rstrip().splitlines())).lstrip("\n") for text in (expected, actual)
        )
        # Each part between dots is a separate search: one pattern for all could take exponential time.
        *parts, last = expected.split("...")
        begin, ends = r"\A", [*[""] * len(parts), r"\Z"]
        reached = 0
        for part, end in zip((*parts, last), ends, strict=True):
            pattern, shown_ids = self._pattern(part)
            matched = re.compile(begin + pattern + end).search(actual, reached)
            assert matched, f"{place}\n--- expected\n{expected}\n--- actual\n{actual}"
            self.ids.update(zip(shown_ids, matched.groups(), strict=True))
            begin, reached = "", matched.end()

    def _pattern(self, expected: str) -> tuple[str, list[str]]:
        """The pattern for the expected text, and the new ids in it, one for each group of the pattern."""
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
    """A reader in an empty folder, without settings."""
    for name in [name for name in os.environ if name.startswith("HARKEN_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", "88")
    monkeypatch.chdir(tmp_path)
    reader = Reader(tmp_path)
    try:
        yield reader
    finally:
        reader.close()


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow) if _name(page) in SLOW else page for page in PAGES],
    ids=_name,
)
def test_examples_of_a_page_run_as_shown(page: Path, reader: Reader) -> None:
    """Every example of a page runs, in order, with the output on the page."""
    reader.read(page)


@needs_real_feedback
def test_getting_started_shows_the_statistics_of_the_real_feedback(reader: Reader) -> None:
    """The CSV script of "Getting started", run on 9,760 real messages, prints their statistics."""
    page = ROOT / "docs" / "getting-started.md"
    program = next(block for block in blocks(page) if block.language == "python" and "feedback.csv" in block.content)
    (reader.folder / "feedback.csv").symlink_to(AIRLINES)
    reader.run(program)
    assert reader.printed == "9760 entries, satisfaction 21.3, quality 27.3\n"


def _anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as MyST and GitHub form them."""
    text = re.sub(r"^(`{3,}).*?^\1$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#{1,3} (.+)$", text, flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=_name)
def test_links_between_pages_are_valid(page: Path) -> None:
    """Relative links and images refer to existing files, and their anchors to existing headings."""
    links = re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text(encoding="utf-8"))
    broken = []
    for link, anchor in links:
        target = page.parent / link if link else page
        if "://" not in link and not (target.exists() and (not anchor or anchor in _anchors(target))):
            broken.append(f"{link}#{anchor}")
    assert not broken


@frozen
class TestCommand:
    """A ``pytest`` command of a page."""

    __test__ = False

    place: str
    paths: list[str]
    alternatives: list[str]


def _test_commands() -> Iterator[TestCommand]:
    for page in PAGES:
        for text in re.findall(r"`pytest (tests/[^`]+)`", page.read_text(encoding="utf-8")):
            paths, _, expression = text.partition(" -k ")
            alternatives = expression.strip('"').split(" or ") if expression else []
            yield TestCommand(f"{_name(page)}: {text}", paths.split(), alternatives)


@pytest.mark.slow
def test_commands_select_existing_tests() -> None:
    """Each file of a ``pytest`` command on a page has tests, and so has each alternative of its ``-k``."""
    commands = list(_test_commands())
    paths = sorted({path for command in commands for path in command.paths})
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *paths]
    done = subprocess.run(collect, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    collected: dict[str, list[str]] = {}
    for path, name in re.findall(r"^(\S+?\.py)(::.*)$", done.stdout, flags=re.MULTILINE):
        # Like pytest, compare without regard to case, and with the name of the file too.
        collected.setdefault(path, []).append(f"{Path(path).name}{name}".lower())
    unmatched = []
    for command in commands:
        names = [name for path in command.paths for name in collected[path]]
        unmatched += [
            (command.place, one) for one in command.alternatives if not any(one.lower() in name for name in names)
        ]
    assert not unmatched


def test_programs_on_pages_exist() -> None:
    """``python -m tests...`` on a page names an existing program."""
    programs = {name for page in PAGES for name in re.findall(r"python -m (tests[\w.]+)", page.read_text("utf-8"))}
    missing = [
        name
        for name in sorted(programs)
        if not any((ROOT / f"{name.replace('.', '/')}{end}").exists() for end in (".py", "/__main__.py"))
    ]
    assert programs
    assert not missing


@pytest.mark.parametrize("picture", sorted((ROOT / "docs" / "images").glob("*.svg")), ids=lambda path: path.name)
def test_images_load_nothing_from_other_hosts(picture: Path) -> None:
    """An image does not load fonts, scripts or styles from another host."""
    text = picture.read_text(encoding="utf-8")
    fetched = re.findall(r"(?:url\(|src=|href=|@import)[^>;]*https?://", text)
    assert not fetched


def _format_default(value: object) -> str:
    """A default as it is written in the table of settings."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ", ".join(f"`{one}`" for one in value)
    return str(value) if isinstance(value, int) else f"`{value}`"


@pytest.mark.parametrize("kind", [Settings, ServerSettings], ids=lambda kind: kind.__name__)
def test_every_setting_is_listed(kind: type[Settings] | type[ServerSettings]) -> None:
    """The configuration page has a row for each setting, with its default; an empty default is ``none``."""
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \|", _text("docs/configuration.md"), flags=re.MULTILINE)
    for one in fields(kind):
        expected = _format_default(one.default) if one.default not in ("", ()) else "none"
        assert (one.name, expected) in rows


def test_every_operation_is_listed() -> None:
    """The HTTP page has each operation with its path and required scope."""
    page = _text("docs/http.md")
    missing = [
        one.name
        for one in OPERATIONS
        if not re.search(rf"^\| `{one.method} {re.escape(one.path)}` \|.*\| `{one.scope.value}`", page, re.MULTILINE)
    ]
    assert not missing


@pytest.mark.parametrize(
    ("name", "service"),
    [
        ("collection", CollectionService),
        ("moderation", ModerationService),
        ("analytics", AnalyticsService),
        ("sessions", SessionService),
        ("conversations", ConversationService),
        ("keys", KeyService),
    ],
)
def test_every_method_of_a_service_is_listed(name: str, service: type) -> None:
    """The page on embedding has each method of these services."""
    row = re.search(rf"^\| `hk\.{name}` \|.*$", _text("docs/embedding.md"), flags=re.MULTILINE)
    assert row
    listed = set(re.findall(r"`(\w+)`", row[0]))
    assert {method for method in vars(service) if not method.startswith("_")} - {"close"} == listed


def test_every_problem_is_listed() -> None:
    """The HTTP page has each problem type with its status."""
    page = _text("docs/http.md")
    missing = [kind for kind, (status, _) in KINDS.items() if f"| {status} | `{kind}` |" not in page]
    assert not missing


def test_every_method_of_a_port_is_listed() -> None:
    """The page on storage adapters has each port of a storage with all its methods, in their order."""
    rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", _text("docs/writing-a-storage-adapter.md"), re.MULTILINE)
    listed = {port: re.findall(r"\w+", methods) for port, methods in rows if hasattr(ports, port)}
    kinds = [getattr(ports, one.type) for one in fields(ports.Storage) if one.default is NOTHING]
    assert listed == {kind.__name__: [name for name in vars(kind) if not name.startswith("_")] for kind in kinds}


def test_the_example_of_a_chart_is_current() -> None:
    """The picture is what its script draws."""
    names = runpy.run_path(str(ROOT / "docs/images/make_chart.py"))
    assert names["PICTURE"].read_text(encoding="utf-8") == names["picture"]()
