"""A Django project, configured in code, served over a real socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings
from django.urls import clear_url_caches

from harken import Harken
from harken_adapters.hosts.http.settings import ServerSettings
from hosts.serving import Server, serving, serving_wsgi

MIDDLEWARE: Final = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

settings.configure(
    ALLOWED_HOSTS=["*"],
    INSTALLED_APPS=["harken_adapters.hosts.django"],
    MIDDLEWARE=MIDDLEWARE,
    ROOT_URLCONF="harken_adapters.hosts.django.urls",
    LOGGING_CONFIG=None,
    # Without middleware that adds headers to all responses.
    SECURE_CROSS_ORIGIN_OPENER_POLICY=None,
    SECRET_KEY="a secret of tests",
)
django.setup()


@contextmanager
def a_project(**said: Any) -> Iterator[None]:
    """Configure a project with these settings."""
    with override_settings(**said):
        clear_url_caches()
        yield
    clear_url_caches()


@contextmanager
def serve_django(hk: Harken, server: ServerSettings, **said: Any) -> Iterator[Server]:
    """Serve a Harken in threads, at the root of a project."""
    with a_project(HARKEN={"HARKEN": hk, "SERVER": server}, **said), serving_wsgi(WSGIHandler()) as served:
        yield served


@contextmanager
def serve_django_in_loop(hk: Harken, server: ServerSettings, **said: Any) -> Iterator[Server]:
    """Serve a Harken in an event loop, at the root of a project."""
    with a_project(HARKEN={"HARKEN": hk, "SERVER": server}, **said), serving(ASGIHandler(), lifespan="off") as served:
        yield served
