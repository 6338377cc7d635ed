"""Collects what people think of answers, and reads it again.

Run it with ``python examples/patterns/simple_collection.py``. With the URL of a storage behind that, such as
``sqlite:///feedback.db``, it keeps what it collects there; without one, in memory.
"""

import sys

import harken


def main(storage: str) -> None:
    with harken.connect(storage) as hk:
        # What `submit` returns is durable, and has an id, a time and a version.
        hk.submit("session-1", "up", "Very helpful", agent_id="helper", message_id="answer-1", author="ann")
        hk.submit("session-1", "down", "It could not find my order", agent_id="helper", message_id="answer-2")
        receipt = hk.submit("session-2", None, "I only looked around", agent_id="helper")

        print("Of session 1, newest first:")
        for feedback in hk.feedback(session_id="session-1").items:
            print(f"  {feedback.rating.value:<5} {feedback.message_id}  {feedback.comment}")

        # People change their mind. What they said before is kept as a revision, and does not count any more.
        changed = hk.collection.change("default", receipt.feedback.id, harken.Change(rating="up", comment="It works!"))
        print(f"Version {changed.version} of another one: {changed.rating.value}, {changed.comment}")

        figures = hk.summary(agent_id="helper")
        print(f"{figures.total} in all: {figures.positive} up, {figures.negative} down, {figures.neutral} neutral")
        print(f"Satisfaction: {figures.satisfaction:.1f}%")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))
