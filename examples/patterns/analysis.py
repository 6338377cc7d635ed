"""Analyses feedback: trends, groups by agent, keywords, and a comparison before and after a release.

Run ``python examples/patterns/analysis.py``, optionally followed by the URL of a storage.
"""

import sys
from datetime import UTC, datetime

import harken
from harken import Harken, Submission, Target

RELEASE = datetime(2026, 3, 4, tzinfo=UTC)
#: Day of March, agent, rating, comment, and how often it was given.
SAMPLES = [
    (2, "helper", "down", "Too slow and unclear", 14),
    (2, "desk", "up", "Great explanation", 6),
    (3, "helper", "up", "Perfect!", 8),
    (3, "desk", "down", "Incomplete answer with errors", 6),
    (4, "helper", "up", "So quick now", 18),
    (5, "desk", "up", "Exactly what I needed", 6),
    (5, "helper", "down", "Still slow at times", 4),
    (5, "desk", None, "Not sure yet", 2),
]


def collect(hk: Harken) -> None:
    """Store the samples with their times, in one write."""
    receipts = hk.collection.submit_many(
        [
            Submission(
                target=Target(f"session-{day}-{number}", agent_id=agent),
                rating=rating,
                comment=comment,
                created_at=datetime(2026, 3, day, 9, number, tzinfo=UTC),
            )
            for day, agent, rating, comment, times in SAMPLES
            for number in range(times)
        ]
    )
    print(f"{len(receipts)} entries")


def main(storage: str) -> None:
    with harken.connect(storage) as hk:
        collect(hk)

        print("By day in Madrid:")
        for point in hk.trend("day", "Europe/Madrid"):
            day = point.summary
            counts = f"+{day.positive} -{day.negative} ={day.neutral}"
            print(f"  {point.start:%Y-%m-%d}  {counts}  quality {day.quality:.1f}")

        print("By agent:")
        for agent, summary in hk.groups("agent").items():
            low, high = summary.interval.low, summary.interval.high
            print(f"  {agent}: satisfaction {summary.satisfaction:.1f}% (95% CI {low:.1f}% to {high:.1f}%)")

        print("Keywords in negative comments:")
        for found in hk.themes(["slow", "unclear", "incomplete", "error"]):
            print(f"  {found.keyword}: {found.mentions}")

        change = hk.analytics.compare(hk.query(until=RELEASE), hk.query(since=RELEASE))
        low, high = change.interval.low, change.interval.high
        print(f"Since the release: {change.satisfaction_change:+.1f} points (95% CI {low:+.1f} to {high:+.1f})")
        print(f"Verdict: {change.sentence}")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))
