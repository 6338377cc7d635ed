"""Collects feedback from a public page, with rate limits, a comment sanitiser, a spam filter and sentiment analysis.

Run ``python examples/patterns/production_practices.py``, optionally followed by the URL of a storage. It sends
requests to a Flask application with Flask's test client; FastAPI, Django and ``harken serve`` respond identically.
"""

import sys

from flask import Flask

import harken
from harken_adapters.hosts.flask import Harken, ServerSettings
from harken_adapters.text import text_adapters

SETTINGS = ServerSettings(
    limit_production="5/hour",  # for each address; the default is 5/minute
    keep_client="hashed",  # store a digest of the address with the feedback
)
SAMPLES = [
    {"rating": "up", "comment": "<b>Great</b> answer, I <3 it<script>alert(1)</script>"},
    {"rating": "down", "comment": "Awfully slow, and not helpful"},
    {"rating": "up", "comment": "A limited offer! CLICK HERE"},
    {"rating": "up", "comment": "https://a.example https://b.example https://c.example"},
    {"rating": None, "comment": "It is an answer"},
    {"rating": "up", "comment": "One more"},
]


def main(storage: str) -> None:
    with harken.connect(storage, **text_adapters()) as hk:
        app = Flask("shop")
        Harken(app, harken=hk, settings=SETTINGS)
        client = app.test_client()
        key = {"Authorization": f"Bearer {hk.keys.create('default', ['submit']).text}"}

        for feedback in SAMPLES:
            response = client.post("/api/feedback?session_id=session-1", json=feedback, headers=key)
            content = response.get_json()
            # After the semicolon, the detail of a 429 says when to retry.
            print(response.status_code, content.get("message") or content["detail"].partition(";")[0])

        print("Stored:")
        for stored in hk.export(session_id="session-1"):
            polarity = f"{stored.sentiment.polarity:+.2f}" if stored.sentiment else "no comment"
            print(f"  {stored.rating.value or 'neutral':<7} {polarity}  {stored.comment}")
        print("Context of each entry:", *sorted(stored.context))


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))
