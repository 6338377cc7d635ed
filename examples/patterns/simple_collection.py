"""Collects feedback on answers, reads it, changes it and computes statistics.

Run ``python examples/patterns/simple_collection.py``. It stores feedback in memory. To use another storage, add its
URL, such as ``sqlite:///feedback.db``.
"""

import sys

import harken


def main(storage: str) -> None:
    with harken.connect(storage) as hk:
        # When `submit` returns, the feedback is durable and has an id, a time and a version.
        hk.submit("session-1", "up", "Very helpful", agent_id="helper", message_id="answer-1", author="ann")
        hk.submit("session-1", "down", "It could not find my order", agent_id="helper", message_id="answer-2")
        receipt = hk.submit("session-2", None, "I was only browsing", agent_id="helper")

        print("Feedback in session 1, newest first:")
        for feedback in hk.feedback(session_id="session-1").items:
            print(f"  {feedback.rating.value:<5} {feedback.message_id}  {feedback.comment}")

        # A change stores a new version. The previous one is kept as a revision and is no longer counted.
        changed = hk.collection.change("default", receipt.feedback.id, harken.Change(rating="up", comment="It works!"))
        print(f"Changed in session 2, version {changed.version}: {changed.rating.value}, {changed.comment}")

        summary = hk.summary(agent_id="helper")
        print(f"Total {summary.total}: {summary.positive} up, {summary.negative} down, {summary.neutral} neutral")
        print(f"Satisfaction: {summary.satisfaction:.1f}%")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))
