"""Changes a code block of the guide, and runs it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from attrs import frozen

from programs import run_program

#: Substitutions of imports and of lines that cannot run unchanged. At least one block needs each of them.
SUBSTITUTIONS: Final[Mapping[str, str]] = {
    "from mongodb_session_manager import": "from harken_adapters.hosts.session_manager import",
    # A local model with the answers in the guide.
    "from strands import Agent\n": "from strands import Agent\nfrom guide.stand_ins import MODEL\n",
    'model="claude-3-sonnet-20240229"': "model=MODEL()",
    # A clock with the time in the guide's output.
    "from datetime import datetime\n": "from guide.stand_ins import datetime\n",
    # The guide omits an import and parameters of the endpoint.
    "from fastapi import FastAPI, HTTPException\n": "from fastapi import FastAPI, HTTPException, Request\n",
    "(request: Request, ...)": "(request: Request)",
    # The guide omits the feedback.
    "session_manager.add_feedback(...)": "session_manager.add_feedback(feedback)",
}
_MONGODB: Final = "mongodb://localhost:27017/"
_DATABASES: Final = re.compile(r'database_name="\w+"')
#: The prefix of log messages, which the guide does not show.
_PREFIX: Final = re.compile(r"^(?:INFO|WARNING|ERROR):__main__:", re.MULTILINE)


@frozen
class Place:
    """A storage, in the parameters of the guide's programs."""

    connection_string: str
    database_name: str

    def adapt(self, code: str) -> str:
        """The block with all substitutions, on this storage."""
        for before, after in SUBSTITUTIONS.items():
            code = code.replace(before, after)
        code = code.replace(_MONGODB, self.connection_string)
        return _DATABASES.sub(f'database_name="{self.database_name}"', code)


def run(code: str, folder: Path, *, name: str = "__main__", **names: Any) -> tuple[dict[str, Any], str]:
    """Run a block; returns its names, and its output with its log.

    ``names`` are the names that the block requires.
    """
    program = folder / "program.py"
    program.write_text(code, encoding="utf-8")
    defined, printed = run_program(program, name=name, names=names)
    return defined, _PREFIX.sub("", printed)
