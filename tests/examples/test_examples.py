"""Each example runs, and its output is the one on the page."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from programs import run_program

ROOT = Path(__file__).parents[2]
PATTERNS = ROOT / "examples" / "patterns"
PAGE = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
#: The output of each example on the page, by its name.
SHOWN = dict(
    re.findall(r"^```console\n\$ python examples/patterns/(\w+)\.py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)


def run(name: str, *arguments: str, folder: Path) -> str:
    """Run an example in the folder; returns its output. Warnings are errors."""
    with pytest.MonkeyPatch.context() as patch:
        # The developer's settings must not affect the examples.
        for variable in [variable for variable in os.environ if variable.startswith("HARKEN_")]:
            patch.delenv(variable)
        patch.chdir(folder)
        return run_program(PATTERNS / f"{name}.py", *arguments)[1]


def test_every_example_is_shown() -> None:
    """The page has the program and the output of every example."""
    names = sorted(path.stem for path in PATTERNS.glob("*.py"))
    included = re.findall(r"^```\{literalinclude\} \.\./examples/patterns/(\w+)\.py$", PAGE, re.MULTILINE)
    assert names == sorted(SHOWN) == sorted(included)


def test_every_folder_is_listed() -> None:
    """The page links to every folder of examples."""
    folders = {path.name for path in (ROOT / "examples").iterdir() if any(path.glob("*.py"))}
    assert folders == set(re.findall(r"\]\(\.\./examples/(\w+)/", PAGE))


@pytest.mark.slow
def test_an_example_runs_in_a_process_of_its_own(tmp_path: Path) -> None:
    """It runs in any folder, without warnings."""
    words = [sys.executable, "-W", "error", str(PATTERNS / "simple_collection.py")]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, SHOWN["simple_collection"], "")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_an_example_prints_the_output_on_the_page(name: str, tmp_path: Path) -> None:
    """The output is the one on the page, and no files are left in the folder."""
    assert run(name, folder=tmp_path) == SHOWN[name]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pattern_alerts", "idempotency"])
def test_an_example_prints_the_same_on_sqlite(name: str, tmp_path: Path) -> None:
    """With the URL of a file as its argument, it stores feedback there, with the same output."""
    assert run(name, "sqlite:///feedback.db", folder=tmp_path) == SHOWN[name]
    assert (tmp_path / "feedback.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pattern_alerts", "idempotency"])
def test_an_example_prints_the_same_on_mongodb(name: str, mongodb_url: str, tmp_path: Path) -> None:
    """The same on a MongoDB server."""
    assert run(name, mongodb_url, folder=tmp_path) == SHOWN[name]
