"""Checks that prose, messages and names use standard technical English: ``python tools/check_vocabulary.py``.

Prints the place of each banned phrase and what to write instead, and exits with 1 if there is one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

#: Banned phrases and what to write instead. A space matches any white space, so that phrases are found across lines.
#: A word is also found as a part of a name, such as ``_told``.
BANNED: Final = (
    (r"(?<!there\s)\b(?:is|are|was|were|be) no (?!longer\b|more\b|less\b|fewer\b|different\b)", "is not a ..."),
    (r"\bmakes? no sense\b", "is invalid"),
    (r"(?<![a-z])(?:whoever|whomever)(?![a-z])", "anyone who"),
    (r"(?<![a-z])whatever(?![a-z])", "any"),
    (r"(?<![a-z])anew(?![a-z])", "again, re-"),
    (r"(?<![a-z])mend(?:s|ed|ing)?(?![a-z])", "fix"),
    (r"(?<![a-z])told(?![a-z])", "notified, reported"),
    (r"(?<![a-z])behind(?! (?:a |the |an |its )?(?:reverse )?(?:proxy|proxies|nginx)\b)(?![a-z])", "after"),
    (r"\bby itself\b", "automatically, on its own"),
    (r"\bas things stand\b", "currently"),
    (r"\ba feedback(?=[.,;:)]| (?:is|was|that|has|which|of|in|to|with|and|or|by|from|for)\b)", "feedback, an entry"),
    (r"(?<![\w`\"'.$\[/])feedbacks(?![\w`\"'\]/=])", "feedback, entries"),
    (r"\b(?:a|each|every|another|one|the first|the last) down\b(?! to\b)", "a thumbs-down"),
    (r"\bsuspects? spam\b|\bhow they sound\b", "spam filter, sentiment analysis"),
    (r"\bonly this machine is served\b", "only requests from localhost are accepted"),
    (r"\bthere is no such thing\b", "not found"),
    (r"\bcannot be done (?:here|as)\b", "method not allowed, conflict"),
    (r"\bfares?\b", "status"),
    (r"\bover since\b", "resolved at"),
    (r"\b95 ?% sure\b", "95% CI"),
    (r"\bthere already\b", "duplicate"),
    (r"\b(?:does|do|did|is|are) not fit\b", "is invalid"),
    (r"\bleaves? the house\b", "is sent"),
    (r"(?<![a-z])rehears", "backtest"),
)

SUFFIXES: Final = {".py", ".md", ".toml", ".html", ".js", ".css", ".txt"}


def main() -> int:
    """Print all violations; returns the exit code."""
    found = list(violations(Path(__file__).parents[1]))
    for place, text, instead in found:
        print(f"{place}: {text!r}; write: {instead}")
    print(f"{len(found)} banned phrases" if found else "No banned phrases")
    return 1 if found else 0


def violations(root: Path) -> Iterator[tuple[str, str, str]]:
    """Each banned phrase in the files that git tracks: its place, the phrase, and what to write instead."""
    patterns = [(re.compile(banned.replace(" ", r"\s+(?:#:? )?")), instead) for banned, instead in BANNED]
    tracked = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():
        path = root / name
        if path.suffix not in SUFFIXES or path == Path(__file__) or not path.is_file():
            continue
        text = path.read_text(encoding="utf-8").lower()
        for pattern, instead in patterns:
            for match in pattern.finditer(text):
                yield f"{name}:{text.count(chr(10), 0, match.start()) + 1}", " ".join(match[0].split()), instead


if __name__ == "__main__":
    sys.exit(main())
