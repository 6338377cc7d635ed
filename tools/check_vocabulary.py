"""Checks that prose, messages and names use standard technical English: ``python tools/check_vocabulary.py``.

Prints the place of each banned phrase with a replacement, and exits with 1 if there is one.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_MODAL: Final = "(?:can |may |must |need |should |will |would )"
_COMPARED: Final = r"(?:longer|more|less|fewer|different|one)\b"
#: After "a feedback", these show that it is used as a noun, not as in "a feedback button".
_FUNCTION_WORDS: Final = (
    "is|was|that|has|which|whose|of|in|to|with|and|or|by|from|for|on|at|as|may|can|must|cannot|without|before|after"
)

#: Patterns of banned phrases, and what to write instead. Text is compared in lower case. A space matches any white
#: space, so that phrases are found across lines. ``(?<![a-z])`` also finds words within names, such as ``_told``. A
#: match of the group ``allowed`` is not reported.
BANNED: Final = (
    (rf"(?P<allowed>\bthere {_MODAL}?)?\b(?:is|are|was|were|be) no (?!{_COMPARED})", "is not a ..."),
    (r"\bmak(?:es?|ing) no sense\b|\bmade no sense\b", "is invalid"),
    (r"(?<![a-z])whom?(?:so)?ever(?![a-z])", "anyone who, the caller"),
    (r"(?<![a-z])whatever(?![a-z])", "any"),
    (r"(?<![a-z])anew(?![a-z])", "again, re-"),
    (r"(?<![a-z])mend(?:s|ed|ing)?(?![a-z])", "fix, correct"),
    (r"(?<![a-z])told(?![a-z])", "notified, reported"),
    (r"(?<![a-z])behind(?!(?:(?: |_)\w+?){0,3}(?: |_)(?:prox(?:y|ies)|nginx)(?![a-z]))(?![a-z])", "after"),
    (r"\bby (?:itself|themselves)\b", "automatically, on its own"),
    (r"\bof (?:its|their) own accord\b", "automatically"),
    (r"\bas things stand\b", "currently"),
    (rf"(?<![-\w])a feedback(?=[.,;:!?)\"'`]|$| (?:{_FUNCTION_WORDS})\b)", "feedback, a feedback entry"),
    (r"(?<![\w`\"'.$\[/])feedbacks(?![\w`\"'\]/=])", "feedback, entries"),
    (r"\b(?:a|each|every|another|one|the first|the last) down\b(?! to\b)", "a thumbs-down"),
    (r"\b(?:an|each|every|another|one) up\b(?! to\b)", "a thumbs-up"),
    (
        r"(?<![-\w.`\"'/(\[=])(?:downs|ups)\x20(?!if\b|for \w+ in\b)[a-z]",
        "thumbs-down feedback, negative ratings",
    ),
    (r"\bsuspects? spam\b|\bhow they sound\b", "spam filter, sentiment analysis"),
    (r"\bonly this machine is served\b", "only requests from localhost are accepted"),
    (r"\bthere is no such thing\b", "not found"),
    (r"\bcannot be done (?:here|as)\b", "method not allowed, conflict"),
    (r"\bfares?\b", "status"),
    (r"\bover since\b", "resolved at"),
    (r"\b95\x20?% sure\b", "95% CI"),
    (r"\bthere already\b", "duplicate, exists"),
    (r"\b(?:does|do|did|is|are|was|were) not fit\b(?! (?:in|into|on|within)\b)", "is invalid, does not match"),
    (r"\bleaves? the house\b|\bthis house\b", "is sent, Harken"),
    (r"(?<![a-z])rehears", "backtest"),
    (r"\bas it is(?=[.,;:)])", "unchanged"),
    (r"\bstands? in\b|\bwhat stands\b", "replaces, a stub"),
    (r"\ba bit of\b", "some"),
    (r"\bso many\b", "this many, the number of"),
    (r"(?<!['\"=])\b(?:some|every)body\b(?!['\"])", "the caller, the client, another process"),
)

#: Texts that cannot change, as they are stored, pinned by digests or printed by the guide's programs: by file, the only
#: excerpts that may contain a banned word there.
STORED: Final = {
    "adapters/harken_adapters/storage/sqlite/schema.py": (
        "no second index: whoever lists events sorts those that still wait",
        "where somebody fans them out",
        "CREATE TABLE told (",
        "DELETE FROM told WHERE",
        "('told', 'told', '1000000 1000000 2 1')",
    ),
    "adapters/harken_adapters/storage/sqlite/erasing.py": ("SELECT feedback_id, channel FROM told WHERE",),
    "adapters/harken_adapters/storage/sqlite/outbox.py": ("INSERT INTO told VALUES",),
    "tests/guide/test_the_guide.py": ("Total feedbacks: ",),
    "tests/adapters/storage/test_sqlite_file.py": ("DROP TABLE told",),
    "tests/adapters/storage/test_sqlite_plans.py": ("SEARCH told USING",),
}

#: These files quote the banned phrases.
EXEMPT: Final = {"tools/check_vocabulary.py", "tests/test_vocabulary.py"}
SUFFIXES: Final = {".py", ".md", ".toml", ".html", ".js", ".css", ".txt"}
#: Files without a suffix that are checked too.
NAMES: Final = {"Makefile", ".ci/run"}

# A phrase may continue on the next line of a comment.
_PATTERNS: Final = [
    (re.compile(pattern.replace(" ", r"\s+(?:#:? )?"), re.MULTILINE), instead) for pattern, instead in BANNED
]


def main() -> int:
    """Print all banned phrases; returns the exit code."""
    found = list(check_repository(Path(__file__).parents[1]))
    for place, phrase, instead in found:
        print(f"{place}: {phrase!r}; write: {instead}")
    print(f"{len(found)} banned phrases" if found else "No banned phrases")
    return 1 if found else 0


def check_repository(root: Path) -> Iterator[tuple[str, str, str]]:
    """Yield each banned phrase in the files that git tracks: its place, the phrase, and what to write instead."""
    tracked = subprocess.run(["git", "ls-files"], cwd=root, capture_output=True, text=True, check=True).stdout
    for name in tracked.splitlines():
        path = root / name
        is_checked = path.suffix in SUFFIXES or name in NAMES
        if is_checked and name not in EXEMPT and path.is_file():
            for line, phrase, instead in check_text(name, path.read_text(encoding="utf-8")):
                yield f"{name}:{line}", phrase, instead


def check_text(name: str, text: str) -> Iterator[tuple[int, str, str]]:
    """Yield each banned phrase in the text of a file: its line, the phrase, and what to write instead."""
    for excerpt in STORED.get(name, ()):
        text = text.replace(excerpt, "\n" * excerpt.count("\n"))
    for pattern, instead in _PATTERNS:
        for match in pattern.finditer(text.lower()):
            if not match.groupdict().get("allowed"):
                phrase = re.sub(r"\s+(?:#:? )?", " ", match[0]).strip()
                yield text.count("\n", 0, match.start()) + 1, phrase, instead


if __name__ == "__main__":
    sys.exit(main())
