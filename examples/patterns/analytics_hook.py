"""Adds a value to group statistics by: a hook stores the variant of the answer in an A/B test with the feedback.

Harken computes the statistics. `Counters` counts the submissions of this process, for example for a metrics endpoint.

Run ``python examples/patterns/analytics_hook.py``, optionally followed by the URL of a storage.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import harken
from harken import Counters
from harken_adapters.hosts.session_manager import MongoDBSessionManager

SAMPLES = [
    ("up", "Excellent!"),
    ("down", "More examples, please"),
    (None, "Saved for later"),
    ("up", "Very clear"),
    ("up", "Thanks!"),
    ("down", "Half of it was missing"),
    ("up", "Exactly what I needed"),
]


def with_variant(original_func: Callable[..., Any], _action: str, session_id: str, **kwargs: Any) -> Any:
    """Store the variant: every other session gets long answers."""
    variant = "long" if int(session_id.removeprefix("session-")) % 2 else "short"
    return original_func({**kwargs["feedback"], "variant": variant})


def main(storage: str) -> None:
    counters = Counters()
    ten = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
    with harken.connect(storage, middleware=[counters], clock=lambda: ten) as hk:
        for number, (rating, comment) in enumerate(SAMPLES):
            session = MongoDBSessionManager(f"session-{number}", harken=hk, feedback_hook=with_variant)
            session.add_feedback({"rating": rating, "comment": comment})

        print("Counted in this process:")
        print(json.dumps(counters.metrics(), indent=2))

        summary = hk.summary()
        low, high = summary.interval.low, summary.interval.high
        print("Counted in the storage, for all processes:")
        print(f"  satisfaction {summary.satisfaction:.1f}% (95% CI {low:.0f}% to {high:.0f}%)")
        for variant, group in hk.groups("context.variant").items():
            print(f"  {variant} answers: {group.total}, satisfaction {group.satisfaction:.1f}%")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))
