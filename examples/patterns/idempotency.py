"""Counts a click once, however often it is sent: when an answer got lost, on a double click, from many threads.

Run it with ``python examples/patterns/idempotency.py``, or with the URL of a storage behind that.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import harken
from harken import Harken, IdempotencyConflict, Receipt, Target
from harken_adapters.hosts.session_manager import MongoDBSessionManager


def click(hk: Harken, key: str) -> Receipt:
    """What a page sends; it made the key when it was loaded."""
    return hk.submit("session-1", "up", "Thank you", agent_id="helper", idempotency_key=key)


def main(storage: str) -> None:
    with harken.connect(storage) as hk:
        first, again = click(hk, "click-1"), click(hk, "click-1")
        print(f"Sent again: duplicate is {again.duplicate}, the same feedback: {again.feedback == first.feedback}")

        with ThreadPoolExecutor(10) as pool:
            receipts = list(pool.map(lambda _: click(hk, "click-2"), range(10)))
        print(f"Sent ten times at once: {sum(not one.duplicate for one in receipts)} kept")

        try:
            hk.submit("session-1", "down", "Wrong button", agent_id="helper", idempotency_key="click-1")
        except IdempotencyConflict as error:
            print(f"Refused: {error}")

        session = MongoDBSessionManager("session-2", harken=hk)
        for _ in range(2):
            session.add_feedback({"rating": "up", "comment": "Thanks", "idempotency_key": "click-1"})
        print(f"Through the session manager: {len(session.get_feedbacks())} kept")

        # Where everybody has one vote on an answer, voting anew takes the place of the old vote, without a key.
        answer = Target("session-3", "answer-1", "helper")
        hk.collection.set_vote(answer, "ann", "up")
        vote = hk.collection.set_vote(answer, "ann", "down", "It was last year's date").feedback
        print(f"One vote, in version {vote.version}: {vote.rating.value}")
        print(f"In all: {hk.summary().total}")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))
