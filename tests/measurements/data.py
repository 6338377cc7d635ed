"""Real feedback from files, as it would be stored: sanitised, and with the sentiment that VADER gives it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from harken import Feedback, Rating
from harken.testing.builders import a_feedback
from harken_adapters.text import Nh3Sanitizer, VaderSentiment


def airline(folder: Path) -> tuple[list[Feedback], list[str]]:
    """The feedback of ``airline-feedback.csv``, and the reasons that people gave to it, in the same order."""
    with (folder / "airline-feedback.csv").open(newline="", encoding="utf-8") as lines:
        rows = list(csv.DictReader(lines))
    return _feedback(rows), [row["reason"] for row in rows]


def reviews(folder: Path) -> list[Feedback]:
    """The feedback of ``reviews.jsonl``."""
    with (folder / "reviews.jsonl").open(encoding="utf-8") as lines:
        return _feedback([json.loads(line) for line in lines])


def _feedback(rows: list[dict[str, str]]) -> list[Feedback]:
    sanitize, analyze = Nh3Sanitizer().sanitize, VaderSentiment().analyze
    made: list[Feedback] = []
    for number, row in enumerate(rows):
        comment = sanitize(row["comment"])
        made.append(
            a_feedback(
                row.get("session_id", f"session-{number}"),
                id=f"feedback-{number:05}",
                agent_id=row.get("agent_id"),
                rating=Rating.parse(row["rating"] or None),
                comment=comment,
                sentiment=analyze(comment) if comment else None,
            )
        )
    return made
