"""The URL patterns of Harken, to include at the root of a project, which handles unknown paths."""

from __future__ import annotations

from typing import Final

from django.urls import URLPattern, path

from harken_adapters.hosts.django.views import answer
from harken_adapters.hosts.http.operation import Operation
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving.pages import Page
from harken_adapters.hosts.web.routes import PAGES


def _pattern(target: Operation | Page) -> URLPattern:
    route = target.path.removeprefix("/").replace("{", "<str:").replace("}", ">")
    # The request does not show where the prefix ends, but the number of segments after it is known.
    return path(route, answer, {"segments": target.path.count("/")}, name=target.name)


app_name: Final = "harken"
urlpatterns: Final = [*map(_pattern, OPERATIONS), *map(_pattern, PAGES)]
