"""A third-party package adds a storage and a channel by entry points alone: built, installed and used like any other.

Harken is built and installed with it, so that the tests use what people install. Their dependencies come from the
environment that runs the tests: nothing is downloaded.
"""

import json
import os
import subprocess
import sys
import sysconfig
import venv
from importlib.util import find_spec
from pathlib import Path

import pytest
from attrs import frozen

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "strange-things"
version = "1.0"
dependencies = ["harken"]

[project.entry-points."harken.storage"]
stranger = "strange_things:open_storage"

[project.entry-points."harken.notifiers"]
pigeon = "strange_things:open_pigeon"

[tool.hatch.build.targets.wheel]
include = ["strange_things.py"]
"""

MODULE = '''
"""A storage that borrows SQLite, and a channel that leaves letters in a loft."""

from pathlib import Path

import harken
from harken import ConfigurationError
from harken.ports.notifier import Notifier


def open_storage(url):
    return harken.open_storage(f"sqlite:///{url.removeprefix('stranger://')}.db")


class Pigeon(Notifier):
    def __init__(self, loft):
        self.loft = Path(loft)

    def deliver(self, notification):
        with self.loft.open("a") as letters:
            letters.write(f"{notification.type.value}: {notification.feedback.comment}\\n")


def open_pigeon(table):
    if "loft" not in table:
        raise ConfigurationError("a pigeon needs a loft")
    return Pigeon(table["loft"])
'''

SETTINGS = """
storage = "stranger://things"

[channels.birds]
kind = "pigeon"
loft = "letters.txt"
"""

PROGRAM = """
import harken, strange_things
with harken.connect("stranger://things") as hk:
    hk.submit("session-1", "down", "Coo", agent_id="helper")
    print(hk.relay.run_due())
print(harken.__file__)
print(strange_things.__file__)
"""

TEST = """
from pathlib import Path

import pytest

@pytest.mark.harken(channels={"birds": {"kind": "pigeon", "loft": "loft.txt"}})
def test_a_pigeon_flies(harken, harken_notifications):
    harken.submit("session-1", "up", "Coo")
    assert harken_notifications.types == ["feedback.created"]
    assert Path("loft.txt").read_text() == "feedback.created: Coo\\n"
"""


@frozen
class Scratch:
    """An environment with Harken and the third-party package, and a working folder."""

    programs: Path
    folder: Path

    def run(self, program: str, *arguments: str, code: int = 0) -> str:
        """The output of a program in the environment."""
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("HARKEN_", "PYTHONPATH"))}
        ran = subprocess.run(
            [str(self.programs / program), *arguments],
            cwd=self.folder,
            env=environ,
            capture_output=True,
            encoding="utf-8",
            check=False,
        )
        assert ran.returncode == code, ran.stdout + ran.stderr
        return ran.stdout + ran.stderr


def wheel(project: Path, where: Path) -> str:
    """The wheel of a project, built with the installed build tools."""
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(where)]
    subprocess.run(build, cwd=project, check=True, capture_output=True)
    [built] = where.glob("*.whl")
    return str(built)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Scratch:
    """The third-party package and Harken, each from its wheel."""
    place = tmp_path_factory.mktemp("strangers")
    project = place / "project"
    project.mkdir()
    (project / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
    (project / "strange_things.py").write_text(MODULE, encoding="utf-8")
    wheels = [wheel(ROOT, place / "ours"), wheel(project, place / "theirs")]
    venv.create(place / "venv", symlinks=os.name != "nt")
    programs = place / "venv" / ("Scripts" if os.name == "nt" else "bin")
    python = str(programs / "python")
    subprocess.run([*_installer(python), "--no-index", "--no-deps", *wheels], check=True, capture_output=True)
    _lend_packages(python)
    folder = place / "folder"
    folder.mkdir()
    (folder / "harken.toml").write_text(SETTINGS, encoding="utf-8")
    return Scratch(programs, folder)


def _installer(python: str) -> list[str]:
    """The arguments to install into another environment: those of pip, or of uv, whose environments have no pip."""
    if find_spec("pip"):
        return [sys.executable, "-m", "pip", "--python", python, "install"]
    return ["uv", "pip", "install", "--python", python]


def _lend_packages(python: str) -> None:
    """Let the environment use, after its own packages, those of the one that runs the tests."""
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    theirs = subprocess.run([python, "-c", ask], check=True, capture_output=True, encoding="utf-8").stdout.strip()
    ours = dict.fromkeys((sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))
    (Path(theirs) / "lent.pth").write_text("".join(f"{folder}\n" for folder in ours), encoding="utf-8")


def test_they_work_by_entry_points_alone(scratch: Scratch) -> None:
    """A program, the command line and the relay find both by name, and Harken does not know them."""
    tried, ours, theirs = scratch.run("python", "-c", PROGRAM).split()
    assert tried == "1"
    assert all(str(scratch.programs.parent) in path for path in (ours, theirs))
    letters = scratch.folder / "letters.txt"
    assert letters.read_text() == "feedback.created: Coo\n"

    storage = ("--storage", "stranger://things")
    assert json.loads(scratch.run("harken", *storage, "stats", "--json"))["negative"] == 1
    assert "birds  on" in scratch.run("harken", *storage, "channels", "list")
    scratch.run("harken", "submit", "session-2", "up", "Coo coo")
    scratch.run("harken", "relay", "--once")
    assert letters.read_text().splitlines()[1:] == ["feedback.created: Coo coo"]


def test_their_errors_reach_people(scratch: Scratch) -> None:
    """The error of a third-party package about a setting has the channel's name, and its schemes are listed."""
    (scratch.folder / "wrong.toml").write_text("[channels.birds]\nkind = 'pigeon'\n", encoding="utf-8")
    program = "import harken; harken.connect('memory://').start_relay()"
    ran = scratch.run("python", "-c", f"import os; os.environ['HARKEN_CONFIG'] = 'wrong.toml'; {program}", code=1)
    assert "ConfigurationError: Channel 'birds': a pigeon needs a loft" in ran
    assert "stranger://" in scratch.run("harken", "--storage", "nobody://", "stats", code=2)


def test_the_pytest_plugin_comes_with_harken(scratch: Scratch) -> None:
    """Any environment with Harken and pytest has the fixtures, also for a third-party channel."""
    (scratch.folder / "test_pigeon.py").write_text(TEST, encoding="utf-8")
    assert "1 passed" in scratch.run("python", "-m", "pytest", "-q", "-W", "error", "test_pigeon.py")


def test_presets_come_with_harken(scratch: Scratch) -> None:
    """The wheel has the tables of all presets of imports."""
    program = (
        "from harken_adapters.formats.presets import preset, preset_names; "
        "print(len([preset(name) for name in preset_names()]))"
    )
    assert scratch.run("python", "-c", program) == "10\n"
