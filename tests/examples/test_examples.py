"""Each example runs as the page says, and prints what the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from support import PATIENCE

ROOT = Path(__file__).parents[2]
PATTERNS = ROOT / "examples" / "patterns"
PAGE = (ROOT / "docs" / "examples.md").read_text(encoding="utf-8")
#: What each example prints, by its name.
SHOWN = dict(
    re.findall(r"^```console\n\$ python examples/patterns/(\w+)\.py\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)


def printed(name: str, *arguments: str, folder: Path) -> str:
    """What an example prints when it is run in that folder; it may neither fail nor warn."""
    words = [sys.executable, "-W", "error", str(PATTERNS / f"{name}.py"), *arguments]
    # Settings of whoever runs the tests are none of an example's.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HARKEN_")}
    ran = subprocess.run(
        words,
        cwd=folder,
        env=environ | {"PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=PATIENCE * 3,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    return ran.stdout


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
