"""The applications that the HTTP benchmark serves, each in a process of its own."""

from __future__ import annotations

import os
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

import harken
from harken_adapters.hosts.fastapi import ServerSettings, create_app
from harken_adapters.text import text_adapters

STORAGE = "BENCHMARKED_STORAGE"
#: The pipeline is whole but for sentiment: calls are counted, but the limits are out of reach.
SETTINGS = ServerSettings(
    sentiment="none",
    limit_by_key="1000000000/minute",
    limit_by_session="1000000000/minute",
    limit_by_address="1000000000/minute",
)


class Body(BaseModel):
    """What is sent."""

    rating: str | None = None
    comment: str = ""


def empty() -> FastAPI:
    """FastAPI itself: it parses the same body, and does nothing with it."""
    app = FastAPI()

    @app.post("/api/sessions/{session_id}/feedback", status_code=201)
    async def submit(session_id: str, body: Body) -> dict[str, Any]:
        return {"status": "success", "session_id": session_id, "rating": body.rating}

    return app


def feedback() -> FastAPI:
    """Harken on the storage that the environment names."""
    hk = harken.connect(os.environ[STORAGE], **text_adapters(sentiment="none"))
    return create_app(SETTINGS, harken=hk)
