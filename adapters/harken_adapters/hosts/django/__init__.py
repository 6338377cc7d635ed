"""Harken for Django: an app. Requires the extra ``django``.

::

    INSTALLED_APPS = [..., "harken_adapters.hosts.django"]
    HARKEN = {"STORAGE": "sqlite:///feedback.db"}

    urlpatterns = [..., path("feedback/", include("harken_adapters.hosts.django.urls"))]
"""

from __future__ import annotations

from harken.configuration.extras import requires

with requires("The Django host", "django"):
    import django as _  # noqa: F401 - checks that it is installed

    from harken_adapters.hosts.django.configuration import current_harken
    from harken_adapters.hosts.http.settings import ServerSettings
    from harken_adapters.tokens import FeedbackLinks, SessionTokens

__all__ = ["FeedbackLinks", "ServerSettings", "SessionTokens", "current_harken"]
