"""Draws how satisfaction went, week by week and agent by agent.

Run it with ``python examples/patterns/dashboard.py``, or with the URL of a storage behind that, whose feedback it then
draws: all that is there, and nothing made up.
"""

import sys
from datetime import UTC, datetime, timedelta

import harken
from harken import Harken, Submission, Summary, Target

FIRST = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
#: Of ten people each week, how many are satisfied.
MADE_UP = {"helper": (3, 4, 6, 6, 8, 9), "desk": (8, 8, 7, 0, 5, 5)}
WIDTH = 20


def make_up(hk: Harken) -> None:
    """Six weeks of feedback about two agents; in the fourth, nobody said anything about one of them."""
    hk.collection.submit_many(
        [
            Submission(
                target=Target(f"{agent}-{week}-{number}", agent_id=agent),
                rating="up" if number < satisfied else "down",
                comment="A comment",
                created_at=FIRST + timedelta(weeks=week, minutes=number),
            )
            for agent, weeks in MADE_UP.items()
            for week, satisfied in enumerate(weeks)
            for number in range(10 if satisfied else 0)
        ]
    )


def bar(figures: Summary) -> str:
    """Satisfaction as a bar, where anybody said up or down."""
    if not figures.decided:
        return "nobody said anything"
    length = round(figures.satisfaction / 100 * WIDTH)
    return f"{'█' * length:░<{WIDTH}} {figures.satisfaction:5.1f}%  of {figures.decided}"


def draw(hk: Harken) -> None:
    """All agents together, and each of them."""
    for agent in (None, *hk.groups("agent")):
        print(agent or "All agents")
        points = hk.trend("week", agent_id=agent) if isinstance(agent, str) else hk.trend("week")
        for point in points:
            print(f"  {point.start:%d %b}  {bar(point.summary)}")


def main(storage: str | None) -> None:
    with harken.connect(storage or "memory://") as hk:
        if storage is None:
            make_up(hk)
        draw(hk)


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), None))
