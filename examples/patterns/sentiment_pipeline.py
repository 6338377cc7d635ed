"""Analyses the sentiment of comments, and finds comments whose sentiment contradicts the rating.

Run ``python examples/patterns/sentiment_pipeline.py``, optionally followed by the URL of a storage.
"""

import sys
from collections.abc import Iterator

import harken
from harken import Feedback, Harken, Rating
from harken_adapters.text import text_adapters

SAMPLES = [
    ("helper", "up", "A <b>wonderful</b> answer, thank you!"),
    ("helper", "up", "Great, it lost my bag again. Terrible service!"),
    ("helper", "down", "Awfully slow 😭"),
    ("desk", "down", "A lovely chat, thank you. It gave me yesterday's gate"),
    ("desk", None, "Boarding is at nine"),
    ("desk", "up", ""),
]


def contradictions(hk: Harken) -> Iterator[Feedback]:
    """Thumbs-up with a negative comment, and thumbs-down with a positive one."""
    for feedback in hk.export():
        polarity = feedback.sentiment.polarity if feedback.sentiment else 0.0
        if (feedback.rating is Rating.UP and polarity < 0) or (feedback.rating is Rating.DOWN and polarity > 0):
            yield feedback


def main(storage: str) -> None:
    # Each comment passes the sanitiser, the spam filter and VADER, the default sentiment analysis, before it is stored.
    with harken.connect(storage, **text_adapters(sentiment="vader")) as hk:
        for agent, rating, comment in SAMPLES:
            feedback = hk.submit("session-1", rating, comment, agent_id=agent).feedback
            sentiment = feedback.sentiment
            scores = f"{sentiment.polarity:+.2f}, subjective {sentiment.subjectivity:.2f}" if sentiment else "none"
            print(f"{feedback.rating.value or 'neutral'}: {feedback.comment!r} ({scores})")

        # The storage computes the average polarity of each group.
        for name, summary in hk.groups("agent").items():
            print(f"{name}: polarity {summary.average_polarity:+.3f} over {summary.sentiments} comments")

        for feedback in contradictions(hk):
            print(f"Contradiction: {feedback.rating.value}, {feedback.comment!r}")


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))
