"""Each example runs as the page says, and prints what the page shows."""

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
#: What each example prints, by its name.
SHOWN = dict(
    re.findall(r"^```console\n\$ python examples/patterns/(\w+)\.py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)


def printed(name: str, *arguments: str, folder: Path) -> str:
    """What an example prints when it is run in that folder; it may not warn."""
    with pytest.MonkeyPatch.context() as patch:
        # Settings of whoever runs the tests are none of an example's.
        for variable in [variable for variable in os.environ if variable.startswith("HARKEN_")]:
            patch.delenv(variable)
        patch.chdir(folder)
        return run_program(PATTERNS / f"{name}.py", *arguments)[1]


def test_every_example_is_shown() -> None:
    """No example is without its output on the page, which is what the tests below run, nor without its program."""
    names = sorted(path.stem for path in PATTERNS.glob("*.py"))
    included = re.findall(r"^```\{literalinclude\} \.\./examples/patterns/(\w+)\.py$", PAGE, re.MULTILINE)
    assert names == sorted(SHOWN) == sorted(included)


def test_every_folder_is_listed() -> None:
    """Whoever looks for an example finds all of them from the page."""
    folders = {path.name for path in (ROOT / "examples").iterdir() if any(path.glob("*.py"))}
    assert folders == set(re.findall(r"\]\(\.\./examples/(\w+)/", PAGE))


@pytest.mark.slow
def test_an_example_runs_as_the_page_says(tmp_path: Path) -> None:
    """It needs nothing but Python and Harken, whatever the folder it is run in, and says nothing on the side."""
    words = [sys.executable, "-W", "error", str(PATTERNS / "simple_collection.py")]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, SHOWN["simple_collection"], "")


@pytest.mark.slow
@pytest.mark.parametrize("name", SHOWN)
def test_an_example_prints_what_is_shown(name: str, tmp_path: Path) -> None:
    """The whole output is that of the page, and nothing is left on the disk."""
    assert printed(name, folder=tmp_path) == SHOWN[name]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pattern_alerts", "idempotency"])
def test_an_example_prints_the_same_on_sqlite(name: str, tmp_path: Path) -> None:
    """With the URL of a file behind its name it keeps everything there, and nothing else differs."""
    assert printed(name, "sqlite:///kept.db", folder=tmp_path) == SHOWN[name]
    assert (tmp_path / "kept.db").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pattern_alerts", "idempotency"])
def test_an_example_prints_the_same_on_mongodb(name: str, mongodb_url: str, tmp_path: Path) -> None:
    """As above, with a real server."""
    assert printed(name, mongodb_url, folder=tmp_path) == SHOWN[name]
