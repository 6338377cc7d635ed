"""Counts a click once even if it is sent repeatedly: after a lost response, on a double click, from several threads.

Run ``python examples/patterns/idempotency.py``, optionally followed by the URL of a storage.
"""

import sys
from concurrent.futures import ThreadPoolExecutor

import harken
from harken import Harken, IdempotencyConflict, Receipt, Target
from harken_adapters.hosts.session_manager import MongoDBSessionManager


def click(hk: Harken, key: str) -> Receipt:
    """Submit a click. A page generates the key when it is loaded."""
    return hk.submit("session-1", "up", "Thank you", agent_id="helper", idempotency_key=key)


def main(storage: str) -> None:
    with harken.connect(storage) as hk:
        first, retry = click(hk, "click-1"), click(hk, "click-1")
        print(f"Retry: duplicate is {retry.duplicate}, same feedback: {retry.feedback == first.feedback}")

        with ThreadPoolExecutor(10) as pool:
            receipts = list(pool.map(lambda _: click(hk, "click-2"), range(10)))
        print(f"Ten concurrent requests: {sum(not one.duplicate for one in receipts)} stored")

        try:
            hk.submit("session-1", "down", "Wrong button", agent_id="helper", idempotency_key="click-1")
        except IdempotencyConflict as error:
            print(f"Rejected: {error}")

        session = MongoDBSessionManager("session-2", harken=hk)
        for _ in range(2):
            session.add_feedback({"rating": "up", "comment": "Thanks", "idempotency_key": "click-1"})
        print(f"Session manager: {len(session.get_feedbacks())} stored")

        # An author has one vote on an answer. A new vote replaces the old one and needs no key.
        answer = Target("session-3", "answer-1", "helper")
        hk.collection.set_vote(answer, "ann", "up")
        vote = hk.collection.set_vote(answer, "ann", "down", "It was last year's date").feedback
        print(f"Vote, version {vote.version}: {vote.rating.value}")
        print(f"Total: {hk.summary().total}")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))
