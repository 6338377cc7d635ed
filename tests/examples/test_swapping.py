"""The example app and its test suite run on every storage; only the URL differs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "swapping_storage"

pytestmark = pytest.mark.slow


def run_copy(folder: Path, url: str) -> str:
    """Run the app's test suite in a copy of the example; returns pytest's output."""
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    return run(folder, url, "-W", "error")


def run(folder: Path, url: str, *options: str) -> str:
    """Run the app's test suite in a folder, with the command on the page; returns pytest's output."""
    words = [sys.executable, "-m", "pytest", "-q", *options, "-p", "harken_adapters.hosts.pytest_plugin"]
    # Loading other installed plugins would take longer than the suite.
    environ = os.environ | {"HARKEN_STORAGE": url, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ran = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("url", ["memory://", "sqlite:///desk.db", "mongomock://"])
def test_the_suite_passes_on(url: str, tmp_path: Path) -> None:
    """Each test of the app passes."""
    assert "14 passed" in run_copy(tmp_path, url)
    assert (tmp_path / "desk.db").exists() is url.startswith("sqlite")


def test_the_suite_passes_on_mongodb(mongodb_url: str, tmp_path: Path) -> None:
    """The same on a MongoDB server."""
    assert "14 passed" in run_copy(tmp_path, mongodb_url)


def test_the_suite_passes_in_a_checkout() -> None:
    """In the folder of the example, pytest reads the configuration of the repository."""
    assert "14 passed" in run(EXAMPLE, "memory://", "-p", "no:cacheprovider")


def test_the_page_shows_the_app() -> None:
    """The page includes all files of the example."""
    page = (ROOT / "docs" / "swapping-storage.md").read_text(encoding="utf-8")
    included = re.findall(r"^```\{literalinclude\} \.\./examples/swapping_storage/(\w+\.py)$", page, re.MULTILINE)
    assert sorted(included) == sorted(path.name for path in EXAMPLE.glob("*.py"))
