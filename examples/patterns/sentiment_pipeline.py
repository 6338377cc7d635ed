"""Tells how each comment sounds, and looks for those that sound otherwise than they were rated.

Run it with ``python examples/patterns/sentiment_pipeline.py``, or with the URL of a storage behind that.
"""

import sys
from collections.abc import Iterator

import harken
from harken import Feedback, Harken, Rating
from harken_adapters.text import text_adapters

GIVEN = [
    ("helper", "up", "A <b>wonderful</b> answer, thank you!"),
    ("helper", "up", "Great, it lost my bag again. Terrible service!"),
    ("helper", "down", "Awfully slow 😭"),
    ("desk", "down", "A lovely chat, thank you. It told me the gate of yesterday"),
    ("desk", None, "Boarding is at nine"),
    ("desk", "up", ""),
]


def odd(hk: Harken) -> Iterator[Feedback]:
    """Ups that sound bad, and downs that sound good."""
    for feedback in hk.stream():
        polarity = feedback.sentiment.polarity if feedback.sentiment else 0.0
        if (feedback.rating is Rating.UP and polarity < 0) or (feedback.rating is Rating.DOWN and polarity > 0):
            yield feedback


def main(storage: str) -> None:
    # The comment is cleaned, checked for spam, and felt before it is kept. VADER feels, if nothing else is said.
    with harken.connect(storage, **text_adapters(sentiment="vader")) as hk:
        for agent, rating, comment in GIVEN:
            feedback = hk.submit("session-1", rating, comment, agent_id=agent).feedback
            sentiment = feedback.sentiment
            sounds = f"{sentiment.polarity:+.2f}, subjective {sentiment.subjectivity:.2f}" if sentiment else "no words"
            print(f"{feedback.rating.value or 'neutral'}: {feedback.comment!r} ({sounds})")

        # The figures have it, too, added up by the storage.
        for name, figures in hk.groups("agent").items():
            print(f"{name}: polarity {figures.average_polarity:+.3f} over {figures.sentiments} comments")

        for feedback in odd(hk):
            print(f"Somebody should read: {feedback.rating.value}, {feedback.comment!r}")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))
