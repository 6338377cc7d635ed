"""Harken for FastAPI: a router, and a standalone application. Requires the extra ``server``."""

from harken.configuration.extras import requires

with requires("The FastAPI host", "server"):
    from harken_adapters.hosts.fastapi.app import create_app
    from harken_adapters.hosts.fastapi.router import feedback_router
    from harken_adapters.hosts.http.settings import ServerSettings
    from harken_adapters.tokens import FeedbackLinks, SessionTokens

__all__ = ["FeedbackLinks", "ServerSettings", "SessionTokens", "create_app", "feedback_router"]
