"""The Strands agent of the documentation runs without a model in the cloud, and prints what the page shows."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "strands_agent"
PAGE = (ROOT / "docs" / "strands.md").read_text(encoding="utf-8")
COMMAND = "python examples/strands_agent/order_desk.py"


@pytest.mark.slow
def test_the_agent_prints_what_is_shown(tmp_path: Path) -> None:
    """The whole output is that of the page, in whatever folder it is run, and nothing is left on the disk."""
    shown = re.search(rf"^```console\n\$ {re.escape(COMMAND)}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert shown is not None
    words = [sys.executable, "-W", "error", str(EXAMPLE / "order_desk.py")]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, shown[1], "")
    assert not list(tmp_path.iterdir())


def test_the_page_shows_the_whole_example() -> None:
    """Both files are on the page, as they are."""
    included = re.findall(r"^```\{literalinclude\} \.\./examples/strands_agent/(\w+\.py)$", PAGE, re.MULTILINE)
    assert sorted(included) == sorted(path.name for path in EXAMPLE.glob("*.py"))
