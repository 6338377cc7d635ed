"""One small app and its whole test suite, on every storage that Harken has, by changing one URL."""

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


def run(folder: Path, url: str) -> str:
    """What pytest says of the app's suite, copied to that folder, on that storage."""
    shutil.copytree(EXAMPLE, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    words = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "harken_adapters.hosts.pytest_plugin"]
    # Other plugins that happen to be installed take longer to load than the suite takes.
    environ = os.environ | {"HARKEN_STORAGE": url, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    ran = subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.mark.parametrize("url", ["memory://", "sqlite:///desk.db", "mongomock://"])
def test_the_suite_passes_on(url: str, tmp_path: Path) -> None:
    """Nothing but the URL differs, and each test of the app passes."""
    assert "14 passed" in run(tmp_path, url)
    assert (tmp_path / "desk.db").exists() is url.startswith("sqlite")


def test_the_suite_passes_on_mongodb(mongodb_url: str, tmp_path: Path) -> None:
    """As above, with a real server."""
    assert "14 passed" in run(tmp_path, mongodb_url)


def test_the_page_shows_the_app() -> None:
    """What the page has its readers type in is what these tests run."""
    page = (ROOT / "docs" / "swapping-storage.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"`([\w.]+)`:\n\n```\w+\n(.*?)```", page, flags=re.DOTALL))
    assert sorted(shown) == ["conftest.py", "support_desk.py", "test_support_desk.py"]
    for name, content in shown.items():
        assert content == (EXAMPLE / name).read_text(encoding="utf-8"), name
