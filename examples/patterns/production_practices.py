"""Takes feedback from a public page: limits for each address, no markup, no spam, and how each comment sounds.

Run it with ``python examples/patterns/production_practices.py``, or with the URL of a storage behind that. It asks an
application of Flask without a server between them; FastAPI, Django and ``harken serve`` answer the same.
"""

import sys

from flask import Flask

import harken
from harken_adapters.hosts.flask import Harken, ServerSettings
from harken_adapters.text import text_adapters

SETTINGS = ServerSettings(
    limit_production="5/hour",  # for each address; 5 a minute, if nothing is said
    keep_client="hashed",  # a digest of the address is kept with the feedback, not the address
)
GIVEN = [
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
        page = app.test_client()
        key = {"Authorization": f"Bearer {hk.keys.create('default', ['submit']).text}"}

        for feedback in GIVEN:
            answer = page.post("/api/feedback?session_id=session-1", json=feedback, headers=key)
            said = answer.get_json()
            # Behind the semicolon stands when to come back.
            print(answer.status_code, said.get("message") or said["detail"].partition(";")[0])

        print("Kept:")
        for kept in hk.stream(session_id="session-1"):
            sounds = f"{kept.sentiment.polarity:+.2f}" if kept.sentiment else "without words"
            print(f"  {kept.rating.value or 'neutral':<7} {sounds}  {kept.comment}")
        # So much is known of who gave it.
        print("With each:", *sorted(kept.context))


if __name__ == "__main__":
    main(next(iter(sys.argv[1:]), "memory://"))
