"""What is changed in a block of the guide, and how it is run then."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from programs import run_program

#: Import lines, and a few more where the guide cannot be run as it stands; each is needed by some block.
SUBSTITUTIONS: Final[Mapping[str, str]] = {
    "from mongodb_session_manager import": "from harken_adapters.hosts.session_manager import",
    # The remote model becomes one that says what the guide prints.
    "from strands import Agent\n": "from strands import Agent\nfrom guide.stand_ins import MODEL\n",
    'model="claude-3-sonnet-20240229"': "model=MODEL()",
    # A clock that shows what the guide's output shows.
    "from datetime import datetime\n": "from guide.stand_ins import datetime\n",
    # The guide leaves out an import, and what else the endpoint takes.
    "from fastapi import FastAPI, HTTPException\n": "from fastapi import FastAPI, HTTPException, Request\n",
    "(request: Request, ...)": "(request: Request)",
    # The guide leaves out which feedback.
    "session_manager.add_feedback(...)": "session_manager.add_feedback(feedback)",
}
_MONGODB: Final = "mongodb://localhost:27017/"
_DATABASES: Final = re.compile(r'database_name="\w+"')
#: What logging puts before a message, which the guide does not show.
_PREFIX: Final = re.compile(r"^(?:INFO|WARNING|ERROR):__main__:", re.MULTILINE)


@frozen
class Place:
    """A storage, as the guide's programs name it."""

    connection_string: str
    database_name: str

    def adapted(self, code: str) -> str:
        """The block with what has to be changed, on this storage."""
        for before, after in SUBSTITUTIONS.items():
            code = code.replace(before, after)
        code = code.replace(_MONGODB, self.connection_string)
        return _DATABASES.sub(f'database_name="{self.database_name}"', code)


def run(code: str, folder: Path, *, name: str = "__main__", **names: Any) -> tuple[dict[str, Any], str]:
    """Run a block; gives its names and what it printed and logged.

    ``names`` are what the block presupposes.
    """
    program = folder / "program.py"
    program.write_text(code, encoding="utf-8")
    left, printed = run_program(program, name=name, names=names)
    return left, _PREFIX.sub("", printed)
