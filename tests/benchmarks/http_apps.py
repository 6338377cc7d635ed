"""The applications that the HTTP benchmark serves, each in a process of its own."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel


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
