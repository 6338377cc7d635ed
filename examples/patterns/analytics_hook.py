"""Counts what comes in. Harken has the figures already; a hook adds what to count by, here which answer was tried.

Run it with ``python examples/patterns/analytics_hook.py``, or with the URL of a storage behind that.
"""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import harken
from harken import Counters
from harken_adapters.hosts.session_manager import MongoDBSessionManager

GIVEN = [
    ("up", "Excellent!"),
    ("down", "More examples, please"),
    (None, "Saved for later"),
    ("up", "Very clear"),
    ("up", "Thanks!"),
    ("down", "Half of it was missing"),
    ("up", "Exactly what I needed"),
]


def with_variant(original_func: Callable[..., Any], _action: str, session_id: str, **kwargs: Any) -> Any:
    """Every other session gets long answers; keep with the feedback which ones it was about."""
    variant = "long" if int(session_id.removeprefix("session-")) % 2 else "short"
    return original_func({**kwargs["feedback"], "variant": variant})


def main(storage: str) -> None:
    counters = Counters()
    ten = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
    with harken.connect(storage, middleware=[counters], clock=lambda: ten) as hk:
        for number, (rating, comment) in enumerate(GIVEN):
            session = MongoDBSessionManager(f"session-{number}", harken=hk, feedback_hook=with_variant)
            session.add_feedback({"rating": rating, "comment": comment})

        print("Since this process began:")
        print(json.dumps(counters.metrics(), indent=2))

        figures = hk.summary()
        low, high = figures.interval.low, figures.interval.high
        print("In the storage, from all processes:")
        print(f"  satisfaction {figures.satisfaction:.1f}%, which with so few may be {low:.0f}% to {high:.0f}%")
        for variant, group in hk.groups("context.variant").items():
            print(f"  {variant} answers: {group.total}, satisfaction {group.satisfaction:.1f}%")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))
