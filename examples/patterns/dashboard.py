"""Draws satisfaction by week as bars, for all agents together and for each agent.

Run ``python examples/patterns/dashboard.py`` to see sample data, or add the URL of a storage to see its feedback.
"""

import sys
from datetime import UTC, datetime, timedelta

import harken
from harken import Harken, Submission, Summary, Target

FIRST = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
#: The number of thumbs-up among ten ratings a week; a week with 0 has no ratings.
SAMPLES = {"helper": (3, 4, 6, 6, 8, 9), "desk": (8, 8, 7, 0, 5, 5)}
WIDTH = 20


def add_samples(hk: Harken) -> None:
    """Six weeks of feedback on two agents; in the fourth week, one of them has none."""
    hk.collection.submit_many(
        [
            Submission(
                target=Target(f"{agent}-{week}-{number}", agent_id=agent),
                rating="up" if number < satisfied else "down",
                comment="A comment",
                created_at=FIRST + timedelta(weeks=week, minutes=number),
            )
            for agent, weeks in SAMPLES.items()
            for week, satisfied in enumerate(weeks)
            for number in range(10 if satisfied else 0)
        ]
    )


def bar(summary: Summary) -> str:
    """Satisfaction as a bar, if there are ratings other than neutral."""
    if not summary.decided:
        return "no ratings"
    length = round(summary.satisfaction / 100 * WIDTH)
    return f"{'█' * length:░<{WIDTH}} {summary.satisfaction:5.1f}%  of {summary.decided}"


def draw(hk: Harken) -> None:
    """Draw all agents together, then each agent."""
    for agent in (None, *hk.groups("agent")):
        print(agent or "All agents")
        points = hk.trend("week", agent_id=agent) if isinstance(agent, str) else hk.trend("week")
        for point in points:
            print(f"  {point.start:%d %b}  {bar(point.summary)}")


def main(storage: str | None) -> None:
    with harken.connect(storage or "memory://") as hk:
        if storage is None:
            add_samples(hk)
        draw(hk)


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), None))
