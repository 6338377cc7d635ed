"""Small helpers for many tests."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import count
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

from harken import Content, Feedback, Harken, Rating, Submission, Target

NOON = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
#: How long a test waits for something that should happen at once before it fails.
PATIENCE = 60.0
_CONTENT = ("tags", "context", "sentiment")


class ManualClock:
    """A clock that stands still until it is turned."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def turn(self, **by: float) -> None:
        """Advance the clock by this time."""
        self.now += timedelta(**by)


def counting_ids() -> Callable[[], str]:
    """Return a factory of ids that sort in the order of their creation."""
    numbers, lock = count(1), Lock()

    def new_id() -> str:
        with lock:
            return f"id-{next(numbers):06}"

    return new_id


def a_submission(
    session_id: str = "s", rating: Rating | str | None = "up", comment: str = "", **parts: Any
) -> Submission:
    """Return a valid submission, unless ``parts`` makes it invalid."""
    target = Target(session_id, parts.pop("message_id", None), parts.pop("agent_id", None))
    return Submission(**{"target": target, "rating": rating, "comment": comment, **parts})


def a_feedback(feedback_id: str = "f", rating: Rating = Rating.UP, comment: str = "", **parts: Any) -> Feedback:
    """Return feedback given at noon, unless ``parts`` replaces the time."""
    at = parts.pop("created_at", NOON)
    target = Target(parts.pop("session_id", "s"), parts.pop("message_id", None), parts.pop("agent_id", None))
    content = Content(rating, comment, **{name: parts.pop(name) for name in _CONTENT if name in parts})
    known = {"id": feedback_id, "target": target, "content": content}
    return Feedback(**{**known, "created_at": at, "updated_at": at, **parts})


def all_events(hk: Harken) -> list[tuple[str, str, int]]:
    """Return the type, subject and version of every waiting event, ordered by subject and version."""
    events = sorted(hk.outbox.events(limit=1_000_000), key=lambda event: (event.subject_id, event.version))
    return [(event.type.value, event.subject_id, event.version) for event in events]


def eventually(condition: Callable[[], object], *, patience: float = PATIENCE) -> None:
    """Return as soon as the condition holds, and fail if it does not in time."""
    deadline, tick = monotonic() + patience, Event()
    while not condition():
        assert monotonic() < deadline, "it never happened"
        tick.wait(0.001)


def in_threads(calls: Iterable[Callable[[], object]]) -> list[object]:
    """Run all calls concurrently, each in its own thread. Returns their results or exceptions in order."""
    calls = list(calls)
    results: list[object] = [None] * len(calls)

    def run(index: int, call: Callable[[], object]) -> None:
        try:
            results[index] = call()
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            results[index] = error

    threads = [Thread(target=run, args=pair, daemon=True) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), "a call still hangs"
    return results
