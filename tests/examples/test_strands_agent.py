"""The example of a Strands agent runs without a cloud model, and its output is the one on the page."""

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
def test_the_agent_prints_the_output_on_the_page(tmp_path: Path) -> None:
    """The output is the one on the page, in any folder, and no files are left there."""
    shown = re.search(rf"^```console\n\$ {re.escape(COMMAND)}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert shown is not None
    words = [sys.executable, "-W", "error", str(EXAMPLE / "order_desk.py")]
    ran = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, shown[1], "")
    assert not list(tmp_path.iterdir())


def test_the_page_shows_the_whole_example() -> None:
    """The page includes both files."""
    included = re.findall(r"^```\{literalinclude\} \.\./examples/strands_agent/(\w+\.py)$", PAGE, re.MULTILINE)
    assert sorted(included) == sorted(path.name for path in EXAMPLE.glob("*.py"))
