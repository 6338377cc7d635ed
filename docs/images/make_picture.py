"""Make demo.svg of what ``harken demo`` prints: ``python docs/images/make_picture.py``.

Rich's own template would load fonts from another host when it is viewed, so that its font rules are taken out.
"""

import os
import re
import sys
import tempfile
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme
from rich.text import Text

from harken_adapters.hosts.cli import main, output

PICTURE = Path(__file__).with_name("demo.svg")
COLUMNS = 76
FIRST, LAST = "Rejected, with all reasons at once", "Themes in negative comments"
FONTS = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
THEME = TerminalTheme(
    (15, 23, 42),
    (226, 232, 240),
    [
        *((51, 65, 85), (248, 113, 113), (74, 222, 128), (250, 204, 21)),
        *((96, 165, 250), (232, 121, 249), (34, 211, 238), (226, 232, 240)),
    ],
)


def template() -> str:
    """Rich's template without the fonts that it would fetch."""
    plain = re.sub(r"@font-face \{\{.*?\}\}|<!--.*?-->", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return plain.replace("Fira Code, monospace", FONTS)


def demo() -> str:
    """What the demo prints on a terminal, with the colours."""
    os.environ.pop("NO_COLOR", None)
    output.out = Console(
        file=open(os.devnull, "w", encoding="utf-8"),  # noqa: PTH123, SIM115 - recorded, not written
        record=True,
        width=COLUMNS,
        force_terminal=True,
        color_system="standard",
        highlight=False,
        markup=False,
        emoji=False,
    )
    with tempfile.TemporaryDirectory() as folder:
        if main(["--storage", f"sqlite:///{folder}/demo.db", "demo"]) != 0:
            sys.exit("The demo failed")
    return output.out.export_text(styles=True)


def part(printed: str) -> str:
    """The lines of the picture."""
    lines = printed.splitlines()
    plain = [Text.from_ansi(line).plain.strip() for line in lines]
    return "\n".join(lines[plain.index(FIRST) : plain.index(LAST) - 1])


if __name__ == "__main__":
    screen = Console(record=True, width=COLUMNS, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    screen.print(Text("$ harken demo", style="bold"), "...", sep="\n", highlight=False)
    screen.print(Text.from_ansi(part(demo())), "...", sep="\n", highlight=False)
    PICTURE.write_text(screen.export_svg(title="harken demo", theme=THEME, code_format=template()), encoding="utf-8")
