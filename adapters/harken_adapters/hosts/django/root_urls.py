"""The URLs of Harken and no others, to be included at the root of a project, which tells what is not found there."""

from __future__ import annotations

from typing import Final

from django.urls import URLPattern, path

from harken_adapters.hosts.django.views import answer
from harken_adapters.hosts.http.operation import Operation
from harken_adapters.hosts.http.operations import OPERATIONS
from harken_adapters.hosts.http.serving.pages import PAGES, Page


def _pattern(target: Operation | Page) -> URLPattern:
    route = target.path.removeprefix("/").replace("{", "<str:").replace("}", ">")
    # Where the prefix ends cannot be seen from what was asked, but how much stands behind it can.
    return path(route, answer, {"steps": target.path.count("/")}, name=target.name)


app_name: Final = "harken"
urlpatterns: Final = [*map(_pattern, OPERATIONS), *map(_pattern, PAGES)]
