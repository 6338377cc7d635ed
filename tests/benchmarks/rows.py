"""Generated feedback of realistic size, the same in every run."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

from harken.domain.feedback import Context, Feedback, Rating
from harken.testing import a_feedback, with_content

START = datetime(2026, 1, 1, tzinfo=UTC)
DAYS = 30
_WORDS = ("the", "answer", "was", "slow", "helpful", "wrong", "clear", "and", "but", "it", "never", "did", "thanks")


def comment(random: Random) -> str:
    """Random words, about 60 code points."""
    return " ".join(random.choices(_WORDS, k=random.randint(6, 18)))


def feedback(count: int, *, start: datetime = START, days: int = DAYS) -> Iterator[Feedback]:
    """Entries that are evenly distributed over the days, for five agents, with a context value."""
    random = Random(count)
    step = timedelta(days=days) / count
    for index in range(count):
        made = a_feedback(
            f"session-{index % max(count // 4, 1)}",
            agent_id=f"agent-{index % 5}",
            rating=random.choice(tuple(Rating)),
            comment=comment(random),
            created_at=start + step * index,
        )
        yield with_content(made, context=Context({"user_tier": random.choice(("free", "premium"))}))


def write_csv(path: Path, count: int) -> None:
    """The same as a CSV file with foreign column names."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["created_at", "session_id", "agent_id", "rating", "comment", "user_tier"])
        for one in feedback(count):
            table.writerow(
                [
                    one.created_at.isoformat(),
                    one.session_id,
                    one.agent_id,
                    one.rating.value or "",
                    one.comment,
                    one.context["user_tier"],
                ]
            )
